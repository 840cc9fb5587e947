"""The slides and the handout for a class, from the results: ``make slides``.

Their layouts and sentences are beside them in ``notebooks/teaching``. A ``table`` is rows of
:func:`circtools.experiments.results.load`, read from one folder, and ``found`` its facts.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from circtools.experiments.files import ROOT
from circtools.report import headlines, sheets, style
from circtools.report.gallery import FIGURES

FOLDER = ROOT / "notebooks" / "teaching"
Titles = Mapping[str, Callable[[], str]]  # of circtools.report.pages.titles, by figure
SIZE, LETTERS = (10.4, 4.1), 14  # inches and points of a picture on a slide
CARDS = (headlines.mnist_card, headlines.headline, headlines.headline_gap,
         headlines.learning_rate_card, headlines.file_size_card)
OF_THE_GALLERY = {  # and letters that keep clear of each other
    "technique_circulant": 15, "block_circulant_ladder": 15, "technique_pruning": 15,
    "sharing_or_structure": 12, "slightly_pruned": 12.5, "pruned_entire_network": 13,
    "layer_speed": 13}


def numbers(found: dict[str, Any], titles: Titles) -> dict[str, Any]:
    """Return what the layouts name: facts, the figures' titles, the glossary, who made it."""
    return found | {
        "citation": sheets.citation(), "glossary": glossary(),
        "titles": {name: titles[name]() for name in FIGURES if name in titles}}


def glossary() -> dict[str, str]:
    """Return the first sentence that the glossary has for each word."""
    text = (ROOT / "notebooks" / "glossary.md").read_text(encoding="utf-8")
    found = re.findall(r"^## ([^\n]+)\n\n(.+?[.])(?=\s)", text, re.MULTILINE | re.DOTALL)
    return {word: " ".join(sentence.split()) for word, sentence in found}


@style.context()
def pictures(table: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures, as large as they are shown, by their names in the layouts."""
    return {card.__name__: card(table, SIZE, LETTERS) for card in CARDS} | {
        name: sheets.printed(FIGURES[name](table), SIZE, letters)
        for name, letters in OF_THE_GALLERY.items()}


def make(table: pd.DataFrame, found: dict[str, Any], titles: Titles, folder: Path = FOLDER
         ) -> list[Path]:
    """Write ``slides.pdf`` and ``handout.pdf``; return their paths.

    Raises:
        ValueError: as :func:`circtools.report.sheets.typeset`.
    """
    paths = [folder / "slides.pdf", folder / "handout.pdf"]
    sheets.write(paths, FOLDER, numbers(found, titles), pictures(table))
    return paths
