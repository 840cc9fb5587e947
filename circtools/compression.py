"""The two ways to compress, as operations on any model, and the counts to compare them by.

Structure: :func:`compress` swaps a model's ``nn.Linear`` layers for circulant or other ones.
Pruning: :func:`prune` zeroes the smallest weights that remain; call it, fine-tune, repeat.
:func:`compression_ratio` counts either.
"""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from circtools.linear import BlockCirculantLinear, StructuredLinear
from circtools.structures import STRUCTURES

AMOUNT = 0.21  # the poster's share of the remaining weights that a round of pruning takes
GRADUAL = (0.2, 0.7)  # the shares of a training where gradual pruning begins and ends


def compress(model: nn.Module, structure: str | type[StructuredLinear], *,
             skip: Sequence[str] = (), init: Literal["project", "random"] = "project",
             **options: Any) -> nn.Module:
    """Swap the ``nn.Linear`` layers of a model for structured ones.

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
            nothing, an unknown ``init``, a layer whose weight is pruned or computed from others,
            or a weight that the layer shares with another module (tied output weights): nothing
            is swapped then.

    Layers whose weights torch reads past them (those in ``nn.MultiheadAttention`` and
    ``nn.TransformerEncoderLayer``) cannot be swapped; they and subclasses of ``nn.Linear`` are
    left dense, with a warning. An optimizer made before does not know the new weights.
    """
    kind = STRUCTURES.get(structure) if isinstance(structure, str) else structure
    if not isinstance(kind, type) or not issubclass(kind, StructuredLinear):
        raise ValueError(f"structure must be one of {', '.join(STRUCTURES)} or a class of such "
                         f"layers, got {structure!r}; for example compress(model, "
                         "'block_circulant', block_size=8)")
    if init not in ("project", "random"):
        raise ValueError(f"init must be 'project' or 'random', got {init!r}")
    layers = _swappable(model, skip)
    replaced: dict[nn.Linear, StructuredLinear] = {}  # a module used twice is swapped once
    for name, linear in layers.items():
        _check_swappable(model, name, linear)
        try:
            new = replaced.get(linear) or kind.from_linear(linear, project=init == "project",
                                                           **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name or 'the model'}: {error}") from error
        replaced[linear] = new
    for name, linear in layers.items():
        if name == "":
            return replaced[linear]
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replaced[linear])
    return model


def _swappable(model: nn.Module, skip: Sequence[str]) -> dict[str, nn.Linear]:
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
    layers: dict[str, nn.Linear] = {}
    passed_by: set[nn.Module] = set()  # their weights are read past them
    for name, module in named:
        if (isinstance(module, (nn.MultiheadAttention, nn.TransformerEncoderLayer))
                and module not in passed_by):
            passed_by.update(module.modules())
            if module not in skipped:
                warnings.warn(f"{name or 'the model'}: nn.{type(module).__name__} reads weights "
                              "past its submodules, which are left dense", stacklevel=3)
        elif isinstance(module, nn.Linear) and module not in passed_by | skipped:
            if type(module) is nn.Linear:
                layers[name] = module
            else:
                warnings.warn(f"{name or 'the model'}: {type(module).__name__} is more than an "
                              "nn.Linear and is left dense", stacklevel=3)
    return layers


