"""Exercises of notebook 09."""

from collections.abc import Callable

from exercises import Exercise


def products(b: int) -> int:
    real = 2 - b % 2
    return real + 3 * (b - real) // 2


def verify_products(answer: Callable[[int], int]) -> str | None:
    for b in (2, 3, 4, 8, 9, 32):
        got = answer(b)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if got == products(b):
            continue
        complex_only = b // 2 + 1
        if got == complex_only:
            return (f"for b = {b} you count each frequency once; one with a sine part takes three "
                    "real products")
        return f"for b = {b} it should be {products(b)}, yours gives {got}"
    return None


def sparse_megabytes(weights: int, density: float) -> float:
    left = weights * density
    return (4 * left + min(weights / 8, 2 * left)) / 1e6


def verify_sparse(answer: Callable[[int, float], float]) -> str | None:
    for weights, density in ((1_000_000, 0.5), (1_000_000, 1.0), (250_000, 0.01)):
        got = answer(weights, density)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        truth, left = sparse_megabytes(weights, density), weights * density
        if abs(got - truth) < 1e-9:
            continue
        if abs(got - 4 * left / 1e6) < 1e-9:
            return "you count the values only; where they are must be stored too"
        if abs(got - (4 * left + weights) / 1e6) < 1e-9:
            return "a bit for every place is an eighth of a byte"
        return (f"of {weights} weights with the share {density} left it should be {truth:g} MB, "
                f"yours gives {got:g}")
    return None


def fastest(flops: float, moved: float, rate: float, bandwidth: float) -> float:
    return max(flops / rate, moved / bandwidth)


def verify_fastest(answer: Callable[[float, float, float, float], float]) -> str | None:
    for case, limited in (((1e9, 1e6, 1e11, 1e10), "arithmetic"),
                          ((1e6, 1e9, 1e11, 1e10), "memory"), ((2e9, 1e9, 1e11, 1e10), "memory")):
        got, truth = answer(*case), fastest(*case)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if abs(got - truth) < 1e-12:
            continue
        if abs(got - (case[0] / case[2] + case[1] / case[3])) < 1e-12:
            return "arithmetic and memory traffic overlap: the longer one counts, not the sum"
        return (f"where the {limited} is the limit, with {case[0]:g} operations and {case[1]:g} "
                f"bytes, it should be {truth:g} s, yours gives {got:g}")
    return None


EXERCISES = [
    Exercise("9.1", verify_products, products,
             "A real signal of length b has the constant frequency, for even b the alternating "
             "one, and (b - these) / 2 with a sine part; those take three products each.",
             "For b = 2 that halves the arithmetic; for large b it falls as 1.5 / b."),
    Exercise("9.2", verify_sparse, sparse_megabytes,
             "left = weights * density; the values take 4 * left bytes, the places "
             "min(weights / 8, 2 * left); a megabyte is 1e6 bytes.",
             "The bits win until fewer than one weight in sixteen is left."),
    Exercise("9.3", verify_fastest, fastest,
             "Each limit gives a time: operations / rate, and bytes / bandwidth. The processor "
             "works on both at once."),
]
