"""The poster, A0, from the results: ``make poster``.

Its layout and every sentence are in ``figures/poster.typ``, which Typst sets. From here come the
numbers that the sentences name, and the figures, drawn as large as they are printed. A ``table`` is
rows of :func:`circtools.experiments.results.load`, read from one folder, and ``found`` its facts.
"""

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import segno
import typst
import yaml
from matplotlib import get_data_path, rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from circtools.experiments.files import ROOT, replacing
from circtools.report import comparisons, diagrams, headlines, style
from circtools.report.gallery import FIGURES, FOLDER
from circtools.report.mnist_figures import mnist_benchmark
from circtools.report.translation_figures import side_by_side, translation_benchmark

LAYOUT, COMMON = FOLDER / "poster.typ", FOLDER / "common.typ"
LETTERS, SMALL_LETTERS = 26, 16  # points of the text inside the figures of page 1 and of page 2
CARD, PANEL, LOW = (8.5, 5.1), (9.4, 7.6), (9.4, 7.0)  # inches
PAGE_2 = {  # how large the figures are printed, in inches
    "technique_pruning": (9.4, 4.5), "technique_circulant": (9.4, 4.7),
    "block_circulant_ladder": (9.4, 3.9), "translation_gap": PANEL, "pruned_transformer": LOW,
    "pruned_entire_network": LOW, "block_circulant_transformer": LOW,
    "circulant_transformer": PANEL, "compressed_transformer": (9.4, 8.0),
    "sharing_or_structure": (9.4, 6.0)}
EXAMPLE = 12  # the test sentence shown, chosen because translations differ; the layout quotes it
PREVIEW_DPI = 52


def numbers(table: pd.DataFrame, found: dict[str, Any]) -> dict[str, Any]:
    """Return what the layout names: the facts, one sentence's translations, who made it."""
    shown = side_by_side(comparisons.of_multi30k(table), EXAMPLE)
    citation = yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), yaml.BaseLoader)
    return found | {
        "citation": citation,
        "translations": {level: row.dropna().to_dict() for level, row in shown.iterrows()}}


@style.context()
def panels(table: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures, as large as they are printed, by their names in the layout."""
    with rc_context({"text.color": "white", "axes.labelcolor": "white"}):  # on the dark band
        ladder = printed(diagrams.block_circulant_ladder(8), (16.4, 6.2), LETTERS)
    return {
        "ladder": ladder,
        "headline": headlines.headline(table, (18.0, 8.6), LETTERS),
        "headline_gap": headlines.headline_gap(table, (11.0, 8.6), LETTERS),
        "mnist_card": headlines.mnist_card(table, CARD, LETTERS),
        "learning_rate_card": headlines.learning_rate_card(table, CARD, LETTERS),
        "file_size_card": headlines.file_size_card(table, CARD, LETTERS),
        "mnist_benchmark": printed(mnist_benchmark(table, ["tuned"]), PANEL),
        "translation_benchmark": printed(translation_benchmark(table, upright=True), (9.4, 11.2)),
        **{name: printed(FIGURES[name](table), size) for name, size in PAGE_2.items()}}


def printed(figure: Figure, size: tuple[float, float], points: float = SMALL_LETTERS) -> Figure:
    """Give a figure of the course its printed size in inches, with letters of so many points."""
    figure.set_size_inches(size)
    for axes in figure.axes:
        axes.tick_params(labelsize=points)
    for text in figure.findobj(Text):
        text.set_fontsize(points)
    return figure


@style.context()
def typeset(named: dict[str, Any], drawn: dict[str, Figure], layout: Path = LAYOUT,
            **output: Any) -> Any:
    """Return a sheet as ``typst.compile`` gives it.

    Args:
        named: what the layout finds in facts.json, for the poster :func:`numbers`.
        drawn: its figures by their names, for the poster :func:`panels`.
        layout: the file that Typst sets.
        output: more for ``typst.compile``.

    Raises:
        ValueError: if the layout names what is not there, or says what is not true any more.
    """
    qr = io.BytesIO()  # the layout shows it once CITATION.cff names the public repository
    segno.make(named["citation"].get("repository-code", "-")).save(qr, kind="svg")
    files = {"main.typ": layout.read_bytes(), "common.typ": COMMON.read_bytes(),
             "qr.svg": qr.getvalue(), "facts.json": json.dumps(named, default=_plain).encode()}
    for name, figure in drawn.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        files[f"{name}.svg"] = buffer.getvalue()
    fonts = Path(get_data_path()) / "fonts" / "ttf"  # of matplotlib: the same on every machine
    try:
        return typst.compile(files, font_paths=[fonts], ignore_system_fonts=True, **output)
    except typst.TypstError as error:
        raise ValueError(f"{layout.relative_to(ROOT)}: {error}") from error


def _plain(value: Any) -> Any:
    """Return what JSON does not know: a number of numpy as a number, a class as its attributes."""
    return value.item() if hasattr(value, "item") else asdict(value)


def make(table: pd.DataFrame, found: dict[str, Any], folder: Path = FOLDER) -> list[Path]:
    """Write ``poster.pdf`` and the preview of its first page ``poster.png``; return their paths.

    Raises:
        ValueError: if there are no results of compressed Transformers; and as :func:`typeset`.
    """
    if not comparisons.main_preset(table):
        raise ValueError("there are no results of compressed Transformers; "
                         "'circtools run multi30k --methods all' makes them")
    named, drawn = numbers(table, found), panels(table)
    pages = {"poster.pdf": typeset(named, drawn, format="pdf", pdf_standards="ua-1"),
             "poster.png": typeset(named, drawn, format="png", ppi=PREVIEW_DPI)[0]}
    for figure in drawn.values():
        plt.close(figure)
    for name, page in pages.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(page)
    return [folder / name for name in pages]
