"""Exercises of notebook 06."""

from collections.abc import Callable

from exercises import Exercise
from exercises.answers import NOTHING


def model_compression(layers: int, rest: int, b: int) -> float:
    return (layers + rest) / (layers / b + rest)


def heads_share(d_model: int, heads: int, b: int) -> bool:
    return b > d_model // heads


def verify_share(answer: Callable[[int, int, int], bool]) -> str | None:
    cases = [(256, 8, 32), (256, 8, 64), (128, 4, 16), (512, 8, 512), (512, 8, 64), (128, 4, 32),
             (64, 8, 16)]
    for got, (d_model, heads, b) in zip([answer(*case) for case in cases], cases, strict=True):
        if got is None:
            return NOTHING
        if bool(got) != heads_share(d_model, heads, b):
            return (f"with d_model = {d_model}, {heads} heads are {d_model // heads} rows each, "
                    f"and a block has {b} rows: does it reach into a second head?")
    return None


EXERCISES = [
    Exercise("6.1", [(6_000_000, 5_000_000, 16), (100, 100, 10), (100, 0, 4)], model_compression,
             "Weights before, divided by weights after: only the layers' share is divided by b.",
             "However large b is, the whole shrinks by no more than (layers + rest) / rest.",
             mistakes=(
                 (lambda layers, rest, b: b,
                  "that is the factor of the layers alone; the rest does not shrink"),
                 (lambda layers, rest, b: layers / (layers / b + rest),
                  "before, the model holds the rest, too: add it above the line as well"),
                 (lambda layers, rest, b: (layers * b + rest) / (layers + rest),
                  "you average the factors b and 1; add up the weights, then divide once"),
                 (lambda layers, rest, b: 1 / model_compression(layers, rest, b),
                  "you divide what is left by what there was; the factor is the other way round"),
             )),
    Exercise("6.2", verify_share, heads_share,
             "A head is d_model / heads rows of the query matrix, a block b rows.",
             mistakes=(
                 (lambda d_model, heads, b: b >= d_model / heads,
                  "a block as large as a head does not reach into a second one: > and not >="),
                 (lambda d_model, heads, b: b <= d_model / heads,
                  "it is the other way round: a block above a head's size reaches into a second"),
                 (lambda d_model, heads, b: b > heads,
                  "you compare b with the number of heads; compare it with the rows of a head"),
             )),
]
