"""Named numbers from the results, for the pages and the poster: values, and not a word of English.

The words are in ``templates/`` and in the notebooks, written by hand.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from circtools.experiments import store
from circtools.experiments.multi30k_runs import PRESETS
from circtools.experiments.results import select
from circtools.report import claims, speed_figures, translation_claims
from circtools.report.statistics import Interval, interval
from circtools.report.translation_claims import SIZES, levels_of

METHODS = ("pruned", "gradual", "block_circulant", "projected", "small_dense", "low_rank")
WITHIN = 1.0  # BLEU below the dense network, on validation, that count as nothing lost


@dataclass(frozen=True)
class Quality:
    """The mean of some networks over their seeds."""

    bleu: float  # on the test set
    megabytes: float  # of the file, in 32 bits, with the places of the weights that pruning kept
    epochs: float  # from the first weights on
    compression: float  # over the Transformer's layers
    compression_all: float  # over all weight matrices but the embeddings
    seeds: int


def facts(table: pd.DataFrame, folder: Path = store.FOLDER) -> dict[str, Any]:
    """Return every fact by its name; what has not been run has none.

    The names: ``claim1_first`` to ``claim4_permuted``, each a :class:`.statistics.Claim`;
    after those on translation stands the preset, and after those of the untuned series ``_same``.
    For a preset ``P``: ``dense_P``, ``METHOD_4x_P`` and so for every level, ``lent_4x_P`` (with the
    learning rate that was chosen at another size) and ``reach_METHOD_P``, each a :class:`Quality`;
    ``equal_size_P`` and ``equal_weights_P``, each an interval; ``levels_P``, those of claim 2.
    ``speed_N_T_B``: how many times as fast as a dense layer a block-circulant one is in inference,
    at N features, T tokens and block size B. ``claims``, ``baselines`` and ``sizes`` are lists, for
    tables; ``baseline_P_tied`` and ``baseline_P_untied`` are in the second.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        folder: where the results are.
    """
    tested, baselines = claims.all_claims(table, folder), _baselines(table)
    found: dict[str, Any] = {"claims": tested, "baselines": baselines,
                             "trainings": {task: rows["run"].nunique() for task, rows in table[
                                 table["series"] != "search"].groupby("task")}}
    for claim in tested:
        at = f"_{claim.preset}" * (claim.task == "multi30k") + "_same" * (claim.series == "same")
        found[claim.key + at] = claim
    found |= {f"baseline_{b.preset}_{'tied' if b.tied else 'untied'}": b for b in baselines}
    found["sizes"] = translation_claims.presets_compared(table)[::-1]
    for preset in found["sizes"]:
        found |= {f"{name}_{preset}": fact
                  for name, fact in _of_size(table, preset, folder).items()}
    cells = pd.DataFrame(speed_figures.load()["cells"])
    for cell in select(cells, mode="inference").itertuples():
        found[f"speed_{cell.n}_{cell.tokens}_{cell.block_size}"] = cell.ratio
    return found


def _of_size(table: pd.DataFrame, preset: str, folder: Path) -> dict[str, Any]:
    """Return the facts of one size of the Transformer, without its name."""
    rows = select(table, task="multi30k", preset=preset, tied=False)
    compared = translation_claims.of_compared_seeds(rows)
    tuned = select(compared, series="tuned")
    dense = select(tuned, method="dense")
    found: dict[str, Any] = {"model": PRESETS[preset]}
    if len(dense):
        found["dense"] = _quality(dense)
    tuned = tuned.assign(level=levels_of(tuned))
    for (method, level), group in tuned[tuned["level"] > 1].groupby(["method", "level"]):
        if method in METHODS:
            found[f"{method}_{level:.0f}x"] = _quality(group)
    both = tuned[tuned["level"].notna() & tuned["method"].isin(["pruned", "block_circulant"])]
    for method, group in both.groupby("method"):
        found[f"epochs_{method}"] = sorted(group["epochs"].unique())
    for method in ("pruned", "pruned_all", "block_circulant"):
        reach = _reach(select(tuned, method=method).dropna(subset="level"), dense)
        if reach:
            found[f"reach_{method}"] = reach
    for level, group in translation_claims.lent(table, preset).groupby("block_size"):
        found[f"lent_{level}x"] = _quality(group)
    pairs = translation_claims.pairs_at_equal_compression(compared)
    found["levels"] = list(translation_claims.compare(pairs, folder)[0].itertuples())
    equal = translation_claims.pairs_at_equal_size(compared)
    if len(equal):
        each, found["equal_size"], _ = translation_claims.compare(equal, folder)
        there = pairs[pairs["block_size"].isin(each["block_size"])]
        _, found["equal_weights"], _ = translation_claims.compare(there, folder)
    return found


def _quality(rows: pd.DataFrame) -> Quality:
    means = rows[["test_bleu", "file_bytes", "epochs", "compression", "compression_all"]].mean()
    return Quality(means["test_bleu"], means["file_bytes"] / 1e6, means["epochs"],
                   means["compression"], means["compression_all"], rows["seed"].nunique())


def _reach(rows: pd.DataFrame, dense: pd.DataFrame) -> Quality | None:
    """Return the networks of the largest compression at which nothing is lost, on validation.

    The level, of those that both methods have, is chosen by validation BLEU, averaged over seeds;
    no level below it fails.
    """
    needed = dense["val_bleu"].mean() - WITHIN
    reached = None
    for _, level in rows.groupby("level"):
        if level["val_bleu"].mean() < needed:
            break
        reached = level
    return None if reached is None else _quality(reached)


@dataclass(frozen=True)
class Baseline:
    """The dense networks of a preset, with one kind of output layer."""

    preset: str
    tied: bool
    weights: float
    seeds: int
    bleu: Interval  # over seeds; of a single one over test sentences
    chrf: float


def _baselines(table: pd.DataFrame) -> list[Baseline]:
    rows = select(table, task="multi30k", method="dense", series="same")
    found = []
    for (preset, tied), group in rows[rows["preset"].isin(SIZES)].groupby(["preset", "tied"]):
        bleu = interval(group["test_bleu"])
        if len(group) == 1:
            bleu = Interval(bleu.mean, *group[["test_bleu_low", "test_bleu_high"]].iloc[0])
        found.append(Baseline(preset, tied, group["file_bytes"].mean() / 4, len(group), bleu,
                              group["test_chrf"].mean()))
    return sorted(found, key=lambda b: (-SIZES.index(b.preset), not b.tied))
