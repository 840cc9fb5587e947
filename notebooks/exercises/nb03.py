"""Exercises of notebook 03."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from circtools import BlockCirculantLinear, circulant
from exercises import Exercise
from exercises.answers import NOTHING


def still_circulant(order: Sequence[int]) -> bool:
    n = len(order)
    return all(order[c] == (order[0] + c) % n for c in range(n))


def verify_still_circulant(answer: Callable[[Sequence[int]], bool]) -> str | None:
    orders = {"in their natural order": [0, 1, 2, 3, 4, 5], "rotated": [4, 5, 0, 1, 2, 3],
              "reversed": [4, 3, 2, 1, 0], "taken in steps of two": [0, 2, 4, 1, 3],
              "with two pixels swapped": [1, 0, 2, 3], "shuffled": [3, 0, 1, 5, 2, 4]}
    found = [answer(list(order)) for order in orders.values()]
    for got, (name, order) in zip(found, orders.items(), strict=True):
        columns = circulant(torch.arange(len(order)))[:, order]
        truth = torch.equal(columns, circulant(columns[0]))
        if got is None:
            return NOTHING
        if bool(got) != truth:
            rows = "each is still the one above" if truth else "the lower is not the upper one"
            return (f"for {order}, the pixels {name}, it should be {truth}: write out two rows; "
                    f"{rows} rotated right by one")
    return None


def steps(order: Sequence[int]) -> set[int]:
    return {(after - before) % len(order) for before, after in itertools.pairwise(order)}


def unit_image(first: Tensor, unit: int) -> Tensor:
    return first.roll(unit, dims=1)


def verify_unit_image(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    torch.manual_seed(0)
    layer = BlockCirculantLinear(784, 28, 28)
    weight = layer.dense_weight().detach()  # (28, 784): a row a unit
    for unit in (5, 0, 1, 27):
        got, truth = answer(weight[0].view(28, 28), unit), weight[unit].view(28, 28)
        if got is None:
            return NOTHING
        got = torch.as_tensor(got)
        if got.shape != truth.shape:
            return f"the image should have shape (28, 28), yours has {tuple(got.shape)}"
        if not torch.equal(got, truth):
            return f"for unit {unit} it is not the image that the layer has"
    return None


def letter() -> Tensor:
    """Return an image that shows which way it was moved: an L."""
    image = torch.zeros(28, 28)
    image[6:22, 8:11], image[19:22, 8:18] = 1, 1
    return image


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    n = len(values)
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n)
    return mean - half, mean + half


def verify_interval(answer: Callable[[Sequence[float]], tuple[float, float]]) -> str | None:
    for values in ([1.0, 2.0, 3.0], [1.71, 1.64, 1.80, 1.75, 1.69]):
        got, truth = answer(values), t_interval(values)
        if got is None:
            return NOTHING
        if np.shape(got) != (2,):
            return "return two numbers, the lower end and the upper end"
        if not np.allclose(got, truth, rtol=1e-6):
            return f"for {values} it should be ({truth[0]:.4f}, {truth[1]:.4f}), yours is {got}"
    return None


def widened(factor: Callable[[int], float]) -> Callable[[Sequence[float]], tuple[float, float]]:
    """Return the answer of somebody whose interval of n values is wider by a factor of n."""
    def answer(values: Sequence[float]) -> tuple[float, float]:
        low, high = t_interval(values)
        middle, half = (high + low) / 2, factor(len(values)) * (high - low) / 2
        return middle - half, middle + half

    return answer


EXERCISES = [
    Exercise(
        "3.1", verify_unit_image, unit_image,
        "Each row of the matrix is the one above rotated right by one, within its block of 28 "
        "columns; such a block is one row of the image. torch.roll takes a dimension.",
        "A block of units is one detector at 28 horizontal positions.",
        mistakes=(
            (lambda first, unit: first.roll(-unit, dims=1),
             "your rows rotate to the left; our circulant rows rotate to the right"),
            (lambda first, unit: first.roll(unit, dims=0),
             "you rotate the image up or down; each image row rotates within itself"),
            (lambda first, unit: first.roll(unit),
             "you rotate the flattened image, so pixels move from one row to the next; give roll a "
             "dimension"),
            (lambda first, unit: first.roll(1, dims=1),
             "you rotate by one pixel for every unit; from unit to unit it is one pixel more"),
        ),
        picture=("The image of unit 12, if that of unit 0 is an L",
                 lambda answer: answer(letter(), 12)),
    ),
    Exercise(
        "3.2", verify_interval, t_interval,
        "np.std(values, ddof=1), stats.t.ppf(0.975, n - 1), and a division by the square root of "
        "n.",
        "With three seeds the factor is 4.30, with five 2.78: seeds are worth their time.",
        mistakes=(
            (widened(lambda n: np.sqrt((n - 1) / n)),
             "the standard deviation divides by n - 1: np.std(values, ddof=1)"),
            (widened(np.sqrt),
             "divide the standard deviation by the square root of n"),
            (widened(lambda n: 1.96 / stats.t.ppf(0.975, n - 1)),
             "1.96 is for many values; with so few, take Student's t"),
            (widened(lambda n: stats.t.ppf(0.95, n - 1) / stats.t.ppf(0.975, n - 1)),
             "you leave out 5 % on either side, so 90 % are within; take the 97.5 % point"),
            (widened(lambda n: stats.t.ppf(0.975, n) / stats.t.ppf(0.975, n - 1)),
             "you give Student's t n degrees of freedom; there are n - 1"),
        ),
    ),
    Exercise(
        "3.3", verify_still_circulant, still_circulant,
        "Column c of the new matrix is column order[c] of the old one. Each row is the one above "
        "rotated right by one if order[c + 1] is order[c] + 1, and after n - 1 comes 0.",
        "Of all orders of n pixels a circulant matrix survives only the n rotations.",
        mistakes=(
            (lambda order: list(order) == sorted(order),
             "the natural order is not the only one: if all pixels move on by the same number, and "
             "the last come back first, the rows still rotate"),
            (lambda order: len(steps(order)) == 1 and steps(order) <= {1, len(order) - 1},
             "it is not enough that neighbours stay neighbours: where the pixels are reversed, the "
             "rows rotate to the left"),
            (lambda order: len(steps(order)) == 1,
             "it is not enough that all steps are equal: in steps of two each row is the one above "
             "rotated, but not by one"),
            (lambda order: True,
             "it cannot be True for every order: only where each row is still the one above "
             "rotated right by one"),
        ),
    ),
]
