"""The poster's claims, each with an estimate, a 95 % interval and a verdict, from the results.

The rules for a verdict were written before there were full-scale results, and have not changed
since; the wording of claim 4 was ("needs the order" became "profits from the order", once it was
seen that small blocks do not need it). Seeds are the sample: intervals are Student's t
over seeds, and differences are taken seed by seed at equal compression. A claim over several
levels of compression is

- confirmed, if the mean difference over the levels is above zero with its whole interval and no
  single level is significantly below;
- refuted, if the mean is below zero with its whole interval, or a single level is significantly
  below;
- undecided otherwise.

Single levels are tested at 5 % with Holm's correction across the levels.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from circtools.data import ROOT

README = ROOT / "README.md"
BEGIN, END = "<!-- claims: written by 'circtools report' -->", "<!-- end of claims -->"
PERCENT = 100.0


class Interval(NamedTuple):
    """A mean with its 95 % t interval; the bounds are nan for fewer than two values."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the mean of a sample and its 95 % interval by Student's t."""
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2:
        return Interval(float(sample.mean()), float("nan"), float("nan"))
    mean, half = sample.mean(), stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
    return Interval(float(mean), float(mean - half), float(mean + half))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number, in their order.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Stat. 6
    (1979).
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


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


def levels(differences: pd.DataFrame) -> pd.DataFrame:
    """Return the mean difference of each level with its interval and its Holm-adjusted p-value.

    Returns:
        Columns ``block_size``, ``compression``, ``mean``, ``low``, ``high``, ``p`` and
        ``decided`` (1 significantly above zero, -1 significantly below, 0 neither).
    """
    rows = []
    for (block_size, compression), group in differences.groupby(["block_size", "compression"]):
        p = stats.ttest_1samp(group["difference"], 0.0).pvalue if len(group) > 1 else np.nan
        rows.append((block_size, compression, *interval(group["difference"]), p))
    result = pd.DataFrame(
        rows, columns=["block_size", "compression", "mean", "low", "high", "p"])
    result["p"] = holm(result["p"].fillna(1.0))
    result["decided"] = np.where(result["p"] < 0.05, np.sign(result["mean"]), 0).astype(int)
    return result


# --- The table -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim with its evidence; the estimate and its interval are in ``unit``."""

    number: str
    statement: str
    series: str
    estimate: float
    low: float
    high: float
    unit: str
    verdict: str
    evidence: str


def table_of_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return the claims that the results speak of, a row a claim and series.

    ``tuned`` gives the verdict, ``same`` is the reproduction with the dense hyper-parameters.

    Args:
        table: rows of :func:`circtools.results.load`, of preset ``course``.
    """
    claims: list[Claim | None] = []
    for series in ("tuned", "same"):
        first = pruned_minus_circulant(table, series)
        claims += [
            _over_levels("1", "MNIST: at equal compression of the first layer, block-circulant "
                         "has a lower test error than pruning", series, first),
            _growth("1", "MNIST: that gap grows with compression", series, first),
        ]
        if series == "tuned":
            claims.append(_over_levels(
                "1", "MNIST: the same with both layers compressed", series,
                pruned_minus_circulant(table, series, layers="all")))
        claims += [
            _over_levels("4", "MNIST: block-circulant profits from the order of the pixels: "
                         "permuting them raises its test error", series,
                         permuted_minus_natural(table, series)),
            _over_levels("4", "MNIST: with permuted pixels, block-circulant still has a lower "
                         "test error than pruning", series,
                         pruned_minus_circulant(table, series, pixels="permuted")),
        ]
    return pd.DataFrame([asdict(claim) for claim in claims if claim is not None])


def _over_levels(number: str, statement: str, series: str, differences: pd.DataFrame
                 ) -> Claim | None:
    if differences.empty:
        return None
    each = levels(differences)
    mean = interval(differences.groupby("seed")["difference"].mean())
    better, worse = int((each["decided"] > 0).sum()), int((each["decided"] < 0).sum())
    verdict = "undecided"
    if mean.high < 0 or worse:
        verdict = "refuted"
    elif mean.low > 0:
        verdict = "confirmed"
    evidence = (f"{len(each)} levels from {each['compression'].min():.3g}x to "
                f"{each['compression'].max():.3g}x, {differences['seed'].nunique()} seeds: "
                f"true at {better}, false at {worse}, open at {len(each) - better - worse}")
    return Claim(number, statement, series, *mean, "percentage points of test error", verdict,
                 evidence)


def _growth(number: str, statement: str, series: str, differences: pd.DataFrame) -> Claim | None:
    if differences["block_size"].nunique() < 2:
        return None
    slopes = [np.polyfit(np.log2(group["compression"]), group["difference"], 1)[0]
              for _, group in differences.groupby("seed")]
    slope = interval(slopes)
    verdict = "confirmed" if slope.low > 0 else "refuted" if slope.high < 0 else "undecided"
    return Claim(number, statement, series, *slope,
                 "percentage points for each doubling of the compression", verdict,
                 f"slope of a straight line in log2(compression), {len(slopes)} seeds")


def markdown(claims: pd.DataFrame) -> str:
    """Return the claims as a Markdown table."""
    lines = ["| Claim | Series | Estimate (95 % interval) | Verdict | Evidence |",
             "| --- | --- | --- | --- | --- |"]
    for row in claims.itertuples():
        lines.append(
            f"| {row.number}. {row.statement} | {row.series} | {row.estimate:+.2f} "
            f"({row.low:+.2f} to {row.high:+.2f}) {row.unit} | **{row.verdict}** "
            f"| {row.evidence} |")
    return "\n".join(lines)


def of_mnist(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the full-scale MNIST results."""
    return table[(table["task"] == "mnist") & (table["preset"] == "course")]


def write_report(table: pd.DataFrame, readme: Path = README, check: bool = False) -> bool:
    """Write the claims table into the README, between its two marks.

    Args:
        table: rows of :func:`circtools.results.load`.
        readme: the file.
        check: change nothing.

    Returns:
        Whether the file already said the same.

    Raises:
        ValueError: if the file lacks the marks.
    """
    text = readme.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{readme} lacks the marks {BEGIN!r} and {END!r}")
    block = f"{BEGIN}\n{markdown(table_of_claims(of_mnist(table)))}\n{END}"
    fresh = pattern.sub(lambda _: block, text)
    if fresh != text and not check:
        temporary = readme.with_name(readme.name + ".tmp")
        temporary.write_text(fresh, encoding="utf-8")
        temporary.replace(readme)
    return fresh == text
