"""Every method of the Multi30k experiments, in miniature; on a cluster whose worker is killed."""

import json
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from circtools import __main__ as cli
from circtools.experiments import choices, execute, files, multi30k, multi30k_runs, results, store
from circtools.experiments.methods import METHODS, ROUNDS_AT, methods_of, tuned_as
from circtools.experiments.multi30k import Experiment
from circtools.experiments.multi30k_runs import PRESETS, plan
from circtools.experiments.runs import Run
from circtools.experiments.store import Store

METHODS_HERE = methods_of("multi30k")


def of(folder: Path) -> Store:
    return Store(folder, "sample")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Small data, a small network, few trials; returns the folder of the results."""
    corpus = multi30k.load("sample")
    corpus = replace(corpus, train=corpus.train.first(300), val=corpus.val.first(30),
                     test=corpus.test.first(30))
    monkeypatch.setattr(multi30k, "load", lambda _: corpus)
    task = execute.TASKS["multi30k"]
    monkeypatch.setitem(execute.TASKS, "multi30k", replace(task, load=lambda _: corpus))
    recipe = multi30k.Recipe(epochs=2, lr=1e-2, batch_tokens=500, average=1)
    preset = multi30k_runs.Preset(1, 16, 2, 32, dropout=0.1, recipe=recipe, block_sizes=(2, 4),
                                  rounds=3, finetune_epochs=1)
    monkeypatch.setitem(PRESETS, "small", preset)
    monkeypatch.setattr(multi30k_runs, "CONTROL_LEVELS", (4,))
    monkeypatch.setattr(multi30k_runs, "UNTUNED_BLOCK_SIZES", (4,))
    monkeypatch.setattr(multi30k_runs, "TRIAL_EPOCHS", 1)
    monkeypatch.setattr(multi30k_runs, "TRIAL_ROUNDS", 6)
    monkeypatch.setattr(multi30k_runs, "RATES",
                        {"from scratch": (1.0, 2.0), "fine-tuning": (0.25,)})
    return tmp_path / "results"


@pytest.mark.slow
def test_the_whole_plan_runs_and_never_again(tiny: Path, capsys: pytest.CaptureFixture[str]
                                              ) -> None:
    execute.run_all("multi30k", "small", seeds=1, workers=1, folder=tiny, origin="sample",
                        methods=METHODS_HERE)
    assert execute.pending("multi30k", "small", 1, of(tiny), METHODS_HERE) == []
    files = {path: path.stat().st_mtime_ns for path in tiny.rglob("*.*")}
    execute.run_all("multi30k", "small", seeds=1, workers=1, folder=tiny, origin="sample",
                        methods=METHODS_HERE)
    assert files == {path: path.stat().st_mtime_ns for path in tiny.rglob("*.*")}

    many = plan("small", 5, of(tiny), results.of_store(of(tiny)), METHODS_HERE)[-1]
    late = {(run.method, run.rounds) for run in many if run.seed >= multi30k_runs.FULL_SEEDS}
    assert late == {("pruned", 3), ("finetune_control", 3)}
    tied, *_, untied, _ = plan("small", 5, of(tiny), results.of_store(of(tiny)), METHODS_HERE)
    assert len(tied) == multi30k_runs.FULL_SEEDS and len(untied) == 5
    assert len(plan("small", 5, of(tiny), results.of_store(of(tiny)))[0]) == 5

    table = results.load(tiny, data="sample")
    search, final = table[table["series"] == "search"], table[table["series"] != "search"]
    assert search[["test_bleu", "test_chrf"]].isna().all(axis=None)
    assert final["test_bleu"].notna().all()
    rejected = table[table["series"] == "rejected"]
    assert set(rejected["method"]) <= {"dense", "block_circulant", "random_sharing", "low_rank",
                                       "small_dense"}
    tried = pd.concat([search, final[final["block_size"].isin([1, 4])]])
    for method in ("dense", "block_circulant", "pruned", "projected", "low_rank", "small_dense"):
        rows = tried[tried["method"] == method]
        settings = {choices.HparamScale(*row)
                    for row in rows[choices.SCALES].itertuples(index=False)}
        rates = {s.lr for s in settings}
        assert rates == {0.25, 1.0} if METHODS[method].fine_tunes else rates == {1.0, 2.0}
        assert sum(s.dropout == 0.5 for s in settings) == 1
        assert choices.HparamScale(matrix_lr=4.0) in settings
    for method in ("dense", "block_circulant"):
        complete = final[(final["method"] == method) & final["block_size"].isin([1, 4])
                         & ~final["tied"].astype(bool)]
        best = complete.loc[complete["val_loss"].idxmin()]
        chosen = choices.chosen_scales(table)[method]
        assert (best[choices.SCALES] == list(chosen)).all(), "complete runs decide"
    trial = search[search["method"] == "pruned"].groupby("run")
    for _, rounds in trial:
        assert rounds["round"].tolist() == [2, 4, 6]
        assert rounds["compression"].tolist() == pytest.approx(
            [0.79**-n for n in rounds["round"]], rel=0.01)
        assert (rounds["epochs"] == 2 + rounds["round"] / 2).all()
    tuned = table[table["series"] == "tuned"]
    assert set(tuned["method"]) == set(METHODS_HERE), "each method has rows with its chosen factors"
    for method, rows in tuned.groupby("method"):
        chosen = choices.chosen_scales(table)[tuned_as(method)]
        assert (rows[choices.SCALES] == list(chosen)).all(axis=None)
    check_compression(tuned)
    check_artefacts(tuned, tiny)


@pytest.mark.slow
def test_claim_3_chooses_its_rates_at_its_own_rounds(tiny: Path, monkeypatch: pytest.MonkeyPatch
                                                     ) -> None:
    monkeypatch.setitem(PRESETS, choices.SLIGHT, replace(PRESETS["small"], rounds=1))
    monkeypatch.setattr(choices, "SLIGHT_TRIED", 1)
    execute.run_all("multi30k", choices.SLIGHT, seeds=2, workers=1, folder=tiny, origin="sample",
                    methods=["pruned"])
    table = results.load(tiny, data="sample")
    tried = table[(table["method"] == "pruned") & (table["seed"] == 0)]
    losses = tried.drop_duplicates(["run", "round"]).groupby("lr_factor")["val_loss"].mean()
    assert sorted(losses.index) == [0.25, 0.5, 1.0]
    tuned = table[(table["method"] == "pruned") & (table["series"] == "tuned")]
    assert set(tuned["lr_factor"]) == {losses.idxmin()} and set(tuned["seed"]) == {0, 1}
    assert set(table.loc[table["seed"] == 1, "lr_factor"]) == {1.0, losses.idxmin()}


def check_compression(tuned: pd.DataFrame) -> None:
    """Compression is of the Transformer's layers, of all matrices, of the whole model."""
    by = tuned.set_index(["method", "block_size", "round"])
    for b in (2, 4, 16):
        row = by.loc[("block_circulant", b, 0)]
        assert row["compression"] == pytest.approx(b)
        assert 1 < row["compression_model"] < row["compression_all"] < row["compression"]
    for number in (1, 2, 3):
        left = 0.79**-number
        assert by.loc[("pruned", 1, number), "compression"] == pytest.approx(left, rel=0.01)
        assert by.loc[("pruned_all", 1, number), "compression_all"] == pytest.approx(left, rel=0.01)
        assert by.loc[("pruned", 1, number), "compression_all"] < left
        assert by.loc[("random_pruned", 1, number), "compression"] == pytest.approx(left, rel=0.01)
        assert by.loc[("finetune_control", 1, number), "compression"] == 1
        assert by.loc[("pruned", 1, number), "epochs"] == 2 + number
    assert by.loc[("small_dense", 4, 0), "compression"] == pytest.approx(4)
    assert by.loc[("low_rank", 4, 0), "compression"] == pytest.approx(4, rel=0.35)
    assert by.loc[("projected", 4, 0), "compression"] == pytest.approx(4)
    assert by.loc[("projected", 4, 0), "epochs"] == 2 + ROUNDS_AT[4]
    assert by.loc[("block_circulant_long", 4, 0), "compression"] == pytest.approx(4)
    assert by.loc[("block_circulant_long", 4, 0), "epochs"] == 2 + ROUNDS_AT[4]
    # Of two epochs the last begins half-way, before the curve has come to its end.
    assert by.loc[("gradual", 4, 0), "compression"] == pytest.approx(4, rel=0.01)
    assert by.loc[("gradual", 4, 0), "epochs"] == 2
    assert by.loc[("dense", 1, 0), "compression_model"] == 1
    bytes_ = by["file_bytes"]
    assert bytes_["block_circulant", 4, 0] < bytes_["dense", 1, 0]


