"""The poster: large letters, few words, true sentences, and the same bytes every time."""

import io
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from pypdf import PageObject, PdfReader

from circtools.experiments import results
from circtools.report import gallery
from circtools.report.gallery import FOLDER

LAYOUT = FOLDER / "poster.typ"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return results.load()


@pytest.fixture(scope="module")
def named(table: pd.DataFrame) -> dict[str, Any]:
    return gallery.numbers(table)


@pytest.fixture(scope="module")
def drawn(table: pd.DataFrame) -> dict[str, Figure]:
    figures = gallery.poster_figures(table)
    plt.close("all")  # they can still be saved
    return figures


@pytest.fixture(scope="module")
def pages(named: dict[str, Any], drawn: dict[str, Figure]) -> list[PageObject]:
    return PdfReader(io.BytesIO(gallery.typeset(named, drawn, LAYOUT, format="pdf"))).pages


def test_two_pages_of_a0_with_few_large_words(pages: list[PageObject]) -> None:
    assert [page.mediabox[2:] for page in pages] == [pytest.approx((2384, 3370), abs=1)] * 2
    sizes: list[float] = []
    text = pages[0].extract_text(
        visitor_text=lambda text, _, __, ___, size: sizes.append(size) if text.strip() else None)
    assert 150 < len(text.split()) <= 350
    assert min(sizes) >= 32 and max(sizes) >= 100


def test_letters_in_the_figures_of_page_1_are_large_as_printed(drawn: dict[str, Figure]) -> None:
    for name in ("ladder", "headline", "headline_gap", "mnist_card", "learning_rate_card",
                 "file_size_card"):
        drawn[name].canvas.draw()
        written = [text for text in drawn[name].findobj(Text)
                   if text.get_visible() and text.get_text().strip()]
        assert min(text.get_fontsize() for text in written) >= 26, name


def test_page_2_keeps_the_sections_of_the_original_poster(pages: list[PageObject]) -> None:
    text = pages[1].extract_text()
    for section in ("Abstract", "MNIST benchmark", "Multi30k experiment", "Pruning",
                    "Circulant matrices", "Block-circulant matrices", "Pruned Transformer",
                    "Pruned entire network", "Block-circulant Transformer",
                    "Circulant Transformer", "Compressed Transformer",
                    "Analysis and conclusions", "Recommendations"):
        assert f"{section}\n" in text, section


def test_a_name_that_is_missing_and_a_sentence_that_is_false_stop_it(
    named: dict[str, Any], drawn: dict[str, Figure]
) -> None:
    with pytest.raises(ValueError, match="lent_4x_base"):
        gallery.typeset({k: v for k, v in named.items() if k != "lent_4x_base"}, drawn, LAYOUT)
    with pytest.raises(ValueError, match="one learning rate cost five BLEU"):
        gallery.typeset(named | {"lent_4x_base": named["block_circulant_4x_base"]}, drawn, LAYOUT)


def test_the_qr_code_waits_for_an_address(
    named: dict[str, Any], drawn: dict[str, Figure]
) -> None:
    address = {"repository-code": "https://repository.example"}
    without = named | {"citation": {k: v for k, v in named["citation"].items()
                                    if k not in address}}
    for shown, values in ((False, without),
                          (True, named | {"citation": named["citation"] | address})):
        pdf = gallery.typeset(values, drawn, LAYOUT, format="pdf")
        text = PdfReader(io.BytesIO(pdf)).pages[0].extract_text()
        assert ("Course, code, data" in text) == shown


@pytest.mark.parametrize(("seeds", "verdict", "shown"), [
    (1, "no verdict", "eight BLEU\none training per size, no verdict"),
    (3, "refuted", "eight BLEU\nrefuted")])
def test_a_verdict_needs_three_trainings(
    named: dict[str, Any], drawn: dict[str, Figure], seeds: int, verdict: str, shown: str
) -> None:
    claim = replace(named["claim2_by_eight_small"], seeds=seeds, verdict=verdict)
    pdf = gallery.typeset(named | {"claim2_by_eight_small": claim}, drawn, LAYOUT)
    assert shown in PdfReader(io.BytesIO(pdf)).pages[0].extract_text()


def test_the_committed_poster_is_the_made_one_to_the_byte(table: pd.DataFrame, tmp_path) -> None:
    for path in gallery.make_poster(table, tmp_path):
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), "run 'make poster'"
    assert (FOLDER / "poster.png").stat().st_size < 1_000_000
    assert not list(tmp_path.glob(".*"))
