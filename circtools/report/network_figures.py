"""Single networks, how they were trained and their weights, from rows of results.load."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from circtools.experiments import store
from circtools.experiments.choices import SCALES, TRIAL_PRESET
from circtools.experiments.methods import CONTROL_LEVELS, ROUNDS_AT
from circtools.experiments.results import select
from circtools.report import comparisons, style
from circtools.report.parts import heat_map

LOSS = "validation loss (nats per token)"
ROLES = ("encoder self-attention", "decoder self-attention", "cross-attention", "feed-forward")
SETTINGS = {  # multiples of the base learning rate and dropout, then of the rate for the matrices
    (1.0, 1.0, 1.0): "base rate",
    (1.0, 0.5, 1.0): "base rate, half the dropout",
    (1.0, 1.0, 4.0): "four times for the matrices",
    (1.0, 0.5, 4.0): "four times for the matrices, half the dropout",
    (2.0, 1.0, 1.0): "twice the rate",
    (2.0, 0.5, 1.0): "twice the rate, half the dropout",
    (4.0, 1.0, 1.0): "four times the rate",
    (4.0, 0.5, 1.0): "four times the rate, half the dropout",
    (8.0, 1.0, 1.0): "eight times the rate"}


def learning_rates(table: pd.DataFrame, method: str) -> Figure:
    """The short trials that chose the learning rate of a method, beside the dense network's.

    The method is ``"pruned"``, without the dense network, or ``"block_circulant"``.
    """
    search = select(table, task="multi30k", preset=TRIAL_PRESET, series="search",
                    dropout_factor=1.0, matrix_lr_scale=1.0)
    rows = select(search, method=method).assign(level=comparisons.levels_of)
    shown = [] if method == "pruned" else [
        ("dense", select(search, method="dense"), style.BLACK, "--D")]
    for b, line in zip(CONTROL_LEVELS, ("-o", ":s"), strict=True):
        name = f"{b}x, round {ROUNDS_AT[b]}" if method == "pruned" else f"b = {b}"
        shown.append((name, select(rows, level=b), style.METHOD_LOOK[method]["color"], line))
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for name, tried, color, line in shown:
        tried = tried.sort_values("lr_factor")
        axes.plot(tried["lr_factor"], tried["val_loss"], line, color=color, label=name)
    axes.set_xscale("log", base=2)
    ticks = sorted(rows["lr_factor"].unique())
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set(xlabel="learning rate / the dense network's base value", ylabel=LOSS,
             title="Short trials: the learning rate")
    axes.legend(loc="best")
    return figure


def complete_trainings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the untied dense and block-circulant networks of seed 0, whatever their setting."""
    rows = select(table, task="multi30k", tied=False, seed=0)
    rows = rows[rows["method"].isin(["dense", "block_circulant"])
                & ~rows["series"].isin(["search", "diverged"])]
    return rows.drop_duplicates(["preset", "run"])


def in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows by block size and in the order of :data:`SETTINGS`, both also in words."""
    rows = rows.sort_values("block_size")
    networks = rows["block_size"].map(lambda b: "dense" if b == 1 else f"b = {b}")
    settings = [SETTINGS[scales] for scales in rows[SCALES].itertuples(index=False, name=None)]
    rows = rows.assign(network=pd.Categorical(networks, networks.unique()),
                       setting=pd.Categorical(settings, list(SETTINGS.values())))
    return rows.sort_values(["network", "setting"])


def learning_curves(table: pd.DataFrame, block_size: int = 4, preset: str = TRIAL_PRESET
                    ) -> Figure:
    """Complete trainings of block-circulant layers at several rates, beside the dense network's."""
    rows = select(complete_trainings(table), preset=preset, dropout_factor=1.0)
    rows = rows.sort_values(["matrix_lr_scale", "lr_factor"])
    shown = {"dense": (select(rows, method="dense", lr_factor=1.0),
                       [(style.BLACK, "--"), ("0.45", ":")]),
             f"b = {block_size}": (
                 select(rows, method="block_circulant", block_size=block_size),
                 [(style.BLUE, "-o"), (style.BLUE, "--s"), (style.SKY, ":v")])}
    history = {(folder, run["run"]): run["history"] for folder in rows["folder"].unique()
               for run in store.read(folder)}
    figure, axes = _loss_axes((8, 4.6), f"Complete trainings (preset {preset})")
    for name, (runs, looks) in shown.items():
        for row, (color, line) in zip(runs.itertuples(), looks, strict=False):
            rate = "base rate" if row.lr_factor == 1 else f"{row.lr_factor:g} times the base"
            if row.matrix_lr_scale != 1:
                rate += f", {row.matrix_lr_scale:g} times it for the matrices"
            _loss_curve(axes, history[row.folder, row.run], line, color=color, markersize=5,
                        label=f"{name}, {rate}")
    axes.set_ylim(top=1.6 * min(np.min(line.get_ydata()) for line in axes.lines))
    axes.legend(loc="upper right")
    return figure


