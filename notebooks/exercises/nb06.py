"""Exercises of notebook 06."""

from collections.abc import Callable

from exercises import Exercise


def model_compression(layers: int, rest: int, b: int) -> float:
    return (layers + rest) / (layers / b + rest)


def verify_model(answer: Callable[[int, int, int], float]) -> str | None:
    for layers, rest, b in ((6_000_000, 5_000_000, 16), (100, 0, 4), (100, 100, 10)):
        got, truth = answer(layers, rest, b), model_compression(layers, rest, b)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if abs(got - truth) < 1e-9:
            continue
        if abs(got - b) < 1e-9:
            return "that is the factor of the layers alone; the rest does not shrink"
        return (f"with {layers} weights in the layers, {rest} elsewhere and b = {b} it should be "
                f"{truth:.3g}, yours gives {got:.3g}")
    return None


def heads_share(d_model: int, heads: int, b: int) -> bool:
    return b > d_model // heads


def verify_share(answer: Callable[[int, int, int], bool]) -> str | None:
    for d_model, heads, b in ((256, 8, 32), (256, 8, 64), (128, 4, 16), (512, 8, 512),
                              (512, 8, 64), (128, 4, 32), (64, 8, 16)):
        got = answer(d_model, heads, b)
        if got is None:
            return "it returns None: replace the dots with a return statement"
        if bool(got) != heads_share(d_model, heads, b):
            return (f"with d_model = {d_model}, {heads} heads are {d_model // heads} rows each, "
                    f"and a block has {b} rows: does it reach into a second head?")
    return None


EXERCISES = [
    Exercise("6.1", verify_model, model_compression,
             "Weights before, divided by weights after: only the layers' share is divided by b.",
             "However large b is, the whole shrinks by no more than (layers + rest) / rest."),
    Exercise("6.2", verify_share, heads_share,
             "A head is d_model / heads rows of the query matrix, a block b rows."),
]
