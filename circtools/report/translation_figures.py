"""The figures of the Multi30k experiments; like all figures, made from the results alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from circtools.compression import AMOUNT
from circtools.experiments import bleu, store
from circtools.experiments.multi30k_runs import PRESETS
from circtools.experiments.results import FEW, ROUNDS_AT, TRIAL_PRESET
from circtools.experiments.runs import PRUNING
from circtools.report import statistics, style, translation_claims
from circtools.report.mnist_figures import LOOK, compression_axis, curve, gaps, select
from circtools.report.translation_claims import POSTERS_GAP

# Of which compression counts over the Transformer's layers.
METHODS = ("pruned", "gradual", "random_pruned", "block_circulant", "block_circulant_long",
           "projected", "low_rank", "small_dense")
OVER = {"compression": "compression of the Transformer's layers",
        "compression_all": "compression of all weight matrices but the embeddings",
        "compression_file": "compression of the file, embeddings and indices counted"}


def of_multi30k(table: pd.DataFrame) -> pd.DataFrame:
    """Return the untied networks' rows of the preset and the seeds that the figures show."""
    rows = select(table, task="multi30k", tied=False,
                  preset=translation_claims.main_preset(table))
    return translation_claims.of_compared_seeds(rows)


def has_circulant(rows: pd.DataFrame) -> bool:
    """Return whether there are results of fully circulant layers, b = d_model."""
    d_model = PRESETS[rows["preset"].iloc[0]].d_model
    return len(select(rows, method="block_circulant", series="tuned", block_size=d_model)) > 0


def bleu_curves(axes: Axes, rows: pd.DataFrame, methods: Sequence[str],
                by: str = "compression") -> None:
    """Draw the test BLEU of methods against compression, and the dense network's as a line.

    A method that has not been tuned yet is drawn, with hollow marks, at the base settings, if it
    has been trained at these. The grey band is the dense network's 95 % interval: over seeds where
    there are several, else over test sentences.
    """
    tuned = select(rows, series="tuned")
    dense = select(tuned, method="dense")
    mean = statistics.interval(dense["test_bleu"])
    low, high = ((mean.low, mean.high) if len(dense) > 1
                 else dense[["test_bleu_low", "test_bleu_high"]].iloc[0])
    axes.axhspan(low, high, color=style.BLACK, alpha=0.12, linewidth=0)
    over = f"{len(dense)} seeds" if len(dense) > 1 else "test sentences"
    axes.axhline(mean.mean, color=style.BLACK, linestyle="--", linewidth=1.5,
                 label=f"dense (grey: 95 %, over {over})")
    for method in methods:
        chosen, look = select(tuned, method=method), LOOK[method]
        if chosen.empty:
            chosen = select(rows, series="same", method=method)
            look = {**look, "markerfacecolor": "white", "label": look["label"] + " (not tuned)"}
        if len(chosen):
            keys = ["round", "block_size"]
            # Seeds prune to the same number of weights: name the level by its mean compression.
            level = chosen.groupby(keys)[by].transform("mean").round(6)
            if level.nunique() < 3:  # two points are no curve
                look = look | {"linestyle": ""}
            curve(axes, chosen.assign(level=level), by="level", metric="test_bleu", **look)
    compression_axis(axes, OVER[by])
    largest = max(np.max(line.get_xdata()) for line in axes.lines)
    axes.set_xlim(0.93, 1.25 * largest)
    if largest < 3:  # powers of two would leave an axis with one mark
        ticks = np.arange(1.0, largest + 0.2, 0.2)
        axes.set_xticks(ticks, [f"{t:.1f}x" for t in ticks], fontsize=11)
        axes.set_xlim(0.97, 1.05 * largest)
    axes.set_ylabel("test BLEU")


def _note(rows: pd.DataFrame) -> str:
    tuned = select(rows, series="tuned")
    seeds = tuned.loc[tuned["method"].isin(["pruned", "block_circulant"]), "seed"].nunique()
    return f"preset {rows['preset'].iloc[0]}, {seeds} seed{'s' * (seeds > 1)}"


