"""Which runs there are (task x method x level x seed), and how they are run or resumed."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from circtools import compression, mnist, results, training
from circtools.data import ROOT
from circtools.layers import BlockCirculantLinear

CHECKPOINTS = ROOT / "data" / "checkpoints"
SEARCH_SEEDS = (1000, 1001)  # trials of the learning rate use seeds of their own


@dataclass(frozen=True)
class Preset:
    """A size of the MNIST experiments."""

    train_images: int
    epochs: int
    block_sizes: tuple[int, ...]  # first layer compressed
    fewer_block_sizes: tuple[int, ...]  # also the output layer; permuted pixels
    rounds: int
    finetune_epochs: int  # after each round of pruning
    lrs: tuple[float, ...]  # tried for dense and block-circulant
    finetune_lrs: tuple[float, ...]  # tried for pruning, as many
    base_lr: float = 1e-3  # of the series "same"


PRESETS = {
    "quick": Preset(
        train_images=10_000, epochs=2, block_sizes=(4, 28, 784), fewer_block_sizes=(28,),
        rounds=6, finetune_epochs=1, lrs=(1e-3, 4e-3), finetune_lrs=(5e-4, 1e-3),
    ),
    "course": Preset(
        train_images=55_000, epochs=10,
        block_sizes=(2, 4, 7, 8, 14, 16, 28, 49, 98, 196, 392, 784),
        fewer_block_sizes=(2, 4, 8, 16, 49, 196, 784),
        rounds=29, finetune_epochs=2,  # 0.79 ** 29 leaves a little less than 1 / 784
        lrs=(1e-3, 2e-3, 4e-3, 8e-3, 16e-3), finetune_lrs=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
    ),
}


@dataclass(frozen=True)
class Run:
    """One training, or one dense training pruned in rounds; its name is its result's file."""

    task: str
    preset: str
    method: str  # dense, block_circulant, pruned, unpruned (the same loop, pruning nothing)
    lr: float  # of the fine-tuning, for a run that starts from a trained network
    seed: int
    stage: str = "final"  # or search: a trial of the learning rate, which never reads the test set
    layers: str = "first"  # or all: the output layer is compressed too
    pixels: str = "natural"  # or permuted
    block_size: int = 1
    rounds: int = 0
    start_lr: float | None = None  # of the dense training that a chain starts from

    @property
    def name(self) -> str:
        parts = [self.method, self.layers, self.pixels]
        if self.method == "block_circulant":
            parts.append(f"b{self.block_size}")
        if self.start_lr is not None:
            parts.append(f"from{self.start_lr:g}")
        return "-".join([*parts, f"lr{self.lr:g}", f"{self.stage}{self.seed}"])

    def path(self, folder: Path, source: str) -> Path:
        return folder / source / self.task / self.preset / f"{self.name}.json"

    @property
    def start(self) -> "Run | None":
        """The dense run that this one starts from."""
        if self.start_lr is None:
            return None
        return replace(self, method="dense", lr=self.start_lr, start_lr=None, rounds=0,
                       layers="first")


# --- Which runs there are ------------------------------------------------------------------------


