"""Which networks are compared with which, and the difference between them.

A ``table`` is always rows of :func:`circtools.experiments.results.load`, and where a function says
"of one preset", those of Multi30k's untied networks of one size. Pairs have one row per level and
seed, with the columns ``block_size``, ``compression``, ``seed``, ``first`` and ``second`` (the two
qualities). For MNIST the quality is the test error in percent with its sign changed, so that the
better network has more. For Multi30k it is test BLEU; ``first_run`` and ``second_run`` are then the
arguments with which :func:`circtools.experiments.store.counts` reads the sentence counts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from circtools.experiments import bleu, store
from circtools.experiments.choices import SCALES, SLIGHT_ROUNDS, TRIAL_PRESET
from circtools.experiments.corpus import EXTRA
from circtools.experiments.methods import CONTROL_LEVELS, ROUNDS_AT
from circtools.experiments.results import select
from circtools.report import statistics
from circtools.report.statistics import Interval, with_all_levels

POSTERS_GAP = 8.0  # BLEU by which the original says that pruning wins, on average
SIZES = ("small", "base", "large")  # presets of Multi30k
KEY = ["block_size", "compression", "seed"]
OWN_SET = ("",)  # of the verdicts, that of 2016
FOUR_SETS = (*OWN_SET, *EXTRA)


class Comparison(NamedTuple):
    """A difference between two methods."""

    each: pd.DataFrame  # one row per level, as statistics.levels returns it
    mean: Interval  # over the levels
    seeds: int


def compare(pairs: pd.DataFrame, paired: bool = False, test_sets: Sequence[str] = OWN_SET
            ) -> Comparison:
    """Return the difference of the pairs, which share their start if ``paired``.

    Seeds that lack a level are left out. Intervals of BLEU hold both trainings and test sentences;
    with one seed, sentences alone. BLEU is over the test sets together, :data:`OWN_SET` or
    :data:`FOUR_SETS`.
    """
    pairs, effects = with_all_levels(pairs), None
    if "first_run" in pairs:
        runs = pd.concat([pairs["first_run"], pairs["second_run"]]).unique()
        counts = {(run, number, folder): np.concatenate(
            [store.counts(run, number, folder, name) for name in test_sets])
            for run, number, folder in runs}
        effects = {run: bleu.sentence_effects(of_run) for run, of_run in counts.items()}
        if test_sets != OWN_SET:  # of which the results have the scores
            scores = {run: bleu.bleu_of_counts(of_run.sum(0)) for run, of_run in counts.items()}
            pairs = pairs.assign(first=pairs["first_run"].map(scores),
                                 second=pairs["second_run"].map(scores))
    return Comparison(*statistics.levels(pairs, effects, paired), pairs["seed"].nunique())


def slope(pairs: pd.DataFrame) -> Interval:
    """Return by how much the difference grows when the compression doubles, along a line."""
    first, second = ([np.polyfit(np.log2(rows["compression"]), rows[side], 1)[0]
                      for _, rows in pairs.groupby("seed")] for side in ("first", "second"))
    return statistics.difference(first, second)[0]


def bleu_interval(rows: pd.DataFrame) -> Interval:
    """Return the mean test BLEU with its 95 % interval: over seeds, or for one over sentences."""
    mean = statistics.interval(rows["test_bleu"])
    return mean if len(rows) > 1 else Interval(
        mean.mean, *rows[["test_bleu_low", "test_bleu_high"]].iloc[0])


def mnist_pairs(table: pd.DataFrame, series: str, layers: str = "first",
                pixels: str = "natural") -> pd.DataFrame:
    """Return pruned (first) and block-circulant networks (second) at equal compression.

    The pruned network's error is interpolated between its rounds, linearly in the logarithm of the
    compression, for each seed on its own. ``layers``, ``"first"`` or ``"all"``, are compressed in
    both. ``pixels``, ``"natural"`` or ``"permuted"``, are those of the block-circulant networks
    alone: with independent first weights pruned ones cannot feel a permutation.
    """
    rows = select(table, task="mnist", preset="base", series=series, layers=layers)
    chains = {seed: chain.sort_values("compression")
              for seed, chain in select(rows, method="pruned").groupby("seed")}
    circulant = select(rows, method="block_circulant", pixels=pixels)
    circulant = circulant[circulant["seed"].isin(list(chains))]
    errors = [np.interp(np.log(run.compression), np.log(chains[run.seed]["compression"]),
                        chains[run.seed]["test_error"], left=np.nan, right=np.nan)
              for run in circulant.itertuples()]
    pairs = circulant.assign(first=-100 * np.array(errors, dtype=float),
                             second=-100 * circulant["test_error"])
    return pairs[[*KEY, "first", "second"]].dropna().reset_index(drop=True)


def classifier_pairs(table: pd.DataFrame, series: str, first: tuple[str, str],
                     second: tuple[str, str]) -> pd.DataFrame:
    """Return two kinds of MNIST networks at the block sizes that both have.

    Each kind is a method and ``"natural"`` or ``"permuted"`` pixels.
    """
    mnist = select(table, task="mnist", preset="base", series=series, layers="first")
    sides = [select(mnist, method=method, pixels=pixels).set_index(KEY)["test_error"]
             for method, pixels in (first, second)]
    both = pd.concat(sides, axis=1, keys=["first", "second"], join="inner")
    return (-100 * both).reset_index()


def levels_of(rows: pd.DataFrame) -> pd.Series:
    """Return the compression that each row stands for: its block size, or that of its round.

    Rounds 3, 6, 9, 12, 15 of pruning stand against 2, 4, 8, 16, 32; other rounds give nan.
    """
    of_round = rows["round"].map({number: b for b, number in ROUNDS_AT.items()})
    return rows["block_size"].where(rows["round"] == 0, of_round).astype(float)


def pairs_at_equal_compression(table: pd.DataFrame, series: str = "tuned", first: str = "pruned",
                               second: str = "block_circulant") -> pd.DataFrame:
    """Return the networks of two methods at the levels of :func:`levels_of`, of one preset.

    The series is the second method's. Of the first, which may be pruned, it is always the tuned
    one: the dense network's hyper-parameters are for training from scratch.
    """
    pruned = select(table, method=first, series="tuned").assign(level=levels_of)
    both = pruned.merge(select(table, method=second, series=series), suffixes=("_first", "_second"),
                        left_on=["seed", "level"], right_on=["seed", "block_size"])
    return _pairs(both, both["level"], both["compression_second"])


def pairs_at_equal_size(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each tuned block-circulant network, the round of pruning with the nearest file.

    A pruned weight stores its place as well, so these are later rounds than at equal compression.
    Levels beyond the last round are left out. The rows are of one preset.
    """
    tuned = select(table, series="tuned")
    both = select(tuned, method="pruned").merge(
        select(tuned, method="block_circulant"), on="seed", suffixes=("_first", "_second"))
    away = (both["file_bytes_first"] - both["file_bytes_second"]).abs()
    nearest = both.loc[away.groupby([both["seed"], both["block_size_second"]]).idxmin()]
    smallest = nearest["seed"].map(both.groupby("seed")["file_bytes_first"].min())
    nearest = nearest[smallest <= nearest["file_bytes_second"]]
    return _pairs(nearest, nearest["block_size_second"], nearest["compression_second"])


