"""Five pictures of one finding each, for the README and the poster, drawn at the size of print.

Each takes rows of results.load, its size in inches and its letters in points.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circtools.experiments.methods import ROUNDS_AT
from circtools.experiments.results import select
from circtools.report import comparisons, parts, style
from circtools.report.comparisons import POSTERS_GAP, levels_of

Size = tuple[float, float]
METHODS = ("pruned", "block_circulant")


def headline(table: pd.DataFrame, size: Size = (11, 6.2), font: float = 15, title: str = ""
             ) -> Figure:
    """Test BLEU against compression: dense, pruned, block-circulant; means and each training."""
    rows = select(comparisons.of_multi30k(table), series="tuned").assign(level=levels_of)
    dense = select(rows, method="dense")["test_bleu"].mean()
    curves = rows.pivot_table(index="level", columns="method", values="test_bleu")
    curves = curves.loc[list(ROUNDS_AT), list(METHODS)]
    place = curves.index[-2]  # where the curves are apart, and their names stand
    below, above = curves.loc[place].sort_values().index
    with _picture(size, font) as (figure, axes):
        axes.axhline(dense, color=style.BLACK, linestyle="--")
        for method, aside in zip(METHODS, (0.97, 1.03), strict=True):
            _curve(axes, method, curves[method])
            each = select(rows, method=method)
            each = each[each["level"].isin(curves.index)]
            _curve(axes, method, each.set_index(aside * each["level"])["test_bleu"],
                   linestyle="", markersize=0.35 * font, alpha=0.5, markeredgewidth=0)
        _method(axes, above, 1.05 * place, curves[above][place] + 0.15, ha="left", va="bottom")
        _method(axes, below, place / 1.12, curves[below][place] - 0.25, ha="right", va="top")
        axes.text(0.02, 0.04, "small marks: one training each", transform=axes.transAxes)
        _name(axes, f"dense: {dense:.1f}", style.BLACK, place, dense + 0.12, va="bottom", ha="left")
        parts.compression_axis(axes, parts.LAYERS, ROUNDS_AT, font)
        axes.set(ylabel="BLEU, German to English", ylim=(curves.min(axis=None) - 1, dense + 1))
        axes.set_title(title, loc="left", fontsize=1.15 * font)
    return figure


def headline_gap(table: pd.DataFrame, size: Size, font: float) -> Figure:
    """BLEU of pruned minus block-circulant, level by level, and the original poster's eight."""
    with _picture(size, font) as (figure, axes):
        parts.halves(axes, top=0.62)
        axes.axhline(POSTERS_GAP, color=style.BLACK, linestyle="--")
        _name(axes, f"the original poster: {POSTERS_GAP:g} BLEU", style.BLACK, 2, POSTERS_GAP - 0.2,
              va="top", ha="left")
        for preset, side, end, place in (("small", -1, 0, "right"), ("base", 1, -1, "left")):
            rows = select(table, task="multi30k", tied=False, preset=preset)
            each = comparisons.compare(comparisons.pairs_at_equal_compression(rows)).each
            each = each.assign(compression=each["block_size"])
            look = style.SIZE_LOOK[preset] | {"linestyle": ""}
            parts.gaps(axes, each, 1.05**side, **look, capsize=0.3 * font, elinewidth=0.15 * font,
                       markeredgewidth=0.15 * font)
            _name(axes, preset, look["color"], each["compression"].iloc[end] * (1.05 * 1.07)**side,
                  each["mean"].iloc[end], ha=place, va="center")
        parts.compression_axis(axes, parts.LAYERS, ROUNDS_AT, font)
        axes.set(ylabel="BLEU, pruned minus block-circulant", xlim=(1.1, 60),
                 ylim=(-2.6, POSTERS_GAP + 0.8))
    return figure


