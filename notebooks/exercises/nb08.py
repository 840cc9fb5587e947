"""Exercises of notebook 08."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from exercises import Exercise


def rounds_for(compression: float) -> int:
    return math.ceil(math.log(compression) / -math.log(0.79))


def verify_rounds(answer: Callable[[float], int]) -> str | None:
    for compression in (2, 4, 7, 10, 16, 20, 32, 100):
        got, truth = answer(compression), rounds_for(compression)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if got != truth:
            return (f"{truth - 1} rounds reach {0.79 ** -(truth - 1):.3g}x and {truth} rounds "
                    f"{0.79**-truth:.3g}x, so {compression}x takes {truth}; yours says {got}")
    return None


def paired_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    difference = np.asarray(first) - np.asarray(second)
    half = stats.t.ppf(0.975, len(difference) - 1) * stats.sem(difference)
    return difference.mean() - half, difference.mean() + half


def verify_interval(answer: Callable[[np.ndarray, np.ndarray], tuple[float, float]]) -> str | None:
    first, second = np.array([38.1, 37.4, 38.9]), np.array([37.8, 37.0, 38.5])
    got = answer(first, second)
    if got is None:
        return "it returns None: replace the dots with a return statement"
    # Near enough for a quantile out of a table.
    if np.allclose(got, paired_interval(first, second), atol=1e-3):
        return None
    if np.allclose(got, stats.t.interval(0.95, 4, loc=(first - second).mean(), scale=np.sqrt(
            first.var(ddof=1) / 3 + second.var(ddof=1) / 3)), atol=1e-3):
        return "you treat the seeds as if they were not paired; take the differences first"
    low, high = paired_interval(first, second)
    return (f"for {first} and {second} it should be ({low:.3f}, {high:.3f}), "
            f"yours is ({got[0]:.3f}, {got[1]:.3f})")


EXERCISES = [
    Exercise("8.1", verify_rounds, rounds_for,
             "After r rounds 0.79 ** r of the weights are left; solve for r, and round up.",
             "So 15 rounds, the poster's last, are a little more than 32x."),
    Exercise("8.2", verify_interval, paired_interval,
             "Take the differences seed by seed; then mean -+ stats.t.ppf(0.975, n - 1) * "
             "stats.sem(differences)."),
]
