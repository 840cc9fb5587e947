"""Result files and the table made from them."""

import json
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from circtools.experiments import choices, files, results, store
from circtools.experiments.runs import Run

BASE = 0.001


def result(method: str, lr: float = BASE, seed: int = 0, val: float = 0.02, *,
           stage: str = "final", data: str = "real", block_size: int = 1, rounds: int = 0,
           **config: Any) -> dict[str, Any]:
    """A small result as execute.execute writes it; a chain starts from a round 0."""
    final = []
    for number in range(rounds + 1):
        metrics = {"val_error": val} | ({"test_error": val + 0.001} if stage == "final" else {})
        compression = 1 / 0.79**number if rounds else float(block_size)
        final.append({"round": number, "compression": compression, "compression_all": compression,
                      "compression_model": compression, **metrics, "epochs": 10 + 2 * number,
                      "seconds": 1.0 + number, "empty_layers": []})
    return {
        "config": {"task": "mnist", "preset": "base", "method": method, "lr": lr, "seed": seed,
                   "stage": stage, "layers": "first", "pixels": "natural", "rounds": rounds,
                   "block_size": block_size, "start_lr": BASE if rounds else None,
                   "base_lr": BASE, "matrix_lr_scale": 1.0} | config,
        "data": data, "history": [], "final": final, "wall_seconds": 1.0,
        "provenance": {"commit": "abcdef123456", "device": "cpu: a processor, 2 cores"},
    }


def search(method: str, scores: dict[float, float], seed: int = 1000, **more: Any
           ) -> list[dict[str, Any]]:
    """Trials of a learning rate, with validation errors by learning rate."""
    return [result(method, lr, seed, val, stage="search", **more) for lr, val in scores.items()]


def write(folder: Path, one: dict[str, Any]) -> Path:
    """Write a result where a run leaves it, not over another one."""
    path = store.Store(folder, one["data"]).path(store.run_of(one["config"]))
    assert not path.exists()
    store.write(one, path)
    return path


def load(folder: Path, *all_results: dict[str, Any], data: str | None = "real") -> pd.DataFrame:
    for one in all_results:
        write(folder, one)
    return results.load(folder, data=data)


