"""Named numbers from the results, for the pages and the poster, and not a word of English."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from circtools.experiments import results
from circtools.experiments.choices import slight_scales
from circtools.experiments.multi30k_runs import PRESETS
from circtools.experiments.results import select
from circtools.report import claims, comparisons
from circtools.report.comparisons import SIZES, compare

TURN = 196.0  # the compression up to which pruning's lead grows on MNIST; a look at the results
WITHIN = 1.0  # BLEU below the dense network, on validation, that count as nothing lost


@dataclass(frozen=True)
class Quality:
    """The mean of some networks over their seeds."""

    bleu: float  # on the test set
    val_bleu: float
    megabytes: float  # of the file, in 32 bits, with the places of the weights that pruning kept
    epochs: float  # from the first weights on
    compression: float  # over the Transformer's layers
    compression_all: float  # over all weight matrices but the embeddings
    seeds: int


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """Return every fact by its name; what has not been run has none.

    The names: ``claim1_first`` to ``claim4_permuted``, each a :class:`.claims.Claim`; after those
    on translation stands the preset, and after those of the untuned series ``_same``. For a preset
    ``P``: ``dense_P``, ``METHOD_4x_P`` and so for every level, ``lent_4x_P`` (with the learning
    rate that was chosen at another size) and ``reach_METHOD_P``, each a :class:`Quality`;
    ``baseline_tied_P`` and ``baseline_untied_P``, the dense networks by their output layer;
    ``equal_size_P`` and ``equal_weights_P``, each an interval; ``levels_P``, those of claim 2; the
    intervals of :func:`.comparisons.leads`, such as ``rounds_P``, with ``rounds_seeds_P`` and so
    on; ``half_dropout_4x_P`` and ``half_dropout_16x_P``, the qualities of block-circulant networks
    with half the dropout; ``four_sets_P``, the rows of :func:`.comparisons.on_four_sets`.
    ``speed_N_T_B``: how many times as fast as a dense layer a block-circulant one is in inference,
    at N features, T tokens and block size B. ``claims`` and ``sizes`` are lists, for tables.
    ``growth_to_turn`` and ``growth_from_turn`` are the slopes of claim 1 up to :data:`TURN` and
    beyond, in points of error per doubling. ``errors`` are the test errors on MNIST in percent, by
    method with pixels, then by block size; ``pruned_errors`` those of pruned networks as small as
    each block size. ``slight_rates`` are the rates that claim 3's own test chose, as multiples of
    the dense network's; ``later_rate_dense_P`` and ``later_rate_finetune_control_P`` are what
    pruned networks have more than these after the first rounds, with the rate that was chosen for
    later ones.

    The table holds rows of :func:`circtools.experiments.results.load`, read from one folder. It
    raises a ValueError without results of a task, a FileNotFoundError without the layer's timings.
    """
    for task, presets in ("mnist", ("base",)), ("multi30k", SIZES):
        if not select(table, task=task)["preset"].isin(presets).any():
            raise ValueError(f"there are no results of {task} to report (preset "
                             f"{' or '.join(presets)}); run 'circtools run {task}' first, or get "
                             "data/results from the repository")
    trained = table[table["series"] != "search"].groupby("task")["run"].nunique()
    found: dict[str, Any] = {
        "claims": claims.all_claims(table), "trainings": trained.to_dict(),
        "sizes": comparisons.presets_compared(table)}
    for claim in found["claims"]:
        at = f"_{claim.preset}" * (claim.task == "multi30k") + "_same" * (claim.series == "same")
        found[claim.key + at] = claim
    for preset in found["sizes"]:
        found |= {f"{name}_{preset}": fact for name, fact in _of_size(table, preset).items()}
    found["slight_rates"] = {method: scale.lr for method, scale in slight_scales(table).items()}
    pairs = comparisons.mnist_pairs(table, "tuned")
    found |= {"growth_to_turn": comparisons.slope(pairs[pairs["compression"] <= TURN]),
              "growth_from_turn": comparisons.slope(pairs[pairs["compression"] >= TURN])}
    mnist = select(table, task="mnist", preset="base", series="tuned", layers="first")
    errors = 100 * mnist.groupby(["method", "pixels", "block_size"])["test_error"].mean()
    found["errors"] = {" ".join(kind): rows.droplevel([0, 1]).to_dict()
                       for kind, rows in errors.groupby(["method", "pixels"])}
    found["pruned_errors"] = (-pairs.groupby("block_size")["first"].mean()).to_dict()
    for cell in select(results.layer_timings(table), mode="inference").itertuples():
        found[f"speed_{cell.n}_{cell.tokens}_{cell.block_size}"] = cell.ratio
    return found


def _of_size(table: pd.DataFrame, preset: str) -> dict[str, Any]:
    """Return the facts of one size of the Transformer, without its name."""
    rows = select(table, task="multi30k", preset=preset, tied=False)
    compared = comparisons.of_compared_seeds(rows)
    tuned = select(compared, series="tuned").assign(level=comparisons.levels_of)
    dense = select(tuned, method="dense")
    found: dict[str, Any] = {"model": PRESETS[preset], "dense": _quality(dense)}
    same = select(table, task="multi30k", preset=preset, method="dense", series="same")
    for tied, group in same.groupby("tied"):
        found["baseline_tied" if tied else "baseline_untied"] = {
            "megabytes": group["file_bytes"].mean() / 1e6, "seeds": len(group),
            "bleu": comparisons.bleu_interval(group), "chrf": group["test_chrf"].mean()}
    for (method, level), group in tuned[tuned["level"] > 1].groupby(["method", "level"]):
        found[f"{method}_{level:.0f}x"] = _quality(group)
    for method in ("pruned", "pruned_all", "block_circulant"):
        if reach := _reach(select(tuned, method=method), dense):
            found[f"reach_{method}"] = reach
    for level, group in comparisons.lent(table, preset).groupby("block_size"):
        found[f"lent_{level}x"] = _quality(group)
    for against in ("dense", "finetune_control"):
        slight = comparisons.slightly_pruned_pairs(rows, against)
        if len(slight):
            found[f"later_rate_{against}"] = compare(slight, paired=True).mean
    for name, lead in comparisons.leads(compared).items():
        found |= {name: lead.mean, f"{name}_seeds": lead.seeds}
    half = comparisons.with_half_dropout(compared)
    for level, group in select(half, method="block_circulant").groupby("block_size"):
        found[f"half_dropout_{level}x"] = _quality(group)
    pairs = comparisons.pairs_at_equal_compression(compared)
    each, equal_size, _ = compare(comparisons.pairs_at_equal_size(compared))
    there = pairs[pairs["block_size"].isin(each["block_size"])]
    return found | {"levels": list(compare(pairs).each.itertuples()),
                    "equal_size": equal_size, "equal_weights": compare(there).mean,
                    "four_sets": comparisons.on_four_sets(rows)}


def _quality(rows: pd.DataFrame) -> Quality:
    bleu, val_bleu, size, epochs, compression, compression_all = rows[[
        "test_bleu", "val_bleu", "file_bytes", "epochs", "compression", "compression_all"]].mean()
    return Quality(bleu, val_bleu, size / 1e6, epochs, compression, compression_all,
                   rows["seed"].nunique())


def _reach(rows: pd.DataFrame, dense: pd.DataFrame) -> Quality | None:
    """Return the networks of the largest compression at which nothing is lost, on validation.

    No level below it fails, by validation BLEU averaged over seeds.
    """
    needed = dense["val_bleu"].mean() - WITHIN
    enough = rows.groupby("level")["val_bleu"].mean() >= needed
    reached = enough.index[enough.cummin()]
    return _quality(rows[rows["level"] == reached[-1]]) if len(reached) else None
