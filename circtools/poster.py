"""The poster, A0, regenerated from the results: ``make poster``.

The text is laid out by matplotlib on a page of the true size; the panels are the figures of the
course, placed into it as vector graphics. A small PNG of the same page is the preview.
"""

import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image
from pypdf import PdfReader, PdfWriter, Transformation

from circtools import (
    architecture,
    claims,
    diagrams,
    figures,
    recommendations,
    report,
    style,
    translation_claims,
    translation_figures,
)
from circtools.files import replacing
from circtools.gallery import FOLDER
from circtools.multi30k_runs import PRESETS

WIDTH, HEIGHT = 33.11, 46.81  # inches, A0 upright
MARGIN, GAP, TOP = 0.9, 0.7, 3.9
COLUMN = (WIDTH - 2 * MARGIN - 2 * GAP) / 3
TITLE_HEIGHT, LINE, BODY, BEFORE_PANEL, AFTER = 1.0, 0.42, 25, 0.2, 0.45  # inches; BODY in points
LETTERS = 52  # of body text in a line
BULLET = "\N{BULLET} "
PREVIEW_DPI = 40
EXAMPLE = 4  # the test sentence that is shown
INCH = 72  # points


@dataclass(frozen=True)
class Section:
    """A box of the poster: a title, a text, and a panel drawn at ``size`` inches."""

    title: str
    text: str = ""
    draw: Callable[[], Figure] | None = None
    size: tuple[float, float] = (7.0, 5.2)

    @property
    def lines(self) -> list[str]:
        paragraphs = self.text.split("\n") if self.text else []
        return [line for paragraph in paragraphs
                for line in textwrap.wrap(paragraph.replace("`", ""), LETTERS, subsequent_indent=(
                    "   " * paragraph.startswith(BULLET)))]

    @property
    def text_height(self) -> float:
        return TITLE_HEIGHT + LINE * len(self.lines) + BEFORE_PANEL + AFTER

    @property
    def panel_height(self) -> float:
        return COLUMN * self.size[1] / self.size[0] if self.draw else 0.0


def sections(table: pd.DataFrame) -> list[list[Section]]:
    """Return the three columns.

    Args:
        table: rows of :func:`circtools.results.load`.

    Raises:
        ValueError: if the Transformers have no results yet.
    """
    rows = translation_figures.of_multi30k(table)
    if rows.empty:
        raise ValueError("there are no results of compressed Transformers; "
                         "'circtools run multi30k --methods all' makes them")
    mnist = claims.of_mnist(table)
    translated = figures.select(table, task="multi30k", tied=False)
    found = claims.table_of_claims(table)
    first = [
        Section("Abstract", "Neural networks can be made smaller by removing weights (pruning) or "
                "by making weights share their values (block-circulant matrices). Both are "
                "compared at equal compression, on digits and on translation. Every number is "
                f"measured, in {_complete(mnist)} complete trainings on MNIST and "
                f"{_complete(translated)} on Multi30k, each verdict is given with its interval. "
                "The original poster stated four claims; here they are tested. Measured is the "
                "effect that a claim speaks of: above zero it supports the claim."),
        Section("MNIST benchmark", "A classifier with one hidden layer of 784 units, which is "
                "compressed.\n" + _verdicts(found, mnist=True),
                partial(figures.mnist_benchmark, mnist, ["tuned"]), (6.5, 4.4)),
        Section("Multi30k machine translation", "29,000 captions from German to English; 1,000 "
                f"test sentences; 20 epochs. {_sizes(translated)} The original poster's example, "
                "\"Mehrere Männer mit Schutzhelmen bedienen ein Antriebsradsystem.\", is in the "
                "training set; this is a test sentence:\n" + _example(rows)),
        Section("Pruning", "Train; zero the 21 % of the remaining weights that are smallest; "
                "fine-tune; repeat.", diagrams.pruning_technique, (9, 5)),
        Section("Circulant matrices", "Each row is the one above, rotated by one. The Fourier "
                "transform makes the matrix diagonal.", diagrams.circulant_technique, (14, 6.4)),
        Section("Block-circulant matrices", "Each block is circulant. The size of the blocks is "
                "the factor of compression.", diagrams.block_circulant_ladder, (11, 3.6)),
    ]
    second = [
        Section("Pruned Transformer", "Attention and feed-forward layers pruned together, by "
                "magnitude.", partial(translation_figures.pruned_transformer, table)),
        _if_run(Section("Pruned entire network", "The output layer is pruned too; the embeddings "
                        "are not.", partial(translation_figures.pruned_entire_network, table)),
                "pruned_all" in set(rows["method"])),
        Section("Block-circulant Transformer", "Every linear layer but the output layer "
                "is block-circulant, trained from scratch or projected from the trained dense "
                "network.",
                partial(translation_figures.block_circulant_transformer, table)),
        _if_run(Section("Circulant Transformer", "At the end of the scale each attention "
                        "matrix is one circulant. Blocks wider than a head make the heads share "
                        "their weights.",
                        partial(translation_figures.circulant_transformer, table)),
                translation_figures.has_circulant(rows)),
        Section("Compressed Transformer", "Coloured: what is compressed. (Where the entire network "
                "is pruned, the output layer, too.)",
                partial(architecture.transformer, ("attention", "feed_forward"),
                        PRESETS[rows["preset"].iloc[0]].layers), (12, 10.2)),
    ]
    third = [
        Section("Analysis and conclusions", _verdicts(found, mnist=False),
                partial(translation_figures.translation_benchmark, table, upright=True), (9.5, 10)),
        Section("Recommendations", "\n".join(
            BULLET + line for line in recommendations.advice(recommendations.sizes(table)))),
    ]
    return [first, second, third]


