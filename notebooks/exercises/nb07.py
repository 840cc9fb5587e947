"""Exercises of notebook 07."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from circtools import prune
from exercises import Exercise
from exercises.answers import NOTHING


def density_by_head(mask: Tensor, heads: int) -> Tensor:
    return mask.float().view(heads, -1).mean(1)


def verify_density(answer: Callable[[Tensor, int], Tensor]) -> str | None:
    simple = torch.zeros(8, 8, dtype=torch.bool)
    simple[:2], simple[4:6, :4] = True, True
    random = torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) < 0.3
    for mask, heads, what in ((simple, 4, "a mask with heads 1 (full) and 3 (half)"),
                              (random, 3, "a random mask of 12 rows and 3 heads")):
        got, right = answer(mask, heads), density_by_head(mask, heads)
        if got is None:
            return NOTHING
        got = torch.as_tensor(got, dtype=torch.float32)
        if got.shape != (heads,):
            return f"one number for each of the {heads} heads, yours has shape {tuple(got.shape)}"
        if not torch.allclose(got, right):
            return f"for {what} it should be {right}, not {got}"
    return None


def seeds_needed(mean: float, sd: float) -> int:
    return math.floor((1.96 * sd / mean) ** 2) + 1


def prune_each(layers: Iterable[torch.nn.Module], amount: float) -> None:
    for layer in layers:
        prune([layer], amount)


def verify_prune_each(answer: Callable[[list[torch.nn.Linear], float], None]) -> str | None:
    for amount in (0.25, 0.5):
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
        if max(abs(share - (1 - amount)) for share in shares) > 0.01:
            return f"with amount = {amount:g} each layer should keep {1 - amount:.0%}, not {found}"
        if any(w[~k].max() > w[k].min() for w, k in zip(whole, kept, strict=True)):
            return "the right number of weights stays, but not those of largest magnitude"
    return None


EXERCISES = [
    Exercise("7.1", verify_density, density_by_head,
             "View the mask as (heads, everything else) and take the mean of each row.",
             mistakes=(
                 (lambda mask, heads: density_by_head(mask.T.contiguous(), heads),
                  "you cut the columns; the heads of a query matrix are groups of rows"),
                 (lambda mask, heads: mask.view(heads, -1).sum(1),
                  "that is how many weights are left; divide by the number that a head has"),
                 (lambda mask, heads: mask.view(heads, -1).sum(1) / mask.sum(),
                  "you divide by all the weights left, so that the heads add up to 1; divide by "
                  "the number that a head has"),
                 (lambda mask, heads: 1 - density_by_head(mask, heads),
                  "that is the share that is gone, not the share left"),
                 (lambda mask, heads: mask.float().view(-1, heads, len(mask)).mean((0, 2)),
                  "you take every heads-th row; the rows of a head are neighbours"),
             )),
    Exercise("7.2", [(0.3, 0.5), (0.2, 0.5), (0.1, 0.5), (1.0, 0.1)], seeds_needed,
             "n must be above (1.96 * sd / mean) ** 2; the next whole number.",
             mistakes=(
                 (lambda mean, sd: max(1, int((1.96 * sd / mean) ** 2)),
                  "you round down, and with so few the interval still holds zero: round up"),
                 (lambda mean, sd: math.ceil(1.96 * sd / mean),
                  "the interval shrinks with the square root of n: square both sides"),
                 (lambda mean, sd: math.ceil((sd / mean) ** 2),
                  "you left out the 1.96: one standard error to either side holds only 68 %"),
                 (lambda mean, sd: math.ceil((2 * 1.96 * sd / mean) ** 2),
                  "you took the whole width of the interval; only its half must be below the mean"),
                 (lambda mean, sd: math.ceil(1.96 * sd**2 / mean),
                  "square all of 1.96 * sd / mean, not sd alone"),
             )),
    Exercise("7.3", verify_prune_each, prune_each,
             "prune takes a list of layers and compares the weights of all of them; a list may "
             "hold one layer.",
             "Now use it: after(prune_each, 0.6).",
             mistakes=(
                 (prune,
                  "the layers are still compared with each other: prune one after the other"),
                 (lambda layers, amount: prune_each(layers, 1 - amount),
                  "amount is the share that goes; with yours it stays"),
                 (lambda layers, amount: prune(layers[:1], amount),
                  "the first layer alone is pruned: go on through all of them"),
                 (lambda layers, amount: prune_each(layers, amount / len(layers)),
                  "you divide the share among the layers; each of them gives all of it"),
             )),
]
