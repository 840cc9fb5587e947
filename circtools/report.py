"""What ``circtools report`` writes into the README: advice, verdicts and baselines."""

import re
from pathlib import Path

import pandas as pd

from circtools import claims, recommendations, results, translation_claims
from circtools.claims import markdown_table
from circtools.files import ROOT, replacing
from circtools.results import select
from circtools.verdicts import interval

README = ROOT / "README.md"
CLAIMS = "<!-- claims: written by 'circtools report' -->"
BRIEF = "<!-- claims in brief: written by 'circtools report' -->"
BASELINES = "<!-- baselines: written by 'circtools report' -->"
RECOMMENDATIONS = "<!-- recommendations: written by 'circtools report' -->"
END = "<!-- end of what 'circtools report' writes -->"


def in_brief(found: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return each claim in words, what was measured, and the verdict; all sizes in one row.

    Args:
        found: of :func:`circtools.claims.table_of_claims`; the series ``tuned`` is shown.
    """
    rows = []
    for (number, task, statement), group in select(found, series="tuned").groupby(
            ["number", "task", "statement"], sort=False):
        measured: list[str] = []
        verdicts: dict[str, list[str]] = {}
        for row in group.iloc[::-1].itertuples():  # the smallest first
            at = f" at `{row.preset}`" if row.preset else ""
            measured.append(claims.estimate(row) + at)
            verdicts.setdefault(f"{row.verdict} ({row.sample.split(',')[0]})", []).append(at)
        verdict = ", ".join(verdict + " and".join(places) * (len(verdicts) > 1)
                            for verdict, places in verdicts.items())
        rows.append((f"{number}. {task}: {statement}", ", ".join(measured), verdict))
    return rows


def brief(found: pd.DataFrame) -> str:
    """Return :func:`in_brief` as a Markdown table."""
    rows = [(*others, f"**{verdict}**") for *others, verdict in in_brief(found)]
    header = ("Statement, after the number of the claim that it bears on",
              "Measured (95 % interval)", "Verdict")
    return markdown_table(header, rows)


def baselines(table: pd.DataFrame) -> str:
    """Return the dense Transformers as a Markdown table, a row a preset and kind of output."""
    rows = select(table, task="multi30k", method="dense", series="same")
    rows = rows[rows["preset"].isin(translation_claims.SIZES)]
    lines = {}
    for (preset, tied), group in rows.groupby(["preset", "tied"], sort=False):
        mean, low, high = interval(group["test_bleu"])
        over = f"over {len(group)} seeds"
        if len(group) == 1:
            low, high = group[["test_bleu_low", "test_bleu_high"]].iloc[0]
            over = "over test sentences"
        lines[-translation_claims.SIZES.index(preset), not tied] = (
            f"`{preset}`", "tied" if tied else "its own",
            f"{group['file_bytes'].mean() / 4e6:.1f}", str(len(group)), f"{mean:.2f}",
            f"{low:.2f} to {high:.2f}, {over}", f"{group['test_chrf'].mean():.1f}")
    header = ("Preset", "Output weights", "Million weights", "Seeds", "Test BLEU", "95 % interval",
              "chrF")
    return markdown_table(header, [lines[key] for key in sorted(lines)])


def advice(table: pd.DataFrame, folder: Path = results.FOLDER) -> str:
    """Return the advice that follows from the Transformers' results, and its numbers."""
    sizes = recommendations.sizes(table, folder)
    if not sizes:
        return "There are no results of compressed Transformers yet."
    numbers = recommendations.summary(sizes)
    lines = (line.partition(":") for line in recommendations.advice(sizes))
    return "\n".join([
        *(f"* **{what}:**{evidence}" for what, _, evidence in lines), "",
        markdown_table(("Multi30k, German to English", *numbers), numbers.itertuples())])


def blocks(table: pd.DataFrame) -> dict[str, str]:
    """Return what stands in the README, by the mark that it begins with.

    Args:
        table: rows of :func:`circtools.results.load`.
    """
    found = claims.table_of_claims(table)
    return {RECOMMENDATIONS: advice(table), BRIEF: brief(found), CLAIMS: claims.markdown(found),
            BASELINES: baselines(table)}


def write(blocks: dict[str, str], readme: Path = README, check: bool = False) -> bool:
    """Write the blocks into the README, each between its two marks.

    Args:
        blocks: of :func:`blocks`.
        readme: the file.
        check: change nothing.

    Returns:
        Whether the file already said the same.

    Raises:
        ValueError: if the file lacks the marks.
    """
    text = fresh = readme.read_text(encoding="utf-8")
    for begin, block in blocks.items():
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(END), re.DOTALL)
        if not pattern.search(fresh):
            raise ValueError(f"{readme} lacks the marks {begin!r} and {END!r}")
        written = f"{begin}\n{block}\n{END}"
        fresh = pattern.sub(lambda _, written=written: written, fresh)
    if fresh != text and not check:
        with replacing(readme) as temporary:
            temporary.write_text(fresh, encoding="utf-8")
    return fresh == text
