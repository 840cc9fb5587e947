"""What a run is: one training, or one trained network pruned in rounds, and where its result is."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from circtools import results

SEARCH_SEEDS = (1000, 1001)  # trials of the hyper-parameters use seeds of their own


@dataclass(frozen=True)
class Run:
    """One run; its name is its result's file. Fields of the other task keep their defaults."""

    task: str
    preset: str
    method: str  # dense, block_circulant, pruned, unpruned (the same loop, pruning nothing), ...
    lr: float  # of the fine-tuning, for a run that starts from a trained network
    seed: int
    stage: str = "final"  # or search: a trial, which never reads the test set
    layers: str = "first"  # MNIST: or all: the output layer is compressed too
    pixels: str = "natural"  # MNIST: or permuted
    block_size: int = 1
    rounds: int = 0
    start_lr: float | None = None  # of the dense training that a chain starts from
    tied: bool | None = None  # Multi30k: whether the output weights are the target embedding's
    dropout: float | None = None  # Multi30k

    @property
    def name(self) -> str:
        parts = [self.method]
        if self.tied is None:
            parts += [self.layers, self.pixels]
        else:
            parts.append("tied" if self.tied else "untied")
        if self.block_size > 1:
            parts.append(f"b{self.block_size}")
        if self.dropout is not None:
            parts.append(f"drop{self.dropout:g}")
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
                       layers="first", block_size=1)


def missing(runs: Iterable[Run], folder: Path, source: str) -> list[Run]:
    """Return the runs that have no result yet."""
    return [run for run in runs if not run.path(folder, source).exists()]


def chosen_lrs(task: str, preset: str, folder: Path,
               source: str) -> dict[tuple[str, str, int, int], float]:
    """Return the chosen learning rates by (method, pixels, block size, round)."""
    table = results.load(folder, data=source)
    table = table[(table["task"] == task) & (table["preset"] == preset)]
    return {(row.method, row.pixels, row.block_size, row.round): row.lr
            for row in results.choices(table).itertuples()}
