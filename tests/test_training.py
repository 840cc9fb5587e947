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
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from circtools.experiments import execute, mnist_runs, training
from circtools.experiments.files import ROOT


class Killed(Exception):
    """Stands for the end of the process."""


def train(checkpoint: Path | None = None, *, lr: float = 0.01, epochs: int = 5,
          on_batch: Callable[[int], None] = lambda _: None,
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

    history = training.fit(
        model, lambda epoch: torch.randperm(64).split(16), loss_of, epochs=epochs, lr=lr, seed=3,
        evaluate=lambda m: {"val_loss": float((m(x) - y).square().mean())}, checkpoint=checkpoint)
    return model, history


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


def test_short_epochs_write_no_checkpoint(tmp_path: Path) -> None:
    train(tmp_path / "run.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_history_and_mode() -> None:
    model, history = train()
    assert len(history) == 5 and not model.training
    assert all(set(epoch) == {"train_loss", "val_loss", "seconds"} for epoch in history)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_learning_rate_falls_to_zero() -> None:
    assert [training.linear_decay(share) for share in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    still, _ = train(lr=1e-30)
    moved, _ = train()
    assert not torch.equal(still[0].weight, moved[0].weight)


@pytest.mark.parametrize(("more", "words"), [
    ({"epochs": 0}, "got epochs=0, lr=0.01"), ({"lr": 0.0}, "lr=0.0"), ({"lr": -1.0}, "lr=-1.0"),
    ({"lr": math.nan}, "nan"),
])
def test_bad_arguments_are_named(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train(**more)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_training(loss: float, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    model = nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match=r"epoch 1; try a learning rate below 0\.1"):
        training.fit(model, lambda _: [1.0], lambda m, x: m.weight.sum() * loss, epochs=3, lr=0.1,
                     seed=0, evaluate=lambda _: {}, checkpoint=tmp_path / "run.ckpt")
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
    assert execute.pending("mnist", "tiny", 1, course / "results", "sample") == []
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
    monkeypatch.setattr(mnist_runs, "_chosen_lrs", lambda *_: lrs)
    monkeypatch.setattr(mnist_runs, "missing", lambda *_: [])
    for stage in mnist_runs.plan("base", 2, tmp_path):
        assert len({run.name for run in stage}) == len(stage)
    chains = [run for run in stage if run.method == "pruned" and run.layers == "first"]
    assert {(run.lr, run.rounds) for run in chains} == {(1e-3, 29), (2e-3, 29)}
