"""The exercises of notebook 01."""

from collections.abc import Callable

import torch
from torch import Tensor

import circtools
from exercises import Exercise
from exercises.answers import draw, form_problem, matrix_problem, same, tensor_problem

matrix_of, spectrum = circtools.circulant, circtools.spectrum
fft, ifft, rfft, irfft = torch.fft.fft, torch.fft.ifft, torch.fft.rfft, torch.fft.irfft


def rotate_rows(row: Tensor) -> Tensor:
    return torch.stack([row.roll(r) for r in range(len(row))])


def verify_rotate_rows(answer: Callable[[Tensor], Tensor]) -> str | None:
    for row in (torch.arange(1.0, 5.0).double(), draw(7), draw(16), draw(2), draw(1)):
        given, got, truth = f"a row of {len(row)}", answer(row.clone()), circtools.circulant(row)
        if problem := form_problem(got, truth, given):
            return problem
        for r in range(len(row)):
            if not same(got[r], truth[r]):
                return (f"for {given}, row {r} (counted from 0) should be the given one, rotated "
                        f"right by {r}")
    return None


def product_row(w: Tensor, v: Tensor) -> Tensor:
    return torch.fft.fft(circtools.spectrum(w) * circtools.spectrum(v), norm="forward").real


def verify_product_row(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for b in (5, 12, 2, 1):
        w, v = draw(b, seed=1), draw(b, seed=2)
        truth = (circtools.circulant(w) @ circtools.circulant(v))[0]
        if problem := tensor_problem(
                answer(w.clone(), v.clone()), truth, f"rows of {b}",
                "the numbers are not the first row of circulant(w) @ circulant(v)"):
            return problem
    return matrix_problem(answer, draw(64, seed=1), draw(64, seed=2))


def solve_circulant(w: Tensor, y: Tensor) -> Tensor:
    y_hat = torch.fft.fft(y)
    return torch.fft.ifft(y_hat / circtools.spectrum(w)).real


def verify_solve_circulant(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for b in (8, 3, 15, 1):
        w, y = draw(b, seed=3), draw(b, seed=4)
        w[0] += 5  # far from singular
        truth = torch.linalg.solve(circtools.circulant(w), y)
        if problem := tensor_problem(answer(w.clone(), y.clone()), truth, f"a matrix of {b} x {b}",
                                     "circulant(w) @ x is not y"):
            return problem
    return matrix_problem(answer, draw(64, seed=3), draw(64, seed=4))


def real_product(w: Tensor, x: Tensor) -> Tensor:
    half = torch.fft.rfft(w).conj() * torch.fft.rfft(x)  # (n // 2 + 1,)
    return torch.fft.irfft(half, n=len(x))


def verify_real_product(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for n in (5, 8, 2, 1):
        w, x = draw(n, seed=5), draw(n, seed=6)
        if problem := tensor_problem(answer(w.clone(), x.clone()), circtools.circulant(w) @ x,
                                     f"vectors of {n}", "the numbers are not circulant(w) @ x"):
            return problem
    return matrix_problem(answer, draw(64, seed=5), draw(64, seed=6))


EXERCISES = [
    Exercise(
        "1.1", verify_rotate_rows, rotate_rows,
        hint="row.roll(r) rotates a row right by r places; torch.stack makes a matrix of rows.",
        praise="One row holds the whole matrix.",
        without=("circulant", "block_circulant", "BlockCirculantLinear"),
        mistakes=(
            (lambda row: matrix_of(row).T,
             "your row stands in the first column: your matrix is the transposed one"),
            (lambda row: torch.stack([row.roll(-r) for r in range(len(row))]),
             "your rows rotate to the left: what leaves a row on the right must come back on the "
             "left of the row below"),
            (lambda row: torch.stack([row.roll(r + 1) for r in range(len(row))]),
             "your first row is rotated already: it is the row as given, so count from 0"),
            (lambda row: row.expand(len(row), -1),
             "all your rows are equal: each must be the one above, rotated right by one"),
        ),
        picture=("The matrix of the row 1, 2, 3, 4, 5, 6",
                 lambda answer: answer(torch.arange(1.0, 7.0))),
    ),
    Exercise(
        "1.2", verify_product_row, product_row,
        hint="The spectrum of the product is the product of the spectra. The way back from a "
             "spectrum to a first row is torch.fft.fft(spectrum, norm='forward'), of which the "
             "real part is wanted.",
        praise="A product of two matrices, without a matrix.",
        without=("circulant", "block_circulant", "BlockCirculantLinear", "rotate_rows",
                 "toeplitz"),
        mistakes=(
            (lambda w, v: w * v,
             "you multiplied the rows entry by entry: multiply the spectra entry by entry, and "
             "transform back"),
            (lambda w, v: fft(spectrum(w) * spectrum(v)).real,
             "your result is b times too large: mind the norm of the transform"),
            (lambda w, v: ifft(spectrum(w) * spectrum(v)).real,
             "you return the first column, the row in reverse order: the way back from our "
             "spectrum is fft, not ifft"),
            (lambda w, v: (matrix_of(w).T @ matrix_of(v))[0],
             "your first matrix is transposed: its spectrum is conjugated"),
            (lambda w, v: (matrix_of(w) @ matrix_of(v).T)[0],
             "your second matrix is transposed: its spectrum is conjugated"),
            (lambda w, v: matrix_of(w) @ matrix_of(v),
             "you return the whole matrix: only its first row is wanted"),
        ),
    ),
    Exercise(
        "1.3", verify_solve_circulant, solve_circulant,
        hint="From the diagonalisation, the transform of y is the spectrum of w times the "
             "transform of x, frequency by frequency. Three lines: transform y, divide by "
             "spectrum(w), transform back and take the real part.",
        praise="A linear system in O(n log n).",
        without=("circulant", "block_circulant", "BlockCirculantLinear", "rotate_rows", "solve",
                 "inv", "inverse", "lstsq", "toeplitz", "solve_circulant"),
        mistakes=(
            (lambda w, y: matrix_of(w) @ y,
             "you multiplied by the matrix: to undo it, divide by the spectrum"),
            (lambda w, y: ifft(fft(y) / fft(w)).real,
             "you solved with the transposed matrix: divide fft(y) by spectrum(w), which is the "
             "conjugate of fft(w)"),
            (lambda w, y: y / w,
             "you divided the vectors entry by entry: divide their transforms, frequency by "
             "frequency"),
            (lambda w, y: fft(y) / spectrum(w),
             "that is the transform of x: transform it back"),
        ),
    ),
    Exercise(
        "1.4", verify_real_product, real_product,
        hint="The three steps of *The cost*, with rfft and irfft. The spectrum is the conjugate of "
             "the transform of w, and irfft must be told n.",
        praise="Now start the race: race(256, real_product), and other sizes.",
        without=("circulant", "block_circulant", "BlockCirculantLinear", "rotate_rows",
                 "toeplitz"),
        mistakes=(
            (lambda w, x: irfft(rfft(w).conj() * rfft(x)),
             "half a spectrum does not tell whether n was even or odd: give irfft n=len(x)"),
            (lambda w, x: irfft(rfft(w) * rfft(x), n=len(x)),
             "you multiplied by the transposed matrix: the spectrum is the conjugate of rfft(w)"),
            (lambda w, x: irfft(rfft(w) * rfft(x).conj(), n=len(x)),
             "you conjugated the transform of x: the spectrum is the conjugate of that of w"),
            (lambda w, x: rfft(w).conj() * rfft(x),
             "that is half the transform of the result: transform it back"),
            (lambda w, x: w * x,
             "you multiplied the vectors entry by entry: multiply their transforms"),
        ),
    ),
]
