"""Exercises of notebook 09."""

from exercises import Exercise


def products_of(b: int) -> int:
    real = 2 - b % 2
    return real + 3 * (b - real) // 2


def sparse_megabytes(weights: int, density: float) -> float:
    left = weights * density
    return (4 * left + min(weights / 8, 2 * left)) / 1e6


def shortest_time(flops: float, moved: float, rate: float, bandwidth: float) -> float:
    return max(flops / rate, moved / bandwidth)


EXERCISES = [
    Exercise("9.1", [(8,), (9,), (2,), (3,), (4,), (32,)], products_of,
             "A real signal of length b has the constant frequency, for even b the alternating "
             "one, and (b - these) / 2 with a sine part; those take three products each.",
             "For b = 2 that halves the arithmetic; for large b it falls as 1.5 / b.",
             mistakes=(
                 (lambda b: b // 2 + 1,
                  "you count each frequency once; a complex one takes three products"),
                 (lambda b: 3 * (b // 2 + 1),
                  "you count three products for each; a real frequency takes one"),
                 (lambda b: 1 + 3 * (b // 2),
                  "you take the constant frequency alone for real; for even b the alternating one "
                  "is real, too"),
                 (lambda b: 2 - b % 2 + 3 * (b - 2 + b % 2),
                  "you count both frequencies of a pair; they are one complex frequency"),
                 (lambda b: 2 - b % 2 + 4 * ((b - 1) // 2),
                  "a complex frequency takes three products by Gauss's trick, not four"),
             )),
    Exercise("9.2", [(1_000_000, 0.5), (250_000, 0.01), (1_000_000, 1.0)], sparse_megabytes,
             "left = weights * density; the values take 4 * left bytes, the places "
             "min(weights / 8, 2 * left); a megabyte is 1e6 bytes.",
             "The bits win until fewer than one weight in sixteen is left.",
             mistakes=(
                 (lambda weights, density: 4 * weights * density / 1e6,
                  "you count the values only; where they are must be stored too"),
                 (lambda weights, density: (4 * weights * density + weights) / 1e6,
                  "a bit for every place is an eighth of a byte"),
                 (lambda weights, density: 4.125 * weights * density / 1e6,
                  "you count a bit for each weight left; it takes one for every place"),
                 (lambda weights, density: (4 * density + 1 / 8) * weights / 1e6,
                  "you always count the bits; where few weights are left, 2 bytes each are "
                  "shorter"),
                 (lambda weights, density: 6 * weights * density / 1e6,
                  "you always count 2 bytes each; where many weights are left, the bits are "
                  "shorter"),
                 (lambda weights, density: sparse_megabytes(weights, density) * 1e6 / 2**20,
                  "a megabyte is a million bytes; you divide by 2 ** 20"),
                 (lambda weights, density: sparse_megabytes(weights, density) * 1e6,
                  "that is in bytes; a megabyte is a million of them"),
             )),
    Exercise("9.3", [(1000, 1, 100, 10), (1, 1000, 100, 10), (2000, 1000, 100, 10)], shortest_time,
             "Each limit gives a time: operations / rate, and bytes / bandwidth. The processor "
             "works on both at once.",
             mistakes=(
                 (lambda flops, moved, rate, bandwidth: flops / rate + moved / bandwidth,
                  "arithmetic and memory traffic overlap: the longer one counts, not the sum"),
                 (lambda flops, moved, rate, bandwidth: min(flops / rate, moved / bandwidth),
                  "you take the shorter of the two times; both must be done, so the longer counts"),
                 (lambda flops, moved, rate, bandwidth: flops / rate,
                  "you count the operations alone; the bytes must be moved, too"),
                 (lambda flops, moved, rate, bandwidth: max(rate / flops, bandwidth / moved),
                  "a time is work by speed; you divide the speed by the work"),
                 (lambda flops, moved, rate, bandwidth:
                  flops / rate if flops > moved else moved / bandwidth,
                  "you compare operations with bytes; compare the two times"),
             )),
]
