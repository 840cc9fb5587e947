"""Fast products with a block-circulant matrix.

A circulant block is diagonal in the frequency domain: there the product of a block with a vector
is one number times another for each frequency. Each algorithm has two steps. The first depends on
the weights alone and turns first rows w, (out_blocks, in_blocks, b), into their spectrum. The
second multiplies inputs by it. Inputs and outputs are (tokens, blocks, b) in the contiguous order
of the features and (tokens, b, blocks) in the strided one; see :mod:`circtools.matrices`.

- ``dft`` writes the transforms as products with small real matrices. It works in every dtype and
  in exported graphs, and is the faster one for small blocks.
- ``fft`` uses the fast Fourier transform, which wins for large blocks.

The plain reference for both is :func:`circtools.matrices.block_circulant`.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where the one or the other was faster on two cores of a CPU.
LARGEST_DFT = 128  # block size of the DFT for few tokens
LARGEST_DFT_MANY, MANY_TOKENS = 32, 256  # and for many
FEW_BLOCKS = 16  # with fewer, the strided order is transposed to the contiguous one first
HALF = (torch.float16, torch.bfloat16)  # torch.fft has no transforms of these on a CPU


def fft_spectrum(w: Tensor) -> Tensor:
    """Return the complex spectra of first rows, (out_blocks, in_blocks, b // 2 + 1)."""
    return torch.fft.rfft(w.float() if w.dtype in HALF else w).conj()


def fft_product(x: Tensor, spectrum: Tensor, strided: bool = False) -> Tensor:
    """Multiply inputs by :func:`fft_spectrum`."""
    dtype, axis = x.dtype, 1 if strided else 2
    if x.shape[0] == 0:  # the FFT library refuses to plan an empty transform
        return fft_product(F.pad(x, (0, 0, 0, 0, 0, 1)), spectrum, strided)[:0]
    if strided and min(spectrum.shape[:2]) < FEW_BLOCKS:
        return fft_product(x.mT, spectrum).mT
    x_hat = torch.fft.rfft(x.float() if dtype in HALF else x, dim=axis)  # k: b // 2 + 1 frequencies
    y_hat = torch.einsum("tkq,pqk->tkp" if strided else "tqk,pqk->tpk", x_hat, spectrum)
    return torch.fft.irfft(y_hat, n=x.shape[axis], dim=axis).to(dtype)


def dft_spectrum(w: Tensor) -> Tensor:
    """Return the real numbers that inputs are multiplied by, (products, out_blocks, in_blocks)."""
    p, q, b = w.shape
    _, of_w, _ = dft_matrices(b, w)  # (products, b)
    return (of_w @ w.reshape(p * q, b).T).unflatten(1, (p, q))


def dft_product(x: Tensor, spectrum: Tensor, strided: bool = False) -> Tensor:
    """Multiply inputs by :func:`dft_spectrum`.

    Each frequency is one matrix product over the blocks if it is real, three if it is complex.
    """
    if strided and min(spectrum.shape[1:]) < FEW_BLOCKS:
        return dft_product(x.mT, spectrum).mT
    if strided:
        of_x, _, back = dft_matrices(x.shape[1], x)
        x_hat = (of_x @ x).transpose(0, 1)  # (products, tokens, in_blocks)
        y_hat = x_hat @ spectrum.mT  # (products, tokens, out_blocks)
        return back.T @ y_hat.transpose(0, 1)  # (tokens, b, out_blocks)
    tokens, q, b = x.shape
    of_x, _, back = dft_matrices(b, x)
    x_hat = (of_x @ x.reshape(tokens * q, b).T).unflatten(1, (tokens, q))
    y_hat = x_hat @ spectrum.mT  # (products, tokens, out_blocks)
    return (y_hat.flatten(1).T @ back).view(tokens, spectrum.shape[1], b)


def dft_matrices(b: int, like: Tensor) -> tuple[Tensor, ...]:
    """Return the matrices that transform inputs, weights, and products back: (products, b) each.

    They are of the dtype and on the device of ``like``. For a circulant matrix C of first row w,
    ``C x = ((of_x @ x) * (of_w @ w)) @ back``, with one product per real frequency and three per
    complex one.

    At a frequency with cosine parts x_c, w_c and sine parts x_s, w_s the output has the parts
    y_c = x_c w_c + x_s w_s and y_s = x_s w_c - x_c w_s. Gauss's trick takes three products instead
    of four: with k_1 = (x_c + x_s) w_c, k_2 = x_c (w_c + w_s) and k_3 = x_s (w_c - w_s) these are
    y_c = k_1 - k_3 and y_s = k_1 - k_2.
    """
    if is_traced(like):
        return _dft_matrices.__wrapped__(b, like.dtype, like.device)
    with torch.inference_mode(False):  # or else no later training could use what is cached
        return _dft_matrices(b, like.dtype, like.device)


@lru_cache(maxsize=128)
def _dft_matrices(b: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
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


def is_traced(x: Tensor) -> bool:
    """Return whether an operation on x is being recorded, by a compiler or an export.

    What is recorded must be plain operators, and nothing that was computed before.
    """
    return (torch.compiler.is_compiling() or torch.jit.is_tracing()
            or type(x) not in (Tensor, nn.Parameter))


# The two steps of the fast products: PRODUCT[name](x, SPECTRUM[name](w), strided).
SPECTRUM = {"fft": fft_spectrum, "dft": dft_spectrum}
PRODUCT = {"fft": fft_product, "dft": dft_product}
ALGORITHMS = ("dense", *PRODUCT)


def choose(block_size: int, tokens: int) -> str:
    """Return the algorithm that suits a block size and a number of input rows.

    Blocks of up to 32 take the DFT, those above 128 the FFT. Those between take the DFT for fewer
    than 256 tokens. A block of one number is the dense product. Exported graphs take the DFT at any
    size, because ONNX has products and no transform for every size.
    """
    if block_size == 1:
        return "dense"
    if torch.compiler.is_exporting():
        return "dft"
    largest = LARGEST_DFT_MANY if tokens >= MANY_TOKENS else LARGEST_DFT
    return "dft" if block_size <= largest else "fft"