def check_artefacts(tuned: pd.DataFrame, folder: Path) -> None:
    for row in tuned.itertuples():
        assert len(store.texts(row.run, row.round, folder)) == 30
    run = tuned.loc[tuned["method"] == "pruned", "run"].iloc[0]
    heads = store.arrays(run, folder)["encoder.0.attention.query"]
    assert heads.shape == (2,) and 0 < heads.mean() < 1
    result = next(r for r in store.read(folder) if r["run"] == run)
    density = result["final"][3]["density"]
    assert heads.mean() == pytest.approx(density["encoder.0.attention.query"], abs=1e-3)
    assert "output" not in density and len(density) == 16
    run = tuned.loc[tuned["method"] == "projected", "run"].iloc[0]
    result = next(r for r in store.read(folder) if r["run"] == run)
    errors = result["final"][0]["projection_error"]
    assert len(errors) == 16 and all(0.5 < e < 1 for e in errors.values())
    circulant = tuned[(tuned["method"] == "block_circulant") & (tuned["block_size"] == 4)]
    rows = store.arrays(circulant["run"].iloc[0], folder)
    assert rows["decoder.0.feed_forward.hidden"].shape == (8, 4, 4)


@pytest.mark.slow
def test_another_size_tries_what_was_chosen_beside_the_base_values(tmp_path: Path) -> None:
    """Runs are made up here: a high rate of the matrices is best at one size, worst at another."""
    def pretend(run: Run) -> None:
        recipe, base = PRESETS[run.preset].recipe, PRESETS[run.preset].dropout
        good = 0.1 if run.preset == "small" else -0.1
        loss = (2 + abs(run.lr / recipe.lr - 1) + (run.dropout != base)
                - good * (run.matrix_lr_scale > 1))
        numbers = range(2, run.rounds + 1, 2) if run.rounds else [0]
        store.write({
            "config": vars(run) | {"start": vars(run.start) if run.start else None,
                                   "start_lr": run.start.lr if run.start else None,
                                   "base_lr": recipe.lr, "base_dropout": base},
            "data": "real", "provenance": {"device": "cpu", "commit": "0"}, "history": [],
            "final": [{"round": number, "val_loss": loss} for number in numbers],
        }, Store(tmp_path).path(run))

    methods = ("block_circulant", "pruned")
    stages = []
    while runs := execute.pending("multi30k", "base", 1, Store(tmp_path), methods):
        stages.append(runs)
        for run in runs:
            pretend(run)
    # numpy's numbers, of a table of results, would make checkpoints that cannot be read again.
    numbers = [value for stage in stages for run in stage for value in vars(run).values()]
    assert {type(value) for value in numbers} <= {str, int, float, bool, Run, type(None)}
    tried = [[(run.method, run.block_size, run.matrix_lr_scale) for run in stage if not run.tied]
             for stage in stages if {run.preset for run in stage} == {"base"}]
    scratch, fine_tuned, final = tried[-3:]
    assert scratch == [("dense", 1, 1.0), ("dense", 1, 4.0),
                       *(("block_circulant", b, rate) for rate in (1.0, 4.0) for b in (4, 16))]
    assert fine_tuned == [("pruned", 1, 1.0), ("pruned", 1, 4.0)]
    assert {rate for _, _, rate in final} == {1.0}
    assert {run.start.matrix_lr_scale for run in stages[-1] if run.start} == {1.0}
    table = results.load(tmp_path)
    chosen = [choices.chosen_scales(table, preset) for preset in ("small", "base")]
    assert [c["block_circulant"].matrix_lr for c in chosen] == [4.0, 1.0]


