"""Timings of the layer, of training and translation, and of the compressed Transformers."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from circtools.experiments import store

FOLDER = store.FOLDER / "benchmarks"
Runs = Mapping[str, Callable[[], Any]]


def in_turn(runs: Runs, rounds: int = 3, budget: float = 0.0) -> dict[str, list[tuple[float, Any]]]:
    """Time functions in turn, so that all meet the same noise, after two calls to warm up.

    In a round each begins with the same random numbers, and is called until 5 ms are over: the
    clock and the loop are then no part of what is timed. There are at least so many rounds, and for
    at least ``budget`` seconds. For each round it returns the seconds of a call, and what the last
    call returned.
    """
    def timed(run: Callable[[], Any], calls: int) -> tuple[float, Any]:
        start = time.perf_counter()
        for _ in range(calls):
            result = run()
        return (time.perf_counter() - start) / calls, result

    calls, samples = {}, {name: list[tuple[float, Any]]() for name in runs}
    for name, run in runs.items():
        run()
        calls[name] = max(1, min(500, round(5e-3 / max(timed(run, 1)[0], 1e-7))))
    started, number = time.perf_counter(), 0
    while number < rounds or time.perf_counter() - started < budget:
        for name, run in runs.items():
            torch.manual_seed(number)
            samples[name].append(timed(run, calls[name]))
        number += 1
    return samples


def medians(runs: Runs) -> dict[str, float]:
    """Return the median seconds of each function, timed :func:`in_turn` for half a second."""
    return {name: statistics.median(seconds for seconds, _ in samples)
            for name, samples in in_turn(runs, budget=0.5).items()}


def product_rate(dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of a large matrix product."""
    n = 1024
    a, b, out = (torch.randn(n, n).to(dtype) for _ in range(3))
    return 2 * n**3 / medians({"product": lambda: torch.mm(a, b, out=out)})["product"]


def write(result: dict[str, Any], name: str) -> None:
    """Write the result of a benchmark, with its provenance and the number of threads."""
    path = FOLDER / f"{name}.json"
    provenance: dict[str, Any] = {**store.provenance(), "threads": torch.get_num_threads()}
    store.write({**result, "provenance": provenance}, path)
    print(f"{name}: written to {path}")