def translation_benchmark(table: pd.DataFrame, upright: bool = False) -> Figure:
    """Multi30k: BLEU against compression, every method that has been tuned, a panel a size.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        upright: the panels one above the other, not side by side.
    """
    tuned = select(table, task="multi30k", tied=False, series="tuned")
    presets = translation_claims.presets_compared(table)[::-1]
    with style.context():
        grid = (len(presets), 1) if upright else (1, len(presets))
        figure, panels = plt.subplots(*grid, figsize=(7.5 * grid[1], 6 * grid[0] + 1.5),
                                      sharex=upright, sharey=True, squeeze=False)
        for axes, preset in zip(panels.flat, presets, strict=True):
            rows = translation_claims.of_compared_seeds(select(tuned, preset=preset))
            bleu_curves(axes, rows, METHODS)
            p = PRESETS[preset]
            axes.set_title(f"{p.layers} + {p.layers} layers, {p.d_model} wide ({_note(rows)})")
            axes.label_outer()
        drawn = {label: line for axes in panels.flat
                 for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(drawn.values(), drawn, loc="outside lower center",
                      ncols=2 if upright else 3)
        figure.suptitle("Multi30k, German to English", fontsize=16)
    return figure


def translation_sets(table: pd.DataFrame) -> Figure:
    """Multi30k: the same networks, with compression counted over more than the layers."""
    rows = of_multi30k(table)
    dense = select(rows, method="dense")["file_bytes"].iloc[0]
    rows = rows.assign(compression_file=dense / rows["file_bytes"])
    with style.context():
        figure, panels = plt.subplots(1, 2, figsize=(14, 7), sharey=True)
        for axes, by in zip(panels, ("compression_all", "compression_file"), strict=True):
            bleu_curves(axes, rows, ("pruned", "pruned_all", "block_circulant", "small_dense"), by)
        panels[1].set_ylabel("")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        figure.suptitle(f"The same networks, counted otherwise ({_note(rows)})", fontsize=16)
    return figure


def translation_gap(table: pd.DataFrame) -> Figure:
    """Claim 2: how many BLEU pruning is ahead at equal compression, level by level."""
    main = translation_claims.main_preset(table)
    others = [name for name in translation_claims.presets_compared(table) if name != main]
    shown_as = [(main, "tuned", style.SIZES[main]),
                (main, "same", {"color": "0.6", "marker": "^", "linestyle": ":"}),
                *((name, "tuned", style.SIZES[name]) for name in others)]
    names = {"tuned": "tuned", "same": "block-circulant at the dense settings"}
    with style.context():
        figure, axes = plt.subplots(figsize=(10, 6))
        for place, (preset, series, look) in enumerate(shown_as, start=-1):
            shown = select(table, task="multi30k", tied=False, preset=preset)
            pairs = translation_claims.pairs_at_equal_compression(shown, series)
            if len(pairs):
                each, _, sample = translation_claims.compare(pairs)
                gaps(axes, each, f"preset {preset}, {names[series]}, {sample.split(',')[0]}",
                     place, **look)
        style.halves(axes, top=0.55)
        axes.axhline(POSTERS_GAP, color=style.BLACK, linestyle="--", linewidth=1.2,
                     label=f"the original poster's average gap, {POSTERS_GAP:g}")
        axes.set_ylabel("BLEU of pruned minus block-circulant")
        axes.set_title("Filled: decided at 5 % after Holm's correction; bars: 95 %, uncorrected",
                       fontsize=12)
        compression_axis(axes, OVER["compression"])
        axes.set_xlim(1.7, 40)
        axes.legend(loc="upper right", bbox_to_anchor=(1, 0.93))  # below the poster's line
    return figure


def pruned_transformer(table: pd.DataFrame) -> Figure:
    """Poster: the Transformer's layers pruned, with both controls."""
    return _panel(table, ("pruned", "gradual", "random_pruned", "unpruned"), "Pruned Transformer")


def pruned_entire_network(table: pd.DataFrame) -> Figure:
    """Poster: all weight matrices but the embeddings pruned."""
    return _panel(table, ("pruned", "pruned_all"), "Pruned entire network", "compression_all")


def block_circulant_transformer(table: pd.DataFrame) -> Figure:
    """Poster: block-circulant layers of several block sizes, trained from scratch or projected."""
    return _panel(table, ("block_circulant", "block_circulant_long", "projected", "low_rank",
                          "small_dense"), "Block-circulant Transformer")


def _panel(table: pd.DataFrame, methods: Sequence[str], title: str, by: str = "compression"
           ) -> Figure:
    rows = of_multi30k(table)
    with style.context():
        figure, axes = plt.subplots(figsize=(9, 6.8))
        if "unpruned" in methods:
            _unpruned(axes, rows)
        bleu_curves(axes, rows, [m for m in methods if m != "unpruned"], by)
        axes.set_title(f"{title} ({_note(rows)})")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _unpruned(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the control that prunes nothing where pruning would stand after as many rounds."""
    control = select(rows, series="tuned", method="unpruned")
    if len(control):
        placed = control.assign(level=(1 - AMOUNT) ** -control["round"].astype(float))
        curve(axes, placed, by="level", metric="test_bleu", **LOOK["unpruned"])


def circulant_transformer(table: pd.DataFrame) -> Figure:
    """Poster: BLEU as the blocks grow until every matrix is one circulant, b = d_model.

    A block wider than a head makes the heads share their weights, up to a rotation.
    """
    rows = of_multi30k(table)
    with style.context():
        figure, axes = plt.subplots(figsize=(9, 6))
        bleu_curves(axes, rows, ("block_circulant",))
        tuned = select(rows, series="tuned", method="block_circulant")
        widest = tuned.loc[tuned["block_size"].idxmax()]
        preset = PRESETS[rows["preset"].iloc[0]]
        head = preset.d_model // preset.heads
        if widest["block_size"] > head:
            axes.axvspan(head, axes.get_xlim()[1], color=style.YELLOW, alpha=0.25, linewidth=0,
                         label=f"blocks wider than a head ({head}): heads share")
        if has_circulant(rows):
            axes.annotate(f"fully circulant,\nb = {widest['block_size']}",
                          (widest["compression"], widest["test_bleu"]), xytext=(0, 110),
                          textcoords="offset points", ha="right",
                          arrowprops={"arrowstyle": "->", "color": style.BLACK})
        axes.set_title(f"Circulant Transformer ({_note(rows)})")
        axes.legend(loc="lower left")
    return figure


def learning_rates(table: pd.DataFrame, method: str) -> Figure:
    """The short trials by which a method's learning rate was chosen, beside the dense network's.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        method: block_circulant, pruned, or another that has trials of its own.
    """
    search = select(table, task="multi30k", preset=TRIAL_PRESET, series="search",
                    dropout_factor=1.0, matrix_lr=1.0)
    shown = {"dense": select(search, method="dense")} if method == "block_circulant" else {}
    for b in FEW:
        name = f"b = {b}" if method not in PRUNING else f"{b}x, round {ROUNDS_AT[b]}"
        rows = select(search, method=method)
        at = rows["block_size"] == b if method not in PRUNING else rows["round"] == ROUNDS_AT[b]
        shown[name] = rows[at]
    color = LOOK[method]["color"]
    looks = [("--", "D", style.BLACK), ("-", "o", color), (":", "s", color)]
    with style.context():
        figure, axes = plt.subplots(figsize=(8, 4.6))
        # The first look is the dense network's in every figure.
        for (name, rows), (line, marker, color) in zip(shown.items(), looks[-len(shown):],
                                                       strict=True):
            rows = rows.sort_values("lr_factor")
            axes.plot(rows["lr_factor"], rows["val_loss"], color=color, linestyle=line,
                      marker=marker, label=name)
        axes.set_xscale("log", base=2)
        ticks = sorted(search.loc[search["method"] == method, "lr_factor"].unique())
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set(xlabel="learning rate / the dense network's base value",
                 ylabel="validation loss (nats per word)", title="Short trials: the learning rate")
        axes.legend(loc="best")
    return figure


def learning_curves(table: pd.DataFrame, block_size: int = 4, folder: Path = store.FOLDER, *,
                    preset: str = TRIAL_PRESET) -> Figure:
    """Complete trainings of block-circulant layers at several rates, beside the dense network's.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        block_size: of the layers.
        folder: where the results are.
        preset: of the networks.
    """
    rows = select(table, task="multi30k", preset=preset, tied=False, seed=0,
                  dropout_factor=1.0)
    rows = rows[~rows["series"].isin(["search", "diverged"])].drop_duplicates("run")
    dense = select(rows, method="dense", lr_factor=1.0).sort_values("matrix_lr")
    circulant = select(rows, method="block_circulant", block_size=block_size)
    circulant = circulant.sort_values(["matrix_lr", "lr_factor"])
    looks = {"dense": [(style.BLACK, "--", ""), ("0.45", ":", "")],
             f"b = {block_size}": [(style.BLUE, "-", "o"), (style.BLUE, "--", "s"),
                                   (style.SKY, ":", "v")]}
    history = {run["run"]: run["history"] for run in store.read(folder)}
    with style.context():
        figure, axes = plt.subplots(figsize=(9, 5.2))
        for (name, look), runs in zip(looks.items(), (dense, circulant), strict=True):
            for row, (color, line, marker) in zip(runs.itertuples(), look, strict=False):
                rate = "base rate" if row.lr_factor == 1 else f"{row.lr_factor:g} times the base"
                if row.matrix_lr != 1:
                    rate += f", {row.matrix_lr:g} times it for the matrices"
                losses = [epoch["val_loss"] for epoch in history[row.run]]
                axes.plot(range(1, len(losses) + 1), losses, color=color, linestyle=line,
                          marker=marker, markersize=5, label=f"{name}, {rate}")
        axes.set_ylim(top=1.6 * min(np.min(line.get_ydata()) for line in axes.lines))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="validation loss (nats per word)",
                 title=f"Complete trainings (preset {preset})")
        axes.legend(loc="upper right")
    return figure


def emptied_layers(run: dict[str, Any], rounds: Sequence[int] = (3, 6, 9, 12, 15)) -> Figure:
    """Which weights global pruning leaves: the share left of each matrix, round by round.

    Args:
        run: a pruned network's result, as :func:`circtools.experiments.store.read` gives it.
        rounds: the columns.
    """
    density = pd.DataFrame({f["round"]: f["density"] for f in run["final"] if "density" in f})
    shown = density[[n for n in rounds if n in density]]
    relative = np.log2((shown / shown.mean()).where(shown > 0))  # an empty matrix has none
    with style.context():
        figure, axes = plt.subplots(figsize=(8.5, 0.3 * len(shown) + 1.6))
        top = max(1.0, relative.abs().max(axis=None))
        picture = axes.imshow(relative, cmap=style.DIVERGING, vmin=-top, vmax=top, aspect="auto")
        for (i, j), value in np.ndenumerate(shown.to_numpy()):
            dark = abs(relative.iat[i, j]) > 0.6 * top
            axes.text(j, i, f"{value:.0%}" if value >= 0.095 else f"{value:.1%}", ha="center",
                      va="center", fontsize=9, color="white" if dark else "black")
        axes.set_xticks(range(shown.shape[1]), [f"round {n}" for n in shown.columns])
        axes.set_yticks(range(len(shown)), [name.replace("_", " ") for name in shown.index],
                        fontsize=9)
        axes.grid(False)
        axes.set_title("share of the weights left in each matrix", fontsize=13)
        bar = figure.colorbar(picture, ax=axes, label="share left / the average share", shrink=0.7)
        ticks = range(-int(top), int(top) + 1)
        bar.set_ticks(ticks, labels=[f"1/{2**-n}" if n < 0 else f"{2**n}" for n in ticks])
    return figure


def emptied_heads(heads: dict[str, np.ndarray]) -> Figure:
    """The share of weights left in each head of each attention matrix.

    Args:
        heads: by matrix, shape (heads,), as a pruned run of seed 0 leaves them.
    """
    shares = pd.DataFrame(heads).T
    with style.context():
        figure, axes = plt.subplots(figsize=(8.5, 0.3 * len(shares) + 1.4))
        picture = axes.imshow(100 * shares, cmap=style.SEQUENTIAL, aspect="auto", vmin=0)
        for (i, j), share in np.ndenumerate(100 * shares.to_numpy()):
            axes.text(j, i, f"{share:.1f}", ha="center", va="center", fontsize=9,
                      color="white" if share < 0.6 * picture.get_clim()[1] else "black")
        axes.set_xticks(range(shares.shape[1]), range(1, shares.shape[1] + 1))
        axes.set_yticks(range(len(shares)), [name.replace("_", " ") for name in shares.index],
                        fontsize=9)
        axes.grid(False)
        axes.set(xlabel="head")
        axes.set_title("weights left in each head after the last round", fontsize=13)
        figure.colorbar(picture, ax=axes, label="% of the weights", shrink=0.7)
    return figure


def spectra(first_rows: dict[str, np.ndarray]) -> Figure:
    """Mean magnitude of the spectra of learned circulant blocks, beside freshly drawn ones.

    Args:
        first_rows: by layer, shape (out_blocks, in_blocks, b), as a run of seed 0 leaves them.
    """
    with style.context():
        figure, panels = plt.subplots(1, len(first_rows), figsize=(4.6 * len(first_rows), 4.2),
                                      sharey=True, squeeze=False)
        for axes, (name, w) in zip(panels.flat, first_rows.items(), strict=True):
            w = w.astype(float)
            fresh = np.random.default_rng(0).uniform(-1, 1, w.shape)
            for rows, label, color, line in ((w, "learned", style.BLUE, "-o"),
                                             (fresh, "freshly drawn", style.BLACK, "--")):
                size = np.abs(np.fft.rfft(rows)).reshape(-1, w.shape[-1] // 2 + 1)
                power = np.sqrt((size**2).mean(0))  # (frequencies,)
                axes.plot(power / np.sqrt((power**2).mean()), line, color=color, label=label,
                          markersize=5)
            axes.set_title(name.replace("_", " "), fontsize=11)
            axes.set_xlabel("frequency")
        panels[0, 0].set_ylim(bottom=0)  # shared by all, and so after the last of them
        panels[0, 0].set_ylabel("magnitude / its average")
        panels[0, 0].legend(loc="best")
    return figure


def slightly_pruned(table: pd.DataFrame) -> Figure:
    """Claim 3: the network of the first round against the dense one and against the control."""
    tuned = select(table, task="multi30k", series="tuned")
    with style.context():
        figure, axes = plt.subplots(figsize=(10, 4.5))
        ticks = []
        for preset in ("small", "base", "large"):
            for against, label in (("dense", "dense network"),
                                   ("unpruned", "same rounds, nothing pruned")):
                pairs = translation_claims.slightly_pruned_pairs(
                    select(tuned, preset=preset), against)
                if pairs.empty:
                    continue
                _, mean, sample = translation_claims.compare(pairs, paired=True)
                y = len(ticks)
                ticks.append(f"{preset}: minus the {label}\n({sample})")
                axes.errorbar(mean.mean, y, xerr=[[mean.mean - mean.low], [mean.high - mean.mean]],
                              color=style.VERMILION, marker="s", capsize=4, zorder=3)
                if len(pairs) > 1:
                    each = pairs["first"] - pairs["second"]
                    axes.plot(each, np.full(len(each), y), "|", color="0.4", markersize=14)
        axes.axvline(0, color=style.BLACK, linewidth=1)
        axes.set_yticks(range(len(ticks)), ticks)
        axes.invert_yaxis()
        axes.margins(y=0.3)
        axes.set(xlabel="BLEU after round 1, minus that of the other (bars: 95 %)",
                 title="After one round of pruning")
    return figure


def side_by_side(rows: pd.DataFrame, sentence: int) -> pd.DataFrame:
    """Return one test sentence's translations, a row a compression, a column a method.

    Args:
        rows: of :func:`of_multi30k`.
        sentence: its number in the test set.
    """
    tuned = select(rows, series="tuned", seed=0)
    tuned = tuned.assign(level=translation_claims.levels_of(tuned)).dropna(subset="level")
    texts: dict[str, dict[str, str]] = {
        LOOK[method]["label"]: {} for method in ("dense", "pruned", "block_circulant")}
    for row in tuned.itertuples():
        label = LOOK[row.method]["label"]
        if label in texts:
            texts[label][f"{row.level:.0f}x"] = store.texts(row.run, row.round)[sentence]
    order = ["1x", *(f"{b}x" for b in (*ROUNDS_AT, rows["block_size"].max()))]
    return pd.DataFrame(texts).reindex(list(dict.fromkeys(order))).dropna(how="all")


def bleu_by_length(table: pd.DataFrame, block_size: int = 16, parts: int = 4) -> Figure:
    """Whether compression hurts long sentences more: BLEU by the length of the reference.

    Args:
        table: rows of :func:`circtools.experiments.results.load`.
        block_size: the block-circulant network's, and the level of the pruned one.
        parts: how many groups of equally many sentences.
    """
    tuned = select(of_multi30k(table), series="tuned", seed=0)
    runs = {"dense": select(tuned, method="dense"),
            "pruned": select(tuned, method="pruned", round=ROUNDS_AT[block_size]),
            "block_circulant": select(tuned, method="block_circulant", block_size=block_size)}
    with style.context():
        figure, axes = plt.subplots(figsize=(9, 5))
        for i, (method, row) in enumerate(runs.items()):
            counts = store.counts(row["run"].iloc[0], row["round"].iloc[0])
            groups = np.array_split(counts[:, 9].argsort(kind="stable"), parts)
            scores = [bleu.bleu_of_counts(counts[group].sum(0)) for group in groups]
            axes.bar(np.arange(parts) + 0.28 * (i - 1), scores, 0.26, color=LOOK[method]["color"],
                     hatch=("", "//", "..")[i], edgecolor="white", label=LOOK[method]["label"])
        lengths = [counts[group, 9] for group in groups]
        axes.set_xticks(range(parts), [f"{n.min()} to {n.max()}" for n in lengths])
        axes.set(xlabel="words and signs of the reference, in groups of "
                 f"{len(groups[0])} sentences", ylabel="test BLEU",
                 title=f"Short and long sentences, dense and at {block_size}x ({_note(tuned)})")
        axes.legend(loc="upper right", ncols=3)
        axes.set_ylim(0, 1.2 * max(axes.get_ylim()))
    return figure


def artefacts(table: pd.DataFrame, method: str, **values: object) -> dict[str, np.ndarray]:
    """Return the arrays that the tuned run of seed 0 of a method left; see store.arrays."""
    rows = select(of_multi30k(table), method=method, series="tuned", seed=0, **values)
    return store.arrays(rows["run"].iloc[0])


def training_curves(runs: Sequence[dict[str, Any]]) -> Figure:
    """Validation loss against the epoch, one line per run, one look per preset.

    Args:
        runs: results as :func:`circtools.experiments.store.read` gives them.
    """
    with style.context():
        figure, axes = plt.subplots(figsize=(9, 5))
        for run in runs:
            preset = run["config"]["preset"]
            losses = [epoch["val_loss"] for epoch in run["history"]]
            first = preset not in axes.get_legend_handles_labels()[1]
            axes.plot(range(1, len(losses) + 1), losses, markersize=4, **style.SIZES[preset],
                      label=preset if first else None)
        axes.set(xlabel="epoch", ylabel="validation loss (nats per word)",
                 title="Dense Transformers on Multi30k, one line per seed")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(title="preset")
    return figure
