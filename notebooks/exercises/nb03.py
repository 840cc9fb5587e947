"""Exercises of notebook 03."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from circtools import BlockCirculantLinear, circulant
from exercises import Exercise


def still_circulant(order: Sequence[int]) -> bool:
    n = len(order)
    return all(order[c] == (order[0] + c) % n for c in range(n))


def verify_still_circulant(answer: Callable[[Sequence[int]], bool]) -> str | None:
    orders = {"in their natural order": [0, 1, 2, 3, 4, 5], "rotated": [4, 5, 0, 1, 2, 3],
              "reversed": [4, 3, 2, 1, 0], "taken in steps of two": [0, 2, 4, 1, 3],
              "with two pixels swapped": [1, 0, 2, 3], "shuffled": [3, 0, 1, 5, 2, 4]}
    for name, order in orders.items():
        n = len(order)
        columns = circulant(torch.arange(n))[:, order]
        truth = torch.equal(columns, circulant(columns[0]))
        got = answer(list(order))
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if bool(got) != truth:
            rows = "each is still the one above" if truth else "the lower is not the upper one"
            return (f"for {order}, the pixels {name}, it should be {truth}: write out two rows; "
                    f"{rows} rotated right by one")
    return None


def unit_image(first: Tensor, unit: int) -> Tensor:
    return first.roll(unit, dims=1)


def verify_unit_image(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    torch.manual_seed(0)
    layer = BlockCirculantLinear(784, 28, 28)
    weight = layer.dense_weight().detach()  # (28, 784): a row a unit
    first = weight[0].view(28, 28)
    for unit in (0, 1, 5, 27):
        got, truth = answer(first, unit), weight[unit].view(28, 28)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        got = torch.as_tensor(got)
        if got.shape != truth.shape:
            return f"the image should have shape (28, 28), yours has {tuple(got.shape)}"
        if torch.equal(got, truth):
            continue
        if torch.equal(got, first.roll(-unit, dims=1)):
            return "your rows rotate to the left; our circulant rows rotate to the right"
        if torch.equal(got, first.roll(unit, dims=0)):
            return "you rotate the image up or down; each image row rotates within itself"
        if torch.equal(got, first.roll(unit)):
            return ("you rotate the flattened image, so pixels move from one row to the next; "
                    "give roll a dimension")
        return f"for unit {unit} it is not the image that the layer has"
    return None


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    n = len(values)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n)
    return mean - half, mean + half


def verify_interval(answer: Callable[[Sequence[float]], tuple[float, float]]) -> str | None:
    for values in ([1.0, 2.0, 3.0], [1.71, 1.64, 1.80, 1.75, 1.69]):
        got = answer(values)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        half, truth = (got[1] - got[0]) / 2, t_interval(values)
        true_half = (truth[1] - truth[0]) / 2
        if np.allclose(got, truth, rtol=1e-6):
            continue
        n = len(values)
        if np.isclose(half, true_half * np.sqrt((n - 1) / n)):
            return "the standard deviation divides by n - 1: np.std(values, ddof=1)"
        if np.isclose(half, true_half * np.sqrt(n)):
            return "divide the standard deviation by the square root of n"
        if np.isclose(half, true_half * 1.96 / stats.t.ppf(0.975, n - 1), rtol=1e-3):
            return "1.96 is for many values; with so few, take Student's t"
        return f"for {values} it should be ({truth[0]:.4f}, {truth[1]:.4f}), yours is {got}"
    return None


EXERCISES = [
    Exercise(
        "3.1", verify_still_circulant, still_circulant,
        "Column c of the new matrix is column order[c] of the old one. Each row is the one above "
        "rotated right by one if order[c + 1] is order[c] + 1, and after n - 1 comes 0.",
        "Of all orders of n pixels a circulant matrix survives only the n rotations.",
    ),
    Exercise(
        "3.2", verify_unit_image, unit_image,
        "Each row of the matrix is the one above rotated right by one, within its block of 28 "
        "columns; such a block is one row of the image. torch.roll takes a dimension.",
        "A block of units is one detector at 28 horizontal positions.",
    ),
    Exercise(
        "3.3", verify_interval, t_interval,
        "np.std(values, ddof=1), stats.t.ppf(0.975, n - 1), and a division by the square root of "
        "n.",
        "With three seeds the factor is 4.30, with five 2.78: seeds are worth their time.",
    ),
]
