"""Sheets that Typst sets: the poster, the slides, the handout.

The layout and every sentence of a sheet are in its ``.typ`` file. It gets the numbers that the
sentences name, and the figures, drawn as large as they are printed.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import segno
import typst
import yaml
from matplotlib import get_data_path
from matplotlib.figure import Figure
from matplotlib.text import Text

from circtools.experiments.files import ROOT, replacing
from circtools.report import style

COMMON = ROOT / "figures" / "common.typ"
OUTPUT: dict[str, dict[str, Any]] = {".pdf": {"format": "pdf", "pdf_standards": "ua-1"},
                                     ".png": {"format": "png", "ppi": 52}}  # a preview


def printed(figure: Figure, size: tuple[float, float], points: float) -> Figure:
    """Give a figure of the course its printed size in inches, with letters of so many points."""
    figure.set_size_inches(size)
    for axes in figure.axes:
        axes.tick_params(labelsize=points)
    for text in figure.findobj(Text):
        text.set_fontsize(points)
    return figure


def citation() -> dict[str, Any]:
    """Return who made the course, under which licence, and where it is."""
    return yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), yaml.BaseLoader)


@style.context()
def typeset(named: dict[str, Any], drawn: dict[str, Figure], layout: Path, **output: Any) -> Any:
    """Return a sheet as ``typst.compile`` gives it.

    Args:
        named: what the layout finds in facts.json, the :func:`citation` among it.
        drawn: its figures by their names.
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


def write(paths: Sequence[Path], layouts: Path, named: dict[str, Any], drawn: dict[str, Figure]
          ) -> None:
    """Write sheets, each from the layout of its name, as PNG the first page; close the figures."""
    for path in paths:
        page = typeset(named, drawn, layouts / f"{path.stem}.typ", **OUTPUT[path.suffix])
        with replacing(path) as temporary:
            temporary.write_bytes(page[0] if path.suffix == ".png" else page)
    for figure in drawn.values():
        plt.close(figure)
