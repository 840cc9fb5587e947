"""Pruning: zero the smallest weights that remain, fine-tune, repeat."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from circtools.checks import check_choice

AMOUNT = 0.21  # the poster's share of the remaining weights that a round of pruning takes
ORIGINAL, MASK = "parametrizations.weight.original", "parametrizations.weight.0"  # torch's names


class Mask(nn.Module):
    """What computes the weight of a pruned layer, each time it is read: zero where it is False."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.mask = nn.Buffer(torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


@torch.no_grad()
def prune(layers: Iterable[nn.Module], amount: float = AMOUNT,
          method: Literal["magnitude", "random"] = "magnitude") -> None:
    """Zero a share of the weights that remain, over all the layers together.

    A pruned weight never returns; after fine-tuning call this again for the next round.
    ``layer.weight`` is computed from then on, by a :class:`Mask`; what is trained is
    ``layer.parametrizations.weight.original``. To write the zeros into it, call
    ``torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")``.

    Args:
        layers: the layers whose ``weight`` is pruned; magnitudes are compared across all of them.
        amount: share of the *remaining* weights to remove, in [0, 1); 0 only puts the masks on.
        method: the smallest magnitudes, or at random (a control).

    Raises:
        TypeError: if ``layers`` is a model, or one of them has no ``weight`` that is a parameter
            (that of ``spectral_norm`` is computed); no layer is changed then.
        ValueError: if there is no layer, or ``amount`` or ``method`` is out of range.

    Source: S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks",
    NeurIPS 2015, section 3; the rounds of a fixed share of the remaining weights are those of
    J. Frankle and M. Carbin, "The Lottery Ticket Hypothesis", ICLR 2019.
    """
    if isinstance(layers, (nn.Module, dict)):
        raise TypeError("layers must be a sequence of layers with a weight, such as "
                        "[model.hidden], or circtools.counting.weight_layers(model).values() for "
                        f"all linear ones; got {type(layers).__name__}")
    layers = list(dict.fromkeys(layers))
    if not layers:
        raise ValueError("there is no layer to prune")
    if not 0 <= amount < 1:
        raise ValueError(f"amount must be at least 0 and less than 1, got {amount}")
    check_choice("method", method, ("magnitude", "random"))
    new = [layer for layer in layers if mask_of(layer) is None]
    for layer in new:
        if layer._parameters.get("weight") is None:
            raise TypeError("layers must be layers with a weight of their own, and "
                            f"{type(layer).__name__} has none; leave it out, or first remove what "
                            "computes its weight (spectral_norm, weight_norm, torch's own pruning)")
    for layer in new:
        parametrize.register_parametrization(layer, "weight", Mask(layer.get_parameter("weight")))
    found = [mask for mask in map(mask_of, layers) if mask is not None]
    kept = torch.cat([mask.flatten() for mask in found])
    places = kept.nonzero().flatten()
    if gone := round(amount * len(places)):
        scores = torch.cat([layer.get_parameter(ORIGINAL).flatten() for layer in layers])[kept]
        scores = scores.abs() if method == "magnitude" else torch.rand_like(scores)
        kept[places[scores.topk(gone, largest=method == "random").indices]] = False
        for mask, part in zip(found, kept.split([mask.numel() for mask in found]), strict=True):
            mask.copy_(part.view_as(mask))


def gradual_density(progress: float, target: float) -> float:
    """Return the share of weights to leave when a share of a training is done, in [target, 1].

    Pruning begins at a fifth of the training and ends at seven tenths, along the cubic curve of
    M. Zhu and S. Gupta, "To prune, or not to prune", 2017, equation 1.
    """
    begin, end = 0.2, 0.7
    done = min(max((progress - begin) / (end - begin), 0.0), 1.0)
    return target + (1 - target) * (1 - done) ** 3


def mask_of(layer: nn.Module) -> Tensor | None:
    """Return the mask that :func:`prune` put on a layer, if any: True where a weight remains."""
    by = layer.get_submodule(MASK) if parametrize.is_parametrized(layer, "weight") else None
    return by.mask if isinstance(by, Mask) else None


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the mask of every pruned layer, by name."""
    return {name: mask.clone() for name, module in model.named_modules()
            if (mask := mask_of(module)) is not None}


def density(layers: Iterable[nn.Module]) -> float:
    """Return the share of weights left in pruned layers; 1 if none of the layers is pruned."""
    kept = [mask for mask in map(mask_of, layers) if mask is not None]
    return sum(int(mask.sum()) for mask in kept) / sum(map(Tensor.numel, kept)) if kept else 1.0
