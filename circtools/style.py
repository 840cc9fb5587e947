"""One look for every picture: readable from two metres, in black and white, colour-blind safe."""

from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from circtools.files import replacing

# The colours of Okabe and Ito, "Color Universal Design" (2008); every method has a marker and a
# line of its own too, so that a copy in black and white still tells them apart.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
BROWN = "#6B3F00"  # one more, darker than all of these
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"

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


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same picture; return the paths."""
    paths = []
    for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
        path = stem.with_suffix(suffix)
        with context(), replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=200, metadata=metadata)
        paths.append(path)
    return paths
