"""The two tasks behind one interface; a third is a module like ``mnist_runs`` and a row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from circtools.experiments import mnist, mnist_runs, multi30k, multi30k_runs
from circtools.experiments.runs import Experiment, Run


@dataclass(frozen=True)
class Task:
    """What the experiments must know of a task."""

    load: Callable[[str], Any]  # its data by "real", "sample" or "auto"; they tell their origin
    presets: Mapping[str, Any]  # its sizes
    plan: Callable[..., list[list[Run]]]  # its runs in stages; see mnist_runs.plan
    epochs: Callable[[Run], tuple[int, int]]  # before a run, and its own
    experiment: type[Experiment]


TASKS = {
    "mnist": Task(mnist.load, mnist_runs.PRESETS, mnist_runs.plan, mnist_runs.epochs,
                  mnist_runs.Experiment),
    "multi30k": Task(multi30k.load, multi30k_runs.PRESETS, multi30k_runs.plan,
                     multi30k_runs.epochs, multi30k_runs.Experiment),
}
