"""One look for every picture: readable from two metres, in black and white, colour-blind safe."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

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
        from circtools.report import display  # only there: circtools does without IPython

        display.use(shell)


@context()
def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as SVG and PNG, the same bytes for the same picture; return the paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".svg", ".png")]
    for path, metadata in zip(paths, ({"Date": None}, {"Software": None}), strict=True):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)
    return paths
