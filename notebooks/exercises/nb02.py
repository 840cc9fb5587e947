"""The exercises of notebook 02."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

import circtools
from circtools import BlockCirculantLinear
from exercises import Exercise
from exercises.answers import draw, form_problem, matrix_problem, same


def smallest_block(out_features: int, in_features: int, ratio: float) -> int:
    def compression(b: int) -> float:
        stored = math.ceil(out_features / b) * math.ceil(in_features / b) * b
        return out_features * in_features / stored

    return next(b for b in itertools.count(1) if compression(b) >= ratio)


def verify_smallest_block(answer: Callable[[int, int, float], int]) -> str | None:
    for out, width, ratio in ((8, 8, 1), (64, 64, 8), (16, 8, 5), (10, 784, 6), (10, 784, 10),
                              (100, 30, 9), (7, 5, 2.5)):
        given = f"{out} x {width} and {ratio}x"
        got, truth = answer(out, width, ratio), smallest_block(out, width, ratio)
        if got is None or got is ...:
            return f"for {given} it returned nothing: replace the dots, and return the block size"
        if isinstance(got, bool) or not isinstance(got, int):
            return f"for {given} it returned {got!r}: a block size is an int"
        if not 1 <= got <= max(out, width):
            return f"for {given} it returned {got}, which no layer of this size can have"
        reached = out * width / BlockCirculantLinear(width, out, got).weight.numel()
        if reached < ratio:
            return (f"for {given} it returned {got}, but that stores only {reached:.3g}x less: "
                    "the blocks that stick out are stored too, so round their number up")
        if got > truth:
            return f"for {given} it returned {got}; a smaller block is enough"
    return None


def nearest_row(matrix: Tensor) -> Tensor:
    n = len(matrix)
    return torch.stack([matrix[r].roll(-r) for r in range(n)]).mean(0)


def verify_nearest_row(answer: Callable[[Tensor], Tensor]) -> str | None:
    for n in (5, 8, 2, 1):
        matrix, given = draw(n, n, seed=n), f"a matrix of {n} x {n}"
        got = answer(matrix.clone())
        truth = circtools.nearest_circulant(matrix, n)[0, 0]
        if isinstance(got, Tensor) and got.shape == (n, n) and n > 1:
            return "you return a whole matrix: only the first row of the nearest one is wanted"
        if problem := form_problem(got, truth, given):
            return problem
        if same(got, truth):
            continue
        if same(got, matrix[0]):
            return "you return the first row as it is: average along the wrapped diagonals"
        if same(got, matrix.mean(0)):
            return ("you average the columns: rotate row r left by r first, so that a diagonal "
                    "becomes a column")
        if same(got, n * truth):
            return "you sum along the diagonals: the nearest number to several is their mean"
        if same(got, torch.stack([matrix[r].roll(r) for r in range(n)]).mean(0)):
            return "you rotate row r right by r: to line the diagonals up it must go left"
        if same(got, circtools.nearest_circulant(matrix.T, n)[0, 0]):
            return "your first row belongs to the transposed matrix: you return the first column"
        return f"for {given} entry k is not the mean of the entries (r, c) with (c - r) mod n = k"
    return None


def block_multiply(rows: Tensor, x: Tensor) -> Tensor:
    _, q, b = rows.shape
    x_hat = torch.fft.fft(x.view(q, b))  # (in_blocks, b)
    y_hat = (circtools.spectrum(rows) * x_hat).sum(1)  # (out_blocks, b)
    return torch.fft.ifft(y_hat).real.flatten()  # (out_blocks * b,)


def verify_block_multiply(answer: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    for p, q, b in ((3, 2, 6), (2, 1, 5), (1, 3, 4), (1, 1, 4), (2, 2, 1)):
        rows, x = draw(p, q, b, seed=5), draw(q * b, seed=6)
        given = f"{p} x {q} blocks of {b}"
        got, truth = answer(rows.clone(), x.clone()), circtools.block_circulant(rows) @ x
        if isinstance(got, Tensor) and got.shape == (p, b) and p > 1:
            return f"for {given} flatten the result: it should have {p * b} numbers in one row"
        if problem := form_problem(got, truth, given):
            return problem
        if same(got, truth):
            continue
        flipped = rows.roll(-1, -1).flip(-1)  # first rows of the transposed blocks
        if same(got, circtools.block_circulant(flipped) @ x):
            return ("your blocks are transposed: with fft on both sides you get a convolution; "
                    "the transform of the first rows has to be conjugated (that is the spectrum)")
        return f"for {given} the result is not block_circulant(rows) @ x"
    return matrix_problem(answer, draw(2, 2, 64, seed=5), draw(128, seed=6))


EXERCISES = [
    Exercise(
        "2.1", verify_smallest_block, smallest_block,
        hint="A layer has ceil(out / b) x ceil(in / b) blocks (math.ceil rounds up), and each "
             "stores b numbers. Try b = 1, 2, 3, ... and return the first that stores at least "
             "ratio times less than out x in.",
        praise="Padding makes the ladder uneven: the block size is not always the compression.",
    ),
    Exercise(
        "2.2", verify_nearest_row, nearest_row,
        hint="Rotate row r left by r: matrix[r].roll(-r). Entry (r, c) with (c - r) mod n = k "
             "then stands in column k. Average the columns.",
        praise="You have projected a matrix onto the circulant ones.",
        without=("nearest_circulant", "from_linear", "compress"),
    ),
    Exercise(
        "2.3", verify_block_multiply, block_multiply,
        hint="Cut x into (in_blocks, b) and transform it with torch.fft.fft. Multiply by "
             "spectrum(rows), of shape (out_blocks, in_blocks, b), and sum over the "
             "input blocks. Transform back with torch.fft.ifft, take .real and flatten.",
        praise="That is the heart of the layer.",
        without=("block_circulant", "circulant", "BlockCirculantLinear", "toeplitz"),
    ),
]
