"""How many weights a model stores, and how many times fewer than a dense one."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from circtools.linear import StructuredLinear
from circtools.pruning import Mask, mask_of


def weight_layers(model: nn.Module) -> dict[str, nn.Linear | StructuredLinear]:
    """Return the linear layers, dense or structured, by name."""
    return {name: m for name, m in model.named_modules()
            if isinstance(m, (nn.Linear, StructuredLinear))}


def compression_ratio(model: nn.Module,
                      over: Literal["compressed", "weights", "model"] = "compressed") -> float:
    """Return dense weights / stored weights.

    Args:
        model: with block-circulant or pruned layers, or neither (the ratio is then 1).
        over: the set that is counted. ``"compressed"``: the weight matrices of the circulant and
            pruned layers; ``"weights"``: those and all other weights of linear layers and of
            convolutions, without embeddings, norms and biases; ``"model"``: every parameter.

    Returns:
        The ratio; infinite if nothing is stored. For pruning, stored weights are those not
        pruned: their positions are not counted. Padding of circulant layers counts as stored.

    Raises:
        ValueError: if ``over`` is none of these.
    """
    if over not in ("compressed", "weights", "model"):
        raise ValueError(f"over must be 'compressed', 'weights' or 'model', got {over!r}")
    counts = _counts(model)
    dense, stored = (sum(count[kind] for layer, count in counts.items() if over != "compressed"
                         or isinstance(layer, StructuredLinear) or mask_of(layer) is not None)
                     for kind in (0, 1))
    if over == "model":
        rest = stored_weights(model, "model") - stored
        dense, stored = dense + rest, stored + rest
    return dense / stored if stored else float("inf") if dense else 1.0


def summary(model: nn.Module) -> str:
    """Return a table of a model's weight matrices: dense weights, stored weights, times fewer.

    A layer that was left dense stands there with its type; all other parameters (embeddings, norms,
    biases, the packed weights of ``nn.MultiheadAttention``) are one row.
    """
    names = {layer: name or "(the model)" for name, layer in model.named_modules()}
    rows = [(names[layer], type(layer).__name__.removeprefix("Parametrized"), *count)
            for layer, count in _counts(model).items()]
    total = stored_weights(model, "model")
    rest = total - sum(stored for *_, stored in rows)
    rows += [("other parameters", "", rest, rest),
             ("all", "", rest + sum(dense for _, _, dense, _ in rows), total)]
    wide, kinds = max(len(name) for name, *_ in rows), max(len(kind) for _, kind, *_ in rows)
    return "\n".join([
        f"{'layer':{wide}}  {'type':{kinds}}  {'dense':>13}  {'stored':>13}  times fewer",
        *(f"{name:{wide}}  {kind:{kinds}}  {dense:13,}  {stored:13,}  "
          f"{dense / stored if stored else math.nan:11.1f}" for name, kind, dense, stored in rows)])


def stored_weights(model: nn.Module, over: Literal["weights", "model"] = "weights") -> int:
    """Return how many weights a model, or a part of one, stores, without pruned ones; over the same
    sets as above. (Of ``nn.MultiheadAttention`` only the output projection is a weight matrix.)"""
    left = _left(model)
    counted = left if over == "model" else frozenset[nn.Parameter]().union(*_matrices(model))
    return sum(_count(parameter, left[parameter]) for parameter in counted)


def file_bytes(model: nn.Module) -> int:
    """Return the bytes of a file that holds the model's parameters in fp32, without any padding.

    A pruned matrix is stored in the shortest of three ways: dense; the weights that remain and a
    bit for each place; or those weights with their columns (2 bytes each, 4 in a matrix wider
    than 65,536) and the start of each row (4 bytes), as in the CSR format. Of layers that share a
    weight and are pruned apart, the weights that any of them keeps are stored, once.
    """
    total = 0
    for parameter, mask in _left(model).items():
        size, left = parameter.numel(), _count(parameter, mask)
        total += 4 * size
        if mask is not None:
            bitmap = 4 * left + math.ceil(size / 8)
            csr = (4 + (2 if size <= 65_536 * len(mask) else 4)) * left + 4 * (len(mask) + 1)
            total += min(4 * size, bitmap, csr) - 4 * size
    return total


def _count(parameter: nn.Parameter, mask: Tensor | None) -> int:
    return parameter.numel() if mask is None else int(torch.count_nonzero(mask))


def _left(model: nn.Module) -> dict[nn.Parameter, Tensor | None]:
    """Return where each parameter keeps weights, in any of the layers that share it; None for one
    that a module reads whole, such as a tied embedding."""
    left: dict[nn.Parameter, Tensor | None] = {}
    for module in model.modules():
        mask = next((m.mask for m in module.children() if isinstance(m, Mask)), None)
        for parameter in module.parameters(recurse=False):
            other = left.get(parameter, mask)
            left[parameter] = None if mask is None or other is None else mask | other
    return left


def _counts(model: nn.Module) -> dict[nn.Module, tuple[int, int]]:
    """Return the dense and the stored weights of each layer with a weight matrix."""
    left = _left(model)
    return {layer: (layer.in_features * layer.out_features
                    if isinstance(layer, (nn.Linear, StructuredLinear))
                    else sum(parameter.numel() for parameter in parameters),
                    sum(_count(parameter, left[parameter]) for parameter in parameters))
            for parameters, layer in _matrices(model).items()}


def _matrices(model: nn.Module) -> dict[frozenset[nn.Parameter], nn.Module]:
    """Return the layers with a weight matrix by what they store, so that tied ones count once."""
    return {frozenset(p for name, p in module.named_parameters() if not name.startswith("bias")
                      and name.rpartition(".")[0] in ("", "parametrizations.weight")): module
            for module in model.modules()
            if isinstance(module, (nn.Linear, StructuredLinear, _ConvNd))
            or type(module).__name__ == "Conv1D" or mask_of(module) is not None}  # GPT-2's Conv1D