def slightly_pruned_pairs(table: pd.DataFrame, against: str) -> pd.DataFrame:
    """Return the first three rounds of one preset, each a level, beside other networks.

    These are ``"dense"``, or ``"finetune_control"``: the same rounds with nothing pruned.
    """
    tuned = select(table, series="tuned")
    both = pd.concat([
        select(tuned, method="pruned", round=number).assign(level=number).merge(
            select(tuned, method=against, round=0 if against == "dense" else number),
            on="seed", suffixes=("_first", "_second"))
        for number in range(1, SLIGHT_ROUNDS + 1)])
    return _pairs(both, both["level"], both["compression_first"])


def _pairs(both: pd.DataFrame, level: pd.Series, compression: pd.Series) -> pd.DataFrame:
    columns = {"block_size": level, "compression": compression, "seed": both["seed"]}
    for side in ("first", "second"):
        where = (both[f"{name}_{side}"] for name in ("run", "round", "folder"))
        columns |= {side: both[f"test_bleu_{side}"],
                    f"{side}_run": pd.Series(zip(*where, strict=True), both.index, dtype=object)}
    return pd.DataFrame(columns).astype({"block_size": int}).sort_values(["block_size", "seed"])


def presets_compared(table: pd.DataFrame) -> list[str]:
    """Return the presets of Multi30k that have pairs of both methods, the smallest first."""
    rows = select(table, task="multi30k")
    return [name for name in SIZES if len(pairs_at_equal_compression(select(rows, preset=name)))]


