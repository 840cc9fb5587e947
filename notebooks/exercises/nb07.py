"""Exercises of notebook 07."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from circtools import prune
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


def prune_each(layers: Iterable[torch.nn.Module], amount: float) -> None:
    for layer in layers:
        prune([layer], amount)


def verify_prune_each(answer: Callable[[list[torch.nn.Linear], float], None]) -> str | None:
    for amount in (0.5, 0.25):
        layers = [torch.nn.Linear(8, 10), torch.nn.Linear(10, 20)]
        generator = torch.Generator().manual_seed(0)
        for layer, scale in zip(layers, (0.1, 1.0), strict=True):
            torch.nn.init.normal_(layer.weight, std=scale, generator=generator)
        whole = [layer.weight.detach().abs() for layer in layers]
        answer(layers, amount)
        kept = [layer.weight.detach() != 0 for layer in layers]
        shares = [float(k.float().mean()) for k in kept]
        found = " and ".join(f"{share:.0%}" for share in shares)
        if shares == [1.0, 1.0]:
            return "no weight has become zero: replace the dots, and prune with prune(...)"
        if abs(shares[0] - shares[1]) > 0.01:
            return (f"with amount = {amount:g} two layers keep {found} of their weights: they are "
                    "still compared with each other")
        if abs(shares[0] - (1 - amount)) > 0.01:
            return f"with amount = {amount:g} each layer should keep {1 - amount:.0%}, not {found}"
        if any(w[~k].max() > w[k].min() for w, k in zip(whole, kept, strict=True)):
            return "the right number of weights stays, but not those of largest magnitude"
    return None


EXERCISES = [
    Exercise("7.1", verify_density, density_by_head,
             "View the mask as (heads, everything else) and take the mean of each row."),
    Exercise("7.2", verify_seeds, seeds_needed,
             "n must be above (1.96 * sd / mean) ** 2; the next whole number."),
    Exercise("7.3", verify_prune_each, prune_each,
             "prune takes a list of layers and compares the weights of all of them; a list may "
             "hold one layer.",
             "Now use it: after(prune_each, 0.6)."),
]
