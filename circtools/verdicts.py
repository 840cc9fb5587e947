"""The rules by which a claim gets its verdict, and the statistics they rest on.

The rules were written before there were full-scale results. Where there are several seeds, seeds
are the sample: intervals are Student's t over seeds, and differences are taken seed by seed at
equal compression. Where there is one seed, the sample is the test sentences: both networks are
scored on the same resamples of them (the paired bootstrap), which says nothing about how another
seed would have come out. A claim over several levels of compression is

- confirmed, if the mean difference over the levels is above zero with its whole interval and no
  single level is significantly below;
- refuted, if the mean is below zero with its whole interval, or a single level is significantly
  below;
- undecided otherwise.

Single levels are tested at 5 % with Holm's correction across the levels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are nan where there is none."""

    mean: float
    low: float
    high: float

    def text(self, unit: str = "") -> str:
        """Return the mean with its sign and unit, and the bounds in brackets."""
        return f"{self.mean:+.2f}{' ' * bool(unit)}{unit} ({self.low:+.2f} to {self.high:+.2f})"


def interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the mean of a sample and its 95 % interval by Student's t."""
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2:
        return Interval(float(sample.mean()), float("nan"), float("nan"))
    mean, half = sample.mean(), stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
    return Interval(float(mean), float(mean - half), float(mean + half))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number, in their order.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6
    (1979).
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def with_all_levels(differences: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seeds that have been run at the same levels, as many as there are.

    A mean over the levels can be compared between seeds only if it is over the same ones.
    """
    if differences.empty:
        return differences
    of_seed = {seed: frozenset(rows["block_size"]) for seed, rows in differences.groupby("seed")}
    seeds = Counter(of_seed.values())
    most = max(seeds, key=lambda levels: (len(levels), seeds[levels]))
    return differences[differences["seed"].map(of_seed.get).map(most.__eq__)]


def levels(differences: pd.DataFrame) -> pd.DataFrame:
    """Return the mean difference of each level with its interval and its Holm-adjusted p-value.

    Returns:
        Columns ``block_size``, ``compression``, ``mean``, ``low``, ``high``, ``p`` and
        ``decided`` (1 significantly above zero, -1 significantly below, 0 neither).
    """
    rows = []
    for (block_size, compression), group in differences.groupby(["block_size", "compression"]):
        p = stats.ttest_1samp(group["difference"], 0.0).pvalue if len(group) > 1 else np.nan
        rows.append((block_size, compression, *interval(group["difference"]), p))
    result = pd.DataFrame(
        rows, columns=["block_size", "compression", "mean", "low", "high", "p"])
    result["p"] = holm(result["p"].fillna(1.0))
    result["decided"] = np.where(result["p"] < 0.05, np.sign(result["mean"]), 0).astype(int)
    return result


@dataclass(frozen=True)
class Claim:
    """A claim with its evidence; the estimate and its interval are in ``unit``.

    ``sample`` is what the interval is taken over ("5 seeds").
    """

    number: str
    task: str
    preset: str  # "" where there is but one
    statement: str
    series: str
    estimate: float
    low: float
    high: float
    unit: str
    verdict: str
    sample: str
    evidence: str


def over_levels(number: str, task: str, preset: str, statement: str, series: str,
                each: pd.DataFrame, mean: Interval, unit: str, sample: str) -> Claim:
    """Return the verdict on a claim that a difference is above zero.

    Args:
        number: of the claim.
        task: that it is about, as its words begin.
        preset: of its size, or "" where there is but one.
        statement: the rest of its words.
        series: the results that it is tested on.
        each: the levels, as :func:`levels` returns them.
        mean: the mean difference over the levels, with its interval.
        unit: of the differences.
        sample: what the intervals are taken over ("5 seeds").
    """
    better, worse = int((each["decided"] > 0).sum()), int((each["decided"] < 0).sum())
    factors = [f"{factor:.3g}x" for factor in sorted(each["compression"])]
    span = ", ".join(factors) if len(factors) < 6 else f"from {factors[0]} to {factors[-1]}"
    evidence = (f"{len(each)} levels ({span}); {sample}: "
                f"true at {better}, false at {worse}, open at {len(each) - better - worse}")
    return Claim(number, task, preset, statement, series, *mean, unit,
                 verdict_over_levels(each, mean), sample, evidence)


def verdict_over_levels(each: pd.DataFrame, mean: Interval) -> str:
    """Return the verdict on a difference over several levels that is claimed to be above zero."""
    return "refuted" if (each["decided"] < 0).any() else above_zero(mean)


def above_zero(mean: Interval) -> str:
    """Return the verdict on a single difference that is claimed to be above zero."""
    return "confirmed" if mean.low > 0 else "refuted" if mean.high < 0 else "undecided"


def seeds_to_decide(differences: Sequence[float]) -> int | None:
    """Return how many seeds would put zero outside the interval, if mean and spread stayed.

    None, if fewer than two values tell nothing of the spread, or if more than 1,000 are needed.
    """
    sample = np.asarray(differences, dtype=float)
    if len(sample) < 2:
        return None
    n = np.arange(2, 1001)
    half = stats.t.ppf(0.975, n - 1) * sample.std(ddof=1) / np.sqrt(n)
    enough = n[half < abs(sample.mean())]
    return int(enough[0]) if len(enough) else None
