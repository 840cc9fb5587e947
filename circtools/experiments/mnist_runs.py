"""The MNIST experiments: their sizes, which runs there are, how one is built and measured."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from circtools import compression
from circtools.experiments import mnist, results, store
from circtools.experiments.runs import SEARCH_SEEDS, Run, missing
from circtools.linear import BlockCirculantLinear


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
    "tiny": Preset(
        train_images=10_000, epochs=2, block_sizes=(4, 28, 784), fewer_block_sizes=(28,),
        rounds=6, finetune_epochs=1, lrs=(1e-3, 4e-3), finetune_lrs=(5e-4, 1e-3),
    ),
    "base": Preset(
        train_images=55_000, epochs=10,
        block_sizes=(2, 4, 7, 8, 14, 16, 28, 49, 98, 196, 392, 784),
        fewer_block_sizes=(2, 4, 8, 16, 49, 196, 784),
        rounds=29, finetune_epochs=2,  # 0.79 ** 29 leaves a little less than 1 / 784
        lrs=(1e-3, 2e-3, 4e-3, 8e-3, 16e-3), finetune_lrs=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
    ),
}


def plan(preset: str, seeds: int, folder: Path, source: str = "real") -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    Stages whose runs depend on a choice of the learning rate that has no results yet are left
    out, so the caller runs what there is and asks again (see ``experiments.run_all``).

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
    if missing(trials, folder, source):
        return stages
    chosen = _chosen_lrs(preset, folder, source)
    dense_lr = chosen["dense", "natural", 1, 0]
    stages.append([make("pruned", lr, seed, stage="search", rounds=p.rounds,
                        start=make("dense", dense_lr, seed, stage="search"))
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
    if missing(stages[1], folder, source):
        return stages
    # A chain with a chosen learning rate goes as far as that choice holds.
    last = {lr: r for (method, _, _, r), lr in sorted(chosen.items()) if method == "pruned"}
    same = {"lr": p.base_lr, "rounds": p.rounds, "from": p.base_lr}
    tuned = [{"lr": lr, "rounds": r, "from": dense_lr} for lr, r in last.items()]
    chains: list[dict[str, Any]] = [{"method": "pruned", **how} for how in [*tuned, same]]
    chains += [{"method": "pruned", "layers": "all", **how} for how in tuned]
    chains += [{"method": "unpruned", **how} for how in tuned]
    final = []
    for how in chains:
        start_lr = how.pop("from")
        final += [make(seed=seed, start=make("dense", start_lr, seed), **how)
                  for seed in range(seeds)]
    stages.append(final)
    # The base rate and the chosen one may coincide; of two chains in one file, the longer is run.
    return [list({run.name: run for run in sorted(stage, key=lambda run: run.rounds)}.values())
            for stage in stages]


def _chosen_lrs(preset: str, folder: Path,
                source: str) -> dict[tuple[str, str, int, int], float]:
    """Return the chosen learning rates by (method, pixels, block size, round)."""
    table = results.load(folder, data=source)
    table = table[(table["task"] == "mnist") & (table["preset"] == preset)]
    return {(row.method, row.pixels, row.block_size, row.round): row.lr
            for row in results.choices(table).itertuples()}


def epochs(run: Run) -> tuple[int, int]:
    """Return the epochs before a run starts (of the network it starts from), and its own."""
    p = PRESETS[run.preset]
    return (p.epochs, run.rounds * p.finetune_epochs) if run.start else (0, p.epochs)


class Experiment:
    """One MNIST run at work: its data, its network, and what is done with them."""

    def __init__(self, run: Run, source: str, device: str = "cpu") -> None:
        self.run, self.preset = run, PRESETS[run.preset]
        self.digits = mnist.load(source).first(self.preset.train_images).to(device)
        if run.pixels == "permuted":
            self.digits = self.digits.permuted()
        torch.manual_seed(run.seed)
        self.model: nn.Module = mnist.classifier()
        if run.method == "block_circulant":
            skip = ["output"] if run.layers == "first" else []
            compression.compress(self.model, "block_circulant", block_size=run.block_size,
                                 skip=skip, init="random")
        self.model.to(device)
        self.finetune_epochs, self.rounds_at_once = self.preset.finetune_epochs, 1
        self.config = {"base_lr": self.preset.base_lr, "preset_values": asdict(self.preset),
                       "batch_size": mnist.BATCH_SIZE, "optimizer": "Adam",
                       "schedule": "linear decay to 0 in each training"}

    def fit(self, epochs: int, seed: int, checkpoint: Path | None,
            progress: str | None = None) -> list[dict[str, float]]:
        return mnist.train(self.model, self.digits, epochs=epochs, lr=self.run.lr, seed=seed,
                           checkpoint=checkpoint, progress=progress)

    def begin(self) -> dict[str, Any]:
        """Change the trained network that a run starts from; return what is to be recorded."""
        return {}

    def prunable(self) -> list[nn.Module]:
        """Return the layers that a chain prunes."""
        first = self.run.layers == "first"
        return [self.model.hidden] if first else [self.model.hidden, self.model.output]

    def measure(self) -> dict[str, Any]:
        """Return the metrics on validation and, in a final run only, on the test set."""
        digits = self.digits
        metrics = {"val_error": mnist.error(self.model, digits.val_x, digits.val_y)}
        if self.run.stage == "final":
            metrics["test_error"] = mnist.error(self.model, digits.test_x, digits.test_y)
        return metrics

    def counts(self) -> dict[str, Any]:
        """Return the compression over the compressed layers, all weight matrices, the model."""
        return {f"compression{suffix}": compression.compression_ratio(self.model, over)
                for suffix, over in (("", "compressed"), ("_all", "weights"), ("_model", "model"))}

    def keep_round(self, path: Path, number: int) -> None:
        """Write what each measurement leaves beside the result: nothing, for a classifier."""

    def keep(self, path: Path) -> None:
        """Write beside the result of seed 0 what the notebooks show: first rows, masks."""
        layer = self.model.hidden
        if isinstance(layer, BlockCirculantLinear) and self.run.block_size >= 7:
            rows = layer.weight.detach().cpu().numpy().astype(np.float16)
            store.write_arrays({"first_rows": rows}, path.with_suffix(".npz"))
        if self.run.method == "pruned":
            mask = compression.masks(self.model)["hidden"].cpu().numpy()
            store.write_arrays({"mask": np.packbits(mask), "shape": np.array(mask.shape)},
                                 path.with_suffix(".npz"))

    def seconds_per_epoch(self) -> float:
        """Time one epoch."""
        return self.fit(1, 0, None)[0]["seconds"]
