"""The mathematics, against scipy and numpy."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from circtools import block_circulant, circulant, nearest_circulant, spectrum
from circtools.matrices import Order

SIZES, ORDERS = st.integers(1, 11), st.sampled_from(["contiguous", "strided"])


def reference(rows: np.ndarray) -> np.ndarray:
    """The dense matrix of first rows (p, q, b), block by block with scipy."""
    return np.block([[scipy.linalg.circulant(row).T for row in blocks] for blocks in rows])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(seed))


def test_each_row_is_the_one_above_rotated_right() -> None:
    matrix = circulant(torch.tensor([1, 2, 3, 4]))
    assert matrix.tolist() == [[1, 2, 3, 4], [4, 1, 2, 3], [3, 4, 1, 2], [2, 3, 4, 1]]


@given(SIZES)
def test_circulant_is_scipys_transposed(b: int) -> None:
    row = random(b)
    assert np.array_equal(circulant(row).numpy(), scipy.linalg.circulant(row.numpy()).T)


@given(SIZES, SIZES, SIZES)
def test_block_circulant_against_scipy(p: int, q: int, b: int) -> None:
    rows = random(p, q, b)
    assert np.array_equal(block_circulant(rows).numpy(), reference(rows.numpy()))


def test_leading_dimensions_are_kept() -> None:
    rows = random(2, 3, 4, 5, 6)
    stacked = block_circulant(rows)
    assert stacked.shape == (2, 3, 24, 30)
    assert torch.equal(stacked[1, 2], block_circulant(rows[1, 2]))


@given(SIZES, SIZES, SIZES)
def test_in_the_strided_order_it_is_a_circulant_matrix_of_blocks(p: int, q: int, b: int) -> None:
    rows = random(p, q, b)
    matrix = block_circulant(rows, "strided")
    for r in range(b):
        for c in range(b):
            block = matrix[r * p:(r + 1) * p, c * q:(c + 1) * q]
            assert torch.equal(block, rows[..., (c - r) % b])


@given(SIZES, SIZES, SIZES, ORDERS)
def test_nearest_leaves_a_block_circulant_matrix_alone(p: int, q: int, b: int, order: Order
                                                       ) -> None:
    rows = random(p, q, b)
    nearest = nearest_circulant(block_circulant(rows, order), b, order)
    assert torch.allclose(nearest, rows, atol=1e-12)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), ORDERS)
def test_nearest_is_the_least_squares_solution(out: int, inp: int, b: int, order: Order) -> None:
    """Also for sizes that the block does not divide: only entries that exist count."""
    matrix = random(out, inp)
    p, q = -(-out // b), -(-inp // b)
    basis = torch.eye(p * q * b, dtype=torch.float64).view(-1, p, q, b)
    columns = block_circulant(basis, order)[:, :out, :inp].flatten(1).T  # (out * inp, p * q * b)
    best = np.linalg.lstsq(columns.numpy(), matrix.flatten().numpy(), rcond=None)[0]
    ours = nearest_circulant(matrix, b, order)
    assert np.allclose(ours.flatten().numpy(), best, atol=1e-10)


def test_nearest_sums_half_precision_exactly_enough() -> None:
    """A sum of 1024 ones in bf16 would stop at 256."""
    nearest = nearest_circulant(torch.ones(1024, 1024, dtype=torch.bfloat16), 1024)
    assert nearest.dtype == torch.bfloat16 and (nearest == 1).all()


def test_the_gradient_sums_half_precision_exactly_enough() -> None:
    row = torch.ones(1024, dtype=torch.bfloat16, requires_grad=True)
    matrix = circulant(row)
    matrix.sum().backward()
    assert matrix.dtype == torch.bfloat16 and (row.grad == 1024).all()


def test_nearest_takes_complex_numbers() -> None:
    rows = torch.complex(random(2, 3, 4), random(2, 3, 4, seed=1))
    assert torch.allclose(nearest_circulant(block_circulant(rows), 4), rows)


@given(SIZES, st.booleans())
def test_spectrum_belongs_to_the_fourier_vectors(b: int, is_complex: bool) -> None:
    row = torch.complex(random(b), random(b, seed=1)) if is_complex else random(b)
    matrix = circulant(row).to(torch.complex128)
    k = torch.arange(b, dtype=torch.float64)
    vectors = torch.exp(2j * torch.pi * torch.outer(k, k) / b)  # a column a frequency
    assert torch.allclose(matrix @ vectors, vectors * spectrum(row), atol=1e-10)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: circulant([1, 2]), TypeError, "must be a torch.Tensor, got list"),
    (lambda: circulant(torch.empty(0)), ValueError, r"shape \(0,\)"),
    (lambda: circulant(torch.tensor(1.0)), ValueError, r"shape \(\)"),
    (lambda: block_circulant(torch.ones(2, 3)), ValueError, r"3 or more dim.*\(2, 3\)"),
    (lambda: nearest_circulant(torch.ones(3), 2), ValueError, r"two dimensions.*\(3,\)"),
    (lambda: nearest_circulant(np.ones((3, 3)), 2), TypeError, "torch.Tensor, got ndarray"),
    (lambda: nearest_circulant(torch.ones(3, 3), 0), ValueError, "1 or more, got 0"),
    (lambda: nearest_circulant(torch.ones(3, 3), 2.0), TypeError, "must be an int, got 2.0"),
    (lambda: block_circulant(torch.ones(1, 1, 2), "rows"), ValueError, "contiguous, strided, got"),
    (lambda: spectrum(torch.empty(2, 0)), ValueError, r"shape \(2, 0\)"),
])
def test_bad_arguments_are_named(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
