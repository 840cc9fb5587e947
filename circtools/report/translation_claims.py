"""The poster's claims about translation, from the results of Multi30k."""

from pathlib import Path

import pandas as pd

from circtools.experiments import bleu, store
from circtools.experiments.results import FACTORS, FEW, ROUNDS_AT
from circtools.report.statistics import Claim, Interval, levels, over_levels, with_all_levels

POSTERS_GAP = 8.0  # BLEU by which pruning is said to win, on average
CLOSE = 2.0  # how near a gap must be to it, with its whole interval, to confirm that number
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
    because the dense network's hyper-parameters are for training from scratch.

    Args:
        table: rows of :func:`circtools.experiments.results.load`, of one preset.
        series: of the block-circulant networks.
        first: ``"pruned"``, in rounds, or ``"gradual"``, while it is trained.
        second: ``"block_circulant"``, or ``"projected"``.

    Returns:
        Columns ``block_size``, ``compression`` (of the block-circulant network), ``seed``,
        ``first`` and ``second`` (test BLEU), ``first_run`` and ``second_run`` (run and round).
    """
    pruned = table[(table["method"] == first) & (table["series"] == "tuned")]
    circulant = table[(table["method"] == second) & (table["series"] == series)]
    merged = pruned.assign(level=levels_of).merge(
        circulant, left_on=["seed", "level"], right_on=["seed", "block_size"],
        suffixes=("_first", "_second"))
    return _pairs([(row.level, row.compression_second, row) for row in merged.itertuples()])


def chosen_by_bleu(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows as if validation BLEU had chosen the block-circulant networks' settings.

    It chooses among the complete trainings at the compressions that were tried, 4 and 16.

    Args:
        table: rows of :func:`circtools.experiments.results.load`, of one preset and seed.

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


def lent(table: pd.DataFrame, preset: str) -> pd.DataFrame:
    """Return a preset's block-circulant networks whose setting was chosen at the smallest size.

    They are those for which trials at this size then chose another.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        preset: a size.
    """
    rows = table[(table["task"] == "multi30k") & ~table["tied"].astype(bool)
                 & (table["method"] == "block_circulant")]
    lender = rows[(rows["preset"] == SIZES[-1]) & (rows["series"] == "tuned")]
    tried = rows[(rows["preset"] == preset) & (rows["series"] == "rejected")]
    return tried.merge(lender[FACTORS].drop_duplicates())


def of_compared_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seeds for which both methods have been run at all levels.

    Further seeds, which have the first rounds of pruning alone, would change the sample along a
    curve.

    Args:
        table: rows of :func:`circtools.experiments.results.load`, of one preset.
    """
    seeds = with_all_levels(pairs_at_equal_compression(table))["seed"]
    return table[table["seed"].isin(seeds)]


def pairs_at_equal_size(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each tuned block-circulant network, the round of pruning with the nearest file.

    A pruned weight stores its place as well, so that these are later rounds than at equal
    compression; levels beyond the last round are left out.

    Args:
        table: rows of :func:`circtools.experiments.results.load`, of one preset.

    Returns:
        As :func:`pairs_at_equal_compression`.
    """
    tuned = table[table["series"] == "tuned"]
    methods = {name: tuned[tuned["method"] == name] for name in ("pruned", "block_circulant")}
    merged = methods["pruned"].merge(methods["block_circulant"], on="seed",
                                     suffixes=("_first", "_second"))
    away = (merged["file_bytes_first"] - merged["file_bytes_second"]).abs()
    network = [merged["seed"], merged["block_size_second"]]
    nearest = merged.loc[away.groupby(network).idxmin()]
    smallest = merged["file_bytes_first"].groupby(merged["seed"]).min()
    reached = nearest["seed"].map(smallest) <= nearest["file_bytes_second"]
    return _pairs([(row.block_size_second, row.compression_second, row)
                   for row in nearest[reached].itertuples()])


def slightly_pruned_pairs(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return the network pruned for one round, and what it is compared with, of each seed.

    Args:
        table: rows of :func:`circtools.experiments.results.load`, of one preset.
        against: ``"dense"``, or ``"unpruned"`` for the same loop that prunes nothing.

    Returns:
        As :func:`pairs_at_equal_compression`.
    """
    tuned = table[table["series"] == "tuned"]
    pruned = tuned[(tuned["method"] == "pruned") & (tuned["round"] == 1)]
    other = tuned[(tuned["method"] == against) & (tuned["round"] == (against == "unpruned"))]
    merged = pruned.merge(other, on="seed", suffixes=("_first", "_second"))
    return _pairs([(1, row.compression_first, row) for row in merged.itertuples()])


def _pairs(rows: list[tuple[object, object, object]]) -> pd.DataFrame:
    columns = ["block_size", "compression", "seed", "first", "second", "first_run", "second_run"]
    return pd.DataFrame(
        [(level, compression, row.seed, row.test_bleu_first, row.test_bleu_second,
          (row.run_first, row.round_first), (row.run_second, row.round_second))
         for level, compression, row in rows], columns=columns
    ).astype({"block_size": int}).sort_values(["block_size", "seed"])


def compare(pairs: pd.DataFrame, folder: Path = store.FOLDER, paired: bool = False
            ) -> tuple[pd.DataFrame, Interval, str]:
    """Return the difference at each level, the mean over the levels, and what was sampled.

    Intervals hold both trainings and test sentences, as ``statistics`` says; with one seed
    sentences alone. Seeds that lack a level are left out.

    Args:
        pairs: of one of the functions above.
        folder: where the results are.
        paired: whether the networks of a pair share their start.
    """
    pairs = with_all_levels(pairs)
    runs = pd.concat([pairs["first_run"], pairs["second_run"]]).unique()
    effects = {run: bleu.sentence_effects(store.counts(*run, folder)) for run in runs}
    each, mean = levels(pairs, effects, paired)
    seeds = pairs["seed"].nunique()
    return each, mean, "1 seed, test sentences alone" if seeds == 1 else f"{seeds} seeds"


def claims(table: pd.DataFrame, folder: Path = store.FOLDER) -> list[Claim]:
    """Return the verdicts on claims 2 and 3, as far as there are results.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        folder: where the results are.
    """
    multi30k = table[table["task"] == "multi30k"]
    sizes = {name: multi30k[multi30k["preset"] == name] for name in reversed(SIZES)}
    found: list[Claim] = []
    for preset in reversed(presets_compared(table)):
        for series in ("tuned", "same"):
            pairs = pairs_at_equal_compression(sizes[preset], series)
            if len(pairs):
                each, mean, _ = compare(pairs, folder)
                of = {"task": "multi30k", "preset": preset, "series": series}
                seeds = with_all_levels(pairs)["seed"].nunique()
                found += [over_levels("claim2_ahead", each, mean, seeds, **of),
                          over_levels("claim2_by_eight", each, mean, seeds, by_eight(mean), **of)]
    for preset, rows in sizes.items():
        for against, key in (("dense", "claim3_dense"), ("unpruned", "claim3_control")):
            pairs = slightly_pruned_pairs(rows, against)
            if len(pairs):
                each, mean, _ = compare(pairs, folder, paired=True)
                found.append(over_levels(key, each, mean, len(pairs), task="multi30k",
                                         preset=preset, series="tuned"))
    return found


def by_eight(mean: Interval) -> str:
    """Return the verdict on the claim that a gap is the original poster's 8 BLEU."""
    if not mean.low <= POSTERS_GAP <= mean.high:
        return "refuted"
    far = max(POSTERS_GAP - mean.low, mean.high - POSTERS_GAP)
    return "confirmed" if far <= CLOSE else "undecided"