def series(table: pd.DataFrame, **wanted: Any) -> list[str]:
    """The series in which the runs with these values stand."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return sorted(table["series"])


DENSE = search("dense", {BASE: 0.03, 0.004: 0.02})  # 0.004 is chosen


# --- Files ---------------------------------------------------------------------------------------


def test_written_and_read_again(tmp_path: Path) -> None:
    path = write(tmp_path, result("dense"))
    assert path.name == "dense-first-natural-lr0.001-final0.json"
    assert store.read(tmp_path) == [result("dense") | {"run": f"real/mnist/base/{path.stem}"}]
    assert list(path.parent.iterdir()) == [path]


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    store.write({"loss": 1.0}, path)
    for bad in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            store.write({"loss": bad}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"loss": 1.0}
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    def write_on_a_full_disk() -> None:
        with files.replacing(tmp_path / "run.pt"):
            raise RuntimeError("[enforce fail] unexpected pos 768 vs 662")  # as torch.save does

    with pytest.raises(OSError, match=r"run\.pt cannot be written .*; is the disk full"):
        write_on_a_full_disk()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_writing_leaves_no_half_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.write({"loss": 1.0}, tmp_path / "run.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ['{"config": ', "{}", "[]", '{"config": {}}', '{"config": []}',
                                  '{"config": {"method": "dense"}}'])
def test_a_file_that_is_no_result_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"half\.json is no valid result .* delete it"):
        results.load(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        results.load(tmp_path / "nowhere")


def test_results_of_an_unknown_task_are_not_lost_without_a_word(tmp_path: Path) -> None:
    write(tmp_path, result("dense", task="cifar"))
    with pytest.raises(ValueError, match=r"of the task 'cifar', and no rule in choices\.TUNED"):
        results.load(tmp_path)


def test_names_of_before_are_translated_where_they_are_read() -> None:
    """Results on disk are never rewritten; these were made when things had other names."""
    table = results.load()
    control = results.select(table, method="finetune_control", task="multi30k", seed=9)
    [run] = control["run"].unique()
    text = (store.FOLDER / f"{run}.json").read_text(encoding="utf-8")
    assert '"method": "unpruned"' in text and "finetune_control" not in text
    assert (control["round"] == [1, 2, 3]).all() and (control["series"] == "tuned").all()
    config = next(r["config"] for r in store.read() if r["run"] == run)
    names = {field.name for field in fields(Run)}
    rebuilt = Run(**{k: v for k, v in config.items() if k in names} | {"start": Run(
        **{k: v for k, v in config["start"].items() if k in names})})
    assert store.Store().path(rebuilt) == store.FOLDER / f"{run}.json"
    scaled = table[table["run"].str.contains("-matrices4x-") & (table["start_factors"].isna())]
    assert len(scaled) > 20 and (scaled["matrix_lr_scale"] == 4).all()


def test_hidden_files_are_no_results(tmp_path: Path) -> None:
    """Such as the copies that Jupyter makes, or what macOS leaves on a stick."""
    path = write(tmp_path, result("dense"))
    store.write(result("dense"), path.parent / ".ipynb_checkpoints" / path.name)
    path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    assert len(store.read(tmp_path)) == 1


def test_a_copy_of_a_result_is_ignored_with_a_warning(tmp_path: Path) -> None:
    """Else the copy that a cloud folder makes in a conflict would count as another seed."""
    path = write(tmp_path, result("dense"))
    for copy in path.with_name(f"{path.stem} (1).json"), tmp_path / "real (1)" / path.name:
        store.write(result("dense", val=0.5), copy)
    with pytest.warns(UserWarning, match=r"-final0 \(1\)\.json, real \(1\)/dense-first-"):
        assert store.read(tmp_path) == [result("dense") | {"run": f"real/mnist/base/{path.stem}"}]


def test_the_committed_results_have_their_names(recwarn: pytest.WarningsRecorder) -> None:
    """Also those of chains that say only the learning rate of their dense network."""
    assert len(store.read()) == len(list((store.FOLDER / "real").rglob("*.json")))
    assert not recwarn.list


def test_provenance_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "nowhere")
    assert store.provenance.__wrapped__()["commit"] == "unknown"


def test_what_a_run_leaves_is_found_by_its_name(tmp_path: Path) -> None:
    """Also if a run of the sample is named as one of the real data."""
    for number, data in enumerate(("real", "sample")):
        path = write(tmp_path, result("dense", data=data))
        store.write_arrays({"rows": np.full(2, number)}, path.with_suffix(".npz"))
        store.write_texts([f"{data} text", "its\u2028second line", ""], path, number=3)
        store.write_counts(np.full((3, 10), 300 + number), path, number=3)
    for number, run in enumerate(results.load(tmp_path, data=None)["run"]):
        assert store.arrays(run, tmp_path)["rows"].tolist() == [number, number]
        assert (store.counts(run, 3, tmp_path) == 300 + number).all()
        assert store.texts(run, 3, tmp_path)[1:] == ["its\u2028second line", ""]
    with pytest.raises(FileNotFoundError, match=r"other\.npz"):
        store.arrays("other", tmp_path)


def test_the_commit_of_another_repository_is_not_ours(tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q",
                                   "--allow-empty", "-m", "theirs"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    for course, commit in ((tmp_path / "course", "unknown"), (tmp_path, None)):
        course.mkdir(exist_ok=True)
        monkeypatch.setattr(store, "ROOT", course)
        found = store.provenance.__wrapped__()["commit"]
        assert found == commit if commit else len(found) == 40
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text("{}")
    assert store.provenance.__wrapped__()["commit"].endswith("+changed")


def test_provenance_names_commit_device_and_versions() -> None:
    origin = store.provenance()
    assert set(origin) == {"commit", "device", "python", "torch", "numpy"}
    assert all(origin.values()) and origin["device"].startswith("cpu: ")


# --- The table -----------------------------------------------------------------------------------


def test_columns_are_those_of_the_design(tmp_path: Path) -> None:
    wanted = {"task", "preset", "data", "method", "series", "pixels", "block_size", "round",
              "compression", "compression_all", "compression_model", "tied", "seed", "test_error",
              "test_bleu", "test_chrf", "epochs", "seconds", "device", "commit"}
    empty, full = results.load(tmp_path), load(tmp_path, result("dense"))
    assert list(empty.columns) == list(full.columns) == list(results.COLUMNS)
    assert wanted <= set(results.COLUMNS)
    assert empty.empty and len(full) == 1
    row = full.iloc[0]
    assert (row["test_error"], row["val_error"]) == (0.021, 0.02)
    assert (row["commit"], row["series"]) == ("abcdef123456", "same")
    assert row["run"] == "real/mnist/base/dense-first-natural-lr0.001-final0"


def test_sample_and_real_never_stand_in_one_table(tmp_path: Path) -> None:
    both = load(tmp_path, result("dense"), result("dense", data="sample"), data=None)
    assert set(both["data"]) == {"real", "sample"}
    assert set(results.load(tmp_path)["data"]) == {"real"}
    assert set(results.load(tmp_path, data="sample")["data"]) == {"sample"}


def test_each_data_set_has_its_own_choices(tmp_path: Path) -> None:
    alone = load(tmp_path / "alone", *DENSE, result("dense", 0.004))
    both = load(tmp_path / "both", *DENSE, result("dense", 0.004),
                *search("dense", {BASE: 0.01, 0.004: 0.02}, data="sample"),
                result("dense", 0.004, data="sample"), data=None)
    assert series(alone) == series(both, data="real") and "tuned" in series(alone)
    assert "tuned" not in series(both, data="sample")


def test_trials_of_the_sample_choose_nothing_for_the_real_data(tmp_path: Path) -> None:
    sample = search("dense", {BASE: 0.03, 0.004: 0.02}, data="sample")
    table = load(tmp_path, *sample, result("dense", 0.004), data=None)
    assert series(table, data="real") == ["rejected"]


def test_same_tuned_and_search(tmp_path: Path) -> None:
    circulant = {"block_size": 8}
    table = load(
        tmp_path, *DENSE, *search("block_circulant", {BASE: 0.02, 0.004: 0.03}, **circulant),
        result("dense", BASE), result("dense", 0.004), result("dense", 0.016),
        result("block_circulant", BASE, **circulant),
        result("block_circulant", 0.004, **circulant))
    assert series(table, method="dense", lr=BASE) == ["same", "search"]
    assert series(table, method="dense", lr=0.004) == ["search", "tuned"]
    neither = series(table, method="dense", lr=0.016)
    assert neither == ["rejected"], "neither the base nor the choice"
    # The base learning rate was the best: one run, a row in each series.
    assert series(table, method="block_circulant", lr=BASE) == ["same", "search", "tuned"]
    assert series(table, method="block_circulant", lr=0.004) == ["rejected", "search"]
    assert table.loc[table["series"] == "search", "test_error"].isna().all()


def test_structures_choose_for_themselves(tmp_path: Path) -> None:
    """By block size and by order of the pixels, on the mean over the trials' seeds."""
    trials = [*search("block_circulant", {BASE: 0.02, 0.004: 0.03}, block_size=8),
              *search("block_circulant", {BASE: 0.03, 0.004: 0.02}, block_size=16),
              *search("block_circulant", {BASE: 0.03, 0.004: 0.02}, block_size=8,
                      pixels="permuted")]
    trials += [result("block_circulant", BASE, 1001, 0.05, stage="search", block_size=8),
               result("block_circulant", 0.004, 1001, 0.03, stage="search", block_size=8)]
    chosen = choices.chosen_rates(load(tmp_path, *trials))
    lrs = {(row.pixels, row.block_size): row.lr for row in chosen.itertuples()}
    assert lrs == {("natural", 8): 0.004, ("natural", 16): 0.004, ("permuted", 8): 0.004}


