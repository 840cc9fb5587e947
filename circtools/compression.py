"""Compress any model: swap its ``nn.Linear`` layers for block-circulant or other ones."""

import warnings
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from typing import Any, Literal

from torch import nn

from circtools.attention import substituted, unpacked
from circtools.checks import check_choice
from circtools.linear import BlockCirculantLinear, StructuredLinear
from circtools.pruning import mask_of
from circtools.structures import STRUCTURES


def compress(model: nn.Module, structure: str | type[StructuredLinear], *,
             skip: Sequence[str] = (), init: Literal["project", "random"] = "project",
             **options: Any) -> nn.Module:
    """Swap the ``nn.Linear`` layers of a model, and GPT-2's ``Conv1D``, for structured ones.

    For example ``compress(model, "block_circulant", block_size=8, skip=["head"])``. Make the
    optimizer afterwards: one made before does not know the new weights.

    Args:
        model: any module; its submodules are replaced in place.
        structure: a key of :data:`circtools.structures.STRUCTURES`, or a class of that kind.
        skip: names of modules to leave alone with all that is in them, as ``named_modules`` has
            them; ``*`` matches any part of a name (``"*.attention"``).
        init: ``"project"`` keeps as much of the present weights as fits (for a trained model),
            ``"random"`` draws fresh weights of the right variance (to train from scratch: a
            projected random matrix would be too small by a factor of sqrt(b)).
        options: of the layers, such as ``block_size`` or ``ratio``.

    Returns:
        The model; if it is itself an ``nn.Linear``, the layer that replaces it.

    Raises:
        TypeError, ValueError: for bad arguments; if no layer is left to swap; if a layer would
            grow, is pruned or computes its weight from others, or shares it with another module
            (tied output weights). Nothing is swapped then.

    Layers whose weights are read past them (in ``nn.MultiheadAttention``, in
    ``nn.TransformerEncoderLayer`` and in torchvision's Swin) and subclasses of ``nn.Linear`` are
    left dense, with a warning; for the first two there is :func:`circtools.split_attention`. The
    parts of LoRA adapters are left alone too: merge adapters first. Hooks stay with the old layers.
    """
    kind = STRUCTURES.get(structure) if isinstance(structure, str) else structure
    if not isinstance(kind, type) or not issubclass(kind, StructuredLinear):
        raise ValueError(f"structure must be one of {', '.join(STRUCTURES)} or a class of such "
                         f"layers, got {structure!r}; for example compress(model, "
                         "'block_circulant', block_size=8)")
    check_choice("init", init, ("project", "random"))
    new: dict[nn.Module, nn.Module] = {}
    for layer, name in _swappable(model, skip).items():
        try:
            _check_own_weight(model, layer)
            new[layer] = _replacement(layer, kind, project=init == "project", **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name or 'the model'}: {error}") from error
    return substituted(model, new)


def _replacement(layer: nn.Module, kind: type[StructuredLinear], project: bool, **options: Any
                 ) -> StructuredLinear:
    linear = layer if isinstance(layer, nn.Linear) else unpacked(
        layer.get_parameter("weight").T, layer.get_parameter("bias"))
    new = kind.from_linear(linear.train(layer.training), project=project, **options)
    dense, stored = (sum(p.numel() for p in m.parameters()) for m in (layer, new))
    if stored > dense:
        raise ValueError(f"it would grow from {dense} to {stored} parameters; choose other options "
                         "or skip it")
    return new


def _check_own_weight(model: nn.Module, layer: nn.Module) -> None:
    if computed := {"weight", "bias"} - layer._parameters.keys():
        raise ValueError(f"its {min(computed)} is computed from others, as by pruning or "
                         "weight_norm; make that permanent first, for example with "
                         "torch.nn.utils.parametrize.remove_parametrizations, or skip it")
    for name, other in model.named_modules():
        if other is not layer and any(p is layer.weight for p in other._parameters.values()):
            raise ValueError(f"it shares its weight with {name!r}, and swapping it would untie "
                             "them; skip it")


def _swappable(model: nn.Module, skip: Sequence[str]) -> dict[nn.Module, str]:
    """Return the layers to swap, with their names; warn of those that cannot be."""
    if isinstance(skip, str) or not isinstance(skip, Collection) or not all(
            isinstance(name, str) for name in skip):
        raise TypeError(f"skip must be a sequence of names, such as ['head'], got {skip!r}")
    named = list(model.named_modules(remove_duplicate=False))  # a module may have two names
    left = {module for name, module in named if ".lora_" in f".{name}"}  # alone
    for pattern in skip:
        found = {module for name, module in named if pattern == name or fnmatch(name, pattern)}
        if not found:
            raise ValueError(f"skip={pattern!r} matches no module; the model has "
                             f"{[name for name, _ in named if name]}")
        left.update(part for module in found for part in module.modules())
    layers: dict[nn.Module, str] = {}
    for name, module in model.named_modules():
        kind, why = type(module).__name__, ""
        packed = module.self_attn if isinstance(module, nn.TransformerEncoderLayer) else module
        if module in left:
            continue
        if isinstance(packed, nn.MultiheadAttention) or kind.startswith("ShiftedWindowAttention"):
            left.update(module.modules())
            why = ("reads weights past its submodules, which are left dense; "
                   "circtools.split_attention(model) first makes torch's own swappable")
        elif (type(module) is nn.Linear or (kind.endswith("Conv1D") and hasattr(module, "nf"))
              or (isinstance(module, nn.Linear) and mask_of(module) is not None)):
            layers[module] = name  # Conv1D is GPT-2's, a transposed nn.Linear
        elif isinstance(module, nn.Linear):
            why = "is more than an nn.Linear and is left dense"
        if why:
            warnings.warn(f"{name or 'the model'}: {kind} {why}", stacklevel=3)
    if not layers:
        kinds = {f"{type(module).__module__}.{type(module).__name__}" for _, module in named
                 if hasattr(module, "weight")}
        raise ValueError("there is no nn.Linear to swap; the types with a weight are "
                         f"{', '.join(sorted(kinds)) or 'none'}, and skip={list(skip)}")
    return layers


def prepare(model: nn.Module, keep_dense: bool = True) -> nn.Module:
    """Call :meth:`.BlockCirculantLinear.prepare` on every such layer of a model; return it."""
    for module in model.modules():
        if isinstance(module, BlockCirculantLinear):
            module.prepare(keep_dense)
    return model
