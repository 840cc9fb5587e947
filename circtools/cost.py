"""Which algorithm is fastest for a layer: a small cost model with measured constants.

The time of an algorithm is taken as a sum: so much for being called, so much for each operation of
its matrix products and of its transforms, so much for each byte of its intermediate results. What
there is to do, :func:`work` counts; what it costs, ``python -m circtools.bench.layer --calibrate``
measures. The constants below are those of two cores of a server's CPU, in float32 and bfloat16.
There they predict half of the times within a factor of 1.1 to 1.3, and what they choose takes 1.01
times as long as the best choice, in the geometric mean. They need not be right for another machine
to choose well there: only their ratios matter, and between two algorithms of nearly equal speed a
wrong choice costs little.
"""

import math
from typing import NamedTuple


class Work(NamedTuple):
    """What an algorithm does for one input (or, of a constant, the seconds that each costs)."""

    calls: float
    products: float  # floating-point operations
    transforms: float  # floating-point operations
    moved: float  # bytes written and read again between the steps


# Seconds for a call, an operation of a product, one of a transform, a byte (of float32: the counts
# are the same for every type), by whether gradients are computed and the type has 16 bits.
COSTS = {
    (False, False): {
        "dense": Work(1.2e-5, 3.4e-12, 0, 1.4e-11),
        "fft": Work(5.1e-5, 8.2e-12, 0, 1.6e-10),
        "dft": Work(3.6e-5, 5.2e-12, 4.6e-12, 2.2e-11),
    },
    (False, True): {
        "dense": Work(3.6e-5, 5.5e-13, 0, 1.5e-11),
        "fft": Work(5.7e-5, 8.1e-12, 0, 1.7e-10),
        "dft": Work(7.7e-5, 2.2e-12, 1.4e-12, 5.1e-11),
    },
    (True, False): {
        "dense": Work(3.1e-5, 3.5e-12, 0, 1.5e-10),
        "fft": Work(8.5e-5, 4.5e-12, 3.3e-11, 1.8e-10),
        "dft": Work(7.0e-5, 4.4e-12, 4.6e-12, 7.3e-11),
    },
    (True, True): {
        "dense": Work(6.8e-5, 8.3e-13, 0, 1.7e-10),
        "fft": Work(9.1e-5, 4.6e-12, 4.1e-11, 1.9e-10),
        "dft": Work(1.4e-4, 1.4e-12, 1.5e-12, 9.6e-11),
    },
}


def dft_products(block_size: int) -> int:
    """Return how many real products the frequencies of a block take.

    One where the Fourier vector is real, three (Gauss's trick) where it is complex.
    """
    real = 2 - block_size % 2
    return real + 3 * (block_size - real) // 2


def work(algorithm: str, out_blocks: int, in_blocks: int, block_size: int, tokens: int,
         training: bool) -> Work:
    """Return what one pass takes: forward with prepared weights, or forward and backward.

    Args:
        algorithm: ``"dense"``, ``"fft"`` or ``"dft"``.
        out_blocks: rows of blocks of the matrix.
        in_blocks: columns of blocks of the matrix.
        block_size: the block size b.
        tokens: rows of the input.
        training: whether the weights are prepared anew and gradients computed.

    Raises:
        KeyError: if the algorithm is unknown.
    """
    p, q, b = out_blocks, in_blocks, block_size
    # Numbers to transform, in vectors of length b: inputs and outputs; in training their
    # gradients too, and the weights and theirs.
    vectors = tokens * (p + q) * (2 if training else 1) + (2 * p * q if training else 0)
    passes = 3 if training else 1  # backward has two products for the one of forward
    if algorithm == "dense":
        moved = 4 * b * b * p * q * (4 if training else 1)  # the matrix, made and read
        return Work(passes, passes * 2 * tokens * p * q * b * b, 0, moved)
    if algorithm == "fft":
        frequencies = b // 2 + 1
        # Products between blocks want the frequencies in front, and their results back in place.
        written = (3 if p * q > 1 else 1) * vectors + passes * p * q
        return Work(passes, passes * 8 * tokens * p * q * frequencies,
                    vectors * 2.5 * b * math.log2(b), 8 * frequencies * written)
    if algorithm == "dft":
        products = dft_products(b)
        return Work(passes, passes * 2 * tokens * p * q * products,
                    vectors * 2 * products * b, 4 * products * (vectors + passes * p * q))
    raise KeyError(algorithm)


def seconds(algorithm: str, out_blocks: int, in_blocks: int, block_size: int, tokens: int,
            training: bool, half: bool = False) -> float:
    """Return the estimated time; in a 16-bit type if ``half``; for the rest see :func:`work`."""
    done = work(algorithm, out_blocks, in_blocks, block_size, tokens, training)
    costs = COSTS[training, half][algorithm]
    return sum(n * each for n, each in zip(done, costs, strict=True))
