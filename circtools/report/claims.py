"""The original poster's claims, each with a difference, its 95 % interval and a verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from circtools.experiments.choices import SLIGHT
from circtools.experiments.results import select
from circtools.report import comparisons, statistics
from circtools.report.comparisons import FOUR_SETS, OWN_SET, POSTERS_GAP
from circtools.report.statistics import Interval

Rule = Callable[[pd.DataFrame, Interval, int], str]  # each level, their mean, seeds: the verdict
ABOVE, BELOW = (partial(statistics.sign_verdict, claimed=sign) for sign in (1, -1))
# How near a gap must be to it, with its whole interval, to confirm that number.
BY_EIGHT = partial(statistics.number_verdict, claimed=POSTERS_GAP, close=2.0)
LEVEL = {task: partial(statistics.level_verdict, margin=margin)  # points of error, or BLEU
         for task, margin in (("mnist", 0.1), ("multi30k", 0.5))}


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
    """Return the claims that rows of results.load speak of, for each size and series."""
    found = [*_on_mnist(table), *_on_translation(select(table, task="multi30k"))]
    return sorted(found, key=lambda claim: (claim.series != "tuned", claim.key[:6]))


def _on_mnist(table: pd.DataFrame) -> list[Claim]:
    found = []
    for series in ("tuned", "same"):
        of = {"task": "mnist", "preset": "base", "series": series}
        kinds = partial(comparisons.classifier_pairs, table, series)
        first, both, permuted = (comparisons.mnist_pairs(table, series, **more) for more in (
            {}, {"layers": "all"}, {"pixels": "permuted"}))
        order = kinds(("block_circulant", "natural"), ("block_circulant", "permuted"))
        found += [*_test(first, of, claim1_first=BELOW), *_growth(first, of),
                  *_test(both, of, claim1_all=BELOW), *_test(order, of, claim4_order=ABOVE),
                  *_test(permuted, of, claim4_permuted=BELOW)]
        if series == "same":  # what has trials of its own is always tuned
            continue
        natural, permuted = (kinds(("block_circulant", pixels), ("random_sharing", pixels))
                             for pixels in ("natural", "permuted"))
        tiles = kinds(("tiles_strided", "natural"), ("tiles_raster", "natural"))
        found += [*_test(natural, of, claim4_structure=ABOVE),
                  *_test(permuted, of, claim4_level=LEVEL["mnist"]),
                  *_test(tiles, of, claim4_tiles=ABOVE)]
    return found


def _on_translation(table: pd.DataFrame) -> list[Claim]:
    found = []
    for preset in comparisons.presets_compared(table):
        rows = select(table, preset=preset)
        for series in ("tuned", "same"):
            of = {"task": "multi30k", "preset": preset, "series": series}
            pairs = comparisons.pairs_at_equal_compression(rows, series)
            shared = comparisons.pairs_at_equal_compression(
                rows, series, "block_circulant", "random_sharing")
            found += [*_test(pairs, of, claim2_ahead=ABOVE, claim2_by_eight=BY_EIGHT),
                      *_test(shared, of, claim4_words=LEVEL["multi30k"])]
    of = {"task": "multi30k", "preset": SLIGHT, "series": "tuned"}
    rows = select(table, preset=SLIGHT)
    for part, sets, end in ((rows, OWN_SET, ""),
                            (comparisons.with_four_sets(rows), FOUR_SETS, "_four")):
        for against, name in (("dense", "dense"), ("finetune_control", "control")):
            pairs = comparisons.slightly_pruned_pairs(part, against)
            found += _test(pairs, of, paired=True, test_sets=sets, **{f"claim3_{name}{end}": ABOVE})
    return found


def _test(pairs: pd.DataFrame, of: dict[str, str], paired: bool = False,
          test_sets: Sequence[str] = OWN_SET, **rules: Rule) -> list[Claim]:
    """Return what is claimed of a difference, each with its rule's verdict; nothing of no pairs."""
    if pairs.empty:
        return []
    compared = comparisons.compare(pairs, paired, test_sets)
    return [_claim(key, compared, rule, of) for key, rule in rules.items()]


def _growth(pairs: pd.DataFrame, of: dict[str, str]) -> list[Claim]:
    """Return the claim that the gap grows: its slope, in points per doubling of the compression."""
    pairs = statistics.with_all_levels(pairs)
    if pairs["block_size"].nunique() < 2:
        return []
    each = pd.DataFrame({"compression": sorted(pairs["compression"].unique()), "decided": 0})
    compared = comparisons.Comparison(each, comparisons.slope(pairs), pairs["seed"].nunique())
    return [_claim("claim1_growth", compared, BELOW, of)]


def _claim(key: str, compared: comparisons.Comparison, rule: Rule, of: dict[str, str]) -> Claim:
    each, mean, seeds = compared
    above, below = (each["compression"][sign * each["decided"] > 0].tolist() for sign in (1, -1))
    return Claim(key=key, difference=mean, seeds=seeds, levels=each["compression"].tolist(),
                 above=above, below=below, verdict=rule(each, mean, seeds), **of)
