"""Pruning: zero the smallest weights that remain, fine-tune, repeat."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import prune as torch_prune

AMOUNT = 0.21  # the poster's share of the remaining weights that a round of pruning takes
GRADUAL = (0.2, 0.7)  # the shares of a training where gradual pruning begins and ends


def prune(
    layers: Iterable[nn.Module],
    amount: float = AMOUNT,
    method: Literal["magnitude", "random"] = "magnitude",
) -> None:
    """Zero a share of the weights that remain, over all the layers together.

    The masks of earlier calls stay (a pruned weight never returns), biases are left alone. The
    layers hold ``weight_orig`` and ``weight_mask`` from then on, as ``torch.nn.utils.prune``
    leaves them; after fine-tuning call it again for the next round.

    Args:
        layers: the layers whose ``weight`` is pruned; magnitudes are compared across all of them.
        amount: share of the *remaining* weights to remove, 0 <= amount < 1; 0 only puts the masks
            on.
        method: the smallest magnitudes, or at random (a control).

    Raises:
        TypeError: if ``layers`` is a model instead of its layers, one has no ``weight``, or one is
            part of ``nn.MultiheadAttention``.
        ValueError: if there is no layer, or ``amount`` or ``method`` is out of range.

    Source: S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks",
    NeurIPS 2015, section 3; the rounds of a fixed share of the remaining weights are those of
    J. Frankle and M. Carbin, "The Lottery Ticket Hypothesis", ICLR 2019.
    """
    if isinstance(layers, nn.Module):
        raise TypeError("layers must be a sequence of layers with a weight, such as "
                        f"weight_layers(model).values(), got {type(layers).__name__}")
    layers = list(layers)
    if without := [type(m).__name__ for m in layers if not hasattr(m, "weight")]:
        raise TypeError("layers must be layers with a weight of that name to prune, and "
                        f"{without[0]} has none")
    if not layers:
        raise ValueError("there is no layer to prune")
    if any(isinstance(m, NonDynamicallyQuantizableLinear) for m in layers):
        raise TypeError("leave out the output projection of nn.MultiheadAttention (out_proj): its "
                        "weight is read past it, and so past its mask")
    if not 0 <= amount < 1:
        raise ValueError(f"amount must be at least 0 and less than 1, got {amount}")
    kinds = {"magnitude": torch_prune.L1Unstructured, "random": torch_prune.RandomUnstructured}
    if method not in kinds:
        raise ValueError(f"method must be one of {', '.join(kinds)}, got {method!r}")
    parameters = [(layer, "weight") for layer in layers]
    for layer in layers:  # a share of a population of which some is gone needs the masks first
        if not hasattr(layer, "weight_mask"):
            torch_prune.identity(layer, "weight")
    if amount > 0:
        # Not layer.weight: between two forward passes (after a step of the optimizer, after
        # load_state_dict) that product of weight_orig and the mask is out of date.
        scores = {(layer, "weight"): layer.weight_orig for layer in layers}
        torch_prune.global_unstructured(parameters, kinds[method], importance_scores=scores,
                                        amount=amount)
        for layer in layers:  # forget the masks of earlier rounds: the last one contains them
            mask = layer.weight_mask
            torch_prune.remove(layer, "weight")
            torch_prune.custom_from_mask(layer, "weight", mask)


def gradual_density(progress: float, target: float) -> float:
    """Return the share of weights to leave when a share of a training is done, in [target, 1].

    Pruning begins at a fifth of the training and ends at seven tenths, along the cubic curve of
    M. Zhu and S. Gupta, "To prune, or not to prune", 2017, equation 1.

    Args:
        progress: share of the training that is done, in [0, 1].
        target: share of the weights to be left in the end.
    """
    begin, end = GRADUAL
    done = min(max((progress - begin) / (end - begin), 0.0), 1.0)
    return target + (1 - target) * (1 - done) ** 3


def mask_of(layer: nn.Module) -> Tensor | None:
    """Return the mask that :func:`prune` put on a layer, (out_features, in_features), if any."""
    mask = getattr(layer, "weight_mask", None)
    return mask if isinstance(mask, Tensor) else None


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return the mask of every pruned layer by name: boolean, True where a weight remains."""
    found = ((name, mask_of(module)) for name, module in model.named_modules())
    return {name: mask.bool() for name, mask in found if mask is not None}


def density(layers: Sequence[nn.Module]) -> float:
    """Return the share of weights left in pruned layers."""
    found = [mask for mask in map(mask_of, layers) if mask is not None]
    return sum(int(torch.count_nonzero(mask)) for mask in found) / sum(m.numel() for m in found)


def empty_layers(model: nn.Module) -> list[str]:
    """Return the names of the pruned layers that have no weight left."""
    return [name for name, mask in masks(model).items() if not mask.any()]


def weight_in_use(layer: nn.Linear) -> Tensor:
    """Return a layer's weight, for those who read it past the module.

    A pruned layer makes its ``weight`` anew only when it is called; between two calls, after a
    step of the optimizer, the attribute is out of date.
    """
    mask = mask_of(layer)
    return layer.weight if mask is None else layer.get_parameter("weight_orig") * mask
