"""Results to plots, one function per figure of the poster. A figure never trains."""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from torch import Tensor

from circtools.experiments.results import select
from circtools.report import claims, statistics, style

# Every curve has a colour, a marker and a line of its own.
LOOK: dict[str, dict[str, Any]] = {
    "block_circulant": {"color": style.BLUE, "marker": "o", "label": "block-circulant"},
    "pruned": {"color": style.VERMILION, "marker": "s", "label": "pruned"},
    "unpruned": {"color": style.BLACK, "marker": "", "linestyle": ":",
                 "label": "control: same loop, nothing pruned"},
    "dense": {"color": style.BLACK, "marker": "D", "label": "dense"},
    "pruned_all": {"color": style.BROWN, "marker": "D", "linestyle": "--",
                   "label": "pruned, output layer too"},
    "random_pruned": {"color": "0.45", "marker": "x", "linestyle": ":",
                      "label": "control: pruned at random"},
    "projected": {"color": style.SKY, "marker": "^", "linestyle": "--",
                  "label": "block-circulant, projected"},
    "low_rank": {"color": style.GREEN, "marker": "v", "linestyle": "-.", "label": "low rank"},
    "small_dense": {"color": style.PURPLE, "marker": "P", "linestyle": "-.",
                    "label": "smaller dense"},
    "gradual": {"color": style.ORANGE, "marker": "*", "linestyle": ":", "markersize": 17,
                "markeredgecolor": "black", "zorder": 3, "label": "pruned while it is trained"},
    "block_circulant_long": {"color": style.BLUE, "marker": "h", "linestyle": ":",
                             "label": "block-circulant, as many epochs as pruning"},
}
SERIES = {"same": "learning rate 0.001 for all, untuned", "tuned": "learning rate tuned for each"}


def curve(axes: Axes, rows: pd.DataFrame, by: str = "compression", metric: str = "test_error",
          **look: object) -> None:
    """Draw the mean of a metric over seeds against ``by``, with its 95 % band; errors in %."""
    scale = claims.PERCENT if metric == "test_error" else 1.0
    grouped = rows.groupby(by)[metric].apply(lambda values: statistics.interval(scale * values))
    points = pd.DataFrame(grouped.tolist(), index=grouped.index).sort_index()
    line, = axes.plot(points.index, points["mean"], **look)
    axes.fill_between(points.index, points["low"], points["high"], color=line.get_color(),
                      alpha=0.2, linewidth=0)


