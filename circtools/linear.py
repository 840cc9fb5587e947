"""Linear layers whose weight matrix has a structure: drop-ins for ``torch.nn.Linear``."""

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import Any, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from circtools import products
from circtools.checks import check_choice, check_size
from circtools.matrices import Order, block_circulant, nearest_circulant

# The number of entries of x that are multiplied at a time where no gradient is needed. Larger
# spectra, of more than 16 MB, get fresh memory from the system at every call, which takes longer
# than the products; smaller parts cost time where inputs are not as large.
PART = 2**22
NARROW = 2**16  # entries of a matrix that is multiplied as it is, once it has been made


class StructuredLinear(nn.Module, ABC):
    """Base of the layers ``y = x M^T + bias`` whose matrix M is made of fewer numbers.

    A subclass creates its parameters and calls :meth:`reset_parameters`. It says how to multiply,
    how to draw its first weights and which of its matrices is nearest to a dense one. Arguments
    and shapes are those of ``torch.nn.Linear``; bad sizes, and inputs of another width, are errors.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True,
                 device: torch.device | str | None = None,
                 dtype: torch.dtype | None = None) -> None:
        super().__init__()
        check_size("in_features", in_features)
        check_size("out_features", out_features)
        self.in_features, self.out_features = in_features, out_features
        self._factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.bias = self._new(out_features) if bias else None

    def _new(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(shape, **self._factory))

    def reset_parameters(self) -> None:
        """Draw all weights anew, uniformly within 1 / sqrt(in_features), as ``nn.Linear`` does."""
        self._draw(*self.stored_parameters(), self.bias)

    def _draw(self, *parameters: nn.Parameter | None) -> None:
        bound = 1 / math.sqrt(self.in_features)
        for parameter in parameters:
            if parameter is not None:
                nn.init.uniform_(parameter, -bound, bound)

    @abstractmethod
    def multiply(self, x: Tensor) -> Tensor:
        """Return x M^T, (tokens, out_features), for x of shape (tokens, in_features)."""

    @torch.no_grad()
    def project(self, matrix: Tensor) -> None:
        """Set the weights to those whose matrix is nearest, in the Frobenius norm.

        Args:
            matrix: shape (out_features, in_features), as ``nn.Linear`` has it.

        Raises:
            ValueError: if the shape is another, the layer is pruned, or this kind of layer has no
                projection.
        """
        if matrix.shape != (self.out_features, self.in_features):
            raise ValueError(f"matrix must have the shape {(self.out_features, self.in_features)}, "
                             f"got {tuple(matrix.shape)}")
        if parametrize.is_parametrized(self) or prune.is_pruned(self):
            raise ValueError("the layer is pruned: project it before, or remove the mask first")
        self._project(matrix)

    def _project(self, matrix: Tensor) -> None:
        raise ValueError(f"{type(self).__name__} has no projection; draw its weights at random")

    def stored_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that M is made of."""
        return [parameter for name, parameter in self.named_parameters() if name != "bias"]

    def dense_weight(self) -> Tensor:
        """Return M as ``nn.Linear`` would hold it, (out_features, in_features)."""
        like = self.stored_parameters()[0]
        return self.multiply(torch.eye(self.in_features, device=like.device, dtype=like.dtype)).T

    def forward(self, x: Tensor) -> Tensor:
        y = self.multiply(_rows(x, self.in_features))  # (tokens, out_features)
        if self.bias is not None:
            y = y + self.bias.to(y.dtype)
        return y.view(x.shape[:-1] + (self.out_features,))  # noqa: RUF005 (fx cannot unpack)

    @classmethod
    @torch.enable_grad()  # without gradients a weight that is computed would count as frozen
    def from_linear(cls, linear: nn.Linear, *arguments: Any, project: bool = True,
                    **options: Any) -> Self:
        """Return the layer of this kind that is nearest to a dense one, which is left as it is.

        Args:
            linear: the layer that gives the sizes and the weights.
            project: False draws fresh weights instead.
            arguments: of the class after the sizes, such as the block size.
            options: of the class, by name.

        Raises:
            TypeError: if ``linear`` is not an ``nn.Linear``, or ``options`` has one of its
                properties (bias, device, dtype); and as the class.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"from_linear takes a torch.nn.Linear, got {type(linear).__name__}")
        weight = linear.weight
        if given := options.keys() & {"bias", "device", "dtype"}:
            raise TypeError(f"{min(given)} is that of the dense layer; leave it out")
        options |= {"bias": linear.bias is not None, "device": weight.device, "dtype": weight.dtype}
        layer = cls(linear.in_features, linear.out_features, *arguments, **options)
        if project:
            layer.project(weight)
            if layer.bias is not None:
                layer.bias.data.copy_(linear.bias)
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_((linear.bias if name == "bias" else weight).requires_grad)
        return layer.train(linear.training)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class BlockCirculantLinear(StructuredLinear):
    """Linear layer with a block-circulant weight matrix: ``y = x C(weight)^T + bias``.

    ``weight`` has shape ``(out_blocks, in_blocks, block_size)``; ``weight[i, j]`` is the first row
    of block (i, j), see :mod:`circtools.matrices`. Sizes that the block does not divide are
    padded and cropped, and the padding counts as stored weights.

    Args:
        in_features, out_features, bias, device, dtype: as for ``torch.nn.Linear``, and so are the
            shapes: input ``(..., in_features)``, output ``(..., out_features)``.
        block_size: b; 1 is an unstructured matrix, larger blocks store b times fewer weights.
        order: of the features, ``"contiguous"`` or ``"strided"``, which is multiplied without
            transpositions; see :mod:`circtools.matrices`. The weights have the same shape in both.
        algorithm: ``"dense"``, ``"fft"``, ``"dft"``, or ``"auto"``, which goes by block size and
            tokens; see :func:`circtools.products.choose`.

    Raises:
        TypeError: if a size is not an int; in ``forward``, if input and weight differ in dtype.
        ValueError: if a size is not positive, the block is larger than the matrix, or the order or
            the algorithm is unknown; in ``forward``, if the input has another width.

    Numbers near the largest overflow earlier than in a dense product, for sums over a block are
    formed on the way; scale the input or use ``algorithm="dense"``. For the same reason one input
    that is infinite or NaN makes all outputs of its token NaN, and none of another token.

    Source: C. Ding et al., "CirCNN: Accelerating and Compressing Deep Neural Networks Using
    Block-Circulant Weight Matrices", MICRO 2017, section 3.
    """

    def __init__(self, in_features: int, out_features: int, block_size: int, bias: bool = True,
                 device: torch.device | str | None = None, dtype: torch.dtype | None = None, *,
                 order: Order = "contiguous", algorithm: str = "auto") -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        check_size("block_size", block_size, largest=max(in_features, out_features))
        check_choice("order", order, get_args(Order))
        check_choice("algorithm", algorithm, ("auto", *products.ALGORITHMS))
        self.block_size, self.order, self.algorithm = block_size, order, algorithm
        p, q = -(-out_features // block_size), -(-in_features // block_size)
        self.weight = self._new(p, q, block_size)
        self._prepared: tuple[dict[str, Tensor], Tensor, Tensor, int] | None = None
        self.reset_parameters()

    def _project(self, matrix: Tensor) -> None:
        self.weight.copy_(nearest_circulant(matrix, self.block_size, self.order))

    def dense_weight(self) -> Tensor:
        return _operand("dense", self.weight, self.order, self.out_features, self.in_features)

    def multiply(self, x: Tensor) -> Tensor:
        return _product(x, self.weight, self.out_features, self.order, self.algorithm,
                        self._kept(x))

    def _kept(self, x: Tensor) -> dict[str, Tensor]:
        """Return what was prepared, by algorithm, while it holds."""
        if torch.is_grad_enabled():  # a step may follow, and torch's counter misses fused ones
            self._prepared = None
        if self._prepared is None or products.is_traced(x):
            return {}
        kept, weight, data, version = self._prepared
        same = self.weight is weight and version == _version(weight)
        return kept if same and data.data_ptr() == weight.data_ptr() else {}

    @torch.no_grad()
    def prepare(self, keep_dense: bool = True) -> Self:
        """Compute once what depends on the weight alone, for inference; return the layer.

        Later calls without gradients use it. It is discarded by a call with gradients, by
        ``train()``, and by any change of the weight that torch counts. After a change that torch
        does not count, such as an edit of ``weight.data`` or by another process, call this again.
        A layer that is pruned, or runs under autocast, goes on computing everything anew.

        It keeps up to 1.5 numbers per stored weight, and 2.5 for blocks of 33 to 128, which are
        multiplied in two ways. A matrix of at most 65,536 entries (256 KiB in float32), for which
        the plain product is the fastest, is kept dense; and so is one of any size where
        ``algorithm`` is ``"dense"``.

        Args:
            keep_dense: False, to save memory, never keeps a dense matrix.
        """
        weight, narrow = self.weight, self.out_features * self.in_features <= NARROW
        if self.algorithm != "auto":
            names = {self.algorithm}
        elif narrow and keep_dense:
            names = {"dense"}
        else:
            names = {products.choose(self.block_size, n) for n in (1, products.MANY_TOKENS)}
        device = weight.device.type
        with (torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device)
              else nullcontext()):
            kept = {name: _operand(name, weight, self.order, self.out_features, self.in_features)
                    .resolve_conj() for name in names if keep_dense or name != "dense"}
        # The data stay, so that no other weight can come to lie there.
        self._prepared = kept, weight, weight.detach(), _version(weight)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; the former forgets what :meth:`prepare` kept."""
        if mode:
            self._prepared = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy or a pickle holds: all but what can be prepared again."""
        return {**self.__dict__, "_prepared": None}

    def extra_repr(self) -> str:
        return (f"{super().extra_repr()}, block_size={self.block_size}, order={self.order}, "
                f"algorithm={self.algorithm}")


# Two nodes of their own in the graphs of torch.fx, which cannot follow what depends on a size.
@torch.fx.wrap
def _rows(x: Tensor, width: int) -> Tensor:
    """Return an input as (tokens, width)."""
    if x.shape[-1:] != (width,):
        raise ValueError(f"expected an input of width {width}, got shape {tuple(x.shape)}")
    return x.reshape(-1, width)


@torch.fx.wrap
def _product(x: Tensor, weight: Tensor, out_features: int, order: Order, algorithm: str,
             kept: dict[str, Tensor]) -> Tensor:
    """Multiply (tokens, in_features) by a block-circulant matrix, or by what was kept of it."""
    x, converted = _in_autocast_dtype(x), _in_autocast_dtype(weight)
    if x.dtype != converted.dtype:
        raise TypeError(f"the input is {x.dtype} and the weight {converted.dtype}; convert one "
                        "with .to(dtype), or use torch.autocast")
    if converted is not weight:
        kept = {}
    (tokens, in_features), (p, q, b) = x.shape, weight.shape
    if "dense" in kept:
        algorithm = "dense"
    elif algorithm == "auto":  # half precision prefers the DFT: torch.fft computes in float32
        algorithm = products.choose(b, 1 if x.dtype in products.HALF else tokens)
    operand = (kept[algorithm] if algorithm in kept else
               _operand(algorithm, converted, order, out_features, in_features))
    if algorithm == "dense":
        return F.linear(x, operand)

    strided = order == "strided"
    shape_in, shape_out = ((b, q), (b, p)) if strided else ((q, b), (p, b))
    x = F.pad(x, (0, q * b - in_features)) if q * b > in_features else x
    blocks = x.unflatten(1, shape_in)  # (tokens, q, b) or (tokens, b, q)
    product = products.PRODUCT[algorithm]
    if torch.is_grad_enabled() or products.is_traced(x) or blocks.numel() <= PART:
        y = product(blocks, operand, strided)
    else:
        y = x.new_empty(tokens, *shape_out)
        step = max(1, PART // (q * b))
        for part, out in zip(blocks.split(step), y.split(step), strict=True):
            out.copy_(product(part, operand, strided))
    return y.flatten(1)[:, :out_features].contiguous()  # (tokens, out_features)


def _operand(name: str, weight: Tensor, order: Order, out_features: int, in_features: int
             ) -> Tensor:
    """Return what an algorithm multiplies inputs by."""
    if name == "dense":
        return block_circulant(weight, order)[:out_features, :in_features]
    return products.SPECTRUM[name](weight)


def _version(weight: Tensor) -> int:
    return 0 if weight.is_inference() else weight._version


def _in_autocast_dtype(tensor: Tensor) -> Tensor:
    """Return a tensor as ``nn.Linear`` would see it under autocast; float64 stays as it is."""
    device = tensor.device.type
    # A device such as "meta" has no autocast.
    enabled = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    convert = enabled and tensor.dtype != torch.float64
    return tensor.to(torch.get_autocast_dtype(device)) if convert else tensor
