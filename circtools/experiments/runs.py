"""What a run is: one training, or one trained network pruned in rounds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn

SEARCH_SEEDS = (1000, 1001)  # trials of the hyper-parameters use seeds of their own

# Names on disk that have changed since; results are never rewritten.
OLD_METHODS = {"unpruned": "finetune_control"}
_ON_DISK = {new: old for old, new in OLD_METHODS.items()}


@dataclass(frozen=True)
class Run:
    """One run; its name is its result's file. Fields of the other task keep their defaults."""

    task: str
    preset: str
    method: str  # a key of METHODS
    lr: float  # of the fine-tuning, for a run that starts from a trained network
    seed: int
    stage: str = "final"  # or search: a trial, which never reads the test set
    layers: str = "first"  # MNIST: or all: the output layer is compressed too
    pixels: str = "natural"  # MNIST: or permuted
    block_size: int = 1  # of other structures the compression level, which it stands against
    rounds: int = 0
    start: "Run | None" = None  # the dense run whose network this one starts from
    tied: bool | None = None  # Multi30k: whether the output weights are the target embedding's
    dropout: float | None = None  # Multi30k
    matrix_lr_scale: float = 1.0  # Multi30k: of the Transformer layers' matrices, on top of lr

    @property
    def name(self) -> str:
        parts = [_ON_DISK.get(self.method, self.method)]
        parts += ([self.layers, self.pixels] if self.task == "mnist" else
                  ["tied" if self.tied else "untied"])
        if self.block_size > 1:
            parts.append(f"b{self.block_size}")
        if self.dropout is not None:
            parts.append(f"drop{self.dropout:g}")
        if self.start is not None:
            more = "" if self.start.dropout is None else f"drop{self.start.dropout:g}"
            if self.start.matrix_lr_scale != 1:
                more += f"matrices{self.start.matrix_lr_scale:g}x"
            parts.append(f"from{self.start.lr:g}{more}")
        parts.append(f"lr{self.lr:g}")
        if self.matrix_lr_scale != 1:
            parts.append(f"matrices{self.matrix_lr_scale:g}x")
        return "-".join([*parts, f"{self.stage}{self.seed}"])

    def config(self) -> dict[str, Any]:
        """Return what its result says of it; :func:`current` reads it again."""
        return asdict(self) | {"start_lr": self.start.lr if self.start else None}


def current(config: dict[str, Any]) -> dict[str, Any]:
    """Return a result's configuration with today's names, whenever it was written."""
    config = {"matrix_lr_scale": config.get("matrix_lr", 1.0), **config}
    config.pop("matrix_lr", None)
    config["method"] = OLD_METHODS.get(config["method"], config["method"])
    if config.get("start"):
        config["start"] = current(config["start"])
    return config


class Experiment(Protocol):
    """One run at work; each task has a class of this kind."""

    run: Run
    model: nn.Module  # its network
    config: dict[str, Any]  # what its result says beside the run's own fields
    finetune_epochs: int  # after each round of pruning
    rounds_at_once: int  # that are pruned before fine-tuning

    def __init__(self, run: Run, origin: str, device: str = "cpu") -> None: ...

    def fit(self, epochs: int, seed: int, checkpoint: Path | None,
            progress: str | None = None) -> list[dict[str, float]]:
        """Train, or resume from the checkpoint; return the metrics of each epoch."""

    def begin(self) -> dict[str, Any]:
        """Change the trained network that a run starts from; return what is to be recorded."""
        return {}

    def prunable(self) -> list[nn.Module]:
        """Return the layers that rounds of pruning prune."""

    def measure(self, path: Path, number: int) -> dict[str, Any]:
        """Return the metrics on validation and, in a final run only, on the test set.

        What it translates for them is written beside the result, with the number of the round.
        """

    def counts(self) -> dict[str, Any]:
        """Return the compression over the compressed layers, all weight matrices, the model."""

    def keep(self, path: Path) -> None:
        """Write beside the result of seed 0 what the notebooks show of a network."""

    def seconds_per_epoch(self) -> float:
        """Time an epoch, or a part of one."""
        return self.fit(1, 0, None)[0]["seconds"]
