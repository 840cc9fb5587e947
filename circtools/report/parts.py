"""What several figures share: axes, curves over seeds, differences level by level, heat maps."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, NullLocator

from circtools.report import statistics, style

LAYERS = "compression of the Transformer's layers"
DECIDED = "Filled: decided at 5 % after Holm's correction; bars: 95 %, uncorrected"


def compression_axis(axes: Axes, label: str,
                     ticks: Iterable[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
                     font: float = 11) -> None:
    """Scale the x axis by powers of two and write the factors as 2x, 4x, ..."""
    axes.set_xscale("log", base=2)
    axes.set_xticks([*ticks], labels=[f"{tick}x" for tick in ticks], fontsize=font)
    axes.set_xlabel(label)


def error_axis(axes: Axes) -> None:
    """Scale the y axis logarithmically, in percent."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 80]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.set_ylabel("test error")


def halves(axes: Axes, top: float = 0.97, x: float = 0.5) -> None:
    """Draw the line of no difference, and say in either half which method is better there."""
    axes.axhline(0, color=style.BLACK, linewidth=1)
    for y, name, color, place in (
            (top, "pruning better \N{UPWARDS ARROW}", style.VERMILION, "top"),
            (0.03, "block-circulant better \N{DOWNWARDS ARROW}", style.BLUE, "bottom")):
        axes.text(x, y, name, color=color, fontweight="bold", ha="center", va=place,
                  transform=axes.transAxes)


def curve(axes: Axes, rows: pd.DataFrame, by: str = "compression", metric: str = "test_error",
          **look: Any) -> None:
    """Draw the mean of a metric over seeds against ``by``, with its 95 % band; errors in %.

    Fewer than three points are no curve: they stand apart, with bars.
    """
    if rows.empty:
        return
    scale = 100.0 if metric == "test_error" else 1.0
    grouped = rows.groupby(by)[metric].apply(lambda values: statistics.interval(scale * values))
    points = pd.DataFrame(grouped.tolist(), index=grouped.index)
    if len(points) < 3:
        axes.errorbar(points.index, points["mean"], capsize=4, **(look | {"linestyle": ""}),
                      yerr=[points["mean"] - points["low"], points["high"] - points["mean"]])
        return
    line, = axes.plot(points.index, points["mean"], **look)
    axes.fill_between(points.index, points["low"], points["high"], color=line.get_color(),
                      alpha=0.2, linewidth=0)


def gaps(axes: Axes, each: pd.DataFrame, aside: float = 1.0, capsize: float = 4,
         markeredgewidth: float = 2, **look: Any) -> None:
    """Draw the differences of :func:`.statistics.levels`, filled where decided.

    Their compression is drawn ``aside`` times as large, so that no series hides another.
    """
    each = each.assign(compression=each["compression"] * aside)
    axes.errorbar(each["compression"], each["mean"],
                  yerr=[each["mean"] - each["low"], each["high"] - each["mean"]], capsize=capsize,
                  markerfacecolor="white", markeredgewidth=markeredgewidth, **look)
    decided = each[each["decided"] != 0]
    axes.plot(decided["compression"], decided["mean"], linestyle="", color=look["color"],
              marker=look["marker"], zorder=3)  # above the open marks


def heat_map(axes: Axes, shades: pd.DataFrame, texts: pd.DataFrame, white: pd.DataFrame,
             **look: Any) -> AxesImage:
    """Draw a table of shades as coloured squares with texts on them, which name the ticks."""
    picture = axes.imshow(shades, aspect="auto", **look)
    for (i, j), text in np.ndenumerate(texts):
        axes.text(j, i, text, ha="center", va="center", fontsize=10.5,
                  color="white" if white.iat[i, j] else "black")
    axes.set_xticks(range(texts.shape[1]), list(texts.columns))
    axes.set_yticks(range(texts.shape[0]), list(texts.index))
    axes.grid(False)
    return picture
