"""The poster's claims about translation, from the results of Multi30k."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from circtools import results, translation
from circtools.results import FACTORS, FEW, ROUNDS_AT
from circtools.verdicts import (
    Claim,
    Interval,
    above_zero,
    holm,
    interval,
    levels,
    over_levels,
    seeds_to_decide,
    with_all_levels,
)

POSTERS_GAP = 8.0  # BLEU by which pruning is said to win, on average
CLOSE = 2.0  # how near a gap must be to it, with its whole interval, to confirm that number
RESAMPLES = 2000
SIZES = ("large", "base", "small")  # presets, the largest first


def presets_compared(table: pd.DataFrame) -> list[str]:
    """Return the presets of Multi30k that have pairs of both methods, the largest first."""
    rows = table[table["task"] == "multi30k"]
    return [preset for preset in SIZES
            if len(pairs_at_equal_compression(rows[rows["preset"] == preset]))]


def main_preset(table: pd.DataFrame) -> str | None:
    """Return the preset that the figures show, or None if none has both methods' results.

    It is the largest of those for which most methods have been run.
    """
    rows = table[(table["task"] == "multi30k") & (table["series"] == "tuned")]
    return max(presets_compared(table), default=None,
               key=lambda preset: rows.loc[rows["preset"] == preset, "method"].nunique())


def levels_of(rows: pd.DataFrame) -> pd.Series:
    """Return the compression that each row stands for: its block size, or that of its round.

    Rounds 3, 6, 9, 12, 15 of pruning stand against 2, 4, 8, 16, 32; other rounds give nan.
    """
    of_round = rows["round"].map({number: b for b, number in ROUNDS_AT.items()})
    return rows["block_size"].where(rows["round"] == 0, of_round).astype(float)


def pairs_at_equal_compression(table: pd.DataFrame, series: str = "tuned", first: str = "pruned",
                               second: str = "block_circulant") -> pd.DataFrame:
    """Return the pruned and the block-circulant network of each level and seed.

    What stands against what, :func:`levels_of` says. Pruned networks have no series ``same``,
    because the dense hyper-parameters are none of fine-tuning.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.
        series: of the block-circulant networks.
        first: ``"pruned"``, in rounds, or ``"gradual"``, while it is trained.
        second: ``"block_circulant"``, or ``"projected"``.

    Returns:
        Columns ``block_size``, ``compression`` (of the block-circulant network), ``seed``,
        ``difference`` (BLEU of pruned minus block-circulant), ``first`` and ``second`` (run and
        round of the two).
    """
    pruned = table[(table["method"] == first) & (table["series"] == "tuned")]
    circulant = table[(table["method"] == second) & (table["series"] == series)]
    rows = []
    for run in circulant.itertuples():
        matching = pruned[(pruned["seed"] == run.seed) & (levels_of(pruned) == run.block_size)]
        rows += [(run.block_size, run.compression, run.seed, other.test_bleu - run.test_bleu,
                  (other.run, other.round), (run.run, 0)) for other in matching.itertuples()]
    return _pairs(rows)


def chosen_by_bleu(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as if validation BLEU had chosen the block-circulant networks' settings.

    It chooses among the complete trainings at the compressions that were tried, 4 and 16.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset and seed.

    Returns:
        The rows of all other methods, and those networks as the series ``tuned``; without them if
        no setting has been run at both compressions.
    """
    circulant = table["method"] == "block_circulant"
    tried = table[circulant & table["block_size"].isin(FEW)].drop_duplicates("run")
    bleu = tried.pivot_table(index=FACTORS, columns="block_size", values="val_bleu")
    best = bleu.reindex(columns=FEW).dropna().mean(axis=1).nlargest(1).index
    chosen = tried[tried.set_index(FACTORS).index.isin(best)]
    return pd.concat([table[~circulant], chosen.assign(series="tuned")])


def of_compared_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seeds for which both methods have been run at all levels.

    Further seeds, which have the first rounds of pruning alone, would change the sample along a
    curve.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.
    """
    seeds = with_all_levels(pairs_at_equal_compression(table))["seed"]
    return table[table["seed"].isin(seeds)]


def pairs_at_equal_size(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each tuned block-circulant network, the round of pruning with the nearest file.

    A pruned weight stores its place as well, so that these are later rounds than at equal
    compression; levels beyond the last round are left out.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.

    Returns:
        As :func:`pairs_at_equal_compression`.
    """
    tuned = table[(table["series"] == "tuned")]
    rows = []
    for run in tuned[tuned["method"] == "block_circulant"].itertuples():
        chain = tuned[(tuned["method"] == "pruned") & (tuned["seed"] == run.seed)]
        if len(chain) and chain["file_bytes"].min() <= run.file_bytes:
            other = chain.loc[(chain["file_bytes"] - run.file_bytes).abs().idxmin()]
            rows.append((run.block_size, run.compression, run.seed,
                         other["test_bleu"] - run.test_bleu,
                         (other["run"], other["round"]), (run.run, 0)))
    return _pairs(rows)


