"""What is made of the results for print: the figures; the poster, slides and handout, set by Typst.

The layout and every sentence of a sheet are in its ``.typ`` file. It gets the numbers that the
sentences name, and figures, drawn as large as they are printed. A ``table`` is rows of
:func:`circtools.experiments.results.load`, read from one folder.
"""

import io
import json
import re
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
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

from circtools.experiments import results
from circtools.experiments.files import ROOT, replacing
from circtools.experiments.multi30k_runs import PRESETS
from circtools.report import architecture, comparisons, diagrams, facts, headlines, pages, style
from circtools.report import mnist_figures as mnist
from circtools.report import speed_figures as speed
from circtools.report import translation_figures as translation

FOLDER = ROOT / "figures"
TEACHING = ROOT / "notebooks" / "teaching"
FIGURES: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "block_circulant_ladder": lambda table: diagrams.block_circulant_ladder(),
    "technique_pruning": lambda table: diagrams.pruning_technique(),
    "technique_circulant": lambda table: diagrams.circulant_technique(),
    "compressed_transformer": lambda table: architecture.transformer(
        ("attention", "feed_forward"), PRESETS[comparisons.main_preset(table)].layers),
    "mnist_benchmark": mnist.mnist_benchmark,
    "mnist_gap": mnist.mnist_gap,
    "mnist_permuted": mnist.mnist_permuted,
    "sharing_or_structure": mnist.sharing_or_structure,
    "headline": partial(headlines.headline, title="Choose the weights or share them? "
                        "On average less than one BLEU apart"),
    "translation_benchmark": translation.translation_benchmark,
    "translation_sets": translation.translation_sets,
    "translation_gap": translation.translation_gap,
    **{name: partial(translation.poster_panel, name=name) for name in translation.PANELS},
    "circulant_transformer": translation.circulant_transformer,
    "slightly_pruned": translation.slightly_pruned,
    "layer_speed": lambda table: speed.crossover_map(results.layer_timings(table), tokens=(256,)),
    "layer_speed_inference": lambda table: speed.crossover_map(results.layer_timings(table)),
    "layer_speed_training": lambda table: speed.crossover_map(
        results.layer_timings(table), tokens=(32, 256, 2048), mode="training"),
}

OUTPUT: dict[str, dict[str, Any]] = {".pdf": {"format": "pdf", "pdf_standards": "ua-1"},
                                     ".png": {"format": "png", "ppi": 52}}  # a preview
LETTERS, SMALL_LETTERS = 26, 16  # points of the text inside the figures of page 1 and of page 2
CARD, PANEL, LOW = (8.5, 5.1), (9.4, 7.6), (9.4, 7.0)  # inches
CARDS = {headlines.headline: (18.0, 8.6), headlines.headline_gap: (11.0, 8.6),
         headlines.mnist_card: CARD, headlines.learning_rate_card: CARD,
         headlines.file_size_card: CARD}
PAGE_2 = {  # how large the figures are printed, in inches
    "technique_pruning": (9.4, 4.5), "technique_circulant": (9.4, 4.7),
    "block_circulant_ladder": (9.4, 3.9), "translation_gap": PANEL, "pruned_transformer": LOW,
    "pruned_entire_network": LOW, "block_circulant_transformer": LOW,
    "circulant_transformer": PANEL, "compressed_transformer": (9.4, 8.0),
    "sharing_or_structure": (9.4, 6.0)}
EXAMPLE = 12  # the test sentence shown, chosen because translations differ; the layout quotes it

SLIDE, SLIDE_LETTERS = (10.4, 4.1), 14  # inches and points of a picture on a slide
SLIDES = {  # further figures, and letters that keep clear of each other
    "technique_circulant": 15, "block_circulant_ladder": 15, "technique_pruning": 15,
    "sharing_or_structure": 12, "slightly_pruned": 12.5, "pruned_entire_network": 13,
    "layer_speed": 13}


@style.context()
def make_all(table: pd.DataFrame, folder: Path = FOLDER) -> list[Path]:
    """Write every figure as SVG and PNG, the same bytes for the same results; return the paths.

    A ValueError says which of their titles is not true any more.
    """
    paths, titles = [], pages.titles(facts.facts(table))
    for name, draw in FIGURES.items():
        figure = draw(table)
        if name in titles:  # the figures in the notebooks have none: there the reader looks first
            title = textwrap.fill(titles[name], int(7 * figure.get_figwidth()))
            lines = [title, figure.get_suptitle()]
            figure.suptitle("\n".join(filter(None, lines)), fontsize=15, fontweight="bold")
        paths += style.save(figure, folder / name)
        plt.close(figure)
    return paths