def _complete(rows: pd.DataFrame) -> int:
    """Return the number of runs that are no search for hyper-parameters."""
    return rows.loc[rows["series"] != "search", "run"].nunique()


def _if_run(section: Section, run: bool) -> Section:
    """Return a section without its panel, and saying so, if its experiment has no results."""
    return section if run else Section(section.title, section.text + " This has not been run yet "
                                       "('circtools run multi30k --methods all').")


def _verdicts(found: pd.DataFrame, *, mnist: bool) -> str:
    """Return the verdicts on claim 1, about MNIST, or on the others, a line each."""
    lines = [f"{BULLET}{verdict.capitalize()}: {claim[3:]}; measured {measured}."
             for claim, measured, verdict in report.in_brief(found) if (claim[0] == "1") == mnist]
    text = "\n".join(lines).replace("percentage points of test error", "points of test error")
    return text.replace("MNIST: ", "") if mnist else text


def _sizes(translated: pd.DataFrame) -> str:
    dense = figures.select(translated, method="dense").groupby("preset")["file_bytes"].mean() / 4e6
    each = [f"{preset} with {dense[preset]:.1f} million weights"
            for preset in reversed(translation_claims.SIZES) if preset in dense]
    return f"Sizes: {', '.join(each)}."


def _example(rows: pd.DataFrame) -> str:
    """Return how one test sentence is translated as compression grows."""
    shown = translation_figures.side_by_side(rows, EXAMPLE).loc[["1x", "4x", "32x"]]
    lines = ["Leute Reparieren das Dach eines Hauses."]
    for level, texts in shown.iterrows():
        lines += [f"{method}{'' if level == '1x' else ', ' + str(level)}: {text}"
                  for method, text in texts.items() if isinstance(text, str)]
    return "\n".join(lines)


def make(table: pd.DataFrame, folder: Path = FOLDER) -> list[Path]:
    """Write ``poster.pdf`` and the preview ``poster.png``; return their paths.

    Args:
        table: rows of :func:`circtools.results.load`.
        folder: where to.

    Raises:
        ValueError: if there are no results of compressed Transformers.
    """
    columns = sections(table)
    with style.context():
        page = plt.figure(figsize=(WIDTH, HEIGHT), layout="none")
        panels = _lay_out(page, columns)
        writer = PdfWriter(clone_from=PdfReader(_pdf(page)))
        preview = Image.open(_png(page, PREVIEW_DPI)).convert("RGB")
        plt.close(page)
    for figure, left, bottom, width in panels:
        panel = PdfReader(_pdf(figure)).pages[0]
        scale = INCH * width / float(panel.mediabox.width)
        writer.pages[0].merge_transformed_page(
            panel, Transformation().scale(scale).translate(INCH * left, INCH * bottom))
        pixels = round(PREVIEW_DPI * width)
        small = Image.open(_png(figure, 2 * PREVIEW_DPI)).convert("RGB")
        small = small.resize((pixels, round(small.height * pixels / small.width)), Image.LANCZOS)
        top = preview.height - round(PREVIEW_DPI * bottom) - small.height
        preview.paste(small, (round(PREVIEW_DPI * left), top))
        plt.close(figure)
    paths = [folder / "poster.pdf", folder / "poster.png"]
    writer.compress_identical_objects()
    for path, save in zip(paths, (writer.write, partial(preview.save, format="PNG")), strict=True):
        with replacing(path) as temporary:
            save(temporary)
    return paths


def _lay_out(page: Figure, columns: list[list[Section]]
             ) -> list[tuple[Figure, float, float, float]]:
    """Write titles and texts; return each panel's figure with its left, bottom and width."""
    def write(x: float, y: float, text: str, size: float, **more: object) -> None:
        page.text(x / WIDTH, y / HEIGHT, text, fontsize=size, **{"va": "top", **more})

    write(WIDTH / 2, HEIGHT - 1.0, "Compressing neural networks", 92, ha="center", weight="bold")
    write(WIDTH / 2, HEIGHT - 2.6, "pruning and block-circulant weight matrices, compared at equal "
          "compression", 44, ha="center")
    room = HEIGHT - TOP - MARGIN
    panels = []
    for i, column in enumerate(columns):
        left, y = MARGIN + i * (COLUMN + GAP), HEIGHT - TOP
        # Where texts and panels would be too long for the page, the panels shrink alike.
        free = room - sum(section.text_height for section in column)
        share = min(1.0, free / max(1e-9, sum(section.panel_height for section in column)))
        for section in column:
            write(left, y, section.title, 40, weight="bold", color=style.BLUE)
            page.add_artist(plt.Line2D([left / WIDTH, (left + COLUMN) / WIDTH],
                                       [(y - 0.72) / HEIGHT] * 2, color=style.BLUE, linewidth=3))
            y -= TITLE_HEIGHT
            for line in section.lines:
                y -= LINE
                write(left, y + 0.2 * LINE, line, BODY, va="baseline")
            y -= BEFORE_PANEL
            if section.draw:
                figure = section.draw()
                figure.set_size_inches(section.size)
                y -= share * section.panel_height
                panels.append((figure, left + (1 - share) * COLUMN / 2, y, share * COLUMN))
            y -= AFTER
    return panels


def _pdf(figure: Figure) -> io.BytesIO:
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None})
    return buffer


def _png(figure: Figure, dpi: int) -> io.BytesIO:
    buffer = io.BytesIO()
    with style.context():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer
