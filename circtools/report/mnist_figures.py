"""The figures of the MNIST experiments, from rows of the results."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from circtools.experiments.results import select
from circtools.report import comparisons, statistics, style
from circtools.report.parts import DECIDED, compression_axis, curve, error_axis, gaps, halves

SERIES = {"same": "learning rate 0.001 for all, untuned", "tuned": "learning rate tuned for each"}
FIRST_LAYER = "compression of the first layer"
SHARING = {"block_circulant": "circulant blocks", "random_sharing": "random sharing",
           "tiles_raster": "tiles from the row of pixels",
           "tiles_strided": "tiles of every few pixels"}


def mnist_benchmark(table: pd.DataFrame, series: Sequence[str] = tuple(SERIES)) -> Figure:
    """The poster's benchmark: test error against compression, one panel per series."""
    table = select(table, task="mnist", preset="base")
    figure, panels = plt.subplots(1, len(series), figsize=(5 * len(series), 5), sharey=True,
                                  squeeze=False)
    for axes, name in zip(panels.flat, series, strict=True):
        rows = select(table, series=name, layers="first", pixels="natural")
        dense = statistics.interval(100 * select(rows, method="dense")["test_error"])
        axes.axhspan(dense.low, dense.high, color=style.BLACK, alpha=0.15, linewidth=0)
        axes.axhline(dense.mean, color=style.BLACK, linestyle="--", linewidth=1.5,
                     label="dense, uncompressed (grey: 95 %)")
        for method in ("pruned", "block_circulant"):
            curve(axes, select(rows, method=method), **style.METHOD_LOOK[method])
        _error_panel(axes, name)
    panels[0, 0].legend(loc="upper left")
    figure.suptitle("MNIST, 784-784-10, first layer compressed\n"
                    f"(mean of {select(table, series='tuned')['seed'].nunique()} seeds, "
                    "bands: 95 %, by t)", fontsize=15)
    return figure


def _error_panel(axes: Axes, series: str) -> None:
    axes.set_title(SERIES[series])
    compression_axis(axes, FIRST_LAYER, (1, 4, 16, 64, 256))
    error_axis(axes)
    axes.label_outer()


def mnist_gap(table: pd.DataFrame) -> Figure:
    """The quality of pruned minus that of block-circulant networks, level by level."""
    figure, axes = plt.subplots(figsize=(10, 6))
    for series, aside, color, marker, line in (("same", 1.06**-0.5, "0.45", "^", ":"),
                                               ("tuned", 1.06**0.5, style.BLACK, "o", "-")):
        each = comparisons.compare(comparisons.mnist_pairs(table, series)).each
        gaps(axes, each, aside, label=SERIES[series], color=color, marker=marker, linestyle=line)
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
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), sharey=True)
    for axes, series in zip(panels, SERIES, strict=True):
        rows = select(table, series=series, layers="first")
        natural, permuted = (select(rows, pixels=name) for name in ("natural", "permuted"))
        natural = natural[natural["block_size"].isin(permuted["block_size"])]
        curve(axes, natural, **(style.METHOD_LOOK["block_circulant"] | {"label": "natural pixels"}))
        curve(axes, permuted, color=style.BLUE, marker="v", linestyle="--",
              markerfacecolor="white", label="permuted pixels")
        _error_panel(axes, series)
    panels[0].legend(loc="upper left")
    figure.suptitle("MNIST, block-circulant first layer", fontsize=16)
    return figure


def sharing_or_structure(table: pd.DataFrame) -> Figure:
    """Claim 4: circulant blocks against random sharing, on MNIST and on Multi30k (``small``)."""
    rows = select(table, task="mnist", preset="base", series="tuned", layers="first")
    sizes = sorted(select(rows, method="random_sharing")["block_size"].unique())
    rows = rows[rows["block_size"].isin(sizes)]
    figure, panels = plt.subplots(1, 3, figsize=(10, 5.4), width_ratios=(3, 3, 2))
    panels[1].sharey(panels[0])
    for axes, pixels in zip(panels, ("natural", "permuted"), strict=False):
        for method, label in SHARING.items():
            curve(axes, select(rows, method=method, pixels=pixels), "block_size",
                  **(style.METHOD_LOOK[method] | {"label": label}))
        error_axis(axes)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set(xlabel="block size", title=f"MNIST, {pixels} pixels")
        axes.label_outer()
    translated = select(table, task="multi30k", preset="small", tied=False)
    seeds = rows["seed"].nunique(), _sharing_in_translation(panels[2], translated)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"Seeds: {seeds[0]} on MNIST, {seeds[1]} in translation; bands and bars: 95 %",
                    fontsize=16)
    return figure


def _sharing_in_translation(axes: Axes, rows: pd.DataFrame) -> int:
    """Draw the BLEU of the seeds that were trained both ways, at one preset; return how many."""
    pairs = comparisons.pairs_at_equal_compression(
        rows, first="block_circulant", second="random_sharing")
    tuned = select(rows[rows["seed"].isin(pairs["seed"])], series="tuned")
    sizes = sorted(pairs["block_size"].unique())
    dense = select(tuned, method="dense")["test_bleu"].mean()
    axes.axhline(dense, color=style.BLACK, linestyle="--", linewidth=1.5)
    axes.text(len(sizes) - 0.5, dense, "dense", ha="right", va="bottom")
    for method, aside in (("block_circulant", -0.1), ("random_sharing", 0.1)):
        found = [comparisons.bleu_interval(select(tuned, method=method, block_size=size))
                 for size in sizes]
        mean, low, high = np.transpose(found)
        axes.errorbar(np.arange(len(sizes)) + aside, mean, yerr=[mean - low, high - mean],
                      capsize=5, **(style.METHOD_LOOK[method] | {"linestyle": ""}))
    axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    axes.set(xlabel="block size", ylabel="test BLEU", xlim=(-0.5, len(sizes) - 0.5),
             title="Translation")
    return pairs["seed"].nunique()


def images(pictures: Sequence[np.ndarray | Tensor], titles: Sequence[str] = (),
           columns: int = 8, diverging: bool = False, top: float | None = None) -> Figure:
    """Show images, or rows of weights, of 28 x 28 pixels side by side.

    Each picture has its own scale: dark on white, or, ``diverging``, blue and red around zero.
    ``top`` is an intensity that is black in all.
    """
    rows, columns = -(-len(pictures) // columns), min(columns, len(pictures))
    size = (1.25 * columns, (1.55 if titles else 1.25) * rows)
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
