"""Exercises of notebook 04."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from circtools import prune
from exercises import Exercise


def rounds_for(factor: float) -> int:
    return math.ceil(math.log(factor) / -math.log(0.79))


def verify_rounds(answer: Callable[[float], int]) -> str | None:
    for factor, truth in ((1, 0), (2, 3), (4, 6), (16, 12), (34, 15), (784, 29)):
        got = answer(factor)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if got != int(got):
            return f"rounds_for({factor}) is {got}: rounds are whole, round up"
        if got == truth - 1:
            return (f"rounds_for({factor}) gives {got}, which compresses only "
                    f"{1 / 0.79**got:.2f}x; round up, not down")
        if got != truth:
            return f"rounds_for({factor}) should be {truth}, yours gives {got}"
    return None


def global_masks(weights: Sequence[Tensor], amount: float) -> list[Tensor]:
    magnitudes = torch.cat([w.abs().flatten() for w in weights])
    count = round(amount * len(magnitudes))
    threshold = magnitudes.sort().values[count]  # the smallest magnitude that stays
    return [w.abs() >= threshold for w in weights]


def verify_masks(answer: Callable[[Sequence[Tensor], float], list[Tensor]]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    small, large = torch.randn(10, 20, generator=generator), torch.randn(30, generator=generator)
    weights = [0.1 * small, large]
    for amount in (0.5, 0.2):
        got = answer(weights, amount)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if len(got) != 2 or any(m.shape != w.shape for m, w in zip(got, weights, strict=True)):
            return "it should return one mask for each tensor, of the same shape"
        got, truth = [m.bool() for m in got], global_masks(weights, amount)
        if all(torch.equal(a, b) for a, b in zip(got, truth, strict=True)):
            continue
        if all(torch.equal(a, ~b) for a, b in zip(got, truth, strict=True)):
            return ("your masks are True where a weight is dropped; they should be True where it "
                    "stays")
        if all(int(m.sum()) == round((1 - amount) * m.numel()) for m in got):
            return ("you drop the share of each tensor by itself; compare the magnitudes of all "
                    "tensors together")
        kept, stay = (sum(int(m.sum()) for m in masks) for masks in (got, truth))
        if kept != stay:
            return f"with amount = {amount:g}, {stay} of 230 weights should stay, {kept} do"
        return "the right number of weights stays, but not those of largest magnitude"
    return None


def error_at(compressions: Sequence[float], errors: Sequence[float], target: float) -> float:
    return float(np.interp(np.log(target), np.log(compressions), errors))


def verify_error_at(answer: Callable[[Sequence[float], Sequence[float], float], float]
                    ) -> str | None:
    compressions, errors = [1.0, 4.0, 16.0], [0.02, 0.03, 0.07]
    for target in (4.0, 2.0, 8.0, 3.0, 6.0):
        truth = error_at(compressions, errors, target)
        got = answer(compressions, errors, target)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if not abs(got - truth) <= 1e-9:  # nor if it is nan
            linear = np.interp(target, compressions, errors)
            if abs(got - linear) < 1e-9:
                return "you interpolate in the compression itself; take its logarithm"
            return f"at {target:g}x it should be {truth:.4f}, yours gives {got}"
    return None


def one_stroke(layers: Sequence[torch.nn.Module], rounds: int) -> None:
    prune(layers, amount=1 - 0.79**rounds)


def verify_one_stroke(answer: Callable[[list[torch.nn.Linear], int], None]) -> str | None:
    for rounds in (1, 6):
        layer = torch.nn.Linear(50, 40)
        whole = layer.weight.detach().abs()
        answer([layer], rounds)
        kept = layer.weight.detach() != 0
        share, right = float(kept.float().mean()), 0.79**rounds
        if share == 1:
            return "no weight has become zero: replace the dots, and prune with prune(...)"
        if abs(share - 0.79) < 0.01 < abs(share - right):
            return f"for {rounds} rounds it takes 21 % only, as one round does"
        if abs(share - right) > 0.01:
            return f"{rounds} rounds leave {right:.0%} of the weights, yours leaves {share:.0%}"
        if whole[~kept].max() > whole[kept].min():
            return "the right number of weights stays, but not those of largest magnitude"
    return None


EXERCISES = [
    Exercise(
        "4.1", verify_rounds, rounds_for,
        "0.79 ** rounds <= 1 / factor. Take logarithms on both sides, mind the sign, round up.",
        "These rounds are the first to reach the factor; most go a little beyond it.",
    ),
    Exercise(
        "4.2", verify_masks, global_masks,
        "Put the magnitudes of all tensors into one, sort it, and read the threshold off it.",
        "A layer with small weights may lose nearly all of them: global pruning can empty layers.",
    ),
    Exercise(
        "4.3", verify_error_at, error_at,
        "np.interp(x, xs, ys) interpolates linearly; give it logarithms of the compressions.",
        "This is how the two methods are compared at equal compression.",
    ),
    Exercise(
        "4.4", verify_one_stroke, one_stroke,
        "What share of the weights do the rounds leave? prune wants the share that goes.",
        "Now start the comparison: compare(one_stroke).",
    ),
]