def test_a_trial_that_diverged_is_never_chosen(tmp_path: Path) -> None:
    """Neither by the seeds nor by the first, easy rounds that it came through."""
    trials = search("dense", {BASE: 0.5, 0.016: 0.01}) + search(
        "dense", {BASE: 0.5, 0.016: 0.01}, seed=1001)
    trials[-1] |= {"final": [], "diverged": "train_loss is nan"}
    chains = search("pruned", {BASE: 0.4, 0.002: 0.4}, rounds=3)
    chains[-1] |= {"final": chains[-1]["final"][:2], "diverged": "train_loss is nan"}
    chains[-1]["final"][1]["val_error"] = 0.01
    chosen = choices.chosen_rates(load(tmp_path, *trials, *chains))
    assert chosen["method"].tolist() == ["dense", "pruned", "pruned", "pruned"]
    assert set(chosen["lr"]) == {BASE}


def test_a_final_run_that_diverged_stands_in_no_other_series(tmp_path: Path) -> None:
    lost = result("block_circulant", block_size=8) | {"final": [], "diverged": "train_loss is nan"}
    table = load(tmp_path, result("dense"), lost)
    assert series(table, method="block_circulant") == ["diverged"]
    assert series(table, method="dense") == ["same"]


def test_compressing_the_output_layer_too_borrows_the_choice(tmp_path: Path) -> None:
    table = load(tmp_path, *DENSE,
                 *search("block_circulant", {BASE: 0.03, 0.004: 0.02}, block_size=8),
                 result("block_circulant", 0.004, block_size=8, layers="all"))
    assert series(table, layers="all") == ["tuned"]


def test_a_pruned_chain_gives_a_row_a_round(tmp_path: Path) -> None:
    table = load(tmp_path, result("pruned", rounds=3))
    assert table["round"].tolist() == [1, 2, 3], "round 0 is the row of the dense run"
    assert table["compression"].tolist() == pytest.approx([1 / 0.79, 1 / 0.79**2, 1 / 0.79**3])
    assert table["epochs"].tolist() == [12, 14, 16] and set(table["series"]) == {"same"}


