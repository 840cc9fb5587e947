"""The statistics of a comparison, and the rules by which a claim gets its verdict.

Every difference is one quality minus another, for instance that of pruned networks minus that of
block-circulant ones. Above zero the first is better.

Networks that were trained apart are two independent samples, however their seeds are numbered.
Networks that share their start (a pruned chain and its control) are compared seed by seed. In
translation another set of test sentences would have given other scores as well, so there the
interval holds both: the spread over trainings and the spread over sentences. Single levels of
compression are tested at 5 % with Holm's correction across the levels.

A claim has no verdict if either side has been trained fewer than three times. Else it is refuted,
confirmed or, if neither, undecided, as the functions ``..._verdict`` say.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

ENOUGH_SEEDS = 3  # trainings of either side, without which there is no verdict


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are nan where there is none."""

    mean: float
    low: float
    high: float

    def text(self) -> str:
        """Return the mean with its sign, and the bounds in brackets."""
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the mean of a sample and its 95 % interval by Student's t."""
    return difference(values, [0.0])[0]


def difference(first: Sequence[float] | np.ndarray | pd.Series, second: Sequence[float],
               of_sentences: np.ndarray | None = None, paired: bool = False
               ) -> tuple[Interval, float]:
    """Return the mean of one sample minus that of another, its 95 % interval and its p-value.

    The degrees of freedom are those of Welch and Satterthwaite. With test sentences the variance is
    the sum of two parts, over trainings and over sentences. What a sentence does to a single
    training is counted in both, so the interval is rather too wide than too narrow. With one
    training and no sentences the bounds are nan.

    Args:
        first: scores of one method, one per training.
        second: those of the other.
        of_sentences: what each test sentence adds to the difference, (sentences,); see
            :func:`circtools.experiments.bleu.sentence_effects`.
        paired: whether the two samples share their starts, training by training.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different
    population variances are involved", Biometrika 34 (1947).
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    mean = float(a.mean() - b.mean())
    samples = [a - b] if paired else [a, b]
    if of_sentences is not None:
        samples.append(of_sentences)
    parts = [(sample.var(ddof=1) / len(sample), len(sample) - 1)  # and degrees of freedom
             for sample in samples if len(sample) > 1]
    if not parts:
        return Interval(mean, float("nan"), float("nan")), float("nan")
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Interval(mean, mean, mean), float(mean == 0)
    freedom = variance**2 / sum(part**2 / of_freedom for part, of_freedom in parts)
    error = variance**0.5
    half = float(stats.t.ppf(0.975, freedom)) * error
    return (Interval(mean, mean - half, mean + half),
            float(2 * stats.t.sf(abs(mean) / error, freedom)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number, in their order; the library that has it is large.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6
    (1979).
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def with_all_levels(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seeds that share the largest set of levels: means are over these."""
    of_seed = {seed: frozenset(rows["block_size"]) for seed, rows in pairs.groupby("seed")}
    found = [*of_seed.values()]
    most = max(found, key=lambda levels: (len(levels), found.count(levels)), default=None)
    return pairs[pairs["seed"].isin([seed for seed in of_seed if of_seed[seed] == most])]


def levels(pairs: pd.DataFrame, effects: dict[Any, np.ndarray] | None = None,
           paired: bool = False) -> tuple[pd.DataFrame, Interval]:
    """Return the difference at each level, and its mean over the levels with its interval.

    The pairs have the columns ``block_size``, ``compression``, ``seed``, ``first`` and ``second``
    (scores), and with ``effects``, those of the test sentences on each network's score, also
    ``first_run`` and ``second_run``, their keys there. ``paired`` is that of :func:`difference`.

    Each level has a row with the columns ``block_size``, ``compression``, ``mean``, ``low``,
    ``high``, ``p`` (adjusted by Holm) and ``decided`` (1 significantly above zero, -1 below, 0
    neither).
    """
    wide = pairs.pivot_table(index="seed", columns=["block_size", "compression"],
                             values=["first", "second"])  # (seeds, sides times levels)
    first, second = wide["first"].to_numpy(), wide["second"].to_numpy()
    of_sentences = None if effects is None else np.array(
        [np.mean([effects[row.first_run] - effects[row.second_run] for row in rows.itertuples()], 0)
         for _, rows in pairs.groupby("block_size")])  # (levels, sentences)

    def at(chosen: slice) -> tuple[Interval, float]:
        own = None if of_sentences is None else of_sentences[chosen].mean(0)
        return difference(first[:, chosen].mean(1), second[:, chosen].mean(1), own, paired)

    found = [(*names, *mean, p) for i, names in enumerate(wide["first"].columns)
             for mean, p in [at(slice(i, i + 1))]]
    each = pd.DataFrame(found, columns=["block_size", "compression", "mean", "low", "high", "p"])
    each["p"] = holm(each["p"].fillna(1.0))
    each["decided"] = np.where(each["p"] < 0.05, np.sign(each["mean"]), 0).astype(int)
    return each, at(slice(None))[0]


def _verdict(seeds: int, refuted: bool, confirmed: bool) -> str:
    if seeds < ENOUGH_SEEDS:
        return "no verdict"
    return "refuted" if refuted else "confirmed" if confirmed else "undecided"


def sign_verdict(each: pd.DataFrame, mean: Interval, seeds: int, claimed: int = 1) -> str:
    """Return the verdict on a difference that is claimed to be above (1) or below (-1) zero.

    It is confirmed if the mean over the levels is on that side with its whole interval, and no
    single level is significantly on the other; refuted if the mean or a single level is on the
    other.
    """
    low, high = (mean.low, mean.high) if claimed > 0 else (-mean.high, -mean.low)
    against = (claimed * each["decided"] < 0).any()
    return _verdict(seeds, refuted=high < 0 or against, confirmed=low > 0)


def number_verdict(_: pd.DataFrame, mean: Interval, seeds: int, claimed: float, close: float
                   ) -> str:
    """Return the verdict on a mean difference that is claimed to be a number.

    It is refuted if the number is outside the interval, and confirmed if no point of the interval
    is further from it than ``close``, whatever each level says.
    """
    return _verdict(seeds, refuted=not mean.low <= claimed <= mean.high,
                    confirmed=max(claimed - mean.low, mean.high - claimed) <= close)


def level_verdict(each: pd.DataFrame, mean: Interval, seeds: int, margin: float) -> str:
    """Return the verdict on a difference that is claimed to be at most ``margin``, either way.

    It is confirmed if the whole interval is within the margin; refuted if the whole interval is
    outside, or a single level is significantly away from zero by more than the margin.

    Source: an equivalence test at 2.5 % a side, after D. Schuirmann, "A Comparison of the Two
    One-Sided Tests Procedure", J. Pharmacokin. Biopharm. 15 (1987).
    """
    far = each["decided"].ne(0) & each["mean"].abs().gt(margin)
    return _verdict(seeds, refuted=mean.low > margin or mean.high < -margin or far.any(),
                    confirmed=-margin <= mean.low and mean.high <= margin)