def test_the_plan_is_a_table_whose_runs_can_be_done_one_by_one(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "multi30k", "--preset", "small", "--seeds", "2", "--source", "sample",
             "--results", str(tiny)]
    assert cli.main([*words, "--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["epochs", "minutes"] and len(lines) == 4
    name, epochs, _ = lines[3].split()
    assert name.endswith("final1") and epochs == "2"
    assert cli.main([*words, "--only", name]) == 0
    assert [path.stem for path in tiny.rglob("*.json")] == [name]
    assert cli.main([*words, "--only", name]) == 1
    assert f"no run '{name}' to do" in capsys.readouterr().err


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != choices.SLIGHT])
def test_every_block_fits_into_its_network(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "missing", lambda *_: [])
    base = dict.fromkeys(METHODS, choices.HparamScale())
    monkeypatch.setattr(choices, "chosen_scales", lambda *_: base)
    table = results.of_store(of(tmp_path))
    runs = plan(preset, 1, of(tmp_path), table, METHODS_HERE)[-1]
    sizes = [run.block_size for run in runs if run.method == "block_circulant"]
    assert sizes and max(sizes) == PRESETS[preset].d_model


@pytest.mark.parametrize("file", ["dense-", "pruned-"])
def test_a_file_of_another_network_is_named(tiny: Path, file: str) -> None:
    """A dense network's weights, and a chain's rounds, from before the network was changed."""
    start = multi30k_runs.dense("small", 0)
    chain = Run("multi30k", "small", "pruned", 1e-2, 0, tied=False, dropout=0.1, rounds=1,
                start=start)
    state = multi30k.build(multi30k.load("sample").vocab, PRESETS["small"], "dense", 1,
                           dropout=0.1, tied=False).state_dict()
    files.save_atomically(state if file == "pruned-" else {}, of(tiny).weights(start))
    files.save_atomically({"model": {}}, of(tiny).checkpoint(chain, "rounds"))
    with pytest.raises(ValueError, match=rf"/{file}[^/]* cannot be read .*; delete it"):
        execute.execute(chain, of(tiny))


