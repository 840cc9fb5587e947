"""The figures of the MNIST experiments, from rows of the results."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from circtools.experiments.results import select
from circtools.report import statistics, style
from circtools.report.comparisons import compare, mnist_pairs
from circtools.report.parts import DECIDED, compression_axis, curve, error_axis, gaps, halves
from circtools.report.statistics import PERCENT

SERIES = {"same": "learning rate 0.001 for all, untuned", "tuned": "learning rate tuned for each"}
FIRST_LAYER = "compression of the first layer"


def mnist_benchmark(table: pd.DataFrame, series: Sequence[str] = tuple(SERIES)) -> Figure:
    """The poster's benchmark: test error against compression, one panel per series."""
    table = select(table, task="mnist", preset="base")
    figure, panels = plt.subplots(1, len(series), figsize=(7 * len(series), 6), sharey=True,
                                  squeeze=False)
    for axes, name in zip(panels.flat, series, strict=True):
        rows = select(table, series=name, layers="first", pixels="natural")
        dense = statistics.interval(PERCENT * select(rows, method="dense")["test_error"])
        axes.axhspan(dense.low, dense.high, color=style.BLACK, alpha=0.15, linewidth=0)
        axes.axhline(dense.mean, color=style.BLACK, linestyle="--", linewidth=1.5,
                     label="dense, uncompressed (grey: 95 %)")
        for method in ("pruned", "block_circulant"):
            if len(chosen := select(rows, method=method)):
                curve(axes, chosen, **style.METHOD_LOOK[method])
        _error_panel(axes, name)
        axes.label_outer()
    panels[0, 0].legend(loc="upper left")
    figure.suptitle("MNIST, 784-784-10, first layer compressed\n"
                    f"(mean of {select(table, series='tuned')['seed'].nunique()} seeds, "
                    "bands: 95 %, by t)", fontsize=16)
    return figure


def _error_panel(axes: Axes, series: str) -> None:
    axes.set_title(SERIES[series])
    compression_axis(axes, FIRST_LAYER)
    error_axis(axes)


def mnist_gap(table: pd.DataFrame) -> Figure:
    """The quality of pruned minus that of block-circulant networks, level by level."""
    figure, axes = plt.subplots(figsize=(10, 6))
    looks = {"same": (-0.5, {"color": "0.45", "marker": "^", "linestyle": ":"}),
             "tuned": (0.5, {"color": style.BLACK, "marker": "o", "linestyle": "-"})}
    for series, (place, look) in looks.items():
        gaps(axes, compare(mnist_pairs(table, series)).each, SERIES[series], place, **look)
    halves(axes, x=0.62)
    axes.set_ylabel("quality, pruned minus block-circulant\n(percentage points of test error)")
    seeds = select(table, task="mnist", preset="base", series="tuned")["seed"].nunique()
    axes.set_title(f"{DECIDED}, {seeds} seeds", fontsize=12)
    compression_axis(axes, FIRST_LAYER)
    axes.legend(loc="upper left")
    return figure


def mnist_permuted(table: pd.DataFrame) -> Figure:
    """Claim 4: block-circulant networks with natural and with permuted pixels."""
    table = select(table, task="mnist", preset="base", method="block_circulant")
    figure, panels = plt.subplots(1, 2, figsize=(14, 6), sharey=True)
    for axes, series in zip(panels, SERIES, strict=True):
        rows = select(table, series=series, layers="first")
        natural, permuted = (select(rows, pixels=name) for name in ("natural", "permuted"))
        natural = natural[natural["block_size"].isin(permuted["block_size"])]
        curve(axes, natural, **(style.METHOD_LOOK["block_circulant"] | {"label": "natural pixels"}))
        curve(axes, permuted, color=style.BLUE, marker="v", linestyle="--",
              markerfacecolor="white", label="permuted pixels")
        _error_panel(axes, series)
    panels[1].set_ylabel("")
    panels[0].legend(loc="upper left")
    figure.suptitle("MNIST, block-circulant first layer", fontsize=16)
    return figure


def images(pictures: Sequence[np.ndarray | Tensor], titles: Sequence[str] = (),
           columns: int = 8, diverging: bool = False, top: float | None = None) -> Figure:
    """Show images, or rows of weights, of 28 x 28 pixels side by side.

    Args:
        pictures: arrays with 784 entries each.
        titles: one per picture, or none.
        columns: pictures in a row.
        diverging: blue and red around zero, each picture on its own scale; else dark on white.
        top: the intensity that is black; without it each picture has its own scale.
    """
    rows, columns = -(-len(pictures) // columns), min(columns, len(pictures))
    size = (1.65 * columns, (1.95 if titles else 1.65) * rows)
    figure, panels = plt.subplots(rows, columns, figsize=size, squeeze=False)
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
