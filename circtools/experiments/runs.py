"""What a run is: one training, or one trained network pruned in rounds, and where its result is."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from circtools.compression import AMOUNT

SEARCH_SEEDS = (1000, 1001)  # trials of the hyper-parameters use seeds of their own

# Methods that prune in rounds: the share of the remaining weights a round, and how they are picked.
PRUNING: dict[str, tuple[float, Literal["magnitude", "random"]]] = {
    "pruned": (AMOUNT, "magnitude"),
    "pruned_all": (AMOUNT, "magnitude"),  # Multi30k: the output weights too
    "random_pruned": (AMOUNT, "random"),  # a control
    "unpruned": (0.0, "magnitude"),  # a control: the same loop, pruning nothing
}


@dataclass(frozen=True)
class Run:
    """One run; its name is its result's file. Fields of the other task keep their defaults."""

    task: str
    preset: str
    method: str  # dense, block_circulant, a key of PRUNING; Multi30k: those of multi30k_runs
    lr: float  # of the fine-tuning, for a run that starts from a trained network
    seed: int
    stage: str = "final"  # or search: a trial, which never reads the test set
    layers: str = "first"  # MNIST: or all: the output layer is compressed too
    pixels: str = "natural"  # MNIST: or permuted
    block_size: int = 1  # of other structures their compression, which it stands against
    rounds: int = 0
    start: "Run | None" = None  # the dense run whose network this one starts from
    tied: bool | None = None  # Multi30k: whether the output weights are the target embedding's
    dropout: float | None = None  # Multi30k
    matrix_lr: float = 1.0  # Multi30k: as in Recipe

    @property
    def name(self) -> str:
        parts = [self.method]
        if self.task == "mnist":
            parts += [self.layers, self.pixels]
        else:
            parts.append("tied" if self.tied else "untied")
        if self.block_size > 1:
            parts.append(f"b{self.block_size}")
        if self.dropout is not None:
            parts.append(f"drop{self.dropout:g}")
        if self.start is not None:
            more = "" if self.start.dropout is None else f"drop{self.start.dropout:g}"
            if self.start.matrix_lr != 1:
                more += f"matrices{self.start.matrix_lr:g}x"
            parts.append(f"from{self.start.lr:g}{more}")
        parts.append(f"lr{self.lr:g}")
        if self.matrix_lr != 1:
            parts.append(f"matrices{self.matrix_lr:g}x")
        return "-".join([*parts, f"{self.stage}{self.seed}"])

    def path(self, folder: Path, source: str) -> Path:
        return folder / source / self.task / self.preset / f"{self.name}.json"


def missing(runs: Iterable[Run], folder: Path, source: str) -> list[Run]:
    """Return the runs that have no result yet."""
    return [run for run in runs if not run.path(folder, source).exists()]