def _check_swappable(model: nn.Module, name: str, layer: nn.Linear) -> None:
    if torch_prune.is_pruned(layer):
        raise ValueError(f"{name!r} is pruned; make the pruning permanent first "
                         "(torch.nn.utils.prune.remove) or skip it")
    if "weight" not in layer._parameters:
        raise ValueError(f"the weight of {name!r} is computed from others (weight_norm, "
                         "spectral_norm); remove that first or skip it")
    for other_name, other in model.named_modules():
        if other is not layer and any(p is layer.weight for p in other._parameters.values()):
            raise ValueError(f"{name!r} shares its weight with {other_name!r}, and swapping it "
                             f"would untie them; pass skip=[{name!r}]")


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers with a weight matrix, dense or structured, by name, without embeddings."""
    return {name: m for name, m in model.named_modules()
            if isinstance(m, (nn.Linear, StructuredLinear))}


def prepare(model: nn.Module) -> nn.Module:
    """Call :meth:`.BlockCirculantLinear.prepare` on every such layer of a model; return it."""
    for module in model.modules():
        if isinstance(module, BlockCirculantLinear):
            module.prepare()
    return model


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
        for layer in layers:
            _keep_last_mask(layer)


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


def density(layers: Sequence[nn.Module]) -> float:
    """Return the share of weights left in layers that :func:`prune` has put masks on."""
    left = sum(int(torch.count_nonzero(layer.weight_mask)) for layer in layers)
    return left / sum(layer.weight_mask.numel() for layer in layers)


def _keep_last_mask(layer: nn.Module) -> None:
    """Forget the masks of earlier rounds, which torch would keep: the last one contains them."""
    mask = layer.weight_mask
    torch_prune.remove(layer, "weight")
    torch_prune.custom_from_mask(layer, "weight", mask)


def masks(model: nn.Module) -> dict[str, Tensor]:
    """Return the mask of every pruned layer by name: boolean, True where a weight remains."""
    return {
        name: m.weight_mask.bool()
        for name, m in model.named_modules()
        if hasattr(m, "weight_mask")
    }


def weight_in_use(layer: nn.Module) -> Tensor:
    """Return a layer's weight, for those who read it past the module.

    A pruned layer makes its ``weight`` anew only when it is called; between two calls, after a
    step of the optimizer, the attribute is out of date.
    """
    return layer.weight_orig * layer.weight_mask if hasattr(layer, "weight_mask") else layer.weight


def empty_layers(model: nn.Module) -> list[str]:
    """Return the names of the pruned layers that have no weight left."""
    return [name for name, mask in masks(model).items() if not mask.any()]


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
        if hasattr(layer, "weight_mask") and layer.weight_orig not in counted:
            counted.add(layer.weight_orig)
            rows, columns = layer.weight_mask.flatten(1).shape
            left = int(torch.count_nonzero(layer.weight_mask))
            dense = 4 * rows * columns
            bitmap = 4 * left + math.ceil(rows * columns / 8)
            csr = (4 + (2 if columns <= 65_536 else 4)) * left + 4 * (rows + 1)
            total += min(dense, bitmap, csr) - dense
    return total


def _stored_parameters(layer: nn.Module) -> list[nn.Parameter]:
    if isinstance(layer, StructuredLinear):
        return layer.stored_parameters()
    if parametrize.is_parametrized(layer, "weight"):
        return list(layer.parametrizations["weight"].parameters())
    return [layer.weight_orig if hasattr(layer, "weight_orig") else layer.weight]


def _read_whole(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that a module without a mask holds, such as a tied embedding."""
    return {p for module in model.modules() if not hasattr(module, "weight_mask")
            for p in module.parameters(recurse=False)}


def _weight_counts(model: nn.Module) -> Iterator[tuple[bool, int, int]]:
    """Yield for each layer whether it is compressed, its dense weights, its stored weights."""
    counted: set[nn.Parameter] = set()  # a tied weight is stored once
    whole = _read_whole(model)
    for layer in weight_layers(model).values():
        if counted.issuperset(_stored_parameters(layer)):
            continue
        counted.update(_stored_parameters(layer))
        stored = sum(parameter.numel() for parameter in _stored_parameters(layer))
        if hasattr(layer, "weight_mask") and layer.weight_orig not in whole:
            stored = int(torch.count_nonzero(layer.weight_mask))
        structured = isinstance(layer, StructuredLinear)
        dense = layer.in_features * layer.out_features
        yield structured or hasattr(layer, "weight_mask"), dense, stored