def test_a_tuned_chain_starts_from_the_tuned_dense_network(tmp_path: Path) -> None:
    trials = search("pruned", {BASE: 0.03, 0.002: 0.02}, rounds=2, start_lr=0.004)
    table = load(tmp_path, *DENSE, *trials,
                 result("pruned", 0.002, 1, rounds=2, start_lr=0.004),
                 result("pruned", 0.002, 2, rounds=2, start_lr=BASE),  # another start
                 result("pruned", BASE, 3, rounds=2, start_lr=BASE),
                 result("pruned", BASE, 4, rounds=2, start_lr=0.004),
                 result("finetune_control", 0.002, 5, rounds=2, start_lr=0.004))
    assert {seed: series(table, seed=seed, round=2) for seed in range(1, 6)} == {
        1: ["tuned"], 2: ["rejected"], 3: ["same"], 4: ["rejected"], 5: ["tuned"]}
    assert set(table.loc[table["seed"] == 5, "method"]) == {"finetune_control"}


def test_late_rounds_have_a_choice_of_their_own(tmp_path: Path) -> None:
    """A run counts as tuned in the rounds for which its learning rate was chosen."""
    slow, fast = search("pruned", {BASE: 0.02, 0.002: 0.02}, rounds=17, start_lr=0.004)
    for final in fast["final"]:
        final["val_error"] = 0.03 if final["round"] <= choices.POSTER_ROUNDS else 0.01
    table = load(tmp_path, *DENSE, slow, fast,
                 *(result("pruned", lr, rounds=17, start_lr=0.004) for lr in (BASE, 0.002)))
    tuned = table[table["series"] == "tuned"]
    assert tuned.loc[tuned["lr"] == BASE, "round"].tolist() == list(range(1, 16))
    assert tuned.loc[tuned["lr"] == 0.002, "round"].tolist() == [16, 17]


def test_description_says_where_the_results_come_from(tmp_path: Path) -> None:
    text = results.describe(load(tmp_path, result("dense"), result("dense", seed=1)))
    for words in ("2 runs", "real data", "preset base", "2 seeds", "a processor", "abcdef1"):
        assert words in text


# --- The Transformers, whose hyper-parameters are factors of a preset's base values ---------------


def transformer(preset: str, lr: float, val_loss: float, block_size: int = 4,
                stage: str = "final") -> dict[str, Any]:
    """A block-circulant Transformer's result, or a trial's."""
    made = result("block_circulant", lr, stage=stage, preset=preset, task="multi30k",
                  block_size=block_size, tied=False, dropout=0.1, base_dropout=0.1)
    made["final"][0]["val_loss"] = val_loss
    return made


def test_complete_runs_decide_once_the_first_guess_is_among_them(tmp_path: Path) -> None:
    trials = [transformer("small", factor * BASE, loss, b, "search")
              for b in (4, 16) for factor, loss in ((1, 2.0), (8, 1.9))]
    base = [transformer("small", BASE, 1.7, b) for b in (4, 16)]
    guess = [transformer("small", 8 * BASE, 1.8, b) for b in (4, 16)]
    for number, (runs, expected) in enumerate(
            [(base, 8.0), ([*base, guess[0]], 8.0), (base + guess, 1.0)]):
        table = load(tmp_path / str(number), *trials, *runs)
        assert choices.chosen_scales(table)["block_circulant"].lr == expected
        tuned = table.loc[table["series"] == "tuned", "lr_factor"]
        assert set(tuned) <= {expected}, "what is only the base run is not tuned"


def test_another_size_takes_the_choice_unless_the_base_is_better_there(tmp_path: Path) -> None:
    at_home = [transformer("small", BASE, 1.7, b, "search") for b in (4, 16)]
    for b in (4, 16):
        at_home += [transformer("small", BASE, 1.7, b), transformer("small", 4 * BASE, 1.6, b)]
    there = [transformer("base", 4 * BASE, 1.8), transformer("base", BASE, 1.5, 16),
             transformer("base", BASE, 1.6), transformer("base", 4 * BASE, 1.2, 16)]
    lent, base, at_both = 4.0, 1.0, 4.0
    # After each run that is added: alone; at another compression; at the same one; at both.
    for number, expected in enumerate([lent, lent, base, at_both], start=1):
        table = load(tmp_path / str(number), *at_home, *there[:number])
        assert choices.chosen_scales(table, "base")["block_circulant"].lr == expected
        assert choices.chosen_scales(table)["block_circulant"].lr == 4.0
        for preset, factor in (("base", expected), ("small", 4.0)):
            tuned = table[(table["preset"] == preset) & (table["series"] == "tuned")]
            assert set(tuned["lr_factor"]) == {factor}
