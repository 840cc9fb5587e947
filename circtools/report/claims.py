"""The original poster's claims, each with a difference, its 95 % interval and a verdict.

The rules are in :mod:`circtools.report.statistics`; the claims' words are in the pages' templates.
"""

from dataclasses import dataclass, replace

import pandas as pd

from circtools.experiments.results import select
from circtools.report import comparisons, statistics
from circtools.report.comparisons import POSTERS_GAP
from circtools.report.statistics import Interval

CLOSE = 2.0  # how near a gap must be to it, with its whole interval, to confirm that number
LEVEL = {"mnist": 0.1, "multi30k": 0.5}  # points of error, or BLEU, within which two are level


@dataclass(frozen=True)
class Claim:
    """A claim's evidence and its verdict."""

    key: str  # which claim; the pages have its words
    task: str  # mnist (differences in percentage points of test error) or multi30k (in BLEU)
    preset: str
    series: str  # the results that it is tested on
    difference: Interval  # one quality minus another
    verdict: str  # confirmed, refuted, undecided, or no verdict
    seeds: int  # trainings of either side
    levels: list[float]  # of compression, as factors
    above: list[float]  # those at which the difference is significantly above zero
    below: list[float]


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
        of = {"task": "mnist", "preset": "base", "series": series}
        first, both, permuted = (comparisons.mnist_pairs(table, series, **more) for more in (
            {}, {"layers": "all"}, {"pixels": "permuted"}))
        found += [*_sign("claim1_first", first, -1, of), *_growth(first, of),
                  *_sign("claim1_all", both, -1, of),
                  *_sign("claim4_order", comparisons.classifier_pairs(
                      table, series, ("block_circulant", "natural"),
                      ("block_circulant", "permuted")), 1, of),
                  *_sign("claim4_permuted", permuted, -1, of)]
        if series == "same":  # what has trials of its own is always tuned
            continue
        natural, permuted = (comparisons.classifier_pairs(
            table, series, ("block_circulant", pixels), ("random_sharing", pixels))
            for pixels in ("natural", "permuted"))
        tiles = comparisons.classifier_pairs(
            table, series, ("tiles_strided", "natural"), ("tiles_raster", "natural"))
        found += [*_sign("claim4_structure", natural, 1, of),
                  *_level("claim4_level", permuted, of), *_sign("claim4_tiles", tiles, 1, of)]
    return found


def _on_translation(table: pd.DataFrame) -> list[Claim]:
    found = []
    for preset in comparisons.presets_compared(table):
        for series in ("tuned", "same"):
            of = {"task": "multi30k", "preset": preset, "series": series}
            rows = select(table, preset=preset)
            pairs = comparisons.pairs_at_equal_compression(rows, series)
            for claim in _sign("claim2_ahead", pairs, 1, of):
                verdict = statistics.number_verdict(claim.difference, claim.seeds, POSTERS_GAP,
                                                    CLOSE)
                found += [claim, replace(claim, key="claim2_by_eight", verdict=verdict)]
            shared = comparisons.pairs_at_equal_compression(
                rows, series, "block_circulant", "random_sharing")
            found += _level("claim4_words", shared, of)
    for preset in comparisons.SIZES:
        of = {"task": "multi30k", "preset": preset, "series": "tuned"}
        for key, against in (("claim3_dense", "dense"), ("claim3_control", "finetune_control")):
            pairs = comparisons.slightly_pruned_pairs(select(table, preset=preset), against)
            found += _sign(key, pairs, 1, of, paired=True)
    return found


def _sign(key: str, pairs: pd.DataFrame, claimed: int, of: dict[str, str], paired: bool = False
          ) -> list[Claim]:
    """Return the claim that a difference has a sign, or nothing where there are no pairs."""
    if pairs.empty:
        return []
    compared = comparisons.compare(pairs, paired)
    return [_claim(key, compared, statistics.sign_verdict(*compared, claimed), of)]


def _level(key: str, pairs: pd.DataFrame, of: dict[str, str]) -> list[Claim]:
    """Return the claim that two methods are level, or nothing where there are no pairs."""
    if pairs.empty:
        return []
    compared = comparisons.compare(pairs)
    return [_claim(key, compared, statistics.level_verdict(*compared, LEVEL[of["task"]]), of)]


def _growth(pairs: pd.DataFrame, of: dict[str, str]) -> list[Claim]:
    """Return the claim that the gap grows: its slope, in points per doubling of the compression."""
    pairs = statistics.with_all_levels(pairs)
    if pairs["block_size"].nunique() < 2:
        return []
    each = pd.DataFrame({"compression": sorted(pairs["compression"].unique()), "decided": 0})
    compared = comparisons.Comparison(each, comparisons.slope(pairs), pairs["seed"].nunique())
    return [_claim("claim1_growth", compared, statistics.sign_verdict(*compared, -1), of)]


def _claim(key: str, compared: comparisons.Comparison, verdict: str, of: dict[str, str]) -> Claim:
    each, mean, seeds = compared
    above, below = (each["compression"][sign * each["decided"] > 0].tolist() for sign in (1, -1))
    return Claim(key=key, difference=mean, seeds=seeds, levels=each["compression"].tolist(),
                 above=above, below=below, verdict=verdict, **of)
