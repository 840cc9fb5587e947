"""One look for every picture: readable from two metres, in black and white, colour-blind safe."""

from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from circtools.experiments.files import replacing

# The colours of Okabe and Ito, "Color Universal Design" (2008), the three palest darkened until a
# thin line has a contrast of 3:1 with the page. Every method has a marker and a line of its own, so
# that a copy in black and white still tells them apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#B37B00", "#2C8FCB", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#B85C93"
BROWN = "#6B3F00"  # one more, darker than all of these
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
# Orange is slower, blue is faster; red and green would be one colour to many.
SPEED = LinearSegmentedColormap.from_list("speed", ["#A85400", "#F3A24A", "#FFFFFF", "#5FA8D8",
                                                    "#00558A"])
# Sizes of a network, which are no methods: marks and greys of their own.
SIZES: dict[str, dict[str, str]] = {
    "tiny": {"color": "0.6", "marker": "^", "linestyle": ":"},
    "small": {"color": "0.0", "marker": "o", "linestyle": "-"},
    "base": {"color": "0.42", "marker": "D", "linestyle": "--"},
    "large": {"color": "0.25", "marker": "v", "linestyle": "-."}}

RC = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False,
    "axes.axisbelow": True, "figure.constrained_layout.use": True, "figure.dpi": 100,
    "font.family": "DejaVu Sans", "font.size": 13, "axes.titlesize": 15, "axes.labelsize": 14,
    "legend.fontsize": 12, "legend.frameon": False, "grid.alpha": 0.3, "lines.linewidth": 2.2,
    "lines.markersize": 8, "image.interpolation": "nearest",
    "svg.hashsalt": "circtools", "svg.fonttype": "path",
}


def use() -> None:
    """Use the course's style from here on, as the notebooks do."""
    # Load the backend now: Jupyter's switches itself on when it is first needed, and if that is
    # inside context(), leaving the context switches it off again and pictures stay away.
    plt.switch_backend(matplotlib.get_backend())
    matplotlib.rcParams.update(RC)


def context() -> AbstractContextManager[None]:
    """Use the course's style inside a ``with`` block."""
    return matplotlib.rc_context(RC)


def halves(axes: Axes, top: float = 0.97, bottom: float = 0.03, x: float = 0.5) -> None:
    """Draw the line of no difference, and say in either half which method is better there."""
    axes.axhline(0, color=BLACK, linewidth=1)
    for y, name, color, place in (
            (top, "pruning better \N{UPWARDS ARROW}", VERMILION, "top"),
            (bottom, "block-circulant better \N{DOWNWARDS ARROW}", BLUE, "bottom")):
        axes.text(x, y, name, color=color, fontweight="bold", ha="center", va=place,
                  transform=axes.transAxes)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same picture; return the paths."""
    paths = []
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
        path = stem.with_suffix(suffix)
        with context(), replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
        paths.append(path)
    return paths
