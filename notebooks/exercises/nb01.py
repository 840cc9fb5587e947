"""The exercises of notebook 01."""

from collections.abc import Callable

import torch
from torch import Tensor

import circtools
from exercises import Exercise
from exercises.answers import draw, form_problem, matrix_problem, same


def rotate_rows(row: Tensor) -> Tensor:
    return torch.stack([row.roll(r) for r in range(len(row))])


def verify_rotate_rows(answer: Callable[[Tensor], Tensor]) -> str | None:
    for row in (torch.arange(1.0, 5.0).double(), draw(7), draw(16), draw(2), draw(1)):
        given = f"a row of {len(row)}"
        got, truth = answer(row.clone()), circtools.circulant(row)
        if problem := form_problem(got, truth, given):
            return problem
        if same(got, truth):
            continue
        if same(got, truth.T):
            return "your row stands in the first column: your matrix is the transposed one"
        if not same(got[0], row):
            return f"for {given} the first row of your matrix is not the row you were given"
        if same(got, row.expand(len(row), -1)):
            return "all your rows are equal: each must be the one above, rotated right by one"
        if same(got, torch.stack([row.roll(-r) for r in range(len(row))])):
            return ("your rows rotate to the left: what leaves a row on the right must come back "
                    "on the left of the row below")
        if same(got, torch.stack([row.roll(2 * r) for r in range(len(row))])):
            return "your rows rotate by two places each time, not by one"
        wrong = next(r for r in range(len(row)) if not same(got[r], truth[r]))
        return f"for {given}, row {wrong} (counted from 0) is not the row above rotated right"
    return None


def product_row(w: Tensor, v: Tensor) -> Tensor:
    return torch.fft.fft(circtools.spectrum(w) * circtools.spectrum(v), norm="forward").real


def verify_product_row(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for b in (5, 12, 2, 1):
        w, v = draw(b, seed=1), draw(b, seed=2)
        given = f"rows of {b}"
        got = answer(w.clone(), v.clone())
        product = circtools.circulant(w) @ circtools.circulant(v)
        truth = product[0]
        if isinstance(got, Tensor) and got.shape == product.shape and b > 1:
            return "you return the whole matrix: only its first row is wanted"
        if problem := form_problem(got, truth, given):
            return problem
        if same(got, truth):
            continue
        if same(got, w * v):
            return ("you multiplied the rows entry by entry: multiply the spectra entry by entry, "
                    "and transform back")
        if same(got, truth * b):
            return f"for {given} your result is {b} times too large: mind the norm of the transform"
        if same(got, truth / b):
            return f"for {given} your result is {b} times too small: mind the norm of the transform"
        if same(got, product[:, 0]):
            return ("you return the first column, the row in reverse order: the way back from our "
                    "spectrum is fft, not ifft")
        if same(got, (circtools.circulant(w).T @ circtools.circulant(v))[0]) or same(
            got, (circtools.circulant(w) @ circtools.circulant(v).T)[0]
        ):
            return "one of your two matrices is transposed: one of the spectra is conjugated"
        return f"for {given} the numbers are not the first row of circulant(w) @ circulant(v)"
    return matrix_problem(answer, draw(64, seed=1), draw(64, seed=2))


def solve_circulant(w: Tensor, y: Tensor) -> Tensor:
    y_hat = torch.fft.fft(y)
    return torch.fft.ifft(y_hat / circtools.spectrum(w)).real


def verify_solve_circulant(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for b in (8, 3, 15, 1):
        w, y = draw(b, seed=3), draw(b, seed=4)
        w[0] += 5  # far from singular
        matrix, given = circtools.circulant(w), f"a matrix of {b} x {b}"
        got, truth = answer(w.clone(), y.clone()), torch.linalg.solve(matrix, y)
        if problem := form_problem(got, truth, given):
            return problem
        if same(got, truth):
            continue
        if same(got, matrix @ y):
            return "you multiplied by the matrix: to undo it, divide by the spectrum"
        if same(got, torch.linalg.solve(matrix.T, y)):
            return ("you solved with the transposed matrix: the spectrum that you divide by is "
                    "conjugated (the transform of the first row is not yet the spectrum)")
        return f"for {given}, circulant(w) @ x is not y"
    return matrix_problem(answer, draw(64, seed=3), draw(64, seed=4))


EXERCISES = [
    Exercise(
        "1.1", verify_rotate_rows, rotate_rows,
        hint="row.roll(r) rotates a row right by r places; torch.stack makes a matrix of rows.",
        praise="One row holds the whole matrix.",
        without=("circulant", "block_circulant", "BlockCirculantLinear"),
    ),
    Exercise(
        "1.2", verify_product_row, product_row,
        hint="The spectrum of the product is the product of the spectra. The way back from a "
             "spectrum to a first row is torch.fft.fft(spectrum, norm='forward'), of which the "
             "real part is wanted.",
        praise="A product of two matrices, without a matrix.",
        without=("circulant", "block_circulant", "BlockCirculantLinear", "rotate_rows",
                 "toeplitz"),
    ),
    Exercise(
        "1.3", verify_solve_circulant, solve_circulant,
        hint="From the diagonalisation, the transform of y is the spectrum of w times the "
             "transform of x, frequency by frequency. Three lines: transform y, divide by "
             "spectrum(w), transform back and take the real part.",
        praise="A linear system in O(n log n).",
        without=("circulant", "block_circulant", "BlockCirculantLinear", "rotate_rows", "solve",
                 "inv", "inverse", "lstsq", "toeplitz", "solve_circulant"),
    ),
]
