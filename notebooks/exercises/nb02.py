"""The exercises of notebook 02."""

import itertools
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

import circtools
from circtools import BlockCirculantLinear
from exercises import Exercise
from exercises.answers import draw, matrix_problem, tensor_problem

matrix_of, fft, ifft = circtools.circulant, torch.fft.fft, torch.fft.ifft


def smallest_block(out_features: int, in_features: int, ratio: float) -> int:
    def compression(b: int) -> float:
        stored = math.ceil(out_features / b) * math.ceil(in_features / b) * b
        return out_features * in_features / stored

    return next(b for b in itertools.count(1) if compression(b) >= ratio)


def verify_smallest_block(answer: Callable[[int, int, float], int]) -> str | None:
    cases = [(8, 8, 1), (64, 64, 8), (16, 8, 5), (10, 784, 6), (20, 784, 10), (100, 30, 9),
             (7, 5, 2.5)]
    for got, (out, width, ratio) in zip([answer(*case) for case in cases], cases, strict=True):
        given, truth = f"{out} x {width} and {ratio}x", smallest_block(out, width, ratio)
        if got is None or got is ...:
            return f"for {given} it returned nothing: replace the dots, and return the block size"
        if isinstance(got, bool) or not isinstance(got, int):
            return f"for {given} it returned {got!r}: a block size is an int"
        if not 1 <= got <= max(out, width):
            return f"for {given} it returned {got}, which no layer of this size can have"
        reached = out * width / BlockCirculantLinear(width, out, got).weight.numel()
        if reached < ratio:
            return f"for {given} it returned {got}, which stores only {reached:.3g}x less"
        if got > truth:
            return f"for {given} it returned {got}; a smaller block is enough"
    return None


def first_block(stored: Callable[[int, int, int], float], sizes: Iterable[int] = range(1, 785)
                ) -> Callable[[int, int, float], int]:
    """Return the answer of somebody who counts the stored weights in another way."""
    return lambda out, width, ratio: next(
        b for b in sizes if stored(out, width, b) * ratio <= out * width)


def with_padding(out: int, width: int, b: int) -> int:
    return math.ceil(out / b) * math.ceil(width / b) * b


def nearest_row(matrix: Tensor) -> Tensor:
    n = len(matrix)
    return torch.stack([matrix[r].roll(-r) for r in range(n)]).mean(0)


def verify_nearest_row(answer: Callable[[Tensor], Tensor]) -> str | None:
    for n in (5, 8, 2, 1):
        matrix = draw(n, n, seed=n)
        if problem := tensor_problem(
                answer(matrix.clone()), circtools.nearest_circulant(matrix, n)[0, 0],
                f"a matrix of {n} x {n}",
                "entry k is not the mean of the entries (r, c) with (c - r) mod n = k"):
            return problem
    return None


def block_multiply(rows: Tensor, x: Tensor) -> Tensor:
    _, q, b = rows.shape
    x_hat = torch.fft.fft(x.view(q, b))  # (in_blocks, b)
    y_hat = (circtools.spectrum(rows) * x_hat).sum(1)  # (out_blocks, b)
    return torch.fft.ifft(y_hat).real.flatten()  # (out_blocks * b,)


