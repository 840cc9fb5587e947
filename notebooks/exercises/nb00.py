"""Exercises of notebook 00."""

import math
from collections.abc import Callable

from exercises import Exercise


def remaining(rounds: int) -> float:
    return 0.79**rounds


def verify_remaining(answer: Callable[[int], float]) -> str | None:
    for rounds in (0, 1, 3, 15):
        got = answer(rounds)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if math.isclose(got, 1 - 0.79**rounds, rel_tol=1e-6) and rounds:
            return f"remaining({rounds}) = {got:.4f} is the share that is gone, not what remains"
        if math.isclose(got, 1 - 0.21 * rounds, abs_tol=1e-6) and rounds > 1:
            return ("each round takes 21 % of what *remains*, so the shares multiply; yours takes "
                    "21 % of the original weights each time")
        if not math.isclose(got, 0.79**rounds, rel_tol=1e-6):
            return f"remaining({rounds}) should be {0.79**rounds:.4f}, yours gives {got}"
    return None


def overall_compression(layers: list[tuple[int, int]]) -> float:
    return sum(dense for dense, _ in layers) / sum(stored for _, stored in layers)


def verify_overall(answer: Callable[[list[tuple[int, int]]], float]) -> str | None:
    for layers in ([(100, 10)], [(614_656, 76_832), (7_840, 7_840)], [(10, 5), (1000, 10), (7, 7)]):
        got, truth = answer(layers), overall_compression(layers)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        mean = sum(dense / stored for dense, stored in layers) / len(layers)
        if len(layers) > 1 and math.isclose(got, mean, rel_tol=1e-9):
            return "you average the ratios of the layers; large layers must count for more"
        if math.isclose(got, 1 / truth, rel_tol=1e-9) and truth != 1:
            return "you divide stored by dense; a compression of 8 means 8 times *fewer* weights"
        if not math.isclose(got, truth, rel_tol=1e-9):
            return f"for {layers} it should be {truth:.4f}, yours gives {got}"
    return None


EXERCISES = [
    Exercise(
        "0.1", verify_remaining, remaining,
        "After one round 0.79 of the weights remain; the next round leaves 0.79 of those.",
        "Three rounds give 2x, six 4x, fifteen 34x.",
    ),
    Exercise(
        "0.2", verify_overall, overall_compression,
        "Add up all the dense weights, add up all the stored ones, then divide once.",
        "One uncompressed layer, even a small one, soon limits the whole.",
    ),
]