def make_poster(table: pd.DataFrame, folder: Path = FOLDER) -> list[Path]:
    """Write ``poster.pdf`` and a preview of its page 1, ``poster.png``, by :func:`typeset`."""
    paths = [folder / "poster.pdf", folder / "poster.png"]
    return _write(paths, FOLDER, numbers(table), poster_figures(table))


def make_slides(table: pd.DataFrame, folder: Path = TEACHING) -> list[Path]:
    """Write ``slides.pdf`` and ``handout.pdf`` by :func:`typeset`; return their paths."""
    paths = [folder / "slides.pdf", folder / "handout.pdf"]
    return _write(paths, TEACHING, numbers(table), slide_figures(table))


def numbers(table: pd.DataFrame) -> dict[str, Any]:
    """Return what the sheets name: facts, titles, words, one sentence's translations, citation."""
    found = facts.facts(table)
    shown = translation.side_by_side(comparisons.of_multi30k(table), EXAMPLE)
    return found | {
        "titles": pages.titles(found), "glossary": glossary(),
        "translations": {level: row.dropna().to_dict() for level, row in shown.iterrows()},
        "citation": yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"),
                              yaml.BaseLoader)}


def glossary() -> dict[str, str]:
    """Return the first sentence that the glossary has for each word."""
    text = (ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8")
    found = re.findall(r"^## ([^\n]+)\n\n(.+?[.])(?=\s)", text, re.MULTILINE | re.DOTALL)
    return {word: " ".join(sentence.split()) for word, sentence in found}


@style.context()
def poster_figures(table: pd.DataFrame) -> dict[str, Figure]:
    """Return the poster's figures, as large as they are printed, by their names in the layout."""
    with rc_context({"text.color": "white", "axes.labelcolor": "white"}):  # on the dark band
        ladder = printed(diagrams.block_circulant_ladder(8), (16.4, 6.2), LETTERS)
    benchmark = translation.translation_benchmark(table, upright=True)
    page_2 = {"mnist_benchmark": (mnist.mnist_benchmark(table, ["tuned"]), PANEL),
              "translation_benchmark": (benchmark, (9.4, 11.2)),
              **{name: (FIGURES[name](table), size) for name, size in PAGE_2.items()}}
    return {"ladder": ladder,
            **{card.__name__: card(table, size, LETTERS) for card, size in CARDS.items()},
            **{name: printed(figure, size, SMALL_LETTERS)
               for name, (figure, size) in page_2.items()}}


@style.context()
def slide_figures(table: pd.DataFrame) -> dict[str, Figure]:
    """Return the slides' figures, as large as they are shown, by their names in the layouts."""
    return {card.__name__: card(table, SLIDE, SLIDE_LETTERS) for card in CARDS} | {
        name: printed(FIGURES[name](table), SLIDE, letters) for name, letters in SLIDES.items()}


def printed(figure: Figure, size: tuple[float, float], points: float) -> Figure:
    """Give a figure of the course its printed size in inches, with letters of so many points."""
    figure.set_size_inches(size)
    for axes in figure.axes:
        axes.tick_params(labelsize=points)
    for text in figure.findobj(Text):
        text.set_fontsize(points)
    return figure


@style.context()
def typeset(named: dict[str, Any], drawn: dict[str, Figure], layout: Path, **output: Any) -> Any:
    """Return a sheet as ``typst.compile``, with the options ``output``, gives it.

    The layout is Typst's. It finds what is ``named``, by :func:`numbers`, in facts.json, and the
    figures ``drawn`` by their names. A ValueError says if it names what is not there, or says what
    is not true any more.
    """
    qr = io.BytesIO()  # the layout shows it once CITATION.cff names the public repository
    segno.make(named["citation"].get("repository-code", "-")).save(qr, kind="svg")
    files = {"main.typ": layout.read_bytes(), "common.typ": (FOLDER / "common.typ").read_bytes(),
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


def _write(paths: list[Path], layouts: Path, named: dict[str, Any], drawn: dict[str, Figure]
           ) -> list[Path]:
    """Write sheets, each from the layout of its name, as PNG the first page; close the figures."""
    for path in paths:
        page = typeset(named, drawn, layouts / f"{path.stem}.typ", **OUTPUT[path.suffix])
        with replacing(path) as temporary:
            temporary.write_bytes(page[0] if path.suffix == ".png" else page)
    for figure in drawn.values():
        plt.close(figure)
    return paths