def main_preset(table: pd.DataFrame) -> str:
    """Return the largest preset for which most methods have been run, which the figures show."""
    rows = select(table, task="multi30k", series="tuned")
    return max(reversed(presets_compared(table)),
               key=lambda preset: select(rows, preset=preset)["method"].nunique())


def of_compared_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Return one preset's rows of the seeds for which both methods have been run at all levels."""
    seeds = with_all_levels(pairs_at_equal_compression(table))["seed"]
    return table[table["seed"].isin(seeds)]


def of_multi30k(table: pd.DataFrame) -> pd.DataFrame:
    """Return the untied networks' rows of the preset and the seeds that the figures show."""
    return of_compared_seeds(select(table, task="multi30k", tied=False, preset=main_preset(table)))


def with_half_dropout(table: pd.DataFrame) -> pd.DataFrame:
    """Return one preset's rows, with half the chosen dropout for the block-circulant networks.

    These were trained at the compressions 4 and 16 alone; where none was, they are missing.
    """
    circulant = table["method"] == "block_circulant"
    chosen = select(table[circulant], series="tuned")[SCALES].drop_duplicates()
    half = table[circulant].merge(chosen.assign(dropout_factor=chosen["dropout_factor"] / 2))
    return pd.concat([table[~circulant], half.assign(series="tuned")])


def leads(rows: pd.DataFrame) -> dict[str, Comparison]:
    """Return the leads of pruning at the compressions 4 and 16, for one preset, as far as run.

    Pruned in rounds, a network stands against block-circulant ones (``rounds``), those with half
    the dropout (``half_dropout``), projected ones (``long_training``), and those that are pruned
    while they are trained (``rounds_or_gradual``). The last stand against block-circulant ones
    (``short_training``), and those with half the dropout (``short_half_dropout``).
    """
    half, pairs_of = with_half_dropout(rows), pairs_at_equal_compression
    pairs = {"rounds": pairs_of(rows), "half_dropout": pairs_of(half),
             "long_training": pairs_of(rows, second="projected"),
             "rounds_or_gradual": pairs_of(rows, second="gradual"),
             "short_training": pairs_of(rows, first="gradual"),
             "short_half_dropout": pairs_of(half, first="gradual")}
    pairs = {name: _at_control_levels(some) for name, some in pairs.items()}
    return {name: compare(some) for name, some in pairs.items() if len(some)}


def _at_control_levels(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs[pairs["block_size"].isin(CONTROL_LEVELS)]


def with_four_sets(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks that have translated the further test sets, too."""
    return table[table["extra"].notna()]


def on_four_sets(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what other networks of one preset have more than block-circulant ones, as far as run.

    Half the dropout is a method here. There is a row for each with the columns ``method``,
    ``seeds``, and the intervals ``own`` (on the test set of the verdicts) and ``four`` (on all test
    sets together), of the same networks, at the compressions 4 and 16.
    """
    half = select(with_half_dropout(rows), method="block_circulant").assign(method="half_dropout")
    rows, found = with_four_sets(pd.concat([rows, half])), []
    for method in ("half_dropout", "gradual", "projected", "random_sharing", "small_dense",
                   "low_rank"):
        pairs = _at_control_levels(pairs_at_equal_compression(rows, first=method))
        if len(pairs):
            own, four = (compare(pairs, test_sets=sets) for sets in (OWN_SET, FOUR_SETS))
            found.append({"method": method, "seeds": own.seeds, "own": own.mean,
                          "four": four.mean})
    return found


def lent(table: pd.DataFrame, preset: str) -> pd.DataFrame:
    """Return a preset's block-circulant networks with the setting chosen at the smallest size."""
    rows = select(table, task="multi30k", tied=False, method="block_circulant")
    lender = select(rows, preset=TRIAL_PRESET, series="tuned")
    tried = select(rows, preset=preset, series="rejected")
    return tried.merge(lender[SCALES].drop_duplicates())