def test_a_bad_plan_is_refused_and_a_finished_one_says_so(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_of = ["--plan", "--source", "sample", "--results", str(tiny)]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for words, problem in ((["mnist", "--preset", "nope"], "tiny, base, got 'nope'"),
                           (["mnist", "--device", "cuda"], "no GPU"),
                           (["mnist", "--seeds", "0"], "1 or more, got 0"),
                           (["mnist", "--methods", "gradual"], "got 'gradual'")):
        assert cli.main(["run", *words, *plan_of]) == 1
        assert problem in capsys.readouterr().err
    monkeypatch.setattr(Store, "missing", lambda *_: [])
    assert cli.main(["run", "multi30k", "--preset", "tiny", *plan_of]) == 0
    assert capsys.readouterr().out == "every run has its result\n"


def test_workers_that_write_elsewhere_are_noticed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "_work", lambda *_: None)
    with pytest.raises(OSError, match="1 runs were done and left no result"):
        execute.run_all("multi30k", "tiny", 1, 1, tiny, "sample")


def test_unknown_methods_are_named(tiny: Path) -> None:
    with pytest.raises(ValueError, match="'magic'"):
        execute.run_all("multi30k", "small", folder=tiny, methods=["magic"], origin="sample")
    with pytest.raises(ValueError, match="'gradual'"):
        execute.run_all("mnist", "tiny", folder=tiny, methods=["gradual"], origin="sample")


