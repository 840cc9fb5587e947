"""The figures that compare methods on Multi30k, from rows of results.load."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from circtools.experiments import bleu, store
from circtools.experiments.choices import SLIGHT
from circtools.experiments.methods import ROUNDS_AT
from circtools.experiments.multi30k_runs import PRESETS
from circtools.experiments.results import select
from circtools.pruning import AMOUNT
from circtools.report import comparisons, style
from circtools.report.comparisons import FOUR_SETS, OWN_SET, POSTERS_GAP, compare, of_multi30k
from circtools.report.parts import DECIDED, LAYERS, compression_axis, curve, gaps, halves

# Of which compression counts over the Transformer's layers.
METHODS = ("pruned", "gradual", "random_pruned", "block_circulant", "block_circulant_long",
           "projected", "low_rank", "small_dense")
OVER = {"compression": LAYERS,
        "compression_all": "compression of all weight matrices\nbut the embeddings",
        "compression_file": "compression of the file,\nembeddings and indices counted"}
# Of which one asks what they reach in a file of a given size: no controls.
RANKED = ("dense", "small_dense", "pruned", "pruned_all", "gradual", "block_circulant", "projected",
          "low_rank")
CHANGES = {  # of a choice of ours; the leads of pruning that it leaves
    "rounds": "none", "half_dropout": "half the dropout for\nblock-circulant layers",
    "long_training": "more epochs for both: against\nprojected networks",
    "short_training": "20 epochs for both:\npruned while it is trained",
    "short_half_dropout": "20 epochs, and half the dropout\nfor block-circulant layers"}
# The original poster's panels: a title, the methods, and over what compression is counted.
PANELS = {
    "pruned_transformer": ("Pruned Transformer", (
        "pruned", "gradual", "random_pruned"), "compression"),
    "pruned_entire_network": ("Pruned entire network", (
        "pruned", "pruned_all"), "compression_all"),
    "block_circulant_transformer": ("Block-circulant Transformer", (
        "block_circulant", "block_circulant_long", "projected", "low_rank", "small_dense"),
        "compression")}


def bleu_curves(axes: Axes, rows: pd.DataFrame, methods: Sequence[str],
                by: str = "compression") -> None:
    """Draw the test BLEU of methods against compression, and the dense one's with its 95 % band."""
    tuned = select(rows, series="tuned")
    dense = select(tuned, method="dense")
    mean, low, high = comparisons.bleu_interval(dense)
    axes.axhspan(low, high, color=style.BLACK, alpha=0.12, linewidth=0)
    over = f"{len(dense)} seeds" if len(dense) > 1 else "test sentences"
    axes.axhline(mean, color=style.BLACK, linestyle="--", linewidth=1.5,
                 label=f"dense (grey: 95 %, over {over})")
    for method in methods:
        chosen = select(tuned, method=method)
        # Seeds prune to the same number of weights: name the level by its mean compression.
        level = chosen.groupby(["round", "block_size"])[by].transform("mean").round(6)
        curve(axes, chosen.assign(level=level), by="level", metric="test_bleu",
              **style.METHOD_LOOK[method])
    compression_axis(axes, OVER[by])
    axes.set_xlim(0.93, 1.25 * max(np.max(line.get_xdata()) for line in axes.lines))
    axes.set_ylabel("test BLEU")


def _note(rows: pd.DataFrame) -> str:
    return f"preset {rows['preset'].iloc[0]}, {_seeds(rows['seed'].nunique())}"


def _seeds(number: int) -> str:
    return f"{number} seed{'s' * (number > 1)}"