def lent_rate(table: pd.DataFrame) -> Figure:
    """Test BLEU at two sizes, per compression: each at its own rate, and at the smaller one's."""
    sizes = (TRIAL_PRESET, "base")
    tuned = select(table, task="multi30k", tied=False, series="tuned", seed=0)
    own = select(tuned, method="block_circulant")
    lent = pd.concat([select(own, preset=sizes[0]), comparisons.lent(table, sizes[1])])
    figure, panels = plt.subplots(1, len(CONTROL_LEVELS), figsize=(9, 4.8), sharey=True)
    for axes, b in zip(panels, CONTROL_LEVELS, strict=True):
        for name, rows, color, line in (
                ("dense", select(tuned, method="dense"), style.BLACK, "--D"),
                ("block-circulant, each size at its own rate", select(own, block_size=b),
                 style.BLUE, "-o"),
                (f"block-circulant, both at the rate of {sizes[0]}", select(lent, block_size=b),
                 style.SKY, ":v")):
            bleu = rows.set_index("preset")["test_bleu"].reindex(sizes)
            axes.plot(sizes, bleu, line, color=color, label=name)
            if name != "dense":
                axes.annotate(f"{bleu.iloc[-1]:.1f}", (1, bleu.iloc[-1]), xytext=(12, 0),
                              textcoords="offset points", va="center")
        axes.set(title=f"b = {b} ({b}x)", xlabel="preset")
        axes.margins(x=0.25)
    panels[0].set_ylabel("test BLEU")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center")
    return figure


def training_curves(runs: Sequence[dict[str, Any]]) -> Figure:
    """Validation loss against the epoch: one line per run of store.read, one look per preset."""
    figure, axes = _loss_axes((9, 5), "Dense Transformers on Multi30k, one line per seed")
    for run in runs:
        preset = run["config"]["preset"]
        first = preset not in axes.get_legend_handles_labels()[1]
        _loss_curve(axes, run["history"], markersize=4, **style.SIZE_LOOK[preset],
                    label=preset if first else None)
    axes.legend(title="preset")
    return figure


def _loss_curve(axes: Axes, history: Sequence[dict[str, float]], *line: str, **look: Any) -> None:
    losses = [epoch["val_loss"] for epoch in history]
    axes.plot(range(1, len(losses) + 1), losses, *line, **look)


def _loss_axes(size: tuple[float, float], title: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=size)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=LOSS, title=title)
    return figure, axes


def artefacts(table: pd.DataFrame, method: str, **values: object) -> dict[str, np.ndarray]:
    """Return the arrays that the tuned run of seed 0 of a method left; see store.arrays."""
    rows = select(comparisons.of_multi30k(table), method=method, series="tuned", seed=0, **values)
    return store.arrays(*rows[["run", "folder"]].iloc[0])


