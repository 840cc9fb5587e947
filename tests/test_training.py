"""A training that is killed and resumed ends as one left alone: in a process, and for real."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from circtools.experiments import choices, execute, mnist, mnist_runs, multi30k, training
from circtools.experiments.files import ROOT
from circtools.experiments.store import Store
from circtools.transformer import PAD


class Killed(Exception):
    """Stands for the end of the process."""


def train(checkpoint: Path | None = None, *, lr: float = 0.01, epochs: int = 5,
          average: int = 1, on_batch: Callable[[int], None] = lambda _: None,
          ) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train a small network with dropout on random numbers; call back with each batch's number."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 6, generator=generator), torch.randn(64, 1, generator=generator)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    seen = 0

    def loss_of(model: nn.Module, index: Tensor) -> Tensor:
        nonlocal seen
        on_batch(seen)
        seen += 1
        return (model(x[index]) - y[index]).square().mean()

    task = training.Task(
        batches=lambda: torch.randperm(64).split(16), loss=loss_of, count=len, size=64,
        unit="row", evaluate=lambda m: {"val_loss": float((m(x) - y).square().mean())})
    recipe = training.Recipe(epochs, lr, average=average)
    return model, training.fit(model, task, recipe, seed=3, checkpoint=checkpoint)


def without_times(value: Any) -> Any:
    """A result or a history without its wall times and its origin."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items()
                if k not in ("seconds", "wall_seconds", "provenance")}
    return [without_times(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("batch", [4, 6, 11, 19])  # of 4 an epoch: at its start, middle, end
def test_killed_and_resumed_is_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    checkpoint = tmp_path / "folder" / "run.ckpt"

    def kill(seen: int) -> None:
        if seen == batch:
            raise Killed

    with pytest.raises(Killed):
        train(checkpoint, on_batch=kill)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["run.ckpt"], "no half file"
    batches: list[int] = []
    resumed, history = train(checkpoint, on_batch=batches.append)
    assert len(batches) == 20 - 4 * (batch // 4), "finished epochs are not repeated"
    plain, expected = train()
    assert without_times(history) == without_times(expected)
    for name, weights in plain.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weights)


def test_a_finished_training_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    _, expected = train(tmp_path / "run.ckpt")
    batches: list[int] = []
    model, history = train(tmp_path / "run.ckpt", on_batch=batches.append)
    assert batches == [] and history == expected and not model.training


def test_a_checkpoint_of_another_training_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    train(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"run\.ckpt is of a training with .*'lr': 0\.01.*delete"):
        train(tmp_path / "run.ckpt", lr=0.5)


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    training.save_atomically({"model": {}, "settings": {}}, tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match=r"^.*run\.ckpt cannot be read .*; delete it .*$"):
        train(tmp_path / "run.ckpt")


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 and no more"])
def test_a_damaged_checkpoint_is_to_be_deleted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"^.*run\.ckpt cannot be read .*; delete it .*$"):
        train(tmp_path / "run.ckpt")


def test_short_epochs_write_no_checkpoint(tmp_path: Path) -> None:
    train(tmp_path / "run.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_history_and_mode() -> None:
    model, history = train()
    assert len(history) == 5 and not model.training
    assert all(set(epoch) == {"train_loss", "val_loss", "seconds"} for epoch in history)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_learning_rate_falls_to_zero() -> None:
    assert [training.warmup_decay(share, 0.0) for share in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    assert [training.warmup_decay(share, 0.5) for share in (0.0, 0.25, 0.75)] == [0.0, 0.5, 0.5]
    still, _ = train(lr=1e-30)
    moved, _ = train()
    assert not torch.equal(still[0].weight, moved[0].weight)


@pytest.mark.parametrize(("more", "words"), [
    ({"epochs": 0}, "got epochs=0, lr=0.01"), ({"lr": 0.0}, "lr=0.0"), ({"lr": -1.0}, "lr=-1.0"),
    ({"lr": math.nan}, "nan"), ({"average": 0}, "got 0"), ({"average": 6}, "the 5 epochs, got 6"),
])
def test_bad_arguments_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train(**more)


def toy(counts: list[int], scale: float = 1.0) -> training.Task:
    """A task of batches of that many rows, whose loss is their number times ``scale``."""
    return training.Task(
        batches=lambda: [torch.ones(n, 1) for n in counts],
        loss=lambda m, x: 0 * m(x).mean() + len(x) * scale,
        count=len, size=sum(counts), unit="row", evaluate=lambda m: {})


def test_train_loss_is_a_mean_over_rows_not_over_batches() -> None:
    history = training.fit(nn.Linear(1, 1), toy([3, 1]), training.Recipe(1, 0.1), seed=0)
    assert history[0]["train_loss"] == (3 * 3 + 1 * 1) / 4


def test_train_loss_is_a_mean_over_the_images_and_over_the_tokens() -> None:
    """The weights do not move at this rate, so one pass over all the data gives the same loss."""
    digits = mnist.load("sample").first(300)  # batches of 128, 128 and 44
    classifier = mnist.classifier(8)
    history = mnist.train(classifier, digits, epochs=1, lr=1e-30, seed=0)
    whole = F.cross_entropy(classifier(digits.train_x), digits.train_y)
    assert history[0]["train_loss"] == pytest.approx(whole.item(), rel=1e-6)

    corpus = multi30k.load("sample")
    corpus = replace(corpus, train=corpus.train.first(90), val=corpus.val.first(5))
    model = multi30k.transformer(corpus.vocab, layers=1, d_model=8, heads=1, feed_forward=8,
                                 dropout=0.0)
    recipe = multi30k.Recipe(epochs=1, lr=1e-30, average=1, batch_tokens=200)
    history = multi30k.train(model, corpus, recipe, seed=0)
    batch = corpus.train.source, corpus.train.target
    whole = multi30k.loss(model, batch, recipe.smoothing, torch.float32)
    assert history[0]["train_loss"] == pytest.approx(whole.item(), rel=1e-6)
    assert history[0]["tokens"] == int((batch[1][:, 1:] != PAD).sum())


def test_the_weights_end_as_the_mean_of_the_last_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)

    def kill(seen: int) -> None:
        if seen == 16:  # the first batch of the last epoch
            raise Killed

    def kept() -> Tensor:
        return torch.load(tmp_path / "run.ckpt", weights_only=True)["model"]["0.weight"]

    with pytest.raises(Killed):
        train(tmp_path / "run.ckpt", average=2, on_batch=kill)
    after_four = kept()
    resumed, _ = train(tmp_path / "run.ckpt", average=2)
    plain, _ = train(average=2)
    assert torch.equal(plain[0].weight, resumed[0].weight)
    torch.testing.assert_close(plain[0].weight.data, (after_four + kept()) / 2)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_training(loss: float, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    model = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match=r"epoch 1; try a learning rate below 0\.1"):
        training.fit(model, toy([1], loss), training.Recipe(3, 0.1), seed=0,
                     checkpoint=tmp_path / "run.ckpt")
    assert not (tmp_path / "run.ckpt").exists(), "nothing to resume from"


# --- kill -9 in the middle of `circtools run mnist` ----------------------------------------------


def course_copy(folder: Path) -> Path:
    """A copy of the library; smaller, and saving every epoch."""
    shutil.copytree(ROOT / "circtools", folder / "circtools",
                    ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in (("training.py", "CHECKPOINT_SECONDS = 20.0", "CHECKPOINT_SECONDS = -1"),
                           ("mnist_runs.py", "train_images=10_000", "train_images=1_500")):
        path = folder / "circtools" / "experiments" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} has changed: adapt this test"
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def start(course: Path) -> subprocess.Popen[bytes]:
    """Start all the runs in a process group of their own."""
    command = [sys.executable, "-m", "circtools", "run", "mnist", "--preset", "tiny", "--source",
               "sample", "--seeds", "1", "--workers", "2", "--results", str(course / "results")]
    environment = os.environ | {"PYTHONPATH": str(course), "JOBLIB_TEMP_FOLDER": str(course)}
    with (course / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=course, env=environment, stdout=log, stderr=log,
                                start_new_session=True)


def finish(course: Path) -> None:
    process = start(course)
    try:
        status = process.wait(timeout=900)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert status == 0, (course / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def contents(course: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text(encoding="utf-8"))
            for path in (course / "results").rglob("*.json")}


def chains_under_way(course: Path) -> list[Path]:
    """Checkpoints of networks that are being pruned in rounds."""
    return list((course / "results" / "checkpoints").rglob("pruned-*-rounds.ckpt"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs the process groups of POSIX")
def test_kill_9_repeats_no_finished_run_and_changes_no_result(tmp_path: Path) -> None:
    course = course_copy(tmp_path / "killed")
    process = start(course)
    try:
        deadline = time.monotonic() + 600
        while not chains_under_way(course):
            assert process.poll() is None, "finished before it could be killed"
            assert time.monotonic() < deadline, (course / "log").read_text(encoding="utf-8")
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes())
              for path in (course / "results").rglob("*.json")}
    assert len(before) >= 20, "all of the first stage"
    contents(course)  # every file is a whole one

    finish(course)
    for path, (changed, content) in before.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (changed, content), path.name
    assert execute.pending("mnist", "tiny", 1, Store(course / "results", "sample")) == []
    assert not list((course / "results" / "checkpoints").rglob("*.ckpt")), "used and removed"

    undisturbed = course_copy(tmp_path / "undisturbed")
    finish(undisturbed)
    assert without_times(contents(course)) == without_times(contents(undisturbed))


def test_two_chains_never_have_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the base rate is the chosen one, the longer chain serves both series."""
    preset = mnist_runs.PRESETS["base"]
    lrs = {("dense", "natural", 1, 0): 1e-3}
    lrs |= {("block_circulant", pixels, b, 0): 1e-3 for pixels in ("natural", "permuted")
            for b in preset.block_sizes}
    lrs |= {("pruned", "natural", 1, n): 1e-3 if n <= 15 else 2e-3 for n in range(1, 30)}
    rates = pd.DataFrame([(*levels, lr) for levels, lr in lrs.items()],
                         columns=["method", "pixels", "block_size", "round", "lr"])
    monkeypatch.setattr(choices, "chosen_rates", lambda table: rates)
    monkeypatch.setattr(Store, "missing", lambda *_: [])
    kept, table = Store(tmp_path, "sample"), pd.DataFrame({"preset": []})
    for stage in mnist_runs.plan("base", 2, kept, table):
        assert len({run.name for run in stage}) == len(stage)
    chains = [run for run in stage if run.method == "pruned" and run.layers == "first"]
    assert {(run.lr, run.rounds) for run in chains} == {(1e-3, 29), (2e-3, 29)}