def plan_mnist(preset: str, seeds: int, folder: Path, source: str = "real") -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    Stages whose runs depend on a choice of the learning rate that has no results yet are left
    out, so the caller runs what there is and asks again (see :func:`run_all`).

    Args:
        preset: a key of :data:`PRESETS`.
        seeds: number of seeds of the final runs.
        folder: where the results are.
        source: ``"real"`` or ``"sample"``.
    """
    p = PRESETS[preset]

    def make(method: str, lr: float, seed: int, **more: Any) -> Run:
        return Run("mnist", preset, method, lr, seed, **more)

    structures: list[dict[str, Any]] = [
        {"method": "dense"},
        *({"method": "block_circulant", "block_size": b} for b in p.block_sizes),
        *({"method": "block_circulant", "block_size": b, "pixels": "permuted"}
          for b in p.fewer_block_sizes),
    ]
    trials = [make(lr=lr, seed=seed, stage="search", **s)
              for seed in SEARCH_SEEDS for s in structures for lr in p.lrs]
    stages = [trials]
    if _missing(trials, folder, source):
        return stages
    chosen = _chosen(folder, preset, source)
    dense_lr = chosen["dense", "natural", 1, 0]
    chain = {"rounds": p.rounds, "start_lr": dense_lr}
    stages.append([make("pruned", lr, seed, stage="search", **chain)
                   for seed in SEARCH_SEEDS for lr in p.finetune_lrs])

    final: list[Run] = []
    for seed in range(seeds):
        final += [make("dense", lr, seed) for lr in (p.base_lr, dense_lr)]
    stages.append(final)
    final = []
    for seed in range(seeds):
        for s in structures[1:]:
            b, pixels = s["block_size"], s.get("pixels", "natural")
            lr = chosen["block_circulant", pixels, b, 0]
            final += [make(lr=lr, seed=seed, **s), make(lr=p.base_lr, seed=seed, **s)]
            if pixels == "natural" and b in p.fewer_block_sizes:
                final.append(make(lr=lr, seed=seed, layers="all", **s))
    stages.append(final)
    if _missing(stages[1], folder, source):
        return stages
    # A chain with a chosen learning rate goes as far as that choice holds.
    last = {lr: r for (method, _, _, r), lr in sorted(chosen.items()) if method == "pruned"}
    same = {"lr": p.base_lr, "rounds": p.rounds, "start_lr": p.base_lr}
    tuned = [{"lr": lr, "rounds": r, "start_lr": dense_lr} for lr, r in last.items()]
    chains = [{"method": "pruned", **how} for how in [*tuned, same]]
    chains += [{"method": "pruned", "layers": "all", **how} for how in tuned]
    chains += [{"method": "unpruned", **how} for how in tuned]
    stages.append([make(seed=seed, **how) for how in chains for seed in range(seeds)])
    return [list(dict.fromkeys(stage)) for stage in stages]  # base and chosen may coincide


def _missing(runs: list[Run], folder: Path, source: str) -> list[Run]:
    return [run for run in runs if not run.path(folder, source).exists()]


def _chosen(folder: Path, preset: str, source: str) -> dict[tuple[str, str, int, int], float]:
    """Return the chosen learning rates by (method, pixels, block size, round)."""
    table = results.load(folder, data=source)
    table = table[(table["task"] == "mnist") & (table["preset"] == preset)]
    return {(row.method, row.pixels, row.block_size, row.round): row.lr
            for row in results.choices(table).itertuples()}


# --- Running them --------------------------------------------------------------------------------


def pending(preset: str, seeds: int, folder: Path, source: str) -> list[Run]:
    """Return the runs of the first stage that is not finished; empty when all is done."""
    for stage in plan_mnist(preset, seeds, folder, source):
        if missing := _missing(stage, folder, source):
            return missing
    return []


def run_all(preset: str = "course", seeds: int = 5, workers: int = 2,
            folder: Path = results.FOLDER, source: str = "auto") -> None:
    """Run everything that has no result yet, several runs at a time, stage by stage.

    Args:
        preset: a key of :data:`PRESETS`.
        seeds: number of seeds of the final runs, 0 ... seeds - 1.
        workers: processes; the machine's cores are divided among them.
        folder: where the results are.
        source: ``"real"``, ``"sample"``, or ``"auto"`` (the sample, if MNIST cannot be had).

    Raises:
        ValueError: if the preset is unknown or a number is not positive.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    if seeds < 1 or workers < 1:
        raise ValueError(f"seeds and workers must be 1 or more, got {seeds} and {workers}")
    source = mnist.load(source).source
    threads = max(1, joblib.cpu_count() // workers)
    while runs := pending(preset, seeds, folder, source):
        minutes = estimate_seconds(runs, folder, source) / workers / 60
        print(f"{len(runs)} runs to do in this stage, about {minutes:.0f} minutes "
              f"with {workers} workers of {threads} threads", flush=True)
        work = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        jobs = (joblib.delayed(_work)(run, folder, source, threads) for run in runs)
        for _ in tqdm(work(jobs), total=len(runs), desc="runs", unit="run", mininterval=1):
            pass


def _work(run: Run, folder: Path, source: str, threads: int) -> None:
    torch.set_num_threads(threads)
    execute(run, folder, source)


def estimate_seconds(runs: Iterable[Run], folder: Path, source: str) -> float:
    """Return the single-worker seconds that the runs will take.

    From the results there are: seconds an epoch, of the same method and block size where one has
    been run; without any, from one measured epoch of the dense network.
    """
    table = results.load(folder, data=source)
    table = table.assign(epoch_seconds=table["seconds"] / table["epochs"])
    table = table[table["task"] == "mnist"]
    by_kind = table.groupby(["preset", "method", "block_size"])["epoch_seconds"].median()
    by_preset = table.groupby("preset")["epoch_seconds"].median()
    measured: dict[str, float] = {}
    total = 0.0
    for run in runs:
        p = PRESETS[run.preset]
        epochs = p.epochs if run.start is None else run.rounds * p.finetune_epochs
        seconds = by_kind.get((run.preset, run.method, run.block_size), by_preset.get(run.preset))
        if seconds is None:
            if run.preset not in measured:
                measured[run.preset] = _measure_epoch(run, source)
            seconds = measured[run.preset]
        total += seconds * epochs
    return total


def _measure_epoch(run: Run, source: str) -> float:
    """Time one epoch of a dense network."""
    digits = mnist.load(source).first(PRESETS[run.preset].train_images)
    return mnist.train(mnist.classifier(), digits, epochs=1, lr=run.lr, seed=0)[0]["seconds"]


def execute(run: Run, folder: Path = results.FOLDER, source: str = "real") -> Path:
    """Run one run, or resume it, unless its result is there; return the result's path.

    A kill at any moment loses at most one epoch, or 20 seconds, whichever is longer.
    """
    path = run.path(folder, source)
    if path.exists():
        return path
    p, started = PRESETS[run.preset], time.monotonic()
    digits = mnist.load(source).first(p.train_images)
    if run.pixels == "permuted":
        digits = digits.permuted()
    model = _build(run)
    history: list[dict[str, float]] = []
    final: list[dict[str, Any]] = []
    try:
        if run.start is None:
            history += _fit(model, run, digits, p.epochs, "train")
            final.append(_measure(model, run, digits, 0, p.epochs, _seconds(history)))
        else:
            model.load_state_dict(_trained(run.start, digits))
            _chain(model, run, digits, history, final)
    except FloatingPointError:
        if run.stage != "search":  # a trial that diverges is an answer; it has no final metrics
            raise
    result = {
        "config": asdict(run) | {"base_lr": p.base_lr, "preset_values": asdict(p),
                                 "batch_size": mnist.BATCH_SIZE, "optimizer": "Adam",
                                 "schedule": "linear decay to 0 in each training"},
        "data": digits.source,
        "provenance": results.provenance() | {"threads": torch.get_num_threads()},
        "history": history,
        "final": final,
        "wall_seconds": round(time.monotonic() - started, 2),
    }
    if run.seed == 0 and run.stage == "final" and (arrays := _artefacts(model, run)):
        results.write_arrays(arrays, path.with_suffix(".npz"))
    if run.method == "dense":
        training.save_atomically(model.state_dict(), _weights_path(run, digits))
    results.write(result, path)
    for file in _checkpoint(run, digits, "").parent.glob(f"{run.name}-*.ckpt"):
        file.unlink(missing_ok=True)
    return path


def _build(run: Run) -> nn.Module:
    torch.manual_seed(run.seed)
    model = mnist.classifier()
    if run.method == "block_circulant":
        skip = ["output"] if run.layers == "first" else []
        compression.compress(model, run.block_size, skip=skip, init="random")
    return model


def _fit(model: nn.Module, run: Run, digits: mnist.Mnist, epochs: int, phase: str,
         seed: int | None = None) -> list[dict[str, float]]:
    return mnist.train(
        model, digits, epochs=epochs, lr=run.lr, seed=run.seed if seed is None else seed,
        checkpoint=_checkpoint(run, digits, phase),
    )


def _chain(model: nn.Module, run: Run, digits: mnist.Mnist, history: list[dict[str, float]],
           final: list[dict[str, Any]]) -> None:
    """Prune and fine-tune in rounds, resuming after the last one saved; extend both lists."""
    p = PRESETS[run.preset]
    targets = [model.hidden] if run.layers == "first" else [model.hidden, model.output]
    amount = compression.AMOUNT if run.method == "pruned" else 0.0
    compression.prune(targets, amount=0.0)  # puts the masks on, so that a state can be loaded
    state_path = _checkpoint(run, digits, "rounds")
    if state_path.exists():
        state = torch.load(state_path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        history += state["history"]
        final += state["final"]
    else:
        final.append(_measure(model, run, digits, 0, p.epochs, 0.0))
    saved = time.monotonic()
    for number in range(len(final), run.rounds + 1):
        compression.prune(targets, amount)
        # A round has a seed of its own, so that its batches differ from those of the last one.
        epochs = _fit(model, run, digits, p.finetune_epochs, f"round{number}",
                      seed=run.seed + 100_000 * number)
        history += [epoch | {"round": number} for epoch in epochs]
        final.append(_measure(model, run, digits, number, p.epochs + number * p.finetune_epochs,
                              round(final[-1]["seconds"] + _seconds(epochs), 3)))
        if time.monotonic() - saved > training.CHECKPOINT_SECONDS:
            training.save_atomically({"model": model.state_dict(), "history": history,
                                      "final": final}, state_path)
            saved = time.monotonic()


def _measure(model: nn.Module, run: Run, digits: mnist.Mnist, number: int, epochs: int,
             seconds: float) -> dict[str, Any]:
    """Return the final metrics of a run or a round; only a final run reads the test set."""
    model.eval()
    with torch.inference_mode():
        metrics = {"val_error": mnist.error(model, digits.val_x, digits.val_y)}
        if run.stage == "final":
            metrics["test_error"] = mnist.error(model, digits.test_x, digits.test_y)
    counts = {f"compression{suffix}": compression.compression_ratio(model, over)
              for suffix, over in (("", "compressed"), ("_all", "weights"), ("_model", "model"))}
    return {"round": number, **counts, **metrics, "epochs": epochs, "seconds": seconds,
            "empty_layers": compression.empty_layers(model)}


def _trained(start: Run, digits: mnist.Mnist) -> dict[str, torch.Tensor]:
    """Return the weights of a dense run; trained again if only its result is here."""
    path = _weights_path(start, digits)
    if not path.exists():
        model = _build(start)
        _fit(model, start, digits, PRESETS[start.preset].epochs, "train")
        training.save_atomically(model.state_dict(), path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _artefacts(model: nn.Module, run: Run) -> dict[str, np.ndarray]:
    """Return the small arrays that the notebooks show: first rows, masks."""
    if run.method == "block_circulant" and run.block_size >= 7:
        layer = model.hidden
        assert isinstance(layer, BlockCirculantLinear)
        return {"first_rows": layer.weight.detach().numpy().astype(np.float16)}
    if run.method == "pruned":
        mask = compression.masks(model)["hidden"].numpy()
        return {"mask": np.packbits(mask), "shape": np.array(mask.shape)}
    return {}


def _seconds(history: Iterable[dict[str, float]]) -> float:
    return round(sum(epoch["seconds"] for epoch in history), 3)


def _checkpoint(run: Run, digits: mnist.Mnist, phase: str) -> Path:
    return CHECKPOINTS / digits.source / run.task / run.preset / f"{run.name}-{phase}.ckpt"


def _weights_path(run: Run, digits: mnist.Mnist) -> Path:
    return CHECKPOINTS / digits.source / run.task / run.preset / f"{run.name}.pt"
