"""A linear layer whose weight matrix is block-circulant: a drop-in for ``torch.nn.Linear``."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools import cost
from circtools.matrices import block_circulant, check_block_size, nearest_circulant

HALF = (torch.float16, torch.bfloat16)  # torch.fft has no transforms of these on a CPU

# The number of entries of x that are multiplied at a time where no gradient is needed. Larger
# spectra get fresh memory from the system at every call, which takes longer than the products.
AT_A_TIME = 2**19

# Each fast algorithm prepares the first rows w (out_blocks, in_blocks, b), which can be done once
# for many inputs, and applies the result to x (tokens, in_blocks, b), which gives y (tokens,
# out_blocks, b). "dense" multiplies by the matrix itself: the plain reference.


def prepare_fft(w: Tensor) -> Tensor:
    """Return the complex spectra (out_blocks, in_blocks, b // 2 + 1)."""
    return torch.fft.rfft(w.float() if w.dtype in HALF else w).conj()


def apply_fft(x: Tensor, w_hat: Tensor) -> Tensor:
    """Multiply in the frequency domain, where every circulant block is diagonal."""
    dtype, b = x.dtype, x.shape[2]
    if x.shape[0] == 0:  # the FFT library refuses to plan an empty transform
        return apply_fft(F.pad(x, (0, 0, 0, 0, 0, 1)), w_hat)[:0]
    x_hat = torch.fft.rfft(x.float() if dtype in HALF else x)  # (tokens, in_blocks, b // 2 + 1)
    y_hat = torch.einsum("tqk,pqk->tpk", x_hat, w_hat)  # (tokens, out_blocks, b // 2 + 1)
    return torch.fft.irfft(y_hat, n=b).to(dtype)  # (tokens, out_blocks, b)


def prepare_dft(w: Tensor) -> Tensor:
    """Return the factors of the real products, (products, out_blocks, in_blocks)."""
    p, q, b = w.shape
    _, of_w, _ = dft_bases(b, w)
    return (of_w @ w.reshape(p * q, b).T).unflatten(1, (p, q))


def apply_dft(x: Tensor, w_hat: Tensor) -> Tensor:
    """Multiply in the frequency domain with real matrix products alone.

    The transforms are products with small matrices, so this works in every dtype and in exported
    graphs. They put the frequencies first, where each is one contiguous product over the blocks:
    one for a real frequency, three, by Gauss's trick, for a complex one.
    """
    tokens, q, b = x.shape
    of_x, _, back = dft_bases(b, x)
    x_hat = (of_x @ x.reshape(tokens * q, b).T).unflatten(1, (tokens, q))  # (products, tokens, q)
    multiply = Products.apply if torch.is_grad_enabled() and not is_traced(x) else torch.matmul
    y_hat = multiply(x_hat, w_hat.mT)  # (products, tokens, out_blocks)
    return (y_hat.flatten(1).T @ back).view(tokens, w_hat.shape[1], b)


class Products(torch.autograd.Function):
    """``x @ w`` for each frequency, for a w whose gradient is wanted in transposed order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor) -> Tensor:
        return x @ w

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor, w_tangent: Tensor) -> Tensor:
        x, w = ctx.saved_tensors
        return x_tangent @ w + x @ w_tangent

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        of_x, of_w = ctx.needs_input_grad
        return gradient @ w.mT if of_x else None, (gradient.mT @ x).mT if of_w else None


def is_traced(x: Tensor) -> bool:
    """Tell whether x stands for other data: in a compiler, or as a tensor of another kind.

    Graphs are made of plain operators and of what they compute themselves.
    """
    return (torch.compiler.is_compiling() or torch.jit.is_tracing()
            or type(x) not in (Tensor, nn.Parameter))


class DenseMatrix(torch.autograd.Function):
    """``block_circulant(w)`` by copying from a list of positions, several times faster."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        p, q, b = w.shape
        sources, _ = positions(p, q, b, w.device)
        return w.reshape(-1).index_select(0, sources).view(p * b, q * b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.shape = inputs[0].shape

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return DenseMatrix.apply(tangent)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        p, q, b = ctx.shape
        _, targets = positions(p, q, b, gradient.device)
        # Each weight's gradient is the sum over the b rows that it stands in.
        return gradient.reshape(-1).index_select(0, targets).view(b, p, q, b).sum(0)


@lru_cache(maxsize=8)
def positions(p: int, q: int, b: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return where each entry of the dense matrix comes from, and where each weight goes to.

    Args:
        p: rows of blocks.
        q: columns of blocks.
        b: block size.
        device: of the results.

    Returns:
        Positions in the flattened weights, (p * b * q * b,), and in the flattened matrix, (b * p *
        q * b,): for each row r of the blocks, the one that holds each weight.
    """
    with torch.inference_mode(False):
        weights = torch.arange(p * q * b, dtype=torch.int32, device=device).view(p, q, b)
        entries = torch.arange(p * b * q * b, dtype=torch.int32, device=device)
        rows = entries.view(p, b, q, b).transpose(0, 1)  # (b, p, q, b)
        # Row r is rotated right by r; to find a weight there, rotate it back.
        back = torch.stack([row.roll(-r, -1) for r, row in enumerate(rows)])
        return block_circulant(weights).flatten(), back.flatten()


def dft_bases(b: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what takes x, and w, to the factors of the real products, and these back to y.

    At a frequency with cosine part x_c, w_c and sine part x_s, w_s the spectrum of y is
    y_c = x_c w_c + x_s w_s and y_s = x_s w_c - x_c w_s. Gauss: with the three products
    k_1 = (x_c + x_s) w_c, k_2 = x_c (w_c + w_s), k_3 = x_s (w_c - w_s) it is
    y_c = k_1 - k_3 and y_s = k_1 - k_2.

    Args:
        b: block size.
        like: gives the results' dtype and device; the angles are computed in float64.

    Returns:
        Three matrices of shape (products, b); ``products`` is one for each real frequency (the
        constant and, for even b, the alternating one) and three for each other.
    """
    compute = _dft_bases if is_traced(like) else _cached_dft_bases
    return compute(b, like.dtype, like.device)


@lru_cache(maxsize=128)
def _cached_dft_bases(b: int, dtype: torch.dtype, device: torch.device
                      ) -> tuple[Tensor, Tensor, Tensor]:
    with torch.inference_mode(False):  # or else no later training could use them
        return _dft_bases(b, dtype, device)


def _dft_bases(b: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    positions = torch.arange(b, device=device)
    real = [torch.ones(1, b, dtype=torch.float64, device=device)]
    if b % 2 == 0:
        real.append((1 - 2 * (positions % 2)).double()[None])
    k = torch.arange(1, (b - 1) // 2 + 1, device=device)
    # Reduce the product modulo b while it is an integer: the angle then keeps full precision.
    angles = (k[:, None] * positions % b).double() * (2 * math.pi / b)  # (complex frequencies, b)
    cos, sin = angles.cos(), angles.sin()
    of_x = torch.cat([*real, cos + sin, cos, sin])
    of_w = torch.cat([*real, cos, cos + sin, cos - sin])
    back = torch.cat([*real, 2 * (cos + sin), -2 * sin, -2 * cos]) / b
    return of_x.to(dtype), of_w.to(dtype), back.to(dtype)


class Algorithm(NamedTuple):
    """A fast way to multiply; ``apply(x, prepare(w))`` is y."""

    prepare: Callable[[Tensor], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


FAST = {"fft": Algorithm(prepare_fft, apply_fft), "dft": Algorithm(prepare_dft, apply_dft)}
ALGORITHMS = ("dense", *FAST)


class Plan(NamedTuple):
    """What a layer will do for one size of input, and the estimates that it goes by."""

    algorithm: str
    seconds: dict[str, float]  # of each algorithm, by the cost model


@lru_cache(maxsize=4096)
def choose_algorithm(out_blocks: int, in_blocks: int, block_size: int, tokens: int,
                     training: bool, half: bool = False) -> Plan:
    """Return the algorithm that ``auto`` uses, the fastest by :mod:`circtools.cost`.

    Narrow layers are fastest as a dense matrix. In inference it is made once. In training it would
    be made at every step, with a gradient as large; so never in full precision, and in half
    precision, where products are cheap, only if it has no more entries than input and output
    together.

    Args:
        out_blocks: rows of blocks of the matrix.
        in_blocks: columns of blocks of the matrix.
        block_size: the block size b.
        tokens: rows of the input.
        training: whether gradients are computed, and so the weights prepared anew.
        half: whether the product is computed in a 16-bit type.
    """
    shape = (out_blocks, in_blocks, block_size)
    estimates = {name: cost.seconds(name, *shape, tokens, training, half) for name in ALGORITHMS}
    if block_size == 1:
        return Plan("dense", estimates)
    small = out_blocks * in_blocks * block_size <= tokens * (out_blocks + in_blocks)
    allowed = ALGORITHMS if not training or (half and small) else FAST
    return Plan(min(allowed, key=lambda name: estimates[name]), estimates)


class BlockCirculantLinear(nn.Module):
    """Linear layer with a block-circulant weight matrix: ``y = x C(weight)^T + bias``.

    ``weight`` has shape ``(out_blocks, in_blocks, block_size)``; ``weight[i, j]`` is the first row
    of block (i, j), see :mod:`circtools.matrices`. Sizes that the block does not divide are
    padded and cropped, and the padding counts as stored weights.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        block_size: b; 1 is an unstructured matrix, larger blocks store b times fewer weights.
        bias: learn an additive bias of shape ``(out_features,)``.
        device, dtype: as for ``torch.nn.Linear``.
        algorithm: ``"dense"``, ``"fft"``, ``"dft"``, or ``"auto"``, which picks the fastest for
            each input; :meth:`plan` tells which.

    In evaluation mode without gradients the weight's spectrum is computed once and kept until the
    weight changes (by an optimizer, loading, moving or an edit in place). What torch does not count
    as a change needs a call of ``eval()`` or ``train()``: an edit through ``weight.data``, and the
    step of a fused optimizer between two such calls, if the layer was left in evaluation mode.

    Shapes:
        input ``(..., in_features)``, output ``(..., out_features)``.

    Raises:
        TypeError: if a size is not an int.
        ValueError: if a size is not positive, the block is larger than the matrix, or the
            algorithm is unknown; in ``forward``, if the input has another width.

    Source: C. Ding et al., "CirCNN: Accelerating and Compressing Deep Neural Networks Using
    Block-Circulant Weight Matrices", MICRO 2017, section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        block_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        algorithm: str = "auto",
    ) -> None:
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"{name} must be an int, got {size!r}")
            if size < 1:
                raise ValueError(f"{name} must be 1 or more, got {size}")
        check_block_size(block_size, largest=max(in_features, out_features))
        if algorithm not in ("auto", *ALGORITHMS):
            raise ValueError(f"algorithm must be one of auto, {', '.join(ALGORITHMS)}, "
                             f"got {algorithm!r}")
        self.in_features, self.out_features = in_features, out_features
        self.block_size, self.algorithm = block_size, algorithm
        p, q = -(-out_features // block_size), -(-in_features // block_size)
        self.weight = nn.Parameter(torch.empty(p, q, block_size, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        # What each algorithm prepared, from which weight, with which data in which state. (The data
        # are kept, so that no others can come to lie at their address.)
        self._prepared: dict[str, Tensor] = {}
        self._prepared_from: tuple[Any, ...] = ()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights and the bias as ``nn.Linear`` does.

        Every output sums ``in_features`` inputs with weights of the same variance as in
        ``nn.Linear``, so its variance is the same too, though the weights are shared.
        """
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_linear(
        cls, linear: nn.Linear, block_size: int, *, algorithm: str = "auto"
    ) -> "BlockCirculantLinear":
        """Project a dense layer onto block-circulant form (nearest in the Frobenius norm).

        Args:
            linear: the layer to project; it is left as it is.
            block_size: the block size b.
            algorithm: as for the class.

        Raises:
            TypeError: if ``linear`` is not an ``nn.Linear``.
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"from_linear takes a torch.nn.Linear, got {type(linear).__name__}")
        weight = linear.weight
        layer = cls(
            linear.in_features, linear.out_features, block_size, bias=linear.bias is not None,
            device=weight.device, dtype=weight.dtype, algorithm=algorithm,
        )
        with torch.no_grad():
            layer.weight.copy_(nearest_circulant(weight, block_size))
            if linear.bias is not None:
                layer.bias.copy_(linear.bias)
        for own, given in ((layer.weight, weight), (layer.bias, linear.bias)):
            if given is not None:
                own.requires_grad_(given.requires_grad)
        return layer.train(linear.training)

    def dense_weight(self) -> Tensor:
        """Return the weight matrix as ``nn.Linear`` would hold it, (out_features, in_features)."""
        return block_circulant(self.weight)[: self.out_features, : self.in_features]

    def _dense(self, weight: Tensor) -> Tensor:
        """Return :meth:`dense_weight` of a weight, in the quickest way."""
        if self.block_size == 1:
            return weight.squeeze(-1)
        # The list of positions pays at every step of a training.
        quick = self._gradients() and not is_traced(weight)
        matrix = DenseMatrix.apply(weight) if quick else block_circulant(weight)
        return matrix[: self.out_features, : self.in_features]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to x of shape (..., in_features)."""
        if x.shape[-1] != self.in_features:
            raise ValueError(
                f"expected an input of width {self.in_features}, got shape {tuple(x.shape)}"
            )
        weight, bias = self.weight, self.bias
        device = x.device.type
        # As nn.Linear, which runs in the autocast dtype. (A device such as "meta" has none.)
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            x, weight, bias = (t if t is None or t.dtype == torch.float64 else t.to(dtype)
                               for t in (x, weight, bias))
        p, q, b = weight.shape
        tokens = math.prod(x.shape[:-1])  # not -1, which an empty batch would leave undetermined
        name = self._algorithm(tokens, weight.dtype)
        prepared = self._prepare(name, weight)
        if name == "dense":
            return F.linear(x, prepared, bias)
        padded = F.pad(x, (0, q * b - self.in_features)) if q * b > self.in_features else x
        blocks = padded.reshape(tokens, q, b)
        if self._gradients() or is_traced(blocks) or blocks.numel() <= AT_A_TIME:
            y = FAST[name].apply(blocks, prepared)  # (tokens, p, b)
            y = y.reshape(*x.shape[:-1], p * b)
            if p * b > self.out_features:
                y = y[..., : self.out_features].contiguous()  # (..., out_features)
            return y if bias is None else y + bias
        y = x.new_empty(tokens, p, b)
        added = 0.0 if bias is None else F.pad(bias, (0, p * b - self.out_features)).view(p, b)
        step = max(1, AT_A_TIME // (q * b))
        for part, out in zip(blocks.split(step), y.split(step), strict=True):
            torch.add(FAST[name].apply(part, prepared), added, out=out)
        return y.view(*x.shape[:-1], p * b)[..., : self.out_features].contiguous()

    def plan(self, tokens: int, training: bool | None = None,
             dtype: torch.dtype | None = None) -> Plan:
        """Return the algorithm that an input of this many rows will take, with the estimates.

        Args:
            tokens: rows of the input, all its dimensions but the last together.
            training: whether gradients are computed; None for what a call would do now (it computes
                them in training mode, and wherever they are not switched off).
            dtype: that the product is computed in, such as autocast's; None for the weight's.

        Raises:
            ValueError: if ``tokens`` is not positive.
        """
        if tokens < 1:
            raise ValueError(f"tokens must be 1 or more, got {tokens}")
        training = self._gradients() if training is None else training
        half = (dtype or self.weight.dtype) in HALF
        found = choose_algorithm(*self.weight.shape, tokens, training, half)
        return found if self.algorithm == "auto" else Plan(self.algorithm, found.seconds)

    def _algorithm(self, tokens: int, dtype: torch.dtype) -> str:
        if self.algorithm != "auto":
            return self.algorithm
        if self.block_size == 1:
            return "dense"
        if torch.compiler.is_exporting():  # ONNX has products, and no transform for every size
            return "dft"
        if torch.compiler.is_compiling():  # one graph must serve any number of tokens
            return "dft" if self.block_size <= 64 else "fft"
        return choose_algorithm(*self.weight.shape, tokens, self._gradients(),
                                dtype in HALF).algorithm

    def _gradients(self) -> bool:
        return self.training or torch.is_grad_enabled()

    def _prepare(self, name: str, weight: Tensor) -> Tensor:
        """Prepare the weight; in evaluation mode without gradients, only if it has changed."""
        prepare = self._dense if name == "dense" else FAST[name].prepare
        stored = self.weight
        # A tensor that is no parameter (of functional_call, of a parametrization) may be another at
        # the next call; one made in inference mode does not count its changes.
        if is_traced(stored) or not isinstance(stored, nn.Parameter) or stored.is_inference():
            return prepare(weight)
        if self._gradients():  # a step of an optimizer may follow, and not all of them are counted
            if self._prepared:
                self._forget()
            return prepare(weight)
        state = (weight.dtype, stored.data_ptr(), stored._version)
        if not (self._prepared_from and self._prepared_from[0] is stored
                and self._prepared_from[2] == state):
            self._prepared, self._prepared_from = {}, (stored, stored.detach(), state)
        kept = self._prepared  # of this call: another thread may begin a new one
        found = kept.get(name)
        if found is None:
            found = kept[name] = prepare(weight)
        return found

    def _forget(self) -> None:
        self._prepared, self._prepared_from = {}, ()

    def train(self, mode: bool = True) -> "BlockCirculantLinear":
        """Set training or evaluation mode; forgets what was prepared from the weight."""
        self._forget()
        return super().train(mode)

    def __getstate__(self) -> dict[str, object]:
        """Return what a copy or a pickle holds: everything but what can be prepared again."""
        return {**super().__getstate__(), "_prepared": {}, "_prepared_from": ()}

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"block_size={self.block_size}, bias={self.bias is not None}, "
            f"algorithm={self.algorithm}"
        )
