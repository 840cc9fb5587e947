"""One look for pictures, readable in black and white and colour-blind safe, and for tables."""

import re
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from circtools.experiments.files import replacing
from circtools.experiments.methods import METHODS

# The colours of Okabe and Ito, "Color Universal Design" (2008), the three palest darkened until a
# thin line has a contrast of 3:1 with the page.
BLACK, ORANGE, SKY, GREEN = "#000000", "#B37B00", "#2C8FCB", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#B85C93"
BROWN = "#6B3F00"  # one more, darker than all of these
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
# Orange is slower, blue is faster; red and green would be one colour to many.
SPEED = LinearSegmentedColormap.from_list("speed", ["#A85400", "#F3A24A", "#FFFFFF", "#5FA8D8",
                                                    "#00558A"])
# Every method has a colour, a marker and a line of its own, so that a copy in black and white still
# tells them apart.
METHOD_LOOK: dict[str, dict[str, Any]] = {
    name: {"color": color, "marker": marker, "linestyle": line, "label": METHODS[name].label}
    for name, color, marker, line in (
        ("dense", BLACK, "D", "-"), ("block_circulant", BLUE, "o", "-"),
        ("block_circulant_long", BLUE, "h", ":"), ("projected", SKY, "^", "--"),
        ("random_sharing", BLACK, "X", ":"), ("pruned", VERMILION, "s", "-"),
        ("pruned_all", BROWN, "D", "--"), ("random_pruned", "0.45", "x", ":"),
        ("finetune_control", BLACK, "", ":"), ("gradual", ORANGE, "*", ":"),
        ("low_rank", GREEN, "v", "-."), ("monarch", BROWN, "X", "-."),
        ("small_dense", PURPLE, "P", "-."), ("tiles_strided", GREEN, "v", "-."),
        ("tiles_raster", ORANGE, "^", "--"))}
METHOD_LOOK["gradual"] |= {"markersize": 17, "markeredgecolor": "black", "zorder": 3}
# Sizes of a network, which are no methods: marks and greys of their own.
SIZE_LOOK: dict[str, dict[str, Any]] = {
    "tiny": dict(color="0.6", marker="^", linestyle=":"),
    "small": dict(color="0.0", marker="o", linestyle="-"),
    "base": dict(color="0.42", marker="D", linestyle="--"),
    "large": dict(color="0.25", marker="v", linestyle="-.")}

# Figures are 10 inches wide at most, or have larger letters: a page shows them 700 dots wide.
RC: dict[Any, Any] = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False,
    "axes.axisbelow": True, "figure.constrained_layout.use": True, "figure.dpi": 100,
    "font.family": "DejaVu Sans", "font.size": 13, "axes.titlesize": 15, "axes.labelsize": 14,
    "legend.fontsize": 12, "legend.frameon": False, "grid.alpha": 0.3, "lines.linewidth": 2.2,
    "lines.markersize": 8, "image.interpolation": "nearest",
    "svg.hashsalt": "circtools", "svg.fonttype": "path",
}
# The course's style, inside a ``with`` block or, as a decorator, for one function.
context = partial(matplotlib.rc_context, RC)


def use() -> None:
    """Use the course's style from here on, as the notebooks do."""
    # Load the backend now: Jupyter's switches itself on when it is first needed, and if that is
    # inside context(), leaving the context switches it off again and pictures stay away.
    plt.switch_backend(matplotlib.get_backend())
    matplotlib.rcParams.update(RC)
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        formatters = shell.display_formatter.formatters
        formatters["image/png"].for_type(Figure, sharp)
        formatters["text/html"].for_type(pd.DataFrame, readable)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same picture; return the paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
    for path, metadata in zip(paths, ({"Date": None}, {"Software": None}), strict=True):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)
    return paths


def sharp(figure: Figure) -> tuple[bytes, dict[str, int]]:
    """Return a PNG with twice the dots of its width, and the width; a palette keeps it small."""
    from IPython.core.pylabtools import retina_figure  # circtools does without IPython

    picture, size = retina_figure(figure, bbox_inches="tight")
    file = BytesIO()
    few = Image.open(BytesIO(picture)).convert("RGB").quantize(
        256, kmeans=1, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue(), {"width": size["width"]}


def readable(table: pd.DataFrame) -> str:
    """Return a table as HTML in which words are aligned on the left, and numbers on the right."""
    columns = [_is_prose(table.iloc[:, place]) for place in range(table.shape[1])]
    label = any(_is_prose(level) for _, level in table.index.to_frame().items())

    def align(row: re.Match[str]) -> str:
        start, *cells = re.split("(?=<t[hd])", row[0])
        labels = len(cells) - len(columns)
        if labels < 0:  # a header over several columns
            return row[0]
        return start + "".join(
            re.sub("^<t[hd]", r'\g<0> style="text-align: left"', cell) if left else cell
            for cell, left in zip(cells, [label] * labels + columns, strict=True))

    return re.sub("<tr.*?</tr>", align, table._repr_html_(), flags=re.DOTALL)


def _is_prose(values: "pd.Series[object]") -> bool:
    """Return whether most of what is written is letters."""
    text = "".join(value for value in values if isinstance(value, str))
    return 2 * sum(map(str.isalpha, text)) > len(text)