def emptied_layers(run: dict[str, Any]) -> Figure:
    """Which weights global pruning leaves in each matrix, from a result of :func:`.store.read`."""
    shown = pd.DataFrame({f["round"]: f["density"] for f in run["final"]
                          if f["round"] in (3, 9, 15)})
    relative = np.log2((shown / shown.mean()).where(shown > 0))  # an empty matrix has none
    top = max(1.0, relative.abs().max(axis=None))
    texts = shown.map(lambda value: f"{value:.0%}" if value >= 0.095 else f"{value:.1%}")
    texts = texts.where(relative.abs() > top / 9, "")  # the palest of nine shades goes without
    figure, panels = plt.subplots(2, 2, figsize=(9, 0.16 * len(shown) + 1.8))
    picture = _by_role(panels, relative, texts, relative.abs() > 0.6 * top,
                       cmap=plt.get_cmap(style.DIVERGING, 9), vmin=-top, vmax=top)
    panels[0, 1].tick_params(labelleft=False)  # they are those of its neighbour
    figure.supxlabel("round", fontsize=12)
    figure.suptitle("Share of the weights left in each matrix", fontsize=14)
    bar = figure.colorbar(picture, ax=panels, label="share left / the average share", shrink=0.7)
    ticks = range(-int(top), int(top) + 1)
    bar.set_ticks(ticks, labels=[f"1/{2**-n}" if n < 0 else f"{2**n}" for n in ticks])
    return figure


def emptied_heads(heads: dict[str, np.ndarray]) -> Figure:
    """The share of weights left in each head, (heads,), by matrix; in numbers where unusual."""
    shares = 100 * pd.DataFrame(heads).T.rename(columns=lambda n: n + 1)
    top = shares.max(axis=None)
    far = shares.div(shares.mean(axis=1), axis=0).sub(1).abs() > 0.25
    figure, panels = plt.subplots(1, 3, figsize=(9, 0.12 * len(shares) + 1.6), sharey=True)
    texts = shares.map("{:.1f}".format).where(far, "")
    picture = _by_role(panels, shares, texts, shares < 0.6 * top,
                       cmap=plt.get_cmap(style.SEQUENTIAL, 8), vmin=0, vmax=top)
    figure.supxlabel("head", fontsize=12)
    figure.suptitle("Weights left in each head after the last round", fontsize=14)
    figure.colorbar(picture, ax=panels, label="% of the weights", shrink=0.8)
    return figure


def _by_role(panels: np.ndarray, shades: pd.DataFrame, texts: pd.DataFrame, white: pd.DataFrame,
             **look: Any) -> Any:
    """Draw a heat map of a Transformer's matrices, a panel per role; return one of its pictures."""
    found = pd.DataFrame(map(role_and_place, shades.index), shades.index, ["role", "place"])
    found["role"] = pd.Categorical(found["role"], ROLES)
    for axes, (role, rows) in zip(panels.flat, found.groupby("role", observed=True), strict=True):
        names = rows.index
        picture = heat_map(axes, shades.loc[names], texts.loc[names].set_axis(rows["place"]),
                           white.loc[names], **look)
        axes.set_title(role, fontsize=12)
        axes.tick_params(labelsize=10.5)
    return picture


def role_and_place(name: str) -> tuple[str, str]:
    """Return what a Transformer's matrix is for, and which one it is, by its name in the model."""
    side, layer, part, matrix = name.split(".")
    number = int(layer) + 1
    if part == "feed_forward":
        return "feed-forward", f"{side} {number}, {matrix}"
    role = "cross-attention" if part == "cross_attention" else f"{side} self-attention"
    return role, f"layer {number}, {matrix}"


def spectra(first_rows: dict[str, np.ndarray]) -> Figure:
    """Spectra of learned first rows, (out_blocks, in_blocks, b), by layer, and of fresh ones."""
    figure, panels = plt.subplots(1, len(first_rows), figsize=(10, 4.2),
                                  sharey=True, squeeze=False)
    for axes, (name, learned) in zip(panels.flat, first_rows.items(), strict=True):
        fresh = np.random.default_rng(0).uniform(-1, 1, learned.shape)
        for rows, label, color, line in ((learned.astype(float), "learned", style.BLUE, "-o"),
                                         (fresh, "freshly drawn", style.BLACK, "--")):
            power = np.sqrt((np.abs(np.fft.rfft(rows)) ** 2).mean((0, 1)))  # (frequencies,)
            axes.plot(power / np.sqrt((power**2).mean()), line, color=color, label=label,
                      markersize=5)
        axes.set_title(name.replace("_", " "), fontsize=11)
        axes.set_xlabel("frequency")
    panels[0, 0].set_ylabel("magnitude / its average")
    panels[0, 0].set_ylim(bottom=0)  # shared by all, and so after the last of them
    panels[0, 0].legend(loc="best")
    return figure
