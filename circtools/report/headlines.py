"""Five pictures of one finding each, for the README and the poster, drawn at the size of print.

Curves carry their names; there are no legends. Every function takes its size in inches and its
letters in points, so that a picture for a page and one for a wall are the same picture.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from circtools.experiments.results import ROUNDS_AT, select
from circtools.report import style, translation_claims
from circtools.report.mnist_figures import LOOK, compression_axis, error_axis
from circtools.report.translation_claims import POSTERS_GAP, levels_of
from circtools.report.translation_figures import OVER, of_multi30k

Size = tuple[float, float]
METHODS = ("pruned", "block_circulant")


def headline(table: pd.DataFrame, size: Size = (11, 6.2), font: float = 15, title: str = ""
             ) -> Figure:
    """Test BLEU against compression: dense, pruned, block-circulant."""
    rows = select(of_multi30k(table), series="tuned").assign(level=levels_of)
    dense = select(rows, method="dense")["test_bleu"].mean()
    with _picture(size, font) as (figure, axes):
        axes.axhline(dense, color=style.BLACK, linestyle="--")
        curves = {}
        for method in METHODS:
            curve = select(rows, method=method).groupby("level")["test_bleu"].mean()
            curves[method] = curve[list(ROUNDS_AT)]
            _curve(axes, method, curves[method])
        # The names stand where the curves are apart, at the last but one level.
        place = list(ROUNDS_AT)[-2]
        above, below = sorted(curves, key=lambda method: -curves[method][place])
        _method(axes, above, 1.05 * place, curves[above][place] + 0.15, ha="left", va="bottom")
        _method(axes, below, place / 1.05, curves[below][place] - 0.25, ha="right", va="top")
        _name(axes, f"dense: {dense:.1f}", style.BLACK, place, dense + 0.12, va="bottom", ha="left")
        _compression(axes, ROUNDS_AT, font)
        lowest = min(curve.min() for curve in curves.values())
        axes.set(ylabel="BLEU, German to English", ylim=(lowest - 1, dense + 1))
        axes.set_title(title, loc="left", fontsize=1.15 * font)
    return figure


def headline_gap(table: pd.DataFrame, size: Size = (8, 6.2), font: float = 15) -> Figure:
    """BLEU of pruned minus block-circulant, level by level, and the original poster's eight."""
    with _picture(size, font) as (figure, axes):
        style.halves(axes, top=0.62)
        axes.set_ylabel("BLEU, pruned minus block-circulant")
        axes.axhline(POSTERS_GAP, color=style.BLACK, linestyle="--")
        _name(axes, f"the original poster: {POSTERS_GAP:g} BLEU", style.BLACK, 2, POSTERS_GAP - 0.2,
              va="top", ha="left")
        for preset, side in (("small", -1), ("base", 1)):
            if preset not in translation_claims.presets_compared(table):
                continue
            color, mark = style.SIZES[preset]["color"], style.SIZES[preset]["marker"]
            rows = select(table, task="multi30k", tied=False, preset=preset)
            each, _, _ = translation_claims.compare(
                translation_claims.pairs_at_equal_compression(rows))
            x = each["block_size"] * 1.05**side
            decided = each["decided"] != 0
            axes.plot(x[decided], each["mean"][decided], color=color, marker=mark, linestyle="",
                      zorder=3)
            axes.errorbar(x, each["mean"], yerr=each["high"] - each["mean"], color=color,
                          markerfacecolor="white", markeredgewidth=0.15 * font,
                          marker=mark, linestyle="", capsize=0.3 * font, elinewidth=0.15 * font)
            end = 0 if side < 0 else -1
            _name(axes, preset, color, x.iloc[end] * 1.07**side, each["mean"].iloc[end],
                  ha="right" if side < 0 else "left", va="center")
        _compression(axes, ROUNDS_AT, font)
        axes.set(xlim=(1.1, 60), ylim=(-2.6, POSTERS_GAP + 0.8))
    return figure


def mnist_card(table: pd.DataFrame, size: Size = (8, 5), font: float = 15) -> Figure:
    """MNIST test error against compression of the first layer."""
    rows = select(table, task="mnist", series="tuned", layers="first", pixels="natural")
    with _picture(size, font) as (figure, axes):
        dense = 100 * select(rows, method="dense")["test_error"].mean()
        axes.axhline(dense, color=style.BLACK, linestyle="--")
        circulant = 100 * select(rows, method="block_circulant").groupby("block_size")[
            "test_error"].mean()
        chain = select(rows, method="pruned")
        pruned = 100 * chain.groupby("round")["test_error"].mean()
        pruned.index = chain.groupby("round")["compression"].mean()
        _curve(axes, "pruned", pruned, markevery=(2, 3))  # at the rounds of the levels
        _curve(axes, "block_circulant", circulant)
        _method(axes, "pruned", 260, 1.78, ha="left")
        _method(axes, "block_circulant", 60, 2.3, ha="right")
        _name(axes, "dense", style.BLACK, 260, dense - 0.03, va="top", ha="left")
        _compression(axes, (2, 8, 32, 128, 512), font, "compression of the first layer")
        error_axis(axes)
        axes.set_ylim(1.2, 3.9)
    return figure