def translation_benchmark(table: pd.DataFrame, upright: bool = False) -> Figure:
    """BLEU against compression, every tuned method: a panel per size, side by side or upright."""
    untied = select(table, task="multi30k", tied=False)
    presets = comparisons.presets_compared(table)
    grid = (len(presets), 1) if upright else (1, len(presets))
    figure, panels = plt.subplots(*grid, figsize=(7.5 if upright else 10, 6 * grid[0] + 1),
                                  sharex=upright, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, presets, strict=True):
        rows = comparisons.of_compared_seeds(select(untied, preset=name))
        bleu_curves(axes, rows, METHODS)
        size = PRESETS[name]
        axes.set_title(f"{size.layers} + {size.layers} layers, {size.d_model} wide\n"
                       f"({_note(rows)})")
        axes.label_outer()
    drawn = {label: line for axes in panels.flat  # no size has them all
             for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(drawn.values(), drawn, loc="outside lower center", ncols=2)
    figure.suptitle("Multi30k, German to English", fontsize=16)
    return figure


def translation_sets(table: pd.DataFrame) -> Figure:
    """The same networks, with compression counted over more than the layers."""
    rows = of_multi30k(table)
    dense = select(rows, method="dense")["file_bytes"].iloc[0]
    rows = rows.assign(compression_file=dense / rows["file_bytes"])
    figure, panels = plt.subplots(1, 2, figsize=(10, 6), sharey=True)
    for axes, by in zip(panels, ("compression_all", "compression_file"), strict=True):
        bleu_curves(axes, rows, ("pruned", "pruned_all", "block_circulant", "small_dense"), by)
        axes.label_outer()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"The same networks, counted otherwise ({_note(rows)})", fontsize=16)
    return figure


def poster_panel(table: pd.DataFrame, name: str) -> Figure:
    """One of the original poster's panels, by its name in :data:`PANELS`."""
    title, methods, by = PANELS[name]
    rows = of_multi30k(table)
    figure, axes = plt.subplots(figsize=(9, 6.8))
    if name == "pruned_transformer":  # its control stands where pruning would after as many rounds
        control = select(rows, series="tuned", method="finetune_control")
        control = control.assign(level=(1 - AMOUNT) ** -control["round"].astype(float))
        curve(axes, control, "level", "test_bleu", **style.METHOD_LOOK["finetune_control"])
    bleu_curves(axes, rows, methods, by)
    axes.set_title(f"{title} ({_note(rows)})")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def circulant_transformer(table: pd.DataFrame) -> Figure:
    """BLEU as the blocks grow until every matrix is one circulant, b = d_model.

    A block wider than a head makes the heads share their weights, up to a rotation.
    """
    rows = of_multi30k(table)
    figure, axes = plt.subplots(figsize=(9, 6))
    bleu_curves(axes, rows, ("block_circulant",))
    preset = PRESETS[rows["preset"].iloc[0]]
    head = preset.d_model // preset.heads
    widest = select(rows, series="tuned", method="block_circulant", block_size=preset.d_model
                    ).iloc[0]
    axes.axvspan(head, axes.get_xlim()[1], color=style.YELLOW, alpha=0.25, linewidth=0,
                 label=f"blocks wider than a head ({head}): heads share")
    axes.annotate(f"fully circulant,\nb = {preset.d_model}",
                  (widest["compression"], widest["test_bleu"]), xytext=(0, 110),
                  textcoords="offset points", ha="right",
                  arrowprops={"arrowstyle": "->", "color": style.BLACK})
    axes.set_title(f"Circulant Transformer ({_note(rows)})")
    axes.legend(loc="lower left")
    return figure


def translation_gap(table: pd.DataFrame) -> Figure:
    """Claim 2: how many BLEU pruning is ahead at equal compression, level by level."""
    main = comparisons.main_preset(table)
    others = [name for name in comparisons.presets_compared(table) if name != main]
    untuned = {"color": "0.6", "marker": "^", "linestyle": ":"}
    shown = [(main, "tuned", "tuned", style.SIZE_LOOK[main]),
             (main, "same", "block-circulant at the dense settings", untuned),
             *((name, "tuned", "tuned", style.SIZE_LOOK[name]) for name in others)]
    figure, axes = plt.subplots(figsize=(10, 6))
    for step, (preset, series, settings, look) in enumerate(shown, start=-1):
        rows = select(table, task="multi30k", tied=False, preset=preset)
        each, _, seeds = compare(comparisons.pairs_at_equal_compression(rows, series))
        gaps(axes, each, 1.06**step, **look, label=f"preset {preset}, {settings}, {_seeds(seeds)}")
    halves(axes, top=0.55)
    axes.axhline(POSTERS_GAP, color=style.BLACK, linestyle="--", linewidth=1.2,
                 label=f"the original poster's average gap, {POSTERS_GAP:g}")
    axes.set_ylabel("BLEU of pruned minus block-circulant")
    axes.set_title(DECIDED, fontsize=12)
    compression_axis(axes, LAYERS)
    axes.set_xlim(1.7, 40)
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.93))  # below the poster's line
    return figure


