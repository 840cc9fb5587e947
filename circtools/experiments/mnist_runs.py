"""The MNIST experiments: their sizes, and which runs there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from circtools.experiments import choices
from circtools.experiments.methods import METHODS, PIXELS
from circtools.experiments.runs import SEARCH_SEEDS, Run
from circtools.experiments.store import Store

DEFAULT = ("dense", "block_circulant", "pruned", "finetune_control")  # methods


@dataclass(frozen=True)
class Preset:
    """A size of the MNIST experiments."""

    train_images: int
    epochs: int
    block_sizes: tuple[int, ...]  # first layer compressed
    fewer_block_sizes: tuple[int, ...]  # also the output layer; other structures
    permuted_block_sizes: tuple[int, ...]
    tiles: tuple[int, ...]  # block sizes, of blocks circulant in two directions
    rounds: int
    finetune_epochs: int  # after each round of pruning
    lrs: tuple[float, ...]  # tried for what is trained from scratch
    finetune_lrs: tuple[float, ...]  # tried for pruning, as many
    base_lr: float = 1e-3  # of the series "same"


PRESETS = {
    "tiny": Preset(
        train_images=10_000, epochs=2, block_sizes=(4, 28, 784), fewer_block_sizes=(28,),
        permuted_block_sizes=(28,), tiles=(49,),
        rounds=6, finetune_epochs=1, lrs=(1e-3, 4e-3), finetune_lrs=(5e-4, 1e-3)),
    "base": Preset(
        train_images=55_000, epochs=10,
        block_sizes=(2, 4, 7, 8, 14, 16, 28, 49, 98, 196, 392, 784),
        fewer_block_sizes=(2, 4, 8, 16, 49, 196, 784),
        permuted_block_sizes=(2, 4, 8, 16, 28, 49, 196, 784), tiles=(16, 49, 196),
        rounds=29, finetune_epochs=2,  # 0.79 ** 29 leaves a little less than 1 / 784
        lrs=(1e-3, 2e-3, 4e-3, 8e-3, 16e-3), finetune_lrs=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3))}


def plan(preset: str, seeds: int, kept: Store, table: pd.DataFrame,
         methods: Sequence[str] = ()) -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    Stages that need a learning rate which has not been chosen yet are left out: the caller runs
    what there is and asks again. ``methods`` are beside those of :data:`DEFAULT`, and have no
    series "same".
    """
    p = PRESETS[preset]
    scratch = _from_scratch(p, methods)
    trials = [_run(preset, lr=lr, seed=seed, stage="search", **s)
              for seed in SEARCH_SEEDS for s in scratch for lr in p.lrs]
    if kept.missing(trials):
        return [trials]
    chosen = {(row.method, row.pixels, row.block_size, row.round): row.lr for row in
              choices.chosen_rates(table[table["preset"] == preset]).itertuples()}
    dense_lr = chosen["dense", "natural", 1, 0]
    pruning_trials = [
        _run(preset, "pruned", lr, seed, stage="search", rounds=p.rounds,
             start=_run(preset, "dense", dense_lr, seed, stage="search"))
        for seed in SEARCH_SEEDS for lr in p.finetune_lrs]
    stages = [trials, pruning_trials,
              [_run(preset, "dense", lr, seed) for seed in range(seeds)
               for lr in (p.base_lr, dense_lr)]]
    final: list[Run] = []
    for seed in range(seeds):
        for s in scratch[1:]:
            b, pixels = s["block_size"], s["pixels"]
            lr = chosen[s["method"], pixels, b, 0]
            rates = (lr, p.base_lr) if s["method"] in DEFAULT else (lr,)
            final += [_run(preset, lr=rate, seed=seed, **s) for rate in rates]
            if (s["method"], pixels) == ("block_circulant", "natural") and b in p.fewer_block_sizes:
                final.append(_run(preset, lr=lr, seed=seed, layers="all", **s))
    stages.append(final)
    if not kept.missing(pruning_trials):
        stages.append(_chains(preset, seeds, chosen))
    # The base rate and the chosen one may coincide; of two chains in one file, the longer is run.
    return [list({run.name: run for run in sorted(stage, key=lambda run: run.rounds)}.values())
            for stage in stages]


def _run(preset: str, method: str, lr: float, seed: int, **more: Any) -> Run:
    return Run("mnist", preset, method, lr, seed, **more)


def _from_scratch(p: Preset, methods: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is trained from its first weights, the dense network first."""
    found = [("dense", 1, "natural"),
             *(("block_circulant", b, "natural") for b in p.block_sizes),
             *(("block_circulant", b, "permuted") for b in p.permuted_block_sizes)]
    for method in (m for m in methods if m not in DEFAULT):
        sizes = p.tiles if METHODS[method].tasks == PIXELS else p.fewer_block_sizes
        orders = ("natural", "permuted") if method == "random_sharing" else ("natural",)
        found += [(method, b, pixels) for pixels in orders for b in sizes]
    return [{"method": method, "block_size": b, "pixels": pixels} for method, b, pixels in found]


def _chains(preset: str, seeds: int, chosen: dict[tuple[str, str, int, int], float]) -> list[Run]:
    """Return the networks that are pruned, or only trained on, in rounds."""
    p, dense_lr = PRESETS[preset], chosen["dense", "natural", 1, 0]
    # A chain with a chosen learning rate goes as far as that choice holds.
    last = {lr: r for (method, _, _, r), lr in sorted(chosen.items()) if method == "pruned"}
    tuned = [(lr, rounds, dense_lr) for lr, rounds in last.items()]
    kinds: list[tuple[dict[str, str], list[tuple[float, int, float]]]] = [
        ({"method": "pruned"}, [*tuned, (p.base_lr, p.rounds, p.base_lr)]),
        ({"method": "pruned", "layers": "all"}, tuned), ({"method": "finetune_control"}, tuned)]
    return [_run(preset, lr=lr, seed=seed, rounds=rounds,
                 start=_run(preset, "dense", start_lr, seed), **kind)
            for kind, chains in kinds for lr, rounds, start_lr in chains for seed in range(seeds)]


def epochs(run: Run) -> tuple[int, int]:
    """Return the epochs before a run starts (of the network it starts from), and its own."""
    p = PRESETS[run.preset]
    return (p.epochs, run.rounds * p.finetune_epochs) if run.start else (0, p.epochs)
