"""The poster, A0, from the results: ``make poster``.

Its layout and every sentence are in ``figures/poster.typ``. A ``table`` is rows of
:func:`circtools.experiments.results.load`, read from one folder, and ``found`` its facts.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from circtools.report import comparisons, diagrams, headlines, sheets, style
from circtools.report.gallery import FIGURES, FOLDER
from circtools.report.mnist_figures import mnist_benchmark
from circtools.report.translation_figures import side_by_side, translation_benchmark

LETTERS, SMALL_LETTERS = 26, 16  # points of the text inside the figures of page 1 and of page 2
CARD, PANEL, LOW = (8.5, 5.1), (9.4, 7.6), (9.4, 7.0)  # inches
PAGE_2 = {  # how large the figures are printed, in inches
    "technique_pruning": (9.4, 4.5), "technique_circulant": (9.4, 4.7),
    "block_circulant_ladder": (9.4, 3.9), "translation_gap": PANEL, "pruned_transformer": LOW,
    "pruned_entire_network": LOW, "block_circulant_transformer": LOW,
    "circulant_transformer": PANEL, "compressed_transformer": (9.4, 8.0),
    "sharing_or_structure": (9.4, 6.0)}
EXAMPLE = 12  # the test sentence shown, chosen because translations differ; the layout quotes it


def numbers(table: pd.DataFrame, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the layout names: the facts, one sentence's translations, who made it."""
    shown = side_by_side(comparisons.of_multi30k(table), EXAMPLE)
    translations = {level: row.dropna().to_dict() for level, row in shown.iterrows()}
    return found | {"citation": sheets.citation(), "translations": translations}


@style.context()
def panels(table: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures, as large as they are printed, by their names in the layout."""
    with rc_context({"text.color": "white", "axes.labelcolor": "white"}):  # on the dark band
        ladder = sheets.printed(diagrams.block_circulant_ladder(8), (16.4, 6.2), LETTERS)
    page_2 = {"mnist_benchmark": (mnist_benchmark(table, ["tuned"]), PANEL),
              "translation_benchmark": (translation_benchmark(table, upright=True), (9.4, 11.2)),
              **{name: (FIGURES[name](table), size) for name, size in PAGE_2.items()}}
    return {
        "ladder": ladder,
        "headline": headlines.headline(table, (18.0, 8.6), LETTERS),
        "headline_gap": headlines.headline_gap(table, (11.0, 8.6), LETTERS),
        "mnist_card": headlines.mnist_card(table, CARD, LETTERS),
        "learning_rate_card": headlines.learning_rate_card(table, CARD, LETTERS),
        "file_size_card": headlines.file_size_card(table, CARD, LETTERS),
        **{name: sheets.printed(figure, size, SMALL_LETTERS)
           for name, (figure, size) in page_2.items()}}


def make(table: pd.DataFrame, found: dict[str, Any], folder: Path = FOLDER) -> list[Path]:
    """Write ``poster.pdf`` and the preview of its first page ``poster.png``; return their paths.

    Raises:
        ValueError: as :func:`circtools.report.sheets.typeset`.
    """
    paths = [folder / "poster.pdf", folder / "poster.png"]
    sheets.write(paths, FOLDER, numbers(table, found), panels(table))
    return paths