def lead_of_pruning(table: pd.DataFrame) -> Figure:
    """How many BLEU pruning is ahead, had one choice of ours been another."""
    figure, axes = plt.subplots(figsize=(10, 5))
    for aside, preset in ((-0.12, "small"), (0.12, "base")):
        leads = comparisons.leads(select(table, task="multi30k", preset=preset, tied=False))
        found = {}
        for y, name in enumerate(CHANGES):
            if lead := leads.get(name):
                found[y + aside] = lead.mean
                axes.annotate(_seeds(lead.seeds), (lead.mean.high, y + aside), (8, 0),
                              textcoords="offset points", va="center", fontsize=11)
        means, low, high = np.reshape([*found.values()], (-1, 3)).T
        axes.errorbar(means, [*found], xerr=[means - low, high - means], capsize=4,
                      label=f"preset {preset}", **(style.SIZE_LOOK[preset] | {"linestyle": ""}))
    axes.axvline(0, color=style.BLACK, linewidth=1)
    axes.set_yticks(range(len(CHANGES)), [*CHANGES.values()])
    axes.invert_yaxis()
    axes.margins(x=0.15, y=0.2)
    axes.set(ylabel="change", xlabel="BLEU of pruned minus block-circulant, mean of 4x and 16x\n"
             "(bars: 95 %, over test sentences alone where there is one seed)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def files(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sizes of the files of networks, and their BLEU, as means over their seeds.

    The index is the preset, the method's label, the block size and the round; the columns are
    ``method``, ``megabytes``, ``val_bleu`` and ``test_bleu``.
    """
    found = []
    for preset in comparisons.presets_compared(table):
        rows = select(table, task="multi30k", preset=preset)
        untied = comparisons.of_compared_seeds(select(rows, tied=False))
        tied = select(rows, tied=True, series="same", method="dense")
        found += [select(untied[untied["method"].isin(RANKED)], series="tuned"), tied]
    rows = pd.concat(found)
    labels = rows["method"].map(lambda method: style.METHOD_LOOK[method]["label"])
    rows = rows.assign(megabytes=rows["file_bytes"] / 1e6,
                       label=labels.mask(rows["tied"].astype(bool), "dense, tied output layer"))
    return rows.groupby(["preset", "label", "block_size", "round"], sort=False).agg(
        {"method": "first", "megabytes": "mean", "val_bleu": "mean", "test_bleu": "mean"})


def within_budget(sizes: pd.DataFrame, megabytes: float) -> Figure:
    """Rank the methods of :func:`files` by their BLEU in at most so many megabytes.

    Of the networks of a method that fit, validation BLEU chooses one.
    """
    presets = sizes.index.unique("preset")
    # Margins by hand: a slider has no time for a layout to be computed.
    figure, panels = plt.subplots(len(presets), 1, figsize=(10, 8), squeeze=False, sharex=True,
                                  layout="none", gridspec_kw={"left": 0.24, "right": 0.99,
                                                              "bottom": 0.08, "top": 0.95})
    for axes, preset in zip(panels.flat, presets, strict=True):
        rows = sizes.loc[preset]
        fitting = rows[rows["megabytes"] <= megabytes]
        best = fitting.loc[fitting.groupby("label")["val_bleu"].idxmax()].reset_index()
        best = best.sort_values("test_bleu", ascending=False, kind="stable")
        for rank, row in enumerate(best.itertuples()):
            axes.plot(row.test_bleu, rank, **style.METHOD_LOOK[row.method])
            axes.text(row.test_bleu + 0.5, rank, f"{row.test_bleu:.1f} ({row.megabytes:.1f} MB)",
                      va="center")
        axes.set_yticks(range(len(best)), best["label"])
        total = rows.index.unique("label").size
        axes.set(title=f"preset {preset}: {len(best)} of {total} methods fit {megabytes:g} MB",
                 xlim=(26, 46), xticks=range(26, 43, 4), ylim=(total - 0.5, -0.5))
    axes.set_xlabel("test BLEU")
    return figure


def slightly_pruned(table: pd.DataFrame) -> Figure:
    """Claim 3's own test: the first rounds against the dense network and against the control."""
    rows = select(table, task="multi30k", preset=SLIGHT)
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    checked = comparisons.with_four_sets(rows)
    for axes, part, sets, title in (
            (panels[0], rows, OWN_SET, "test set of 2016"),
            (panels[1], checked, FOUR_SETS, "four test sets together")):
        for against, label, side, color, marker in (
                ("dense", "the dense network (filled: decided)", -1, style.VERMILION, "s"),
                ("finetune_control", "same rounds, nothing pruned", 1, "0.35", "o")):
            pairs = comparisons.slightly_pruned_pairs(part, against)
            each, _, seeds = compare(pairs, paired=True, test_sets=sets)
            gaps(axes, each, 1.03**side, label=label, color=color, marker=marker, linestyle="")
        axes.axhline(0, color=style.BLACK, linewidth=1)
        compression_axis(axes, LAYERS, ticks=())
        axes.set_xticks(each["compression"], [
            f"round {row.block_size}\n{row.compression:.1f}x" for row in each.itertuples()])
        axes.minorticks_off()
        axes.margins(x=0.25)
        axes.set_title(f"{title} ({_seeds(seeds)})")
    panels[0].set_ylabel("BLEU of the pruned network\nminus that of another")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def side_by_side(rows: pd.DataFrame, sentence: int) -> pd.DataFrame:
    """Return translations of a test sentence, a row per compression, a column per method."""
    tuned = select(rows, series="tuned", seed=0).assign(level=comparisons.levels_of)
    texts: dict[str, dict[str, str]] = {}
    for method in ("dense", "pruned", "block_circulant"):
        chosen = select(tuned, method=method).dropna(subset="level")
        texts[style.METHOD_LOOK[method]["label"]] = {
            f"{row.level:.0f}x": store.texts(row.run, row.round, row.folder)[sentence]
            for row in chosen.itertuples()}
    order = dict.fromkeys([1, *ROUNDS_AT, rows["block_size"].max()])
    return pd.DataFrame(texts).reindex([f"{b}x" for b in order]).dropna(how="all")


def bleu_by_length(table: pd.DataFrame) -> Figure:
    """Whether compression by 16 hurts long sentences more: BLEU by the length of the reference."""
    b, parts = 16, 4  # groups of sentences, of equal size
    tuned = select(of_multi30k(table), series="tuned", seed=0)
    runs = {"dense": select(tuned, method="dense"),
            "pruned": select(tuned, method="pruned", round=ROUNDS_AT[b]),
            "block_circulant": select(tuned, method="block_circulant", block_size=b)}
    figure, axes = plt.subplots(figsize=(9, 5))
    for i, (method, rows) in enumerate(runs.items()):
        counts = store.counts(*rows[["run", "round", "folder"]].iloc[0])
        groups = np.array_split(counts[:, 9].argsort(kind="stable"), parts)
        scores = [bleu.bleu_of_counts(counts[group].sum(0)) for group in groups]
        look = style.METHOD_LOOK[method]
        axes.bar(np.arange(parts) + 0.28 * (i - 1), scores, 0.26, color=look["color"],
                 hatch=("", "//", "..")[i], edgecolor="white", label=look["label"])
    lengths = [counts[group, 9] for group in groups]
    axes.set_xticks(range(parts), [f"{n.min()} to {n.max()}" for n in lengths])
    axes.set(xlabel="words and signs of the reference, in groups of "
             f"{len(groups[0])} sentences", ylabel="test BLEU",
             title=f"Short and long sentences, dense and at {b}x ({_note(tuned)})")
    axes.legend(loc="upper right", ncols=3)
    axes.set_ylim(0, 1.2 * max(axes.get_ylim()))
    return figure
