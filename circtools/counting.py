"""How many weights a model stores, and how many times fewer than a dense one."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from circtools.linear import StructuredLinear
from circtools.pruning import mask_of


def weight_layers(model: nn.Module) -> dict[str, nn.Linear | StructuredLinear]:
    """Return the layers with a weight matrix, dense or structured, by name, without embeddings."""
    return {name: m for name, m in model.named_modules()
            if isinstance(m, (nn.Linear, StructuredLinear))}


def compression_ratio(
    model: nn.Module, over: Literal["compressed", "weights", "model"] = "compressed"
) -> float:
    """Return dense weights / stored weights.

    Args:
        model: with block-circulant or pruned layers, or neither (the ratio is then 1).
        over: the set that is counted. ``"compressed"``: the weight matrices of the circulant and
            pruned layers; ``"weights"``: all weight matrices, without embeddings, norms and
            biases; ``"model"``: every parameter.

    Returns:
        The ratio; infinite if nothing is stored. For pruning, stored weights are those not
        pruned: their positions are not counted. Padding of circulant layers counts as stored.

    Raises:
        ValueError: if ``over`` is none of these.
    """
    if over not in ("compressed", "weights", "model"):
        raise ValueError(f"over must be 'compressed', 'weights' or 'model', got {over!r}")
    dense = stored = 0
    for is_compressed, n_dense, n_stored in _weight_counts(model):
        if is_compressed or over != "compressed":
            dense, stored = dense + n_dense, stored + n_stored
    if over == "model":
        rest = stored_weights(model, "model") - stored
        dense, stored = dense + rest, stored + rest
    if dense == 0:
        return 1.0
    return dense / stored if stored else float("inf")


def stored_weights(model: nn.Module, over: Literal["weights", "model"] = "weights") -> int:
    """Return how many weights a model, or a part of one, stores: those of its weight matrices, or
    all its parameters; pruned ones are left out. (Of ``nn.MultiheadAttention`` only the output
    projection counts as a weight matrix.)"""
    matrices = sum(stored for _, _, stored in _weight_counts(model))
    if over == "weights":
        return matrices
    counted = {id(p) for layer in weight_layers(model).values() for p in _stored_parameters(layer)}
    return matrices + sum(p.numel() for p in model.parameters() if id(p) not in counted)


def file_bytes(model: nn.Module) -> int:
    """Return the bytes of a file that holds the model's parameters in fp32, without any padding.

    A pruned matrix is stored in the shortest of three ways: dense; the weights that remain and a
    bit for each place; or those weights with their columns (2 bytes each, 4 in a matrix wider
    than 65,536) and the start of each row (4 bytes), as in the CSR format.
    """
    total = 4 * sum(p.numel() for p in model.parameters())
    counted = _read_whole(model)  # and a tied weight is stored once
    for layer in weight_layers(model).values():
        mask, [weight, *_] = mask_of(layer), _stored_parameters(layer)
        if mask is not None and weight not in counted:
            counted.add(weight)
            rows, columns = mask.flatten(1).shape
            left = int(torch.count_nonzero(mask))
            dense = 4 * rows * columns
            bitmap = 4 * left + math.ceil(rows * columns / 8)
            csr = (4 + (2 if columns <= 65_536 else 4)) * left + 4 * (rows + 1)
            total += min(dense, bitmap, csr) - dense
    return total


def _stored_parameters(layer: nn.Linear | StructuredLinear) -> list[nn.Parameter]:
    if isinstance(layer, StructuredLinear):
        return layer.stored_parameters()
    if parametrize.is_parametrized(layer, "weight"):
        return list(layer.get_submodule("parametrizations.weight").parameters())
    return [layer.get_parameter("weight" if mask_of(layer) is None else "weight_orig")]


def _read_whole(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that a module without a mask holds, such as a tied embedding."""
    return {p for module in model.modules() if mask_of(module) is None
            for p in module.parameters(recurse=False)}


def _weight_counts(model: nn.Module) -> Iterator[tuple[bool, int, int]]:
    """Yield for each layer whether it is compressed, its dense weights, its stored weights."""
    counted: set[nn.Parameter] = set()  # a tied weight is stored once
    whole = _read_whole(model)
    for layer in weight_layers(model).values():
        parameters, mask = _stored_parameters(layer), mask_of(layer)
        if counted.issuperset(parameters):
            continue
        counted.update(parameters)
        stored = sum(parameter.numel() for parameter in parameters)
        if mask is not None and parameters[0] not in whole:
            stored = int(torch.count_nonzero(mask))
        compressed = isinstance(layer, StructuredLinear) or mask is not None
        yield compressed, layer.in_features * layer.out_features, stored
