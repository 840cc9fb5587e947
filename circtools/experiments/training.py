"""One training loop for every task: progress bar, checkpoint, exact resume."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from circtools.experiments.files import replacing

CHECKPOINT_SECONDS = 20.0  # between two checkpoints; shorter epochs do not write one each


class Diverged(FloatingPointError):
    """The loss is not finite any more; ``history`` has the epochs before."""

    def __init__(self, message: str, history: list[dict[str, float]]) -> None:
        super().__init__(message)
        self.history = history


def save_atomically(payload: Any, path: Path) -> None:
    """Save with ``torch.save``; no half file is ever left."""
    with replacing(path) as temporary:
        torch.save(payload, temporary)


def linear_decay(progress: float) -> float:
    """Learning-rate factor that falls from 1 to 0 over a training, ``progress`` in [0, 1)."""
    return 1.0 - progress


def warmup_decay(progress: float, warmup: float) -> float:
    """Learning-rate factor that rises to 1 in the share ``warmup`` of a training, then falls."""
    return progress / warmup if progress < warmup else (1.0 - progress) / (1.0 - warmup)


def fit(
    model: nn.Module,
    batches: Callable[[int], Sequence[Any]],
    loss_of: Callable[[nn.Module, Any], Tensor],
    *,
    epochs: int,
    lr: float,
    seed: int,
    lr_factor: Callable[[str, nn.Parameter], float] = lambda name, parameter: 1.0,
    evaluate: Callable[[nn.Module], dict[str, float]],
    schedule: Callable[[float], float] = linear_decay,
    before_epoch: Callable[[float], None] = lambda progress: None,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_norm: float | None = None,
    average: int = 1,
    size: Callable[[Any], int] = lambda batch: 1,
    unit: str = "batch",
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> list[dict[str, float]]:
    """Train a model with Adam and return its metrics, one dictionary an epoch.

    Every epoch seeds torch's random numbers from ``seed`` and its own number, so a training that
    was killed and resumed ends with the same numbers as one left alone (on the same machine with
    the same number of threads).

    Args:
        model: trained in place, left in evaluation mode.
        batches: called with the epoch's number (from 0), gives its batches.
        loss_of: the mean loss of a batch, a scalar tensor.
        epochs: 1 or more.
        lr: peak learning rate.
        seed: of everything random in the training; not of the model's first weights.
        lr_factor: multiple of ``lr`` for a parameter, given with its name.
        evaluate: metrics after each epoch, measured in evaluation mode.
        schedule: factor of ``lr`` by the share of the training that is done.
        before_epoch: called with that share before each epoch; may change masks, not parameters.
        betas: Adam's decay rates.
        clip_norm: largest norm of the gradient of all parameters together; None for no limit.
        average: the model ends with the mean of its weights after each of this many last epochs.
        size: what the progress bar counts in a batch.
        unit: the name of what it counts.
        checkpoint: file to resume from and to write to; removed by the caller.
        progress: label of the progress bar; none is shown without one.

    Raises:
        ValueError: if ``epochs`` or ``lr`` is not positive, ``average`` is not between 1 and
            ``epochs``, or the checkpoint is of a training with other values.
        Diverged: if the loss or a metric is not finite, which a smaller learning rate avoids.
    """
    if epochs < 1 or lr <= 0:
        raise ValueError(f"epochs and lr must be positive, got epochs={epochs}, lr={lr}")
    if not 1 <= average <= epochs:
        raise ValueError(f"average must be between 1 and the {epochs} epochs, got {average}")
    parameters = list(model.parameters())
    device = parameters[0].device
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault(lr_factor(name, parameter), []).append(parameter)
    optimizer = torch.optim.Adam([{"params": group} for group in groups.values()], lr=lr,
                                 betas=betas, fused=True)
    settings = {"epochs": epochs, "lr": lr, "seed": seed, "average": average}
    history: list[dict[str, float]] = []
    mean: list[Tensor] = []  # of the weights after each of the last epochs so far
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state.get("settings", settings) != settings:
            raise ValueError(f"{checkpoint} is of a training with {state['settings']}, not "
                             f"{settings}; delete it, or name another file")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history, mean = state["history"], state["mean"]
    saved = time.monotonic()
    bar: tqdm | None = None
    for epoch in range(len(history), epochs):
        torch.manual_seed(seed * 10_000 + epoch)
        before_epoch(epoch / epochs)
        started = time.monotonic()
        model.train()
        total = torch.zeros((), dtype=torch.float64, device=device)
        examples = batches(epoch)
        one_epoch = sum(map(size, examples))
        if bar is None:
            bar = tqdm(total=epochs * one_epoch, initial=epoch * one_epoch, desc=progress,
                       disable=progress is None, leave=False, mininterval=0.5, unit=unit,
                       unit_scale=unit != "batch")
        for step, batch in enumerate(examples):
            now = lr * schedule((epoch + step / len(examples)) / epochs)
            for factor, group in zip(groups, optimizer.param_groups, strict=True):
                group["lr"] = factor * now
            loss = loss_of(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimizer.step()
            total += loss.detach()
            # Reading the loss would make a GPU wait, so it is shown on the CPU only.
            if bar.update(size(batch)) and device.type == "cpu":
                bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, loss {loss.item():.2f}")
        train_loss = float(total) / len(examples)
        model.eval()
        with torch.inference_mode():
            metrics = evaluate(model)
        history.append({"train_loss": train_loss, **metrics,
                        "seconds": round(time.monotonic() - started, 3)})
        for name, value in history[-1].items():
            if not math.isfinite(value):
                raise Diverged(f"{name} is {value} after epoch {epoch + 1}; try a learning rate "
                               f"below {lr}", history[:-1])
        if average > 1 and epoch >= epochs - average:
            weights = [p.detach() / average for p in parameters]
            mean = [m + w for m, w in zip(mean, weights, strict=True)] if mean else weights
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            save_atomically({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                             "history": history, "mean": mean, "settings": settings}, checkpoint)
            saved = time.monotonic()
    if bar is not None:
        bar.close()
    if average > 1:
        with torch.no_grad():
            for parameter, m in zip(parameters, mean, strict=True):
                parameter.copy_(m)
    model.eval()  # also if the checkpoint was that of the last epoch
    return history
