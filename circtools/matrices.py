"""The mathematics of circulant matrices, and the one place where the convention is defined.

A circulant matrix is given by its first row ``w``; each next row is the one above rotated right
by one::

    C[r, c] = w[(c - r) mod b]          # equal to scipy.linalg.circulant(w).T

A block-circulant matrix is cut into b x b blocks, each of them circulant. It stores b numbers per
block instead of b * b, so the block size is the compression factor.

A block may take its features from two orders. In the ``contiguous`` one they are neighbours:
feature number ``block * b + position``. In the ``strided`` one they stand apart: number
``position * blocks + block``. A perfect shuffle of the features takes one to the other. The strided
order needs no transposition to be multiplied fast; in it the whole matrix is a circulant one whose
entries are blocks.

Sources: R. M. Gray, "Toeplitz and Circulant Matrices: A Review" (2006), chapter 3; P. J. Davis,
"Circulant Matrices" (1979), section 5.6, for block circulants.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from circtools.checks import check_choice, check_size

Order = Literal["contiguous", "strided"]


def circulant(row: Tensor) -> Tensor:
    """Build the dense circulant matrix of a first row.

    Args:
        row: first rows, shape ``(..., b)``.

    Returns:
        Dense matrices, shape ``(..., b, b)``, with ``C[..., r, c] = row[..., (c - r) mod b]``.

    Raises:
        TypeError, ValueError: if ``row`` is no tensor, or is empty or without a dimension.
    """
    _check_rows(row, 1)
    b = row.shape[-1]
    # Row r is the window of the doubled row (w, w) that starts at b - r. Windows are views, and
    # their backward is a plain sum, several times faster than that of an index.
    half = row.dtype in (torch.float16, torch.bfloat16)  # in which that sum would stop growing
    wide = row.float() if half else row
    windows = torch.cat([wide, wide], dim=-1).unfold(-1, b, 1)  # (..., b + 1, b)
    return windows[..., 1:, :].flip(-2).to(row.dtype)  # (..., b, b)


def block_circulant(rows: Tensor, order: Order = "contiguous") -> Tensor:
    """Build the dense block-circulant matrix of the first rows of its blocks.

    Args:
        rows: first rows, shape ``(..., out_blocks, in_blocks, b)``.
        order: of the features, see :mod:`circtools.matrices`.

    Returns:
        Dense matrices, shape ``(..., out_blocks * b, in_blocks * b)``; in the contiguous order
        block (i, j) is ``circulant(rows[..., i, j, :])``.

    Raises:
        TypeError, ValueError: as :func:`circulant`, or if the order is unknown.
    """
    _check_rows(rows, 3)
    check_choice("order", order, get_args(Order))
    blocks = circulant(rows)  # (..., out_blocks, in_blocks, b, b)
    last = (-4, -2, -3, -1) if order == "contiguous" else (-3, -1, -4, -2)
    return blocks.movedim((-4, -3, -2, -1), last).flatten(-4, -3).flatten(-2, -1)  # (..., out, in)


def nearest_circulant(matrix: Tensor, block_size: int, order: Order = "contiguous") -> Tensor:
    """Project a matrix onto the block-circulant ones, in the Frobenius norm.

    The nearest circulant block carries, on each of its wrapped diagonals, the mean of the entries
    there. Sizes that the block does not divide are padded, and the mean is taken over the entries
    that exist.

    Args:
        matrix: shape ``(out_features, in_features)``.
        block_size: the block size b.
        order: of the features, see :mod:`circtools.matrices`.

    Returns:
        First rows, shape ``(out_blocks, in_blocks, b)``, with ``out_blocks = ceil(out / b)``.

    Raises:
        TypeError, ValueError: if ``matrix`` is no tensor of two dimensions, ``block_size`` no
            integer of at least 1, or the order unknown.

    Source: T. F. Chan, "An Optimal Circulant Preconditioner for Toeplitz Systems", SIAM J. Sci.
    Stat. Comput. 9 (1988), section 2, block by block.
    """
    check_size("block_size", block_size)
    if not isinstance(matrix, Tensor):
        raise TypeError(f"matrix must be a torch.Tensor, got {type(matrix).__name__}")
    if matrix.dim() != 2:
        raise ValueError(f"matrix must have two dimensions, got shape {tuple(matrix.shape)}")
    p, q = (-(-size // block_size) for size in matrix.shape)
    numbers = torch.arange(p * q * block_size, device=matrix.device).view(p, q, block_size)
    table = block_circulant(numbers, order)[:matrix.shape[0], :matrix.shape[1]]
    return shared_means(matrix, table, numbers.numel()).view(p, q, block_size)


def shared_means(matrix: Tensor, table: Tensor, count: int) -> Tensor:
    """Return the weights, (count,), whose matrix ``weights[table]`` is nearest to a given one.

    Each is the mean of the entries where the table, of the matrix's shape, has its number, and zero
    if it stands nowhere.
    """
    wide = matrix.flatten().to(torch.promote_types(matrix.dtype, torch.float32))
    total, times = (wide.new_zeros(count).index_add(0, table.flatten(), values)
                    for values in (wide, torch.ones_like(wide)))
    return (total / times.real.clamp(min=1)).to(torch.result_type(matrix, 1.0))


def spectrum(rows: Tensor) -> Tensor:
    """Return the eigenvalues of the circulant matrices with these first rows.

    Eigenvalue k belongs to the eigenvector ``exp(2 pi i k c / b)``, c = 0 ... b - 1, which is the
    same for every circulant matrix of this size; with this module's convention the eigenvalues
    are the complex conjugate of the discrete Fourier transform of a real first row.

    Args:
        rows: real or complex first rows, shape ``(..., b)``.

    Returns:
        Complex eigenvalues in the order of the frequencies, shape ``(..., b)``.

    Raises:
        TypeError, ValueError: as :func:`circulant`.

    Source: Gray (2006), theorem 3.1.
    """
    _check_rows(rows, 1)
    # Not fft(rows).conj(): that would conjugate complex rows too.
    return torch.fft.ifft(rows, norm="forward").resolve_conj()  # (..., b)


def _check_rows(rows: Tensor, dims: int) -> None:
    if not isinstance(rows, Tensor):
        raise TypeError(f"first rows must be a torch.Tensor, got {type(rows).__name__}")
    if rows.dim() < dims or rows.shape[-1] == 0:
        raise ValueError(f"first rows must have {dims} or more dimensions and a last one of at "
                         f"least 1, got shape {tuple(rows.shape)}")
