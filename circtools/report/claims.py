"""The original poster's claims, each with a difference, its 95 % interval and a verdict.

The rules are in :mod:`circtools.report.statistics`; the claims' words are in the pages' templates.
"""

from typing import Any

import numpy as np
import pandas as pd

from circtools.experiments.results import select
from circtools.report import statistics
from circtools.report.comparisons import (
    SIZES,
    compare,
    mnist_pairs,
    pairs_at_equal_compression,
    pixel_order_pairs,
    presets_compared,
    slightly_pruned_pairs,
)
from circtools.report.statistics import Claim, Interval

POSTERS_GAP = 8.0  # BLEU by which pruning is said to win, on average
CLOSE = 2.0  # how near a gap must be to it, with its whole interval, to confirm that number


def all_claims(table: pd.DataFrame) -> list[Claim]:
    """Return the claims that the results speak of, one for each size and series.

    ``tuned`` gives the verdict, ``same`` is the reproduction with the dense hyper-parameters. The
    table holds rows of :func:`circtools.experiments.results.load`.
    """
    found = [*_on_mnist(table), *_on_translation(select(table, task="multi30k"))]
    return sorted(found, key=lambda claim: (claim.series != "tuned", claim.key[:6]))


def _on_mnist(table: pd.DataFrame) -> list[Claim]:
    found = []
    for series in ("tuned", "same"):
        of: dict[str, Any] = {"task": "mnist", "preset": "base", "series": series}
        first = mnist_pairs(table, series)
        found += [*_sign("claim1_first", first, -1, **of), *_growth(first, **of),
                  *_sign("claim1_all", mnist_pairs(table, series, layers="all"), -1, **of),
                  *_sign("claim4_order", pixel_order_pairs(table, series), 1, **of),
                  *_sign("claim4_permuted", mnist_pairs(table, series, pixels="permuted"), -1,
                         **of)]
    return found


def _sign(key: str, pairs: pd.DataFrame, claimed: int, paired: bool = False, **of: Any
          ) -> list[Claim]:
    """Return the claim that a difference has a sign, or nothing where there are no pairs."""
    if pairs.empty:
        return []
    each, mean, seeds = compare(pairs, paired)
    found = statistics.verdict(each, mean, claimed)
    return [statistics.claim(key, each, mean, seeds, found, **of)]


def _growth(pairs: pd.DataFrame, **of: str) -> list[Claim]:
    """Return the claim that the gap grows: its slope, in points per doubling of the compression."""
    pairs = statistics.with_all_levels(pairs)
    if pairs["block_size"].nunique() < 2:
        return []
    first, second = ([np.polyfit(np.log2(rows["compression"]), rows[side], 1)[0]
                      for _, rows in pairs.groupby("seed")] for side in ("first", "second"))
    slope, _ = statistics.difference(first, second)
    each = pd.DataFrame({"compression": sorted(pairs["compression"].unique()), "decided": 0})
    found = statistics.verdict(each, slope, -1)
    return [statistics.claim("claim1_growth", each, slope, len(first), found, **of)]


def _on_translation(table: pd.DataFrame) -> list[Claim]:
    """Return claims 2 and 3, as far as there are results."""
    found = []
    for preset in presets_compared(table):
        for series in ("tuned", "same"):
            pairs = pairs_at_equal_compression(select(table, preset=preset), series)
            if len(pairs):
                each, mean, seeds = compare(pairs)
                of = {"task": "multi30k", "preset": preset, "series": series}
                verdicts = {"claim2_ahead": statistics.verdict(each, mean),
                            "claim2_by_eight": _by_eight(mean)}
                found += [statistics.claim(key, each, mean, seeds, verdict, **of)
                          for key, verdict in verdicts.items()]
    for preset in SIZES:
        for key, against in (("claim3_dense", "dense"), ("claim3_control", "unpruned")):
            pairs = slightly_pruned_pairs(select(table, preset=preset), against)
            found += _sign(key, pairs, 1, paired=True, task="multi30k", preset=preset,
                           series="tuned")
    return found


def _by_eight(mean: Interval) -> str:
    """Return the verdict on the claim that a gap is the original poster's 8 BLEU."""
    if not mean.low <= POSTERS_GAP <= mean.high:
        return "refuted"
    far = max(POSTERS_GAP - mean.low, mean.high - POSTERS_GAP)
    return "confirmed" if far <= CLOSE else "undecided"
