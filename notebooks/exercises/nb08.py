"""Exercises of notebook 08."""

from collections.abc import Callable, Sequence

import numpy as np

from circtools.experiments.bleu import bleu_of_counts
from exercises import Exercise
from exercises.answers import NOTHING

Bootstrap = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]


def bootstrap_interval(first: np.ndarray, second: np.ndarray, draws: np.ndarray
                       ) -> tuple[float, float]:
    differences = [bleu_of_counts(first[draw].sum(0)) - bleu_of_counts(second[draw].sum(0))
                   for draw in draws]
    low, high = np.percentile(differences, [2.5, 97.5])
    return low, high


def two_networks() -> tuple[np.ndarray, np.ndarray]:
    """Return what BLEU counts in 200 sentences, which are easy or hard for both networks."""
    rng = np.random.default_rng(8)
    words = rng.integers(5, 30, 200)
    totals = np.maximum(words[:, None] - np.arange(4), 1)
    easy = rng.uniform(0.5, 1, (200, 1)) ** np.arange(1, 5)
    lengths = np.stack([words, words], 1)
    first = rng.binomial(totals, easy)
    second = rng.binomial(first, 0.97)  # it misses a few of what the first one finds
    return tuple(np.concatenate([found, totals, lengths], 1) for found in (first, second))


def verify_bootstrap(answer: Bootstrap) -> str | None:
    first, second = two_networks()
    draws = np.random.default_rng(0).integers(200, size=(1000, 200))
    got = answer(first, second, draws)
    if got is None:
        return NOTHING
    if np.shape(got) != (2,):
        return "return two numbers, the lower end and the upper end"
    differences = resampled(first, draws) - resampled(second, draws)
    low, high = np.percentile(differences, [2.5, 97.5])
    near = np.percentile(differences, [[2.4, 97.4], [2.6, 97.6]])  # any way of taking a percentile
    if np.all((near[0] <= got) & (got <= near[1])):
        return None
    unpaired = np.hypot(resampled(first, draws).std(), resampled(second, draws).std())
    if 0.8 < (got[1] - got[0]) / (3.92 * unpaired) < 1.25:
        return SAME_DRAW
    return f"it should be ({low:.2f}, {high:.2f}), yours is ({got[0]:.2f}, {got[1]:.2f})"


SAME_DRAW = ("it is as wide as if the two networks had translated different sentences; take the "
             "same draw for both, and the difference of each draw")


def resampled(counts: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return bleu_of_counts(counts[draws].sum(1))


def ends(*percentiles: float) -> Bootstrap:
    """Return the answer of somebody who takes these percentiles of the differences."""
    return lambda first, second, draws: np.percentile(
        resampled(first, draws) - resampled(second, draws), percentiles)


def one_deviation(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> np.ndarray:
    differences = resampled(first, draws) - resampled(second, draws)
    return differences.mean() + differences.std() * np.array([-1, 1])


def by_themselves(first: np.ndarray, second: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return (np.percentile(resampled(first, draws), [2.5, 97.5])
            - np.percentile(resampled(second, draws), [97.5, 2.5]))


def rejected(p_values: Sequence[float]) -> list[bool]:
    found = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for done, i in enumerate(order):
        if p_values[i] > 0.05 / (len(p_values) - done):
            break
        found[i] = True
    return found


def verify_holm(answer: Callable[[Sequence[float]], list[bool]]) -> str | None:
    cases = ([0.2, 0.001, 0.02, 0.012, 0.9], [0.04, 0.03], [0.5, 0.03, 0.001, 0.026],
             [0.01, 0.6, 0.7], [0.01])
    for got, p_values in zip([answer(list(case)) for case in cases], cases, strict=True):
        truth = rejected(p_values)
        if got is None:
            return NOTHING
        if np.shape(got) != (len(p_values),):
            return "return as many truth values as there are p-values"
        if [bool(value) for value in got] != truth:
            return f"for {p_values} it should be {truth}, yours is {got}"
    return None


def below(limit: Callable[[int, int], float]) -> Callable[[Sequence[float]], list[bool]]:
    """Return the answer of somebody who compares each p-value with the limit of its (step, n)."""
    return lambda p_values: [p <= limit(sorted(p_values).index(p), len(p_values)) for p in p_values]


EXERCISES = [
    Exercise("8.1", verify_bootstrap, bootstrap_interval,
             "For each draw, first[draw].sum(0) is what BLEU counts in all its sentences. Take the "
             "BLEU of both networks on the same draw, and their difference; then "
             "np.percentile(differences, [2.5, 97.5]).",
             "Sentences that are hard are hard for both, so a pair tells more than its parts.",
             mistakes=(
                 (ends(97.5, 2.5), "the lower end comes first"),
                 (ends(5, 95), "you cut 5 % off at either end, so 90 % are left; cut 2.5 %"),
                 (ends(0.025, 0.975),
                  "np.percentile takes percent: both of your ends are in the lower tail"),
                 (one_deviation,
                  "that is one standard deviation to either side, which holds 68 % of the "
                  "resamples; take percentiles"),
                 (by_themselves, SAME_DRAW),
                 (lambda first, second, draws: bootstrap_interval(second, first, draws),
                  "you take the second network minus the first; it is the other way round"),
             )),
    Exercise("8.2", verify_holm, rejected,
             "Go through the p-values from the smallest to the largest. The first has the limit "
             "0.05 / n, the next 0.05 / (n - 1), and so on. Stop at the first that is above its "
             "limit.",
             "Marks that are filled in the figure have passed this.", without=("holm",),
             mistakes=(
                 (below(lambda step, n: 0.05),
                  "that is 5 % for each by itself, without any correction"),
                 (below(lambda step, n: 0.05 / n),
                  "that is Bonferroni: every p-value beside 0.05 / n. Holm's limit grows from step "
                  "to step"),
                 (below(lambda step, n: 0.05 / (n - step)),
                  "the first p-value above its limit ends it: no larger one is rejected"),
                 (below(lambda step, n: 0.05 / (step + 1)),
                  "your limits begin at 0.05 and fall; Holm's begin at 0.05 / n and grow"),
                 (lambda p_values: sorted(rejected(p_values), reverse=True),
                  "these are in the order of size; put them back into the order given"),
                 (lambda p_values: [not value for value in rejected(p_values)],
                  "yours is True where a hypothesis stays; it should be True where it is rejected"),
             )),
]