@pytest.mark.slow
def test_a_chain_that_stopped_resumes_after_its_last_round(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute.training, "CHECKPOINT_SECONDS", -1.0)
    start = multi30k_runs.dense("small", 0)
    run = Run("multi30k", "small", "random_pruned", 1e-3, 0, rounds=3, start=start, tied=False,
              dropout=0.1)
    whole = execute.execute(run, of(tiny / "whole"))
    rounds: list[int] = []
    fit = Experiment.fit

    def dies_in_round_two(self: Any, *arguments: Any) -> Any:
        if self.run == start:
            return fit(self, *arguments)
        rounds.append(len(rounds) + 1)
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return fit(self, *arguments)

    monkeypatch.setattr(Experiment, "fit", dies_in_round_two)
    with pytest.raises(KeyboardInterrupt):
        execute.execute(run, of(tiny / "killed"))
    again = execute.execute(run, of(tiny / "killed"))
    assert len(rounds) == 4, "round 1, round 2 cut off, round 2, round 3"
    first, second = (results.load(path.parents[3], data="sample") for path in (whole, again))
    columns = ["round", "compression", "val_loss", "test_bleu"]
    pd.testing.assert_frame_equal(first[columns], second[columns])
    name = first["run"].iloc[0]
    for number in (1, 2, 3):
        assert store.texts(name, number, tiny / "whole") == \
            store.texts(name, number, tiny / "killed")


