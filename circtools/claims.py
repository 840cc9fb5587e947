"""The poster's claims, each with an estimate, a 95 % interval and a verdict, from the results.

The rules are in :mod:`circtools.verdicts`. The wording of claim 4 has changed since they were
written: "needs the order" became "profits from the order", once it was seen that small blocks do
not need it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from circtools import results, translation_claims
from circtools.verdicts import (
    Claim,
    Interval,
    above_zero,
    interval,
    levels,
    over_levels,
    with_all_levels,
)

PERCENT = 100.0


# --- Differences, seed by seed -------------------------------------------------------------------


def pruned_minus_circulant(table: pd.DataFrame, series: str, layers: str = "first",
                           pixels: str = "natural") -> pd.DataFrame:
    """Return how much more test error pruning has than block-circulant at equal compression.

    The pruned network's error is interpolated between its rounds, linearly in the logarithm of
    the compression, for each seed on its own. (Pruned networks were trained on natural pixels
    only: with independent first weights they cannot feel a permutation.)

    Args:
        table: rows of :func:`circtools.results.load`.
        series: ``"same"`` or ``"tuned"``.
        layers: ``"first"`` or ``"all"``, the set that is compressed, in both methods.
        pixels: those of the block-circulant networks.

    Returns:
        Columns ``block_size``, ``compression``, ``seed``, ``difference`` (in percentage points;
        positive where block-circulant is better), a row a level and seed.
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
                     PERCENT * (error - run.test_error)))
    return pd.DataFrame(rows, columns=["block_size", "compression", "seed", "difference"])


def permuted_minus_natural(table: pd.DataFrame, series: str) -> pd.DataFrame:
    """Return how much more test error block-circulant has when the pixels are permuted.

    Returns:
        As :func:`pruned_minus_circulant`; positive where the permutation hurts.
    """
    mnist = table[(table["task"] == "mnist") & (table["series"] == series)
                  & (table["layers"] == "first") & (table["method"] == "block_circulant")]
    key = ["block_size", "compression", "seed"]
    wide = mnist.pivot_table(index=key, columns="pixels", values="test_error")
    if not {"natural", "permuted"} <= set(wide.columns):
        return pd.DataFrame(columns=[*key, "difference"], dtype=float)
    difference = PERCENT * (wide["permuted"] - wide["natural"]).dropna()
    return difference.rename("difference").reset_index()


# --- The table -----------------------------------------------------------------------------------


def table_of_claims(table: pd.DataFrame, folder: Path = results.FOLDER) -> pd.DataFrame:
    """Return the claims that the results speak of, a row a claim and series.

    ``tuned`` gives the verdict, ``same`` is the reproduction with the dense hyper-parameters.

    Args:
        table: rows of :func:`circtools.results.load`.
        folder: where the results are.
    """
    mnist = of_mnist(table)
    claims: list[Claim | None] = []
    for series in ("tuned", "same"):
        first = pruned_minus_circulant(mnist, series)
        claims += [
            _mnist_levels("1", "at equal compression of the first layer, block-circulant "
                         "has a lower test error than pruning", series, first),
            _mnist_growth("1", "that gap grows with compression", series, first),
            _mnist_levels("1", "with both layers compressed, block-circulant has a lower "
                          "test error than pruning", series,
                          pruned_minus_circulant(mnist, series, layers="all")),
            _mnist_levels("4", "block-circulant profits from the order of the pixels: "
                         "permuting them raises its test error", series,
                         permuted_minus_natural(mnist, series)),
            _mnist_levels("4", "with permuted pixels, block-circulant still has a lower "
                         "test error than pruning", series,
                         pruned_minus_circulant(mnist, series, pixels="permuted")),
        ]
    claims += translation_claims.claims(table, folder)
    made = sorted((claim for claim in claims if claim is not None),
                  key=lambda claim: (claim.series != "tuned", claim.number))
    return pd.DataFrame([asdict(claim) for claim in made])


def _mnist_levels(number: str, statement: str, series: str, differences: pd.DataFrame
                  ) -> Claim | None:
    differences = with_all_levels(differences)
    if differences.empty:
        return None
    mean = interval(differences.groupby("seed")["difference"].mean())
    return over_levels(number, "MNIST", "", statement, series, levels(differences), mean,
                       "percentage points of test error",
                       f"{differences['seed'].nunique()} seeds")


def _mnist_growth(number: str, statement: str, series: str, differences: pd.DataFrame
                  ) -> Claim | None:
    differences = with_all_levels(differences)
    if differences["block_size"].nunique() < 2:
        return None
    slopes = [np.polyfit(np.log2(group["compression"]), group["difference"], 1)[0]
              for _, group in differences.groupby("seed")]
    slope = interval(slopes)
    return Claim(number, "MNIST", "", statement, series, *slope,
                 "percentage points for each doubling of the compression", above_zero(slope),
                 f"{len(slopes)} seeds",
                 f"slope of a straight line in log2(compression), {len(slopes)} seeds")


def markdown(claims: pd.DataFrame) -> str:
    """Return the claims as a Markdown table."""
    rows = [(f"{c.number}. {c.task}{f' ({c.preset})' if c.preset else ''}: {c.statement}", c.series,
             estimate(c), f"**{c.verdict}**", c.evidence) for c in claims.itertuples()]
    header = ("Claim", "Series", "Estimate (95 % interval)", "Verdict", "Evidence")
    return markdown_table(header, rows)


def estimate(claim: Any) -> str:
    """Return the estimate of a row of :func:`table_of_claims` with its interval."""
    return Interval(claim.estimate, claim.low, claim.high).text(claim.unit)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def of_mnist(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the full-scale MNIST results."""
    return table[(table["task"] == "mnist") & (table["preset"] == "base")]