def mnist_card(table: pd.DataFrame, size: Size, font: float) -> Figure:
    """MNIST test error against compression of the first layer."""
    rows = select(table, task="mnist", preset="base", series="tuned", layers="first",
                  pixels="natural")
    dense = 100 * select(rows, method="dense")["test_error"].mean()
    with _picture(size, font) as (figure, axes):
        axes.axhline(dense, color=style.BLACK, linestyle="--")
        # Pruned networks have their marks at the rounds of the levels.
        for method, marks in (("pruned", (2, 3)), ("block_circulant", None)):
            means = select(rows, method=method).groupby("compression")["test_error"].mean()
            _curve(axes, method, 100 * means, markevery=marks)
        _method(axes, "pruned", 260, 1.78, ha="left")
        _method(axes, "block_circulant", 60, 2.3, ha="right")
        _name(axes, "dense", style.BLACK, 260, dense - 0.03, va="top", ha="left")
        parts.compression_axis(axes, "compression of the first layer", (2, 8, 32, 128, 512), font)
        parts.error_axis(axes)
        axes.set_ylim(1.2, 3.9)
    return figure


def learning_rate_card(table: pd.DataFrame, size: Size, font: float) -> Figure:
    """BLEU of one block-circulant network with its own learning rate and with a lent one."""
    own = select(table, task="multi30k", preset="base", tied=False, series="tuned")
    lent = comparisons.lent(table, "base")
    bars = {"dense": select(own, method="dense"),
            "own rate": select(own, method="block_circulant", block_size=4),
            "lent rate": select(lent, block_size=4)}
    with _picture(size, font) as (figure, axes):
        drawn = axes.bar([*bars], [rows["test_bleu"].mean() for rows in bars.values()],
                         color=["0.45", style.BLUE, style.SKY], width=0.62)
        drawn[-1].set(hatch="/", edgecolor="white")  # told apart in grey, too
        axes.bar_label(drawn, fmt="{:.1f}", fontweight="bold", padding=3)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="test BLEU", ylim=(0, 48))
    return figure


def file_size_card(table: pd.DataFrame, size: Size, font: float) -> Figure:
    """BLEU against megabytes: narrower dense networks, and the two methods."""
    tuned = comparisons.of_compared_seeds(
        select(table, task="multi30k", preset="base", tied=False))
    tuned = select(tuned, series="tuned").assign(level=levels_of)
    tuned["method"] = tuned["method"].replace("small_dense", "dense")
    means = tuned.assign(megabytes=tuned["file_bytes"] / 1e6).groupby(["method", "level"])[
        ["megabytes", "test_bleu"]].mean()
    with _picture(size, font) as (figure, axes):
        for method in METHODS:
            _curve(axes, method, means.loc[method].set_index("megabytes")["test_bleu"])
        narrow = means.loc["dense"]
        _curve(axes, "dense", narrow.set_index("megabytes")["test_bleu"], linestyle="--")
        for level, text, ha, va in ((1, "dense", "right", "top"),
                                    (4, "half as wide", "right", "bottom"),
                                    (16, "a quarter", "center", "top")):
            x, y = narrow.loc[level]
            _name(axes, text, style.BLACK, x + 2, y + (0.3 if va == "bottom" else -0.35),
                  ha=ha, va=va)
        _method(axes, "pruned", 27.2, 41.0, va="bottom", ha="left")
        _method(axes, "block_circulant", 22.5, 37.3, ha="left")
        axes.set(xlabel="file (MB)", ylabel="test BLEU", xlim=(0, 46), ylim=(35, 42.3),
                 xticks=range(0, 41, 10), yticks=range(36, 43, 2))
    return figure


@contextmanager
def _picture(size: Size, font: float) -> Iterator[tuple[Figure, Axes]]:
    scale = font / 15
    with plt.rc_context({
            "figure.constrained_layout.h_pad": 0.1 * scale, "font.size": font,
            "axes.labelsize": font, "xtick.labelsize": font, "ytick.labelsize": font,
            "lines.linewidth": 2.6 * scale, "axes.linewidth": scale,
            "lines.markersize": 8 * scale, "xtick.major.size": 4 * scale,
            "ytick.major.size": 4 * scale, "grid.linewidth": 0.8 * scale}):
        yield plt.subplots(figsize=size)


def _curve(axes: Axes, method: str, values: pd.Series, **more: Any) -> None:
    look = {key: style.METHOD_LOOK[method][key] for key in ("color", "marker")}
    axes.plot(values.index, values, **look, **more)


def _method(axes: Axes, method: str, x: float, y: float, **more: Any) -> None:
    look = style.METHOD_LOOK[method]
    _name(axes, look["label"], look["color"], x, y, **more)


def _name(axes: Axes, text: str, color: str, x: float, y: float, **more: Any) -> None:
    axes.text(x, y, text, color=color, fontweight="bold", **more)
