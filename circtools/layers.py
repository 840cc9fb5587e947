"""A linear layer whose weight matrix is block-circulant: a drop-in for ``torch.nn.Linear``."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools.circulant import block_circulant, check_block_size, nearest_circulant

# Each algorithm maps x (tokens, in_blocks, b) and first rows w (out_blocks, in_blocks, b) to
# y (tokens, out_blocks, b). They compute the same product; the first is the one to trust.


def multiply_dense(x: Tensor, w: Tensor) -> Tensor:
    """Rebuild the dense matrix and multiply: the plain reference, n * n operations a token."""
    y = x.flatten(1) @ block_circulant(w).T  # (tokens, out)
    return y.unflatten(1, (w.shape[0], w.shape[2]))  # (tokens, out_blocks, b)


def multiply_fft(x: Tensor, w: Tensor) -> Tensor:
    """Multiply in the frequency domain, where every circulant block is diagonal."""
    if x.shape[0] == 0:  # the FFT library refuses to plan an empty transform
        return multiply_dft(x, w)
    b, dtype = w.shape[-1], x.dtype
    if dtype in (torch.bfloat16, torch.float16):  # torch.fft has no half-precision transforms
        x, w = x.float(), w.float()
    x_hat = torch.fft.rfft(x)  # (tokens, in_blocks, b // 2 + 1)
    w_hat = torch.fft.rfft(w).conj()  # (out_blocks, in_blocks, b // 2 + 1)
    y_hat = torch.einsum("tqk,pqk->tpk", x_hat, w_hat)  # (tokens, out_blocks, b // 2 + 1)
    return torch.fft.irfft(y_hat, n=b).to(dtype)  # (tokens, out_blocks, b)


def multiply_dft(x: Tensor, w: Tensor) -> Tensor:
    """Multiply in the frequency domain with real matrix products alone.

    The transform is a product with a real orthogonal b x b matrix, so it works in every dtype and
    in exported graphs; each frequency is then one ordinary matrix product over the blocks.
    """
    b = w.shape[-1]
    n_real, n_complex = 2 - b % 2 if b > 1 else 1, (b - 1) // 2
    basis, scale = real_dft_basis(b, x.dtype, x.device)
    x_hat = (x @ basis).permute(2, 0, 1)  # (b, tokens, in_blocks)
    w_hat = (w @ (basis * scale)).permute(2, 1, 0)  # (b, in_blocks, out_blocks)
    x_real, x_cos, x_sin = x_hat.split([n_real, n_complex, n_complex])
    w_real, w_cos, w_sin = w_hat.split([n_real, n_complex, n_complex])
    y_real = x_real @ w_real  # (n_real, tokens, out_blocks)
    # (x_cos - i x_sin)(w_cos + i w_sin) as one real product of twice the size.
    x_pair = torch.cat([x_cos, x_sin], dim=2)  # (n_complex, tokens, 2 in_blocks)
    w_pair = torch.cat(
        [torch.cat([w_cos, -w_sin], dim=2), torch.cat([w_sin, w_cos], dim=2)], dim=1
    )  # (n_complex, 2 in_blocks, 2 out_blocks)
    y_cos, y_sin = (x_pair @ w_pair).chunk(2, dim=2)  # each (n_complex, tokens, out_blocks)
    y_hat = torch.cat([y_real, y_cos, y_sin]).permute(1, 2, 0)  # (tokens, out_blocks, b)
    return y_hat @ basis.T  # (tokens, out_blocks, b)


def real_dft_basis(b: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the real discrete Fourier basis as an orthogonal matrix, and its scale.

    Args:
        b: block size.
        dtype: of the results; the angles are computed in float64.
        device: of the results.

    Returns:
        ``basis`` of shape ``(b, b)``, orthogonal: its columns are the constant, the alternating
        one (even b only), the cosines and the sines of the frequencies 1 ... (b - 1) // 2; and
        ``scale`` of shape ``(b,)``, by which ``w @ basis`` becomes an unnormalised spectrum.
    """
    positions = torch.arange(b, device=device)
    k = torch.arange(1, (b - 1) // 2 + 1, device=device)
    # Reduce the product modulo b while it is an integer: the angle then keeps full precision.
    angles = (positions[:, None] * k % b).double() * (2 * math.pi / b)  # (b, n_complex)
    real = [torch.ones(b, 1, dtype=torch.float64, device=device)]
    if b % 2 == 0:
        real.append((1 - 2 * (positions % 2)).double()[:, None])
    unnormalised = torch.cat([*real, angles.cos(), angles.sin()], dim=1)  # (b, b)
    scale = torch.full((b,), math.sqrt(b / 2), dtype=torch.float64, device=device)
    scale[: len(real)] = math.sqrt(b)
    return (unnormalised / scale).to(dtype), scale.to(dtype)


ALGORITHMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "dense": multiply_dense,
    "fft": multiply_fft,
    "dft": multiply_dft,
}


def choose_algorithm(block_size: int) -> str:
    """Return the algorithm that ``auto`` uses; ``benchmarks/layer_speed.py`` measures them all."""
    if block_size == 1:
        return "dense"
    return "dft" if block_size <= 64 else "fft"


class BlockCirculantLinear(nn.Module):
    """Linear layer with a block-circulant weight matrix: ``y = x C(weight)^T + bias``.

    ``weight`` has shape ``(out_blocks, in_blocks, block_size)``; ``weight[i, j]`` is the first row
    of block (i, j), see :mod:`circtools.circulant`. Sizes that the block does not divide are
    padded and cropped, and the padding counts as stored weights.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        block_size: b; 1 is an unstructured matrix, larger blocks store b times fewer weights.
        bias: learn an additive bias of shape ``(out_features,)``.
        device, dtype: as for ``torch.nn.Linear``.
        algorithm: ``"dense"``, ``"fft"``, ``"dft"``, or ``"auto"``, which picks by block size.

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
            block_size: b.
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
        return layer.train(linear.training)

    def dense_weight(self) -> Tensor:
        """Return the weight matrix as ``nn.Linear`` would hold it, (out_features, in_features)."""
        return block_circulant(self.weight)[: self.out_features, : self.in_features]

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
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        p, q, b = weight.shape
        name = choose_algorithm(b) if self.algorithm == "auto" else self.algorithm
        tokens = x.shape[:-1].numel()  # not -1, which an empty batch would leave undetermined
        blocks = F.pad(x, (0, q * b - self.in_features)).reshape(tokens, q, b)  # (tokens, q, b)
        y = ALGORITHMS[name](blocks, weight)  # (tokens, p, b)
        y = y.reshape(*x.shape[:-1], p * b)[..., : self.out_features]  # (..., out_features)
        return y if bias is None else y + bias

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"block_size={self.block_size}, bias={self.bias is not None}, "
            f"algorithm={self.algorithm}"
        )
