"""The figures of translation and of speed, drawn from tables made up for the test."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from circtools.experiments import choices, multi30k_runs, results, store
from circtools.experiments.methods import CONTROL_LEVELS, ROUNDS_AT
from circtools.report import (
    architecture,
    claims,
    comparisons,
    decision,
    diagrams,
    facts,
    mnist_figures,
    network_figures,
    speed_figures,
    style,
    translation_figures,
)
from circtools.report.gallery import FIGURES

FOLDER = Path("nowhere")


@pytest.fixture(autouse=True)
def close_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "counts", counts)
    yield
    plt.close("all")


@pytest.fixture
def table() -> pd.DataFrame:
    """Results of every method with two seeds; BLEU falls with compression."""
    rows: list[dict[str, object]] = []

    def add(method: str, compression: float, seed: int, series: str = "tuned", **more: object
            ) -> None:
        bleu = 38.0 - np.log2(compression) - 0.3 * seed * len(rows) ** 0.1
        rows.append({"task": "multi30k", "preset": "small", "data": "real", "tied": False,
                     "method": method, "series": series, "block_size": 1, "round": 0,
                     "compression": compression, "compression_all": compression**0.7,
                     "compression_model": compression**0.5, "file_bytes": 4e6 / compression,
                     "test_bleu": bleu, "seed": seed,
                     "test_bleu_low": bleu - 1.5, "test_bleu_high": bleu + 1.5,
                     "run": f"{method}-{seed}", "folder": FOLDER, **more})

    for seed in (0, 1):
        add("dense", 1.0, seed)
        for b in (*ROUNDS_AT, 128):
            add("block_circulant", b, seed, block_size=b)
            add("block_circulant", b, seed, "same", block_size=b)
        for method in ("pruned", "pruned_all", "random_pruned", "finetune_control"):
            for number in range(1, 16):
                add(method, 0.79**-number, seed, round=number)
        for method in ("projected", "low_rank", "small_dense", "gradual", "block_circulant_long"):
            for b in CONTROL_LEVELS:
                add(method, b, seed, block_size=b)
    slight = [row | {"preset": choices.SLIGHT, "extra": {}} for row in rows if row["round"] <= 3
              and row["method"] in ("dense", "pruned", "finetune_control")]
    return pd.DataFrame(rows + slight, columns=list(results.COLUMNS))


def labels(figure: Figure) -> set[str]:
    return {label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]}


def counts(run: str, number: int = 0, folder: Path | None = None, test_set: str = ""
           ) -> np.ndarray:
    """What BLEU counted in 100 sentences of 5 to 24 words, made up so that all are near 40."""
    words = np.resize(np.arange(5, 25), 100)
    totals = np.maximum(words[:, None] - np.arange(4), 1)
    matches = np.random.default_rng(number).binomial(totals, [0.7, 0.5, 0.35, 0.25])
    return np.concatenate([matches, totals, words[:, None], words[:, None]], axis=1)


def test_the_learning_rates_that_were_tried() -> None:
    rows = [{"task": "multi30k", "preset": preset, "series": "search", "method": method,
             "block_size": b, "round": n, "lr_factor": factor, "dropout_factor": 1.0,
             "matrix_lr_scale": 1.0, "val_loss": 2 / factor}
            for method, b, n in (("dense", 1, 0), ("block_circulant", 4, 0),
                                 ("block_circulant", 16, 0), ("pruned", 1, 6), ("pruned", 1, 12))
            for preset in ("small", "base") for factor in (1.0, 2.0)]
    table = pd.DataFrame(rows)
    figure = network_figures.learning_rates(table, "block_circulant")
    assert labels(figure) == {"dense", "b = 4", "b = 16"}
    assert figure.axes[0].lines[1].get_ydata().tolist() == [2, 1]
    figure = network_figures.learning_rates(table, "pruned")
    assert labels(figure) == {"4x, round 6", "16x, round 12"}


def test_complete_trainings_at_several_rates(tmp_path: Path) -> None:
    """One curve a complete run, told apart by its rates; trials and other sizes are left out."""
    runs = [multi30k_runs.dense("small", 0)]
    runs.append(multi30k_runs.dense("base", 0))
    runs += [replace(runs[0], method="block_circulant", block_size=b, lr=lr, stage=stage,
                     matrix_lr_scale=of_matrices)
             for b, lr, of_matrices, stage in ((4, 2e-3, 1.0, "final"), (4, 8e-3, 1.0, "final"),
                                               (4, 2e-3, 4.0, "final"), (4, 8e-3, 1.0, "search"),
                                               (16, 2e-3, 1.0, "final"))]
    for run in runs:
        base_lr = multi30k_runs.PRESETS[run.preset].recipe.lr
        base = {"base_lr": base_lr, "base_dropout": run.dropout, "start_lr": None}
        result = {"config": vars(run) | base, "data": "real",
                  "provenance": {"device": "cpu", "commit": "0"},
                  "history": [{"val_loss": loss} for loss in (3.0, run.lr * 1000)],
                  "final": [{"round": 0, "val_loss": 2.0}]}
        store.write(result, store.Store(tmp_path).path(run))
    figure = network_figures.learning_curves(results.load(tmp_path), 4)
    assert labels(figure) == {"dense, base rate", "b = 4, base rate",
                              "b = 4, 4 times the base",
                              "b = 4, base rate, 4 times it for the matrices"}
    assert sorted(line.get_ydata()[1] for line in figure.axes[0].lines) == [2, 2, 2, 8]
    figure = network_figures.learning_curves(results.load(tmp_path), 4, preset="base")
    assert [line.get_ydata()[1] for line in figure.axes[0].lines] == [1]


def test_a_lent_rate_beside_each_sizes_own() -> None:
    """Where the larger size chose for itself, the lent setting is the one that was rejected."""
    scales = {"lr_factor": 1.0, "dropout_factor": 1.0}
    rows = [{"task": "multi30k", "tied": False, "seed": 0, "preset": preset, "method": method,
             "series": series, "block_size": b, "matrix_lr_scale": scale, "test_bleu": bleu,
             **scales}
            for preset, method, series, b, scale, bleu in (
                ("small", "dense", "tuned", 1, 1.0, 40), ("base", "dense", "tuned", 1, 1.0, 41),
                *((preset, "block_circulant", series, b, scale, bleu - b) for b in CONTROL_LEVELS
                  for preset, series, scale, bleu in (
                      ("small", "tuned", 4.0, 39), ("base", "tuned", 1.0, 38),
                      ("base", "rejected", 4.0, 30))))]
    figure = network_figures.lent_rate(pd.DataFrame(rows))
    assert [[list(line.get_ydata()) for line in axes.lines] for axes in figure.axes] == [
        [[40, 41], [39 - b, 38 - b], [39 - b, 30 - b]] for b in CONTROL_LEVELS]


def test_seeds_of_claim_3_alone_are_in_no_curve(table: pd.DataFrame) -> None:
    """Their few rounds would bend the curves; the figure of claim 3 is about them."""
    short = table["method"].isin(["dense", "pruned", "finetune_control"]) & (table["round"] <= 3)
    late = table[(table["seed"] == 1) & short].assign(seed=5, test_bleu=90.0)
    more = pd.concat([table, late], ignore_index=True)
    for name in ("translation_benchmark", "pruned_transformer"):
        draw = FIGURES[name]
        for axes, same in zip(draw(more).axes, draw(table).axes, strict=True):
            assert axes.get_title() == same.get_title() and "2 seeds" in axes.get_title()
            for line, before in zip(axes.lines, same.lines, strict=True):
                np.testing.assert_array_equal(line.get_xydata(), before.get_xydata())
    own, four = translation_figures.slightly_pruned(more).axes
    assert "3 seeds" in own.get_title() and "3 seeds" in four.get_title()


def test_examples_and_lengths(table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "texts", lambda run, number, folder: [f"{run}, {number}"] * 5)
    shown = translation_figures.side_by_side(comparisons.of_multi30k(table), 3)
    assert list(shown.index) == ["1x", "2x", "4x", "8x", "16x", "32x", "128x"]
    assert shown.loc["16x", "pruned"] == "pruned-0, 12"
    assert shown.loc["128x", "block-circulant"] == "block_circulant-0, 0"
    figure = translation_figures.bleu_by_length(table)
    assert labels(figure) == {"dense", "pruned", "block-circulant"}
    assert figure.axes[0].get_xticklabels()[0].get_text() == "5 to 9"


def test_the_benchmark_draws_every_method(table: pd.DataFrame) -> None:
    figure = translation_figures.translation_benchmark(table)
    drawn = labels(figure)
    assert len(drawn) == len(translation_figures.METHODS) + 1
    assert {text.get_text() for text in figure.legends[0].get_texts()} == drawn
    pruned = next(line for line in figure.axes[0].lines if line.get_label() == "pruned")
    assert len(pruned.get_xdata()) == 15, "one mark a round, over both seeds"
    assert pruned.get_ydata()[0] == pytest.approx(37.7, abs=0.3)


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_both_ways_of_sharing_are_compared_over_the_same_seeds_and_sizes(
        table: pd.DataFrame, seeds: list[int]) -> None:
    three = (4, 16, 49)
    kinds = {("block_circulant", "natural"): (*three, 28), ("random_sharing", "natural"): three,
             ("block_circulant", "permuted"): three, ("random_sharing", "permuted"): three,
             ("tiles_strided", "natural"): (16,), ("tiles_raster", "natural"): (16,)}
    mnist = pd.DataFrame([
        {"task": "mnist", "preset": "base", "series": "tuned", "layers": "first", "seed": seed,
         "method": method, "pixels": pixels, "block_size": b, "test_error": (b + seed) / 1e3}
        for (method, pixels), sizes in kinds.items() for b in sizes for seed in range(5)])
    shared = table[(table["method"] == "block_circulant") & table["block_size"].isin([4, 16])
                   & table["seed"].isin(seeds)]
    shared = shared.assign(method="random_sharing", test_bleu=shared["test_bleu"] - 1)
    figure = mnist_figures.sharing_or_structure(pd.concat([table, mnist, shared]))
    natural, permuted, words = figure.axes
    curves = [line for line in natural.lines if not line.get_label().startswith("_")]
    assert [tuple(line.get_xdata()) for line in curves] == [three, three]
    assert curves[0].get_ydata() == pytest.approx([0.6, 1.8, 5.1])
    assert [bars.lines[0].get_xdata() for bars in natural.containers] == [16, 16], "no curves"
    assert len(permuted.lines) == 2
    assert f"5 on MNIST, {len(seeds)} in translation" in figure.get_suptitle()
    circulant, random = (bars.lines[0].get_ydata() for bars in words.containers)
    assert circulant - random == pytest.approx(1)


def test_methods_are_ranked_by_what_fits_and_validates_best(table: pd.DataFrame) -> None:
    table = table.assign(val_bleu=table["test_bleu"])
    table.loc[(table["method"] == "block_circulant") & (table["block_size"] == 8), "val_bleu"] = 90
    tied = table[table["method"] == "dense"].assign(tied=True, series="same", file_bytes=3e6)
    sizes = translation_figures.files(pd.concat([table, tied]))
    assert sizes.loc[("small", "pruned", 1, 3), "megabytes"] == pytest.approx(4 * 0.79**3)
    axes, = translation_figures.within_budget(sizes, 2).axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert "smaller dense" in names and "control: pruned at random" not in names
    assert not any(name.startswith("dense") for name in names), "they do not fit"
    assert axes.get_title() == f"preset small: {len(names)} of {len(names) + 2} methods fit 2 MB"
    shown = [line.get_xdata()[0] for line in axes.lines]
    assert shown == sorted(shown, reverse=True) and len(shown) == len(names)
    chosen = axes.texts[names.index("block-circulant")].get_text()
    assert chosen.endswith("(0.5 MB)"), "validation chooses 8x, where test BLEU is lower"
    axes, = translation_figures.within_budget(sizes, 4).axes
    assert len(axes.lines) == len(names) + 2


def test_the_lead_of_pruning_under_each_change(table: pd.DataFrame) -> None:
    table = table.assign(lr_factor=1.0, dropout_factor=1.0, matrix_lr_scale=1.0)
    table.loc[table["method"] == "projected", "test_bleu"] -= 3
    half = table[(table["method"] == "block_circulant") & table["block_size"].isin([4, 16])]
    half = half.assign(dropout_factor=0.5, series="rejected", test_bleu=half["test_bleu"] + 1)
    axes, = translation_figures.lead_of_pruning(pd.concat([table, half])).axes
    small, base = (bars.lines[0].get_xydata() for bars in axes.containers)
    of = table.groupby(["method", "block_size", "round"])["test_bleu"].mean()
    lead = np.mean([of["pruned", 1, 6] - of["block_circulant", 4, 0],
                    of["pruned", 1, 12] - of["block_circulant", 16, 0]])
    assert small[0] == pytest.approx([lead, -0.12], abs=1e-3)
    assert small[1, 0] == pytest.approx(lead - 1, abs=1e-3)
    long = np.mean([of["pruned", 1, 6] - of["projected", 4, 0],
                    of["pruned", 1, 12] - of["projected", 16, 0]])
    assert small[2, 0] == pytest.approx(long, abs=1e-3)
    assert small[4, 0] == pytest.approx(small[3, 0] - 1, abs=1e-3), "pruned while it is trained"
    assert len(small) == 5 and not len(base)


def test_a_larger_size_stands_beside_until_most_methods_have_been_run(table: pd.DataFrame) -> None:
    larger = table.assign(preset="base", test_bleu=table["test_bleu"] + 1)
    part = larger[larger["method"].isin(["dense", "pruned", "block_circulant"])]
    both = pd.concat([table, part], ignore_index=True)
    assert comparisons.main_preset(part) == "base"
    assert comparisons.main_preset(both) == "small"
    assert comparisons.main_preset(pd.concat([table, larger])) == "base"
    assert labels(translation_figures.translation_gap(both)) >= {
        "preset small, tuned, 2 seeds", "preset base, tuned, 2 seeds"}
    assert len(translation_figures.translation_benchmark(both).axes) == 2
    found = claims.all_claims(both)
    assert [claim.preset for claim in found if claim.series == "tuned"] == [
        *["small"] * 2, *["base"] * 2, *[choices.SLIGHT] * 4]


def test_a_method_that_is_not_tuned_is_not_drawn(table: pd.DataFrame) -> None:
    table.loc[table["method"] == "low_rank", "series"] = "same"
    figure = translation_figures.poster_panel(table, "block_circulant_transformer")
    assert "low rank" not in labels(figure) and "smaller dense" in labels(figure)


@style.context()
@pytest.mark.parametrize("name", [
    "translation_sets", "translation_gap", "circulant_transformer", "slightly_pruned",
    "translation_benchmark", *translation_figures.PANELS])
def test_each_poster_panel_is_drawn(name: str, table: pd.DataFrame) -> None:
    figure = FIGURES[name](table)
    figure.canvas.draw()
    assert sum(len(axes.lines) for axes in figure.axes) >= 2
    assert smallest_letters(figure) >= 10


@style.context()
def test_letters_are_legible_on_a_page() -> None:
    cells = pd.DataFrame([
        {"mode": mode, "tokens": tokens, "n": 256, "block_size": b, "ratio": 1.5}
        for mode in ("inference", "training") for tokens in (1, 32, 256, 2048) for b in (2, 256)])
    figures = (speed_figures.crossover_map(cells), diagrams.block_circulant_ladder(),
               diagrams.pruning_technique(), diagrams.circulant_technique(),
               architecture.transformer(("attention", "feed_forward")))
    assert min(map(smallest_letters, figures)) >= 10


def smallest_letters(figure: Figure) -> float:
    """Return the height of the smallest letters in dots, where a page shows it 700 dots wide."""
    figure.canvas.draw()
    points = min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text())
    return 700 / figure.get_figwidth() * points / 72


def test_what_pruning_empties() -> None:
    parts = {"encoder.0.attention.query": 0.5, "encoder.0.feed_forward.hidden": 0.8,
             "decoder.0.attention.query": 0.7, "decoder.0.cross_attention.value": 0.8}
    run = {"final": [{"round": n, "density": {name: share**n for name, share in parts.items()}
                      | {"decoder.1.feed_forward.output": 1 - n / 15}} for n in range(16)]}
    figure = network_figures.emptied_layers(run)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert {role: [label.get_text() for label in axes.get_yticklabels()]
            for role, axes in panels.items()} == {
        "encoder self-attention": ["layer 1, query"],
        "feed-forward": ["encoder 1, hidden", "decoder 2, output"],
        "decoder self-attention": [], "cross-attention": ["layer 1, value"]}
    assert np.isfinite(panels["feed-forward"].images[0].get_clim()).all(), "one matrix is empty"
    assert [text.get_text() for text in panels["cross-attention"].texts] == ["", "", "3.5%"]
    heads = network_figures.emptied_heads({
        f"{part}.query": np.array([0.1, 0.1 + n]) for n, part in enumerate((
            "encoder.0.attention", "decoder.0.attention", "decoder.0.cross_attention"))})
    assert [text.get_text() for axes in heads.axes for text in axes.texts] == [
        "", "", "10.0", "110.0", "10.0", "210.0"]


def test_spectra_are_scaled_to_their_mean() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 2, 8)).astype(np.float16)
    figure = network_figures.spectra({"a": rows, "b": rows})
    learned = figure.axes[0].lines[0].get_ydata()
    assert len(learned) == 5 and np.square(learned).mean() == pytest.approx(1)


def test_speed_figures() -> None:
    cells = pd.DataFrame([
        {"n": n, "tokens": t, "mode": mode, "block_size": b, "algorithm": "dft",
         "seconds": 1e-3, "ratio": float(b) / 4}
        for n in (512, 1024, 2048) for t in (1, 32, 256) for mode in ("inference", "training")
        for b in (2, 8, 32, n)])
    others = pd.DataFrame([{"method": name, "compression": c, "n": 1024, "tokens": t, "ratio": 1.0}
                           for name in list(speed_figures.LOOKS)[1:] for c in (2, 4)
                           for t in (1, 256)])
    figure = speed_figures.crossover_map(cells, tokens=(1, 256))
    assert [axes.get_title() for axes in figure.axes[:2]] == ["1 token", "256 tokens"]
    assert figure.axes[0].texts[0].get_text() == "0.50"
    figure = speed_figures.against_compression(cells, others)
    assert len(labels(figure)) == len(speed_figures.LOOKS)
    figure = speed_figures.roofline(cells, {"flops": 1e11, "bandwidth": 1e10})
    assert {"1 token", "256 tokens"} < labels(figure)
    assert {text.get_text() for text in figure.axes[0].texts} == {
        "b = 2", "b = 8", "b = 32", "b = 2048"}
    with pytest.raises(FileNotFoundError, match="benchmarks"):
        results.timings("nothing")


def test_the_chart_of_choices_quotes_the_results_and_notices_when_they_turn() -> None:
    found = facts.facts(results.load())
    shown = {text.get_text() for text in decision.flow_chart(found).axes[0].texts}
    assert any(f"{found['speed_2048_256_8']:.1f} times as fast" in text for text in shown)
    assert any(f"{found['pruned_16x_small'].bleu:.1f} BLEU" in text for text in shown)
    with pytest.raises(ValueError, match="layers that are 1,024 wide gain"):
        decision.flow_chart(found | {"speed_1024_32_8": 0.9})
