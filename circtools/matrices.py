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

Order = Literal["contiguous", "strided"]


def check_order(order: Order) -> Order:
    """Return ``order`` if it is one."""
    if order not in get_args(Order):
        raise ValueError(f"order must be one of {', '.join(get_args(Order))}, got {order!r}")
    return order


def check_block_size(block_size: int, largest: int | None = None) -> int:
    """Return ``block_size`` if it is an integer of at least 1 (and at most ``largest``)."""
    if isinstance(block_size, bool) or not isinstance(block_size, int):
        raise TypeError(
            f"block_size must be an int, got {block_size!r} of type {type(block_size).__name__}; "
            "use 1 for an unstructured matrix, n for a fully circulant one"
        )
    if block_size < 1:
        raise ValueError(f"block_size must be 1 or more, got {block_size}")
    if largest is not None and block_size > largest:
        raise ValueError(
            f"block_size {block_size} is larger than the matrix: it would only store padding; "
            f"use at most {largest}"
        )
    return block_size


def _rows(rows: Tensor, dims: int, name: str) -> Tensor:
    if not isinstance(rows, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(rows).__name__}")
    if rows.dim() < dims or rows.shape[-1] == 0:
        raise ValueError(
            f"{name} must have {dims} or more dimensions and a last one of at least 1, "
            f"got shape {tuple(rows.shape)}"
        )
    return rows


def circulant(row: Tensor) -> Tensor:
    """Build the dense circulant matrix of a first row.

    Args:
        row: first rows, shape ``(..., b)``.

    Returns:
        Dense matrices, shape ``(..., b, b)``, with ``C[..., r, c] = row[..., (c - r) mod b]``.

    Raises:
        TypeError: if ``row`` is not a tensor.
        ValueError: if ``row`` is empty or has no dimension.
    """
    _rows(row, 1, "row")
    b = row.shape[-1]
    # Row r is the window of the doubled row (w, w) that starts at b - r. Windows are views, and
    # their backward is a plain sum, several times faster than that of an index.
    windows = torch.cat([row, row], dim=-1).unfold(-1, b, 1)  # (..., b + 1, b)
    return windows[..., 1:, :].flip(-2)  # (..., b, b)


def block_circulant(rows: Tensor, order: Order = "contiguous") -> Tensor:
    """Build the dense block-circulant matrix of the first rows of its blocks.

    Args:
        rows: first rows, shape ``(..., out_blocks, in_blocks, b)``.
        order: of the features, see :mod:`circtools.matrices`.

    Returns:
        Dense matrices, shape ``(..., out_blocks * b, in_blocks * b)``; in the contiguous order
        block (i, j) is ``circulant(rows[..., i, j, :])``.

    Raises:
        TypeError: if ``rows`` is not a tensor.
        ValueError: if ``rows`` has fewer than three dimensions or an empty last one, or the order
            is unknown.
    """
    _rows(rows, 3, "rows")
    blocks = circulant(rows)  # (..., out_blocks, in_blocks, b, b)
    last = (-4, -2, -3, -1) if check_order(order) == "contiguous" else (-3, -1, -4, -2)
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
        TypeError: if ``matrix`` is not a tensor or ``block_size`` not an int.
        ValueError: if ``matrix`` is not two-dimensional, ``block_size`` is not positive, or the
            order is unknown.

    Source: T. F. Chan, "An Optimal Circulant Preconditioner for Toeplitz Systems", SIAM J. Sci.
    Stat. Comput. 9 (1988), section 2, block by block.
    """
    check_block_size(block_size)
    if not isinstance(matrix, Tensor):
        raise TypeError(f"matrix must be a torch.Tensor, got {type(matrix).__name__}")
    if matrix.dim() != 2:
        raise ValueError(f"matrix must have two dimensions, got shape {tuple(matrix.shape)}")
    total, count = (_diagonal_sums(entries, block_size, check_order(order))
                    for entries in (matrix, torch.ones_like(matrix)))
    return total / count.clamp(min=1)  # a diagonal that lies wholly in the padding stays zero


def _diagonal_sums(matrix: Tensor, b: int, order: Order) -> Tensor:
    """Sum each block's wrapped diagonals: (out, in) -> (out_blocks, in_blocks, b)."""
    pad_out, pad_in = -matrix.shape[0] % b, -matrix.shape[1] % b
    padded = torch.nn.functional.pad(matrix, (0, pad_in, 0, pad_out))
    p, q = padded.shape[0] // b, padded.shape[1] // b
    blocks = (padded.view(p, b, q, b).transpose(1, 2) if order == "contiguous" else
              padded.view(b, p, b, q).permute(1, 3, 0, 2))  # (out_blocks, in_blocks, b, b)
    # Rotating row r left by r puts diagonal d into column d.
    r, d = torch.arange(b, device=matrix.device).view(-1, 1), torch.arange(b, device=matrix.device)
    return blocks.gather(-1, ((r + d) % b).expand_as(blocks)).sum(-2)  # (out_blocks, in_blocks, b)


def spectrum(rows: Tensor) -> Tensor:
    """Return the eigenvalues of the circulant matrices with these first rows.

    Eigenvalue k belongs to the eigenvector ``exp(2 pi i k c / b)``, c = 0 ... b - 1, which is the
    same for every circulant matrix of this size; with this module's convention the eigenvalues
    are the complex conjugate of the discrete Fourier transform of the first row.

    Args:
        rows: real or complex first rows, shape ``(..., b)``.

    Returns:
        Complex eigenvalues in the order of the frequencies, shape ``(..., b)``.

    Raises:
        TypeError, ValueError: as :func:`circulant`.

    Source: Gray (2006), theorem 3.1.
    """
    _rows(rows, 1, "rows")
    # Not fft(rows).conj(): that would conjugate complex rows too.
    return torch.fft.ifft(rows, norm="forward").resolve_conj()  # (..., b)