def slightly_pruned_pairs(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return the network pruned for one round, and what it is compared with, of each seed.

    Args:
        table: rows of :func:`circtools.results.load`, of one preset.
        against: ``"dense"``, or ``"unpruned"`` for the same loop that prunes nothing.

    Returns:
        As :func:`pairs_at_equal_compression`.
    """
    tuned = table[(table["series"] == "tuned")]
    pruned = tuned[(tuned["method"] == "pruned") & (tuned["round"] == 1)]
    other = tuned[(tuned["method"] == against) & (tuned["round"] == (against == "unpruned"))]
    merged = pruned.merge(other, on="seed", suffixes=("", "_other"))
    return _pairs([(1, row.compression, row.seed, row.test_bleu - row.test_bleu_other,
                    (row.run, 1), (row.run_other, row.round_other))
                   for row in merged.itertuples()])


def _pairs(rows: list[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["block_size", "compression", "seed", "difference", "first", "second"]
    return pd.DataFrame(rows, columns=columns).sort_values(["block_size", "seed"])


def compare(pairs: pd.DataFrame, folder: Path = results.FOLDER
            ) -> tuple[pd.DataFrame, Interval, str]:
    """Return the difference at each level, the mean over the levels, and what was sampled.

    Over seeds where there are several, else over test sentences (the paired bootstrap). Seeds that
    lack a level are left out.

    Args:
        pairs: of :func:`pairs_at_equal_compression` or :func:`slightly_pruned_pairs`.
        folder: where the results are.
    """
    pairs = with_all_levels(pairs)
    seeds = pairs["seed"].nunique()
    if seeds > 1:
        by_seed = pairs.groupby("seed")["difference"].mean()
        return levels(pairs), interval(by_seed), f"{seeds} seeds"
    drawn = np.stack([_resampled(*first, folder) - _resampled(*second, folder)
                      for first, second in zip(pairs["first"], pairs["second"], strict=True)])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    each = pairs[["block_size", "compression"]].assign(
        mean=pairs["difference"], low=low, high=high,
        p=holm([_p_value(draws) for draws in drawn]))
    each["decided"] = np.where(each["p"] < 0.05, np.sign(each["mean"]), 0).astype(int)
    low, high = np.quantile(drawn.mean(0), [0.025, 0.975])
    mean = Interval(float(pairs["difference"].mean()), float(low), float(high))
    return each.reset_index(drop=True), mean, "1 seed, bootstrap over test sentences"


def _resampled(run: str, number: int, folder: Path) -> np.ndarray:
    """Return the BLEU of a run on resamples of the test sentences, the same for every run."""
    counts = results.counts(run, number, folder)  # (sentences, 10)
    return translation.bleu_of_counts(_times_drawn(len(counts)) @ counts)  # (resamples,)


@lru_cache(maxsize=4)
def _times_drawn(n: int) -> np.ndarray:
    """Return how often each of n sentences is in each resample, (resamples, n)."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)


def _p_value(draws: np.ndarray) -> float:
    """Return the two-sided p-value of no difference, never zero."""
    smaller = min((draws <= 0).sum(), (draws >= 0).sum())
    return min(1.0, 2 * float(smaller + 1) / (len(draws) + 1))


def claims(table: pd.DataFrame, folder: Path = results.FOLDER) -> list[Claim]:
    """Return the verdicts on claims 2 and 3, as far as there are results.

    Args:
        table: rows of :func:`circtools.results.load`.
        folder: where the results are.
    """
    multi30k = table[table["task"] == "multi30k"]
    sizes = {name: multi30k[multi30k["preset"] == name] for name in SIZES}
    found: list[Claim] = []
    for preset in presets_compared(table):
        for series in ("tuned", "same"):
            pairs = pairs_at_equal_compression(sizes[preset], series)
            found += _claim_2(pairs, series, preset, folder)
    for preset, rows in sizes.items():
        for against in ("dense", "unpruned"):
            found += _claim_3(slightly_pruned_pairs(rows, against), against, preset, folder)
    return found


def _claim_2(pairs: pd.DataFrame, series: str, preset: str, folder: Path) -> Sequence[Claim]:
    if pairs.empty:
        return []
    each, mean, sample = compare(pairs, folder)
    wins = over_levels("2", "Multi30k", preset, "at equal compression of the Transformer's layers, "
                       "pruning has a higher BLEU than block-circulant", series, each, mean, "BLEU",
                       sample)
    verdict = "undecided"
    if not mean.low <= POSTERS_GAP <= mean.high:
        verdict = "refuted"
    elif max(POSTERS_GAP - mean.low, mean.high - POSTERS_GAP) <= CLOSE:
        verdict = "confirmed"
    size = Claim("2", "Multi30k", preset, f"pruning is ahead by {POSTERS_GAP:g} BLEU on average",
                 series, *mean, "BLEU", verdict, sample,
                 f"the mean of {len(each)} levels, {sample}")
    return [wins, size]


def _claim_3(pairs: pd.DataFrame, against: str, preset: str, folder: Path) -> Sequence[Claim]:
    if pairs.empty:
        return []
    each, mean, sample = compare(pairs, folder)
    verdict = above_zero(mean)
    evidence = f"{each['compression'].mean():.3g}x, {sample}"
    if verdict == "undecided":
        needed = seeds_to_decide(pairs["difference"])
        evidence += (f"; a difference of this size would take about {needed} seeds" if needed
                     else "; a difference of this size would take more than 1,000 seeds"
                     if len(pairs) > 1 else "; from one seed, how many would decide cannot be said")
    other = {"dense": "the uncompressed one",
             "unpruned": "one that went through the same loop with nothing pruned"}[against]
    return [Claim("3", "Multi30k", preset, "the slightly pruned Transformer has a higher BLEU than "
                  + other, "tuned", *mean, "BLEU", verdict, sample, evidence)]