def learning_rate_card(table: pd.DataFrame, size: Size = (8, 5), font: float = 15) -> Figure:
    """BLEU of one block-circulant network with its own learning rate and with a lent one."""
    own = select(table, task="multi30k", preset="base", tied=False, series="tuned")
    lent = translation_claims.lent(table, "base")
    bars = {"dense": (select(own, method="dense"), "0.45"),
            "own rate": (select(own, method="block_circulant", block_size=4), style.BLUE),
            "lent rate": (select(lent, block_size=4), style.SKY)}
    with _picture(size, font) as (figure, axes):
        values = [rows["test_bleu"].mean() for rows, _ in bars.values()]
        drawn = axes.bar([*bars], values, color=[color for _, color in bars.values()], width=0.62)
        drawn[-1].set(hatch="/", edgecolor="white")  # told apart in grey, too
        axes.bar_label(drawn, [f"{value:.1f}" for value in values], fontweight="bold", padding=3)
        axes.grid(visible=False, axis="x")
        axes.set(ylabel="test BLEU", ylim=(0, 48))
    return figure


def file_size_card(table: pd.DataFrame, size: Size = (8, 5), font: float = 15) -> Figure:
    """BLEU against megabytes: narrower dense networks, and the two methods."""
    tuned = translation_claims.of_compared_seeds(
        select(table, task="multi30k", preset="base", tied=False))
    tuned = select(tuned, series="tuned").assign(level=levels_of)
    with _picture(size, font) as (figure, axes):
        for method in METHODS:
            curve = select(tuned, method=method).dropna(subset="level").groupby("level")[
                ["file_bytes", "test_bleu"]].mean()
            _curve(axes, method, curve.set_index(curve["file_bytes"] / 1e6)["test_bleu"])
        narrow = tuned[tuned["method"].isin(["dense", "small_dense"])].groupby("level")[
            ["file_bytes", "test_bleu"]].mean()
        x = narrow["file_bytes"] / 1e6
        axes.plot(x, narrow["test_bleu"], color=style.BLACK, marker="D", linestyle="--")
        for level, text, place in ((1, "dense", {"ha": "right", "va": "top"}),
                                   (4, "half as wide", {"ha": "right", "va": "bottom"}),
                                   (16, "a quarter", {"va": "top"})):
            if level in narrow.index:
                up = 0.3 if place["va"] == "bottom" else -0.35
                _name(axes, text, style.BLACK, x[level] + 2, narrow["test_bleu"][level] + up,
                      **place)
        _method(axes, "pruned", 27.2, 41.0, va="bottom", ha="left")
        _method(axes, "block_circulant", 22.5, 37.3, ha="left")
        axes.set(xlabel="file (MB)", ylabel="test BLEU", xlim=(0, 46), ylim=(35, 42.3),
                 xticks=range(0, 41, 10), yticks=range(36, 43, 2))
    return figure


@contextmanager
def _picture(size: Size, font: float) -> Iterator[tuple[Figure, Axes]]:
    scale = font / 15
    with style.context(), plt.rc_context({
            "figure.constrained_layout.h_pad": 0.1 * scale, "font.size": font,
            "axes.labelsize": font, "xtick.labelsize": font, "ytick.labelsize": font,
            "lines.linewidth": 2.6 * scale, "axes.linewidth": scale,
            "lines.markersize": 8 * scale, "xtick.major.size": 4 * scale,
            "ytick.major.size": 4 * scale, "grid.linewidth": 0.8 * scale}):
        yield plt.subplots(figsize=size)


def _curve(axes: Axes, method: str, values: pd.Series, **more: object) -> None:
    look = {key: LOOK[method][key] for key in ("color", "marker")}
    axes.plot(values.index, values, **look, **more)


def _method(axes: Axes, method: str, x: float, y: float, **more: str) -> None:
    _name(axes, LOOK[method]["label"], LOOK[method]["color"], x, y, **more)


def _name(axes: Axes, text: str, color: str, x: float, y: float, **more: str) -> None:
    axes.text(x, y, text, color=color, fontweight="bold", **{"ha": "center", **more})


def _compression(axes: Axes, ticks: Iterable[int], font: float, label: str = OVER["compression"]
                 ) -> None:
    compression_axis(axes, label, ticks, font)
    axes.xaxis.set_minor_locator(NullLocator())
