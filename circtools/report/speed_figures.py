"""The figures on speed, from timings of ``circtools/bench``; ``cells`` are those of the layer."""

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from circtools.experiments.results import select
from circtools.products import dft_matrices
from circtools.report import style
from circtools.report.parts import compression_axis, heat_map
from circtools.report.style import METHOD_LOOK

LOOKS: dict[str, dict[str, Any]] = {
    "block-circulant": METHOD_LOOK["block_circulant"],
    "low rank": METHOD_LOOK["low_rank"],
    "pruned, kept dense": METHOD_LOOK["pruned"],
    "pruned, sparse CSR": METHOD_LOOK["pruned_all"],
    "int8 (onnxruntime)": {"color": style.BLACK, "marker": "*", "linestyle": ""}}


def _tokens(count: int) -> str:
    return f"{count} token{'s' * (count > 1)}"


def crossover_map(cells: pd.DataFrame, tokens: Sequence[int] = (1, 32, 256, 2048),
                  mode: Literal["inference", "training"] = "inference") -> Figure:
    """How many times as fast as a dense layer, by width and block size: one panel per batch."""
    rows, columns = (len(tokens) + 1) // 2, min(2, len(tokens))
    figure, panels = plt.subplots(rows, columns, squeeze=False, sharey=True,
                                  figsize=(6 + 2 * columns, 1 + 3.6 * rows))
    for axes in panels.flat[len(tokens):]:
        axes.set_visible(False)
    for axes, count in zip(panels.flat, tokens, strict=False):
        timed = select(cells, mode=mode, tokens=count)
        column = timed["block_size"].astype(str).where(timed["block_size"] < timed["n"], "n")
        wide = timed.assign(b=column).pivot(index="n", columns="b", values="ratio")[column.unique()]
        shades = np.log2(wide)
        texts = wide.map(lambda value: f"{value:.{2 if value < 1 else 1 if value < 10 else 0}f}")
        picture = heat_map(axes, shades, texts, shades.abs() > 2.2, cmap=style.SPEED,
                           vmin=-3.5, vmax=3.5, origin="lower")
        axes.tick_params(axis="x", labelsize=10.5)
        axes.set(title=_tokens(count), xlabel="block size")
        axes.label_outer(remove_inner_ticks=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("width n")
    bar = figure.colorbar(picture, ax=panels, shrink=0.8)
    bar.set_ticks([-3, -2, -1, 0, 1, 2, 3], labels=["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    bar.set_label("times as fast as nn.Linear")
    figure.suptitle(f"Block-circulant, {mode}: blue is faster than dense, orange slower",
                    fontsize=15)
    return figure


def against_compression(cells: pd.DataFrame, others: pd.DataFrame) -> Figure:
    """Inference speed of every method against its compression, at a width of 1,024."""
    n, factors = 1024, (2, 4, 8, 16, 32, 64, 128)
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), sharey=True)
    for axes, count in zip(panels, (1, 256), strict=True):
        ours = select(cells, mode="inference", n=n, tokens=count)
        ours = ours[ours["block_size"].isin(factors)]
        axes.plot(ours["block_size"], ours["ratio"], **LOOKS["block-circulant"])
        for name, rows in select(others, n=n, tokens=count).groupby("method"):
            axes.plot(rows["compression"], rows["ratio"], **(LOOKS[name] | {"label": name}))
        axes.axhline(1, color=style.BLACK, linewidth=1)
        compression_axis(axes, "compression (stored weights; of int8: bytes)", factors, font=13)
        axes.set_yscale("log", base=2)
        axes.set_yticks([0.25, 0.5, 1, 2, 4, 8, 16], labels=["1/4", "1/2", 1, 2, 4, 8, 16])
        axes.set_title(f"{_tokens(count)}, n = {n}")
    panels[0].set_ylabel("speed, times nn.Linear")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def roofline(cells: pd.DataFrame, machine: dict[str, float]) -> Figure:
    """Speed in inference by the algorithm ``dft`` (n = 2,048) under the machine's two limits."""
    n = 2048
    figure, axes = plt.subplots(figsize=(9.5, 6))
    intensity = np.geomspace(0.3, 300, 100)
    axes.plot(intensity, np.minimum(machine["flops"], intensity * machine["bandwidth"]) / 1e9,
              color=style.BLACK, label="the machine's two limits")
    for tokens, marker, color in ((1, "o", "0.5"), (32, "s", "0.3"), (256, "^", style.BLACK)):
        rows = select(cells, mode="inference", tokens=tokens, n=n, algorithm="dft")
        places = {}
        for row in rows.itertuples():
            operations, moved = work(tokens, n, row.block_size)
            places[row.block_size] = operations / moved, operations / row.seconds / 1e9
        axes.plot(*zip(*places.values(), strict=True), color=color, marker=marker, linestyle="",
                  label=_tokens(tokens))
        for b, place in places.items() if tokens == 1 else ():  # the others lie close together
            aside, align = (((-8, -4), "right") if b < 16 else ((0, 8), "center") if b == 16 else
                            ((8, -4), "left"))
            axes.annotate(f"b = {b}", place, xytext=aside, textcoords="offset points",
                          fontsize=11, ha=align)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel="operations for each byte that must be moved",
             ylabel="billion operations per second",
             title=f"Block-circulant layers under the roofline (n = {n})")
    axes.legend(loc="lower right")
    return figure


def work(tokens: int, n: int, b: int) -> tuple[int, int]:
    """Return the operations of the algorithm ``dft`` in a square layer, and the bytes it moves."""
    blocks = n // b
    products = len(dft_matrices(b, torch.empty(0))[0])  # between blocks; a transform is a matrix
    return (2 * tokens * blocks * products * (blocks + 2 * b),
            4 * (2 * tokens * n + products * blocks**2))
