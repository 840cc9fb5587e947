"""Exercises of notebook 07."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from exercises import Exercise


def density_by_head(mask: Tensor, heads: int) -> Tensor:
    return mask.float().view(heads, -1).mean(1)


def verify_density(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    simple = torch.zeros(8, 8, dtype=torch.bool)
    simple[:2], simple[4:6, :4] = True, True
    random = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) < 0.3
    for mask, heads in ((simple, 4), (random, 3)):
        got = answer(mask, heads)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        got = torch.as_tensor(got, dtype=torch.float32)
        if got.shape != (heads,):
            return f"one number for each of the {heads} heads, yours has shape {tuple(got.shape)}"
        right = density_by_head(mask, heads)
        if torch.allclose(got, right):
            continue
        if torch.allclose(got, density_by_head(mask.T.contiguous(), heads)):
            return "you cut the columns; the heads of a query matrix are groups of rows"
        if mask is simple:
            return f"for a mask with heads 1 (full) and 3 (half) it should be {right}, not {got}"
        return f"for a random mask of 12 rows and 3 heads it should be {right}, not {got}"
    return None


def seeds_needed(mean: float, sd: float) -> int:
    return math.floor((1.96 * sd / mean) ** 2) + 1


def verify_seeds(answer: Callable[[float, float], int]) -> str | None:
    for mean, sd in ((0.3, 0.5), (0.2, 0.5), (0.1, 0.5), (1.0, 0.1)):
        got = answer(mean, sd)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if got != seeds_needed(mean, sd):
            return (f"for a mean of {mean} and a deviation of {sd} it should be "
                    f"{seeds_needed(mean, sd)}, yours gives {got}")
    return None


EXERCISES = [
    Exercise("7.1", verify_density, density_by_head,
             "View the mask as (heads, everything else) and take the mean of each row."),
    Exercise("7.2", verify_seeds, seeds_needed,
             "n must be above (1.96 * sd / mean) ** 2; the next whole number."),
]
