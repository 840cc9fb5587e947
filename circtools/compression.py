"""Compress any model: swap its ``nn.Linear`` layers for block-circulant or other ones."""

import warnings
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any, Literal

from torch import nn

from circtools.attention import unpacked
from circtools.checks import check_choice
from circtools.linear import BlockCirculantLinear, StructuredLinear
from circtools.pruning import mask_of
from circtools.structures import STRUCTURES


def compress(model: nn.Module, structure: str | type[StructuredLinear], *,
             skip: Sequence[str] = (), init: Literal["project", "random"] = "project",
             **options: Any) -> nn.Module:
    """Swap the ``nn.Linear`` layers of a model, and GPT-2's ``Conv1D``, for structured ones.

    For example ``compress(model, "block_circulant", block_size=8, skip=["head"])``.

    Args:
        model: any module; its submodules are replaced in place.
        structure: a key of :data:`circtools.structures.STRUCTURES`, or a class of that kind.
        skip: names of layers to leave alone, as ``named_modules`` has them; ``*`` matches any
            part of a name (``"decoder.*"``).
        init: ``"project"`` keeps as much of the present weights as fits (for a trained model),
            ``"random"`` draws fresh weights of the right variance (to train from scratch: a
            projected random matrix would be too small by a factor of sqrt(b)).
        options: of the layers, such as ``block_size`` or ``ratio``.

    Returns:
        The model; if it is itself an ``nn.Linear``, the layer that replaces it.

    Raises:
        TypeError, ValueError: for an unknown structure, bad options, a ``skip`` that matches
            nothing, an unknown ``init``, a model without a layer to swap, one that would become
            larger, a layer whose weight is pruned or computed from others, or a weight that the
            layer shares with another module (tied output weights): nothing is swapped then.

    Layers whose weights are read past them (in ``nn.MultiheadAttention``, in
    ``nn.TransformerEncoderLayer`` and in torchvision's Swin) cannot be swapped; they and subclasses
    of ``nn.Linear`` are left dense, with a warning. For the first two there is
    :func:`circtools.split_attention`. The parts of LoRA adapters are left alone too: merge
    adapters first.
    Make the optimizer afterwards: one made before does not know the new weights.
    """
    kind = STRUCTURES.get(structure) if isinstance(structure, str) else structure
    if not isinstance(kind, type) or not issubclass(kind, StructuredLinear):
        raise ValueError(f"structure must be one of {', '.join(STRUCTURES)} or a class of such "
                         f"layers, got {structure!r}; for example compress(model, "
                         "'block_circulant', block_size=8)")
    check_choice("init", init, ("project", "random"))
    layers = _swappable(model, skip)
    replaced: dict[nn.Module, StructuredLinear] = {}  # a module used twice is swapped once
    for name, layer in layers.items():
        _check_swappable(model, name, layer)
        try:
            replaced[layer] = replaced.get(layer) or _replacement(
                name, layer, kind, project=init == "project", **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name or 'the model'}: {error}") from error
    for name, layer in layers.items():
        if name == "":
            return replaced[layer]
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replaced[layer])
    return model


def _replacement(name: str, layer: nn.Module, kind: type[StructuredLinear], project: bool,
                 **options: Any) -> StructuredLinear:
    linear = layer if isinstance(layer, nn.Linear) else unpacked(
        layer.get_parameter("weight").T, layer.get_parameter("bias"))
    new = kind.from_linear(linear.train(layer.training), project=project, **options)
    dense, stored = (sum(p.numel() for p in m.parameters()) for m in (layer, new))
    if stored > dense:
        raise ValueError(f"it would grow from {dense} to {stored} parameters; choose other options "
                         f"or pass skip=[{name!r}]")
    return new


def _swappable(model: nn.Module, skip: Sequence[str]) -> dict[str, nn.Module]:
    """Return the layers to swap by name; warn of those that cannot be."""
    if isinstance(skip, str):
        raise TypeError(f"skip must be a sequence of names, got the string {skip!r}; "
                        f"write [{skip!r}]")
    named = list(model.named_modules(remove_duplicate=False))  # a module may have two names
    skipped: set[nn.Module] = set()
    for pattern in skip:
        found = {module for name, module in named if fnmatch(name, pattern)}
        if not found:
            raise ValueError(f"skip={pattern!r} matches no module; the model has "
                             f"{[name for name, _ in named if name]}")
        skipped |= found
    layers: dict[str, nn.Module] = {}
    passed_by: set[nn.Module] = set()  # their weights are read past them
    for name, module in named:
        kind = type(module).__name__
        conv1d = kind.endswith("Conv1D") and hasattr(module, "nf")  # of GPT-2, a transposed Linear
        packed = module.self_attn if isinstance(module, nn.TransformerEncoderLayer) else module
        if module not in passed_by and (isinstance(packed, nn.MultiheadAttention)
                                        or kind.startswith("ShiftedWindowAttention")):  # of Swin
            passed_by.update(module.modules())
            if module not in skipped:
                warnings.warn(f"{name or 'the model'}: {kind} reads weights past its submodules, "
                              "which are left dense; circtools.split_attention(model) first makes "
                              "torch's own swappable", stacklevel=3)
        elif ((isinstance(module, nn.Linear) or conv1d) and module not in passed_by | skipped
              and "lora_" not in name):
            if type(module) is nn.Linear or conv1d or mask_of(module) is not None:
                layers[name] = module
            else:
                warnings.warn(f"{name or 'the model'}: {kind} is more than an nn.Linear and is "
                              "left dense", stacklevel=3)
    if not layers:
        kinds = {f"{type(module).__module__}.{type(module).__name__}" for _, module in named
                 if hasattr(module, "weight")}
        raise ValueError("there is no nn.Linear to swap; the types with a weight are "
                         f"{', '.join(sorted(kinds)) or 'none'}, and skip={list(skip)}")
    return layers


def _check_swappable(model: nn.Module, name: str, layer: nn.Module) -> None:
    if mask_of(layer) is not None:
        raise ValueError(f"{name!r} is pruned; make the pruning permanent first "
                         "(torch.nn.utils.parametrize.remove_parametrizations) or skip it")
    if computed := {"weight", "bias"} - layer._parameters.keys():
        raise ValueError(f"the {min(computed)} of {name!r} is computed from others (weight_norm, "
                         "spectral_norm, torch.nn.utils.prune); remove that first or skip it")
    for other_name, other in model.named_modules():
        if other is not layer and any(p is layer.weight for p in other._parameters.values()):
            raise ValueError(f"{name!r} shares its weight with {other_name!r}, and swapping it "
                             f"would untie them; pass skip=[{name!r}]")


def prepare(model: nn.Module, keep_dense: bool = True) -> nn.Module:
    """Call :meth:`.BlockCirculantLinear.prepare` on every such layer of a model; return it."""
    for module in model.modules():
        if isinstance(module, BlockCirculantLinear):
            module.prepare(keep_dense)
    return model