def verify_block_multiply(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for p, q, b in ((3, 2, 6), (2, 1, 5), (1, 3, 4), (1, 1, 4), (2, 2, 1)):
        rows, x = draw(p, q, b, seed=5), draw(q * b, seed=6)
        if problem := tensor_problem(
                answer(rows.clone(), x.clone()), circtools.block_circulant(rows) @ x,
                f"{p} x {q} blocks of {b}", "the result is not block_circulant(rows) @ x"):
            return problem
    return matrix_problem(answer, draw(2, 2, 64, seed=5), draw(128, seed=6))


def products(rows: Tensor, x: Tensor) -> Tensor:
    """Return the spectra of all blocks times those of their parts of x, before they are added."""
    return circtools.spectrum(rows) * fft(x.view(rows.shape[1], -1))  # (out_blocks, in_blocks, b)


EXERCISES = [
    Exercise(
        "2.1", verify_smallest_block, smallest_block,
        hint="A layer has ceil(out / b) x ceil(in / b) blocks (math.ceil rounds up), and each "
             "stores b numbers. Try b = 1, 2, 3, ... and return the first that stores at least "
             "ratio times less than out x in.",
        praise="Padding makes the ladder uneven: the block size is not always the compression.",
        mistakes=(
            (lambda out, width, ratio: math.ceil(ratio),
             "you take the ratio for the block size; blocks that stick out are stored too, so it "
             "may take a larger one"),
            (first_block(lambda out, width, b: (out // b) * (width // b) * b),
             "you round the number of blocks down; the blocks that stick out are stored too"),
            (first_block(lambda out, width, b: with_padding(out, width, b) / b),
             "you count the blocks; each of them stores b numbers"),
            (first_block(lambda out, width, b: with_padding(out, width, b) + 1e-6),
             "exactly `ratio` times smaller is enough: compare with >=, not with >"),
            (first_block(with_padding, [2**k for k in range(10)]),
             "you try powers of two only; a block may have any size"),
        ),
    ),
    Exercise(
        "2.2", verify_nearest_row, nearest_row,
        hint="Rotate row r left by r: matrix[r].roll(-r). Entry (r, c) with (c - r) mod n = k "
             "then stands in column k. Average the columns.",
        praise="You have projected a matrix onto the circulant ones.",
        without=("nearest_circulant", "from_linear", "compress"),
        mistakes=(
            (lambda matrix: matrix[0],
             "you return the first row as it is: average along the wrapped diagonals"),
            (lambda matrix: matrix.mean(0),
             "you average the columns: rotate row r left by r first, so that a diagonal becomes a "
             "column"),
            (lambda matrix: len(matrix) * nearest_row(matrix),
             "you sum along the diagonals: the nearest number to several is their mean"),
            (lambda matrix: torch.stack([row.roll(r) for r, row in enumerate(matrix)]).mean(0),
             "you rotate row r right by r: to line the diagonals up it must go left"),
            (lambda matrix: nearest_row(matrix.T),
             "your first row belongs to the transposed matrix: you return the first column"),
            (lambda matrix: torch.stack([matrix.diagonal(k).mean() for k in range(len(matrix))]),
             "your diagonals end at the edge: they go on at the left one"),
            (lambda matrix: matrix_of(nearest_row(matrix)),
             "you return a whole matrix: only the first row of the nearest one is wanted"),
        ),
        picture=("The circulant matrix that is nearest to a random one",
                 lambda answer: matrix_of(answer(draw(6, 6)))),
    ),
    Exercise(
        "2.3", verify_block_multiply, block_multiply,
        hint="Cut x into (in_blocks, b) and transform it with torch.fft.fft. Multiply by "
             "spectrum(rows), of shape (out_blocks, in_blocks, b), and sum over the "
             "input blocks. Transform back with torch.fft.ifft, take .real and flatten.",
        praise="That is the heart of the layer.",
        without=("block_circulant", "circulant", "BlockCirculantLinear", "toeplitz"),
        mistakes=(
            (lambda rows, x: block_multiply(rows.roll(-1, -1).flip(-1), x),
             "your blocks are transposed: with fft on both sides you get a convolution; the "
             "transform of the first rows has to be conjugated (that is the spectrum)"),
            (lambda rows, x: ifft(products(rows, x).mean(1)).real.flatten(),
             "what the input blocks contribute is added up, not averaged"),
            (lambda rows, x: ifft(products(rows, x).sum(0)).real.flatten(),
             "you sum over the output blocks: sum over the input blocks, dimension 1"),
            (lambda rows, x: ifft(products(rows, x).sum(1)).real,
             "flatten the result: the blocks of y stand in one row"),
            (lambda rows, x: fft(products(rows, x).sum(1), norm="forward").real.flatten(),
             "each block of y is in reverse order: the way back to y is ifft, not fft"),
            (lambda rows, x: block_multiply(
                rows, x.view(-1, rows.shape[1]).T.reshape(-1)),
             "you put every in_blocks-th entry of x into a block; a block is b neighbours: "
             "x.view(in_blocks, b)"),
        ),
    ),
]
