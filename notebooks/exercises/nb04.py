"""Exercises of notebook 04."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from circtools import prune
from circtools.pruning import mask_of
from exercises import Exercise
from exercises.answers import NOTHING


def rounds_for(factor: float) -> int:
    return math.ceil(math.log(factor) / -math.log(0.79))


def global_masks(weights: Sequence[Tensor], amount: float) -> list[Tensor]:
    magnitudes = torch.cat([w.abs().flatten() for w in weights])
    count = round(amount * len(magnitudes))
    threshold = magnitudes.sort().values[count]  # the smallest magnitude that stays
    return [w.abs() >= threshold for w in weights]


def verify_masks(answer: Callable[[Sequence[Tensor], float], list[Tensor]]) -> str | None:
    generator = torch.Generator().manual_seed(0)
    small, large = torch.randn(10, 20, generator=generator), torch.randn(30, generator=generator)
    weights = [0.1 * small, large]
    for amount in (0.2, 0.5):
        got, truth = answer(weights, amount), global_masks(weights, amount)
        if got is None:
            return NOTHING
        if len(got) != 2 or any(m.shape != w.shape for m, w in zip(got, weights, strict=True)):
            return "it should return one mask for each tensor, of the same shape"
        if all(torch.equal(a.bool(), b) for a, b in zip(got, truth, strict=True)):
            continue
        kept, stay = (sum(int(m.bool().sum()) for m in masks) for masks in (got, truth))
        if kept != stay:
            return f"with amount = {amount:g}, {stay} of 230 weights should stay, {kept} do"
        return "the right number of weights stays, but not those of largest magnitude"
    return None


def masks_above(weights: Sequence[Tensor], rank: int) -> list[Tensor]:
    """Return what is above the magnitude with this rank, counted from 0."""
    threshold = torch.cat([w.abs().flatten() for w in weights]).sort().values[rank]
    return [w.abs() > threshold for w in weights]


def signed_masks(weights: Sequence[Tensor], amount: float) -> list[Tensor]:
    ordered = torch.cat([w.flatten() for w in weights]).sort().values
    return [w >= ordered[round(amount * len(ordered))] for w in weights]


def error_at(compressions: Sequence[float], errors: Sequence[float], target: float) -> float:
    return float(np.interp(np.log(target), np.log(compressions), errors))


def one_stroke(layers: Sequence[torch.nn.Module], rounds: int) -> None:
    prune(layers, amount=1 - 0.79**rounds)


def verify_one_stroke(answer: Callable[[list[torch.nn.Linear], int], None]) -> str | None:
    for rounds in (3, 1, 6):
        layer = torch.nn.Linear(50, 40)
        whole = layer.weight.detach().abs()
        answer([layer], rounds)
        kept = layer.weight.detach() != 0
        share, right = float(kept.float().mean()), 0.79**rounds
        if share == 1:
            return "no weight has become zero: replace the dots, and prune with prune(...)"
        if abs(share - right) > 0.01:
            return f"{rounds} rounds leave {right:.0%} of the weights, yours leaves {share:.0%}"
        if whole[~kept].max() > whole[kept].min():
            return "the right number of weights stays, but not those of largest magnitude"
    return None


def rewind(layer: torch.nn.Module, first: Tensor) -> None:
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(first)


def verify_rewind(answer: Callable[[torch.nn.Linear, Tensor], None]) -> str | None:
    layer = torch.nn.Linear(20, 10)
    first = layer.weight.detach().clone()  # (10, 20)
    with torch.no_grad():
        layer.weight.add_(torch.randn(10, 20))  # what training does
    prune([layer], 0.75)
    last = layer.weight.detach().clone()
    answer(layer, first.clone())
    weight, kept = layer.weight.detach(), last != 0
    if torch.equal(weight, last):
        return "the weights that remain still have their last values"
    if weight[~kept].any():
        return "weights that were pruned are back: the mask must stay"
    if not torch.equal(weight[kept], first[kept]):
        return "the weights that remain do not have their values in first"
    if mask_of(layer) is None:
        return "the numbers are right, but without the mask training moves the zeros: it must stay"
    return None


def revive(layer: torch.nn.Module, first: Tensor) -> None:
    mask_of(layer).fill_(True)
    rewind(layer, first)


def prune_anew(layer: torch.nn.Module, first: Tensor) -> None:
    revive(layer, first)
    prune([layer], 0.75)


EXERCISES = [
    Exercise(
        "4.1", [(2,), (4,), (16,), (34,), (784,), (1,)], rounds_for,
        "0.79 ** rounds <= 1 / factor. Take logarithms on both sides, mind the sign, round up.",
        "These rounds are the first to reach the factor; most go a little beyond it.",
        mistakes=(
            (lambda factor: int(math.log(factor) / -math.log(0.79)),
             "you round down, to the last round that does not reach the factor yet: round up"),
            (lambda factor: round(math.log(factor) / -math.log(0.79)),
             "you round to the nearest number, which may not reach the factor yet: round up"),
            (lambda factor: int(math.log(factor) / -math.log(0.79)) + 1,
             "a factor of 1 takes no round: round up with math.ceil, not with int(...) + 1"),
            (lambda factor: math.log(factor) / -math.log(0.79),
             "rounds are whole: round up"),
            (lambda factor: math.ceil((1 - 1 / factor) / 0.21),
             "each round takes 21 % of what *remains*, so the shares multiply: take logarithms"),
            (lambda factor: math.ceil(math.log(factor) / math.log(1.21)),
             "a round leaves 0.79, so the compression grows by 1 / 0.79 each time, not by 1.21"),
        ),
    ),
    Exercise(
        "4.2", verify_masks, global_masks,
        "Put the magnitudes of all tensors into one, sort it, and read the threshold off it.",
        "A layer with small weights may lose nearly all of them: global pruning can empty layers.",
        mistakes=(
            (lambda weights, amount: [~mask for mask in global_masks(weights, amount)],
             "your masks are True where a weight is dropped; they should be True where it stays"),
            (lambda weights, amount: [global_masks([w], amount)[0] for w in weights],
             "you drop the share of each tensor by itself; compare the magnitudes of all tensors "
             "together"),
            (signed_masks,
             "you drop the lowest weights, so large negative ones go first: compare magnitudes"),
            (lambda weights, amount: global_masks(weights, 1 - amount),
             "amount is the share that goes; with yours it stays"),
            (lambda weights, amount: masks_above(
                weights, round(amount * sum(w.numel() for w in weights))),
             "one weight too many goes: the threshold itself belongs to a weight that stays"),
        ),
    ),
    Exercise(
        "4.3", [([1.0, 4.0, 16.0], [0.02, 0.03, 0.07], at) for at in (8.0, 2.0, 3.0, 6.0, 4.0)],
        error_at,
        "np.interp(x, xs, ys) interpolates linearly; give it logarithms of the compressions.",
        "This is how the two methods are compared at equal compression.",
        mistakes=(
            (lambda compressions, errors, target: np.interp(target, compressions, errors),
             "you interpolate in the compression itself; take its logarithm"),
            (lambda compressions, errors, target: np.interp(np.log(target), compressions, errors),
             "you take the logarithm of target, but not that of compressions"),
            (lambda compressions, errors, target: np.exp(
                error_at(compressions, np.log(errors), target)),
             "you take the logarithm of the errors, too; only the compression has one"),
            (lambda compressions, errors, target: max(
                error for factor, error in zip(compressions, errors, strict=True)
                if factor <= target),
             "that is the error of the round before; go on towards the next one"),
        ),
    ),
    Exercise(
        "4.4", verify_one_stroke, one_stroke,
        "What share of the weights do the rounds leave? prune wants the share that goes.",
        "Now start the comparison: compare(one_stroke).",
        mistakes=(
            (lambda layers, rounds: prune(layers),
             "it takes 21 % only, as one round does, however many rounds there are"),
            (lambda layers, rounds: prune(layers, 0.79**rounds),
             "you take the share that the rounds leave; prune wants the share that goes"),
            (lambda layers, rounds: prune(layers, 0.21 * rounds),
             "each round takes 21 % of what *remains*, so their shares do not add up"),
            (lambda layers, rounds: prune(layers, 0.21**rounds),
             "0.21 is the share that goes in a round; multiply the shares that stay"),
        ),
    ),
    Exercise(
        "4.5", verify_rewind, rewind,
        "In a block `with torch.no_grad():`, the method copy_ writes numbers into a parameter. The "
        "mask sees to the zeros.",
        "Now start the comparison: compare_starts(rewind).",
        mistakes=(
            (lambda layer, first: None,
             "the weights that remain still have their last values. What is written into "
             "layer.weight is lost, because it is computed anew each time: write into "
             "layer.parametrizations.weight.original"),
            (revive,
             "the pruned weights are back: leave the mask as it is, and write into "
             "layer.parametrizations.weight.original"),
            (prune_anew,
             "that is a new mask, of the largest weights of first: keep the one the layer has"),
        ),
    ),
]