def compression_axis(axes: Axes, label: str = "compression of the first layer",
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    axes.set_ylabel("test error")


def mnist_benchmark(table: pd.DataFrame, series: Sequence[str] = tuple(SERIES)) -> Figure:
    """MNIST, the poster's benchmark: test error against compression, a panel a series."""
    with style.context():
        figure, panels = plt.subplots(1, len(series), figsize=(7 * len(series), 6), sharey=True,
                                      squeeze=False)
        for axes, name in zip(panels.flat, series, strict=True):
            _benchmark_panel(axes, table, name)
            axes.label_outer()
        panels[0, 0].legend(loc="upper left")
        figure.suptitle("MNIST, 784-784-10, first layer compressed\n"
                        f"(mean of {table['seed'][table['series'] == 'tuned'].nunique()} seeds, "
                        "bands: 95 %, by t)", fontsize=16)
    return figure


def _benchmark_panel(axes: Axes, table: pd.DataFrame, series: str) -> None:
    rows = select(table, task="mnist", series=series, layers="first", pixels="natural")
    dense = statistics.interval(claims.PERCENT * select(rows, method="dense")["test_error"])
    axes.axhspan(dense.low, dense.high, color=style.BLACK, alpha=0.15, linewidth=0)
    axes.axhline(dense.mean, color=style.BLACK, linestyle="--", linewidth=1.5,
                 label="dense, uncompressed (grey: 95 %)")
    for method in ("pruned", "block_circulant"):
        if len(chosen := select(rows, method=method)):
            curve(axes, chosen, **LOOK[method])
    axes.set_title(SERIES[series])
    compression_axis(axes)
    error_axis(axes)


def mnist_gap(table: pd.DataFrame) -> Figure:
    """MNIST: the quality of pruned minus that of block-circulant networks, level by level."""
    with style.context():
        figure, axes = plt.subplots(figsize=(10, 6))
        looks = {"same": {"color": "0.45", "marker": "^", "linestyle": ":"},
                 "tuned": {"color": style.BLACK, "marker": "o", "linestyle": "-"}}
        for series, look in looks.items():
            each, _ = statistics.levels(statistics.with_all_levels(claims.gap(table, series)))
            gaps(axes, each, SERIES[series], {"same": -0.5, "tuned": 0.5}[series], **look)
        style.halves(axes, x=0.62)
        axes.set_ylabel("quality, pruned minus block-circulant\n(percentage points of test error)")
        seeds = select(table, series="tuned")["seed"].nunique()
        axes.set_title("Filled: decided at 5 % after Holm's correction; bars: 95 %, uncorrected, "
                       f"{seeds} seeds", fontsize=12)
        compression_axis(axes)
        axes.legend(loc="upper left")
    return figure


def gaps(axes: Axes, each: pd.DataFrame, label: str, place: float = 0.0, **look: object) -> None:
    """Draw the mean difference at each level with its 95 % interval; filled where decided.

    Args:
        axes: where to.
        each: the levels, as :func:`circtools.report.statistics.levels` returns them.
        label: for the legend.
        place: how far to the side it is drawn, in steps, so that no series hides another.
        look: colour, marker and line.
    """
    each = each.assign(compression=each["compression"] * 1.06**place)
    axes.errorbar(each["compression"], each["mean"],
                  yerr=[each["mean"] - each["low"], each["high"] - each["mean"]],
                  capsize=4, markerfacecolor="white", markeredgewidth=2,
                  label=label, **look)
    decided = each[each["decided"] != 0]
    axes.plot(decided["compression"], decided["mean"], linestyle="", color=look["color"],
              marker=look["marker"], zorder=3)  # above the open marks


def mnist_permuted(table: pd.DataFrame) -> Figure:
    """MNIST, claim 4: block-circulant with natural and with permuted pixels."""
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharey=True)
        for axes, series in zip(panels, SERIES, strict=True):
            rows = select(table, task="mnist", series=series, layers="first",
                          method="block_circulant")
            permuted = select(rows, pixels="permuted")
            natural = select(rows, pixels="natural")
            natural = natural[natural["block_size"].isin(permuted["block_size"])]
            curve(axes, natural, **(LOOK["block_circulant"] | {"label": "natural pixels"}))
            curve(axes, permuted, color=style.BLUE, marker="v", linestyle="--",
                  markerfacecolor="white", label="permuted pixels")
            axes.set_title(SERIES[series])
            compression_axis(axes)
            error_axis(axes)
        panels[1].set_ylabel("")
        panels[0].legend(loc="upper left")
        figure.suptitle("MNIST, block-circulant first layer", fontsize=16)
    return figure


def images(pictures: Sequence[np.ndarray | Tensor], titles: Sequence[str] = (),
           columns: int = 8, diverging: bool = False, top: float | None = None) -> Figure:
    """Show images of 28 x 28 pixels (or rows of 784) side by side.

    Args:
        pictures: arrays with 784 entries each.
        titles: one a picture, or none.
        columns: pictures in a row.
        diverging: weights around zero, each picture scaled by its own largest magnitude;
            else intensities, dark on white.
        top: the intensity that is black; without it each picture has its own scale.
    """
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    height = 1.65 + 0.3 * bool(titles)
    figure, panels = plt.subplots(rows, columns, figsize=(1.65 * columns, height * rows),
                                  squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for i, (axes, picture) in enumerate(zip(panels.flat, pictures, strict=False)):
        pixels = np.asarray(picture, dtype=float).reshape(28, 28)
        if diverging:
            top = np.abs(pixels).max() or 1.0
            axes.imshow(pixels, cmap=style.DIVERGING, vmin=-top, vmax=top)
        else:
            axes.imshow(pixels, cmap="gray_r", vmin=0 if top else None, vmax=top)
        if titles:
            axes.set_title(titles[i], fontsize=11)
    return figure
