"""The poster's claims, each with a difference, its 95 % interval and a verdict, from the results.

The rules are in :mod:`circtools.report.statistics`; the claims' words are in the pages' templates.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from circtools.experiments import store
from circtools.report import statistics, translation_claims
from circtools.report.statistics import Claim

PERCENT = 100.0


def gap(table: pd.DataFrame, series: str, layers: str = "first",
        pixels: str = "natural") -> pd.DataFrame:
    """Return the MNIST quality of pruned and of block-circulant networks at equal compression.

    A quality is a test error with its sign changed, in percentage points, so that pruned minus
    block-circulant is above zero where pruning is better. The pruned network's error is
    interpolated between its rounds, linearly in the logarithm of the compression, for each seed on
    its own. (Pruned networks were trained on natural pixels only: with independent first weights
    they cannot feel a permutation.)

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        series: ``"same"`` or ``"tuned"``.
        layers: ``"first"`` or ``"all"``, the set that is compressed, in both methods.
        pixels: those of the block-circulant networks.

    Returns:
        Columns ``block_size``, ``compression``, ``seed``, ``first`` (pruned) and ``second``
        (block-circulant), a row a level and seed.
    """
    mnist = table[(table["task"] == "mnist") & (table["series"] == series)
                  & (table["layers"] == layers)]
    pruned = mnist[mnist["method"] == "pruned"]
    circulant = mnist[(mnist["method"] == "block_circulant") & (mnist["pixels"] == pixels)]
    rows = []
    for run in circulant.itertuples():
        chain = pruned[pruned["seed"] == run.seed].sort_values("compression")
        reaches = len(chain) and chain["compression"].iloc[[0, -1]].tolist()
        if not reaches or not reaches[0] <= run.compression <= reaches[1]:
            continue
        error = np.interp(np.log(run.compression), np.log(chain["compression"]),
                          chain["test_error"])
        rows.append((run.block_size, run.compression, run.seed,
                     -PERCENT * error, -PERCENT * run.test_error))
    return pd.DataFrame(rows, columns=["block_size", "compression", "seed", "first", "second"])


def order_gap(table: pd.DataFrame, series: str) -> pd.DataFrame:
    """Return the quality of block-circulant networks with natural and with permuted pixels.

    Returns:
        As :func:`gap`; ``first`` is with natural pixels, ``second`` with permuted ones.
    """
    mnist = table[(table["task"] == "mnist") & (table["series"] == series)
                  & (table["layers"] == "first") & (table["method"] == "block_circulant")]
    key = ["block_size", "compression", "seed"]
    wide = -PERCENT * mnist.pivot_table(index=key, columns="pixels", values="test_error")
    names = {"natural": "first", "permuted": "second"}
    return wide.reindex(columns=[*names]).rename(columns=names).dropna().reset_index()


def all_claims(table: pd.DataFrame, folder: Path = store.FOLDER) -> list[Claim]:
    """Return the claims that the results speak of, one for each size and series.

    ``tuned`` gives the verdict, ``same`` is the reproduction with the dense hyper-parameters.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        folder: where the results are.
    """
    mnist = of_mnist(table)
    found: list[Claim] = []
    for series in ("tuned", "same"):
        first = gap(mnist, series)
        found += [*_over_levels("claim1_first", first, series, claimed=-1),
                  *_growth(first, series),
                  *_over_levels("claim1_all", gap(mnist, series, layers="all"), series, claimed=-1),
                  *_over_levels("claim4_order", order_gap(mnist, series), series),
                  *_over_levels("claim4_permuted", gap(mnist, series, pixels="permuted"), series,
                                claimed=-1)]
    found += translation_claims.claims(table, folder)
    return sorted(found, key=lambda claim: (claim.series != "tuned", claim.key[:6]))


def _over_levels(key: str, pairs: pd.DataFrame, series: str, claimed: int = 1) -> list[Claim]:
    pairs = statistics.with_all_levels(pairs)
    if pairs.empty:
        return []
    each, mean = statistics.levels(pairs)
    return [statistics.over_levels(key, each, mean, pairs["seed"].nunique(), claimed=claimed,
                                 task="mnist", preset="base", series=series)]


def _growth(pairs: pd.DataFrame, series: str) -> list[Claim]:
    """Return the claim that the gap grows: its slope, in points per doubling of the compression."""
    pairs = statistics.with_all_levels(pairs)
    if pairs["block_size"].nunique() < 2:
        return []
    slopes = [[np.polyfit(np.log2(rows["compression"]), rows[side], 1)[0]
               for _, rows in pairs.groupby("seed")] for side in ("first", "second")]
    slope, _ = statistics.difference(*slopes)
    each = pd.DataFrame({"compression": sorted(pairs["compression"].unique()), "decided": 0})
    return [statistics.over_levels("claim1_growth", each, slope, pairs["seed"].nunique(),
                                   claimed=-1, task="mnist", preset="base", series=series)]


def of_mnist(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the full-scale MNIST results."""
    return table[(table["task"] == "mnist") & (table["preset"] == "base")]