def test_a_run_that_diverges_is_recorded_and_not_repeated(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = multi30k.validation_loss
    run = multi30k_runs.dense("small", 0)
    losses = iter([2.0, math.nan])
    monkeypatch.setattr(multi30k, "validation_loss", lambda *_: next(losses))
    path = execute.execute(run, of(tiny))
    [result] = store.read(tiny)
    assert result["final"] == [] and "val_loss is nan after epoch 2" in result["diverged"]
    assert [epoch["val_loss"] for epoch in result["history"]] == [2.0]
    assert not of(tiny).weights(run).exists()
    monkeypatch.setattr(multi30k, "validation_loss", evaluate)
    assert execute.execute(run, of(tiny)) == path
    assert results.load(tiny, data="sample")["series"].tolist() == ["diverged"]


def test_a_start_that_diverged_stops_nothing_but_what_starts_from_it(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = multi30k_runs.dense("small", 0)
    chain = Run("multi30k", "small", "pruned", 1e-2, 0, tied=False, dropout=0.1, rounds=1,
                start=start)
    evaluate = multi30k.validation_loss
    monkeypatch.setattr(multi30k, "validation_loss", lambda *_: math.nan)
    execute.execute(start, of(tiny))
    monkeypatch.setattr(multi30k, "validation_loss", evaluate)
    runs = [chain, multi30k_runs.dense("small", 1)]
    monkeypatch.setattr(execute, "pending", lambda *_, **__: of(tiny).missing(runs))
    execute.run_all("multi30k", "small", 2, 1, tiny, "sample", methods=["pruned"])
    found = {r["config"]["seed"]: r.get("diverged") for r in store.read(tiny)
             if r["config"]["method"] == "dense"}
    assert found[0] and found[1] is None
    [of_chain] = [r for r in store.read(tiny) if r["config"]["method"] == "pruned"]
    assert "the network it starts from, dense-untied" in of_chain["diverged"]


@pytest.mark.slow
def test_weights_that_are_lost_are_trained_again_once(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = multi30k_runs.dense("small", 0)
    chains = [Run("multi30k", "small", method, 1e-2, 0, tied=False, dropout=0.1, rounds=1,
                  start=start) for method in ("pruned", "finetune_control")]
    execute.execute(start, of(tiny))
    of(tiny).weights(start).unlink()
    trained: list[str] = []
    fit = Experiment.fit

    def counted(self: Experiment, *arguments: Any) -> list[dict[str, float]]:
        trained.append(self.run.method)
        return fit(self, *arguments)

    monkeypatch.setattr(Experiment, "fit", counted)
    monkeypatch.setattr(execute, "pending", lambda *_, **__: [
        run for run in chains if not of(tiny).path(run).exists()])
    execute.run_all("multi30k", "small", 1, 1, tiny, "sample", methods=METHODS_HERE)
    assert trained == ["dense", "pruned", "finetune_control"]


@pytest.mark.slow
def test_gradual_pruning_that_stopped_resumes_with_its_masks(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute.training, "CHECKPOINT_SECONDS", -1.0)
    small = PRESETS["small"]
    monkeypatch.setitem(PRESETS, "small", replace(small, recipe=replace(small.recipe, epochs=5)))
    run = Run("multi30k", "small", "gradual", 1e-2, 0, tied=False, dropout=0.1, block_size=4)
    whole = execute.execute(run, of(tiny / "whole"))
    seen: list[float] = []
    prune_gradually = Experiment._prune_gradually

    def dies_in_epoch_three(self: Experiment, progress: float) -> None:
        seen.append(progress)
        if len(seen) == 3:
            raise KeyboardInterrupt
        prune_gradually(self, progress)

    monkeypatch.setattr(Experiment, "_prune_gradually", dies_in_epoch_three)
    with pytest.raises(KeyboardInterrupt):
        execute.execute(run, of(tiny / "killed"))
    again = execute.execute(run, of(tiny / "killed"))
    assert seen == [0.0, 0.2, 0.4, 0.4, 0.6, 0.8]
    first, second = (results.load(path.parents[3], data="sample") for path in (whole, again))
    assert first["compression"].item() == pytest.approx(4, rel=1e-3)
    columns = ["compression", "val_loss", "test_bleu"]
    pd.testing.assert_frame_equal(first[columns], second[columns])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_cluster_loses_nothing_when_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    runs = [Run("mnist", "tiny", "dense", lr, seed, stage="search")
            for seed in range(3) for lr in (1e-3, 4e-3)]
    folder = tmp_path / "results"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None,
                                  local_directory=str(tmp_path)) as cluster:
        victim = next(iter(cluster.workers.values())).pid

        def kill_after_the_first() -> None:
            while not list(folder.rglob("*.json")):
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)

        from threading import Thread

        Thread(target=kill_after_the_first, daemon=True).start()
        execute._stage(runs, of(folder), "cpu", 2, cluster.scheduler_address)
    assert len(list(folder.rglob("*.json"))) == len(runs)
    assert len(results.load(folder, data="sample")) == len(runs)
    alone = json.loads(execute.execute(runs[-1], of(tmp_path / "alone")).read_text())
    there = json.loads(of(folder).path(runs[-1]).read_text())
    assert there["final"][0]["val_error"] == alone["final"][0]["val_error"], "two threads a worker"
    with pytest.raises(ProcessLookupError):  # it is gone, and its work was done by the other
        for _ in range(100):
            os.kill(victim, 0)
            time.sleep(0.05)


def test_density_by_head_reads_the_right_side() -> None:
    import torch

    mask = torch.zeros(8, 4)
    mask[:4] = 1  # the first of two heads of a query matrix
    np.testing.assert_allclose(multi30k._density_by_head("x.query", mask, 2), [1, 0])
    np.testing.assert_allclose(multi30k._density_by_head("x.output", mask.T, 2), [1, 0])


def test_the_estimate_counts_a_runs_own_epochs(tmp_path: Path) -> None:
    """Not those of the network it starts from, whose seconds it does not have."""
    start = multi30k_runs.dense("small", 0)
    chain = Run("multi30k", "small", "pruned", lr=4e-3, seed=0, rounds=3, start=start, tied=False)
    result = {"config": vars(chain) | {"start": vars(start), "start_lr": start.lr},
              "data": "real", "provenance": {"device": "cpu: a processor"},
              "history": [{"seconds": seconds} for seconds in (9.0, 10.0, 11.0, 12.0, 8.0, 10.0)]}
    store.write(result, Store(tmp_path).path(chain))
    longer, other = replace(chain, rounds=15), replace(chain, method="finetune_control")
    assert execute.estimate_seconds([longer, other], Store(tmp_path)) == [300.0, 60.0]
