"""One training loop for every task: progress bar, checkpoint, exact resume."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor, nn
from tqdm import tqdm

from circtools.experiments.files import blaming, load_saved, save_atomically

CHECKPOINT_SECONDS = 20.0  # between two checkpoints; shorter epochs do not write one each
Progress = str | TextIO | None  # a bar's label, or the file that it is written to


class Diverged(FloatingPointError):
    """The loss is not finite any more; ``history`` has the epochs before."""

    def __init__(self, message: str, history: list[dict[str, float]]) -> None:
        super().__init__(message)
        self.history = history


def warmup_decay(progress: float, warmup: float) -> float:
    """Return the learning rate's factor when the share ``progress``, in [0, 1), is done.

    It rises to 1 in the share ``warmup`` of a training, then falls to 0.
    """
    return progress / warmup if progress < warmup else (1.0 - progress) / (1.0 - warmup)


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training with Adam; a ValueError names those that are out of range."""

    epochs: int
    lr: float  # at its peak
    warmup: float = 0.0  # share of the training in which the learning rate rises
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's decay rates
    clip_norm: float | None = None  # largest norm of all gradients together; None for no limit
    average: int = 1  # the weights end as their mean after each of this many last epochs

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.lr > 0:
            raise ValueError(
                f"epochs and lr must be positive, got epochs={self.epochs}, lr={self.lr}")
        if not 1 <= self.average <= self.epochs:
            raise ValueError(f"average must be between 1 and the {self.epochs} epochs, got "
                             f"{self.average}")


@dataclass(frozen=True)
class Task:
    """What is learnt: the batches of an epoch, their loss, and the metrics after it."""

    batches: Callable[[], Sequence[Any]]  # of an epoch
    loss: Callable[[Any, Any], Tensor]  # the mean over what a batch counts, a scalar
    count: Callable[[Any], Tensor | int]  # of images, say, or of tokens that are no padding
    size: int  # the sum of the counts of an epoch, for the progress bar
    unit: str  # the name of what is counted
    evaluate: Callable[[Any], dict[str, float]]  # called in evaluation mode


def _resume(checkpoint: Path | None, settings: dict[str, Any], model: nn.Module,
            optimizer: torch.optim.Optimizer) -> tuple[list[dict[str, float]], list[Tensor]]:
    """Load the state of a killed training; return its history, and its part of the mean weights."""
    if checkpoint is None or not checkpoint.exists():
        return [], []
    state = load_saved(checkpoint, next(model.parameters()).device)
    if settings | state["settings"] != settings:
        raise ValueError(f"{checkpoint} is of a training with {state['settings']}, not "
                         f"{settings}; delete it, or name another file")
    with blaming(checkpoint):  # the network may have changed since
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    return state["history"], state["mean"]


def _adam(model: nn.Module, recipe: Recipe, lr_scale: Callable[[str, nn.Parameter], float]
          ) -> tuple[torch.optim.Adam, list[float]]:
    """Return the optimizer and the multiple of the learning rate of each of its groups."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(lr_scale(name, parameter), []).append(parameter)
    optimizer = torch.optim.Adam([{"params": group} for group in groups.values()], lr=recipe.lr,
                                 betas=recipe.betas, fused=True)
    return optimizer, list(groups)


def _epoch(model: nn.Module, task: Task, recipe: Recipe, optimizer: torch.optim.Optimizer,
           lr_scales: list[float], epoch: int, bar: tqdm) -> dict[str, float]:
    """Train for one epoch; return its metrics, with the mean loss over all that is counted."""
    model.train()
    parameters = list(model.parameters())
    device = parameters[0].device
    batches = task.batches()
    # Counted before the first step: a GPU, whose counts are tensors, is waited for only once.
    counts = torch.stack([torch.as_tensor(task.count(batch)) for batch in batches]).tolist()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for step, (batch, count) in enumerate(zip(batches, counts, strict=True)):
        done = (epoch + step / len(batches)) / recipe.epochs
        lr = recipe.lr * warmup_decay(done, recipe.warmup)
        for scale, group in zip(lr_scales, optimizer.param_groups, strict=True):
            group["lr"] = scale * lr
        loss = task.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        optimizer.step()
        total += count * loss.detach().double()
        # Reading the loss would make a GPU wait, so it is shown on the CPU only.
        if bar.update(count) and device.type == "cpu":
            bar.set_postfix_str(f"epoch {epoch + 1}/{recipe.epochs}, loss {loss.item():.2f}")
    model.eval()
    with torch.inference_mode():
        return {"train_loss": float(total) / sum(counts), **task.evaluate(model)}


def fit(model: nn.Module, task: Task, recipe: Recipe, *, seed: int,
        lr_scale: Callable[[str, nn.Parameter], float] = lambda name, parameter: 1.0,
        before_epoch: Callable[[float], None] = lambda progress: None,
        checkpoint: Path | None = None, progress: Progress = None) -> list[dict[str, float]]:
    """Train a model in place with Adam and return its metrics, one dictionary per epoch.

    Every epoch seeds torch's random numbers from ``seed`` and its own number, so a training that
    was killed and resumed ends with the same numbers as one left alone (on the same machine with
    the same number of threads). The model's first weights are the caller's.

    Args:
        model: left in evaluation mode.
        task: what it learns.
        recipe: the numbers of the training.
        seed: of everything random in the training.
        lr_scale: multiple of the learning rate for a parameter, given with its name.
        before_epoch: called before each epoch with the share of the training that is done; may
            change masks, not parameters.
        checkpoint: file to resume from and to write to; removed by the caller.
        progress: label of the progress bar, or a file that it is written to; None for no bar.

    A ValueError says that the checkpoint has another recipe or seed, :class:`Diverged` that the
    loss or a metric is not finite, which a smaller learning rate avoids.
    """
    optimizer, lr_scales = _adam(model, recipe, lr_scale)
    settings = asdict(recipe) | {"seed": seed}
    history, mean = _resume(checkpoint, settings, model, optimizer)
    saved = time.monotonic()
    label, file = (progress, None) if isinstance(progress, str) else (None, progress)
    with tqdm(total=recipe.epochs * task.size, initial=len(history) * task.size, desc=label,
              file=file, disable=progress is None, leave=False, mininterval=0.5, unit=task.unit,
              unit_scale=True) as bar:
        for epoch in range(len(history), recipe.epochs):
            torch.manual_seed(seed * 10_000 + epoch)
            before_epoch(epoch / recipe.epochs)
            started = time.monotonic()
            metrics = _epoch(model, task, recipe, optimizer, lr_scales, epoch, bar)
            for name, value in metrics.items():
                if not math.isfinite(value):
                    raise Diverged(f"{name} is {value} after epoch {epoch + 1}; try a learning "
                                   f"rate below {recipe.lr}", history)
            history.append(metrics | {"seconds": round(time.monotonic() - started, 3)})
            if recipe.average > 1 and epoch >= recipe.epochs - recipe.average:
                parts = [p.detach() / recipe.average for p in model.parameters()]
                mean = [m + part for m, part in zip(mean, parts, strict=True)] if mean else parts
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_atomically({"model": model.state_dict(), "history": history, "mean": mean,
                                 "optimizer": optimizer.state_dict(), "settings": settings},
                                checkpoint)
                saved = time.monotonic()
    if mean:
        with torch.no_grad():
            for parameter, average in zip(model.parameters(), mean, strict=True):
                parameter.copy_(average)
    model.eval()  # also if the checkpoint was that of the last epoch
    return history
