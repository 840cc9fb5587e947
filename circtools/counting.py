"""How many weights a model stores, and how many times fewer than a dense one."""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from circtools.checks import check_choice
from circtools.linear import StructuredLinear
from circtools.pruning import Mask, mask_of

Over = Literal["compressed", "weights", "model"]  # each includes the one before


class Row(NamedTuple):
    """The weights of one layer, or of all that is not in another row."""

    name: str
    kind: str
    dense: int  # weights of a dense layer of this size
    stored: int
    over: Over  # the smallest set that counts them

    def times_fewer(self) -> float:
        return self.dense / self.stored if self.stored else math.inf if self.dense else 1.0


def weight_layers(model: nn.Module) -> dict[str, nn.Linear | StructuredLinear]:
    """Return the linear layers, dense or structured, by name."""
    return {name: m for name, m in model.named_modules()
            if isinstance(m, (nn.Linear, StructuredLinear))}


def compression_ratio(model: nn.Module, over: Over = "compressed") -> float:
    """Return dense weights / stored weights; 1 if nothing is compressed, infinite if none is left.

    What is pruned is not stored, and its positions are not counted. Padding of circulant layers is.

    Args:
        model: with structured or pruned layers, or neither.
        over: the set that is counted. ``"compressed"``: the weight matrices of the structured and
            pruned layers; ``"weights"``: those and all other weights of linear layers and of
            convolutions, without embeddings, norms and biases; ``"model"``: every parameter.

    Raises:
        ValueError: if ``over`` is none of these.
    """
    return _rows(model, over)[-1].times_fewer()


def stored_weights(model: nn.Module, over: Over = "weights") -> int:
    """Return how many weights a model, or a part of one, stores, over the same sets.

    Of ``nn.MultiheadAttention`` only the output projection is a weight matrix.
    """
    return _rows(model, over)[-1].stored


def summary(model: nn.Module) -> str:
    """Return a table of a model's weight matrices: dense weights, stored weights, times fewer.

    A layer that was left dense stands there with its type; all other parameters (embeddings, norms,
    biases, the packed weights of ``nn.MultiheadAttention``) are one row.
    """
    rows = _rows(model, "model")
    wide, kinds = max(len(row.name) for row in rows), max(len(row.kind) for row in rows)
    return "\n".join([
        f"{'layer':{wide}}  {'type':{kinds}}  {'dense':>13}  {'stored':>13}  times fewer",
        *(f"{row.name:{wide}}  {row.kind:{kinds}}  {row.dense:13,}  {row.stored:13,}  "
          f"{row.times_fewer():11.1f}" for row in rows)])


def file_bytes(model: nn.Module) -> int:
    """Return the bytes of a file that holds the model's parameters in fp32 and nothing else.

    Each is stored in the shortest of three ways: dense; the weights that remain and a bit for each
    place; or those weights with their columns (2 bytes each, 4 in a matrix wider than 65,536) and
    the start of each row (4 bytes), as in the CSR format.
    """
    total = 0
    for parameter, left in _stored(model).items():
        size, rows = parameter.numel(), parameter.shape[0] if parameter.ndim else 1
        bitmap = 4 * left + math.ceil(size / 8)
        csr = (4 + (2 if size <= 65_536 * rows else 4)) * left + 4 * (rows + 1)
        total += min(4 * size, bitmap, csr)
    return total


def _rows(model: nn.Module, over: Over) -> list[Row]:
    """Return a row per layer with a weight matrix, one for all other parameters, and their sum.

    A weight counts for the first of the layers that share it.
    """
    sets = get_args(Over)
    check_choice("over", over, sets)
    rows, left = [], _stored(model)
    for name, layer in model.named_modules():
        structured = isinstance(layer, StructuredLinear)
        compressed = structured or mask_of(layer) is not None
        if not (compressed or isinstance(layer, (nn.Linear, _ConvNd))
                or type(layer).__name__ == "Conv1D"):  # of GPT-2
            continue
        own = {p: left.pop(p) for path, p in layer.named_parameters() if p in left
               and path.rpartition(".")[0] in ("", "parametrizations.weight")
               and not path.startswith("bias")}
        if own:
            dense = (layer.in_features * layer.out_features if structured
                     else sum(parameter.numel() for parameter in own))
            kind = type(layer).__name__.removeprefix("Parametrized")
            rows.append(Row(name or "(the model)", kind, dense, sum(own.values()),
                            "compressed" if compressed else "weights"))
    rest = sum(left.values())
    rows.append(Row("other parameters", "", rest, rest, "model"))
    rows = [row for row in rows if row.over in sets[: sets.index(over) + 1]]
    dense, stored = sum(row.dense for row in rows), sum(row.stored for row in rows)
    return [*rows, Row("all", "", dense, stored, over)]


def _stored(model: nn.Module) -> dict[nn.Parameter, int]:
    """Return how many weights of each parameter remain in any of the layers that share it: all, if
    a module reads it whole, such as a tied embedding."""
    masks: dict[nn.Parameter, Tensor | None] = {}
    for module in model.modules():
        mask = next((m.mask for m in module.children() if isinstance(m, Mask)), None)
        for parameter in module.parameters(recurse=False):
            other = masks.get(parameter, mask)
            masks[parameter] = None if mask is None or other is None else mask | other
    return {parameter: parameter.numel() if mask is None else int(torch.count_nonzero(mask))
            for parameter, mask in masks.items()}
