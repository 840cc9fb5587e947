"""Settings of the whole test suite."""

import os

import torch
from hypothesis import settings

# The same examples on every run, and no limit of time on a single one: CI machines are shared.
settings.register_profile("course", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("course")
if "OMP_NUM_THREADS" not in os.environ:
    torch.set_num_threads(min(2, os.cpu_count() or 1))
