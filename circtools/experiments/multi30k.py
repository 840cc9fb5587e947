"""The Multi30k task: batches of its corpus, its Transformers, their training and their loss."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from circtools.experiments import training
from circtools.experiments.corpus import Corpus, Split, Vocab, load
from circtools.experiments.files import DAMAGED
from circtools.experiments.losses import linear_cross_entropy
from circtools.transformer import PAD, Config, LinearLayer, Transformer

__all__ = ["Recipe", "batches", "load", "load_model", "loss", "precision_for", "save_model",
           "train", "transformer", "validation_loss"]


@dataclass(frozen=True)
class Recipe:
    """How a Transformer is trained; chosen on the validation split."""

    epochs: int = 20
    lr: float = 1e-3
    matrix_lr_scale: float = 1.0  # that of the Transformer layers' matrices, as a multiple of lr
    batch_tokens: int = 1_000  # target tokens in a batch, padding counted
    warmup: float = 0.1  # share of the training in which the learning rate rises
    smoothing: float = 0.1  # of the labels
    clip_norm: float = 1.0
    average: int = 5  # last epochs whose weights are averaged


def batches(split: Split, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Return a split's (source, target) batches in random order, each of similar lengths.

    Sentences are put into buckets three target tokens wide, whose edges move from epoch to epoch,
    sorted by source length in each, and cut where one more sentence would make the padded target
    longer than ``tokens``. Padding is then about 5 % of what is computed.
    """
    sources = (split.source != PAD).sum(1).cpu()
    targets = (split.target != PAD).sum(1).cpu() - 1  # START is read, not predicted
    bucket = (targets + 3 * torch.rand(())).div(3, rounding_mode="floor")
    order = (1000 * bucket + sources + torch.rand(len(split))).argsort()
    sizes, longest = [0], 0
    for target in targets[order].tolist():
        longest = max(longest, target)
        if (sizes[-1] + 1) * longest > tokens and sizes[-1]:
            sizes.append(0)
            longest = target
        sizes[-1] += 1
    rows = order.to(split.source.device).split(sizes)  # one copy per epoch: a GPU never waits
    lengths = [(sources[part].max(), targets[part].max() + 1) for part in order.split(sizes)]
    made = [(split.source[part, :s], split.target[part, :t])
            for part, (s, t) in zip(rows, lengths, strict=True)]
    return [made[i] for i in torch.randperm(len(made)).tolist()]


def loss(model: Transformer, batch: tuple[Tensor, Tensor], smoothing: float,
         precision: torch.dtype) -> Tensor:
    """Return the mean label-smoothed cross-entropy of a batch, in nats per token."""
    source, target = batch
    with torch.autocast(source.device.type, precision, enabled=precision != torch.float32):
        features = model.decode(target[:, :-1], model.encode(source))
        return linear_cross_entropy(features.flatten(0, 1), model.output.weight,
                                    target[:, 1:].flatten(), label_smoothing=smoothing,
                                    ignore_index=PAD)


def validation_loss(model: Transformer, split: Split, tokens: int = 4_000) -> float:
    """Return the cross-entropy of a split without label smoothing, in nats per token."""
    total = torch.zeros((), device=split.source.device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the same batches at every call
        cut = batches(split, tokens)
    for batch in cut:
        n_tokens = (batch[1][:, 1:] != PAD).sum()
        total += loss(model, batch, 0.0, torch.float32) * n_tokens
    return total.item() / int((split.target[:, 1:] != PAD).sum())


def train(model: Transformer, corpus: Corpus, recipe: Recipe, *, seed: int,
          device: torch.device | str = "cpu", precision: torch.dtype = torch.float32,
          before_epoch: Callable[[float], None] = lambda progress: None,
          checkpoint: Path | None = None, progress: training.Progress = None
          ) -> list[dict[str, float]]:
    """Train a Transformer in place; return its metrics, a dictionary per epoch.

    The arguments and what is raised are those of :func:`circtools.experiments.training.fit`; the
    metrics are ``train_loss`` (with label smoothing) and ``val_loss`` (without), in nats per
    token, ``seconds`` and ``tokens`` (targets trained on, without padding).
    """
    split, held_out = corpus.train.to(device), corpus.val.to(device)
    tokens = int((corpus.train.target[:, 1:] != PAD).sum())
    task = training.Task[Transformer](
        batches=lambda epoch: batches(split, recipe.batch_tokens),
        loss=lambda m, batch: loss(m, batch, recipe.smoothing, precision),
        count=lambda batch: (batch[1][:, 1:] != PAD).sum(), size=tokens, unit="token",
        evaluate=lambda m: {"val_loss": validation_loss(m, held_out), "tokens": tokens},
    )
    numbers = training.Recipe(recipe.epochs, recipe.lr, recipe.warmup, betas=(0.9, 0.98),
                              clip_norm=recipe.clip_norm, average=recipe.average)
    return training.fit(
        model.to(device), task, numbers, seed=seed,
        lr_scale=lambda name, parameter: (
            recipe.matrix_lr_scale if _is_matrix(name, parameter) else 1.0),
        before_epoch=before_epoch, checkpoint=checkpoint, progress=progress)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter holds weights of a linear layer inside the encoder or the decoder."""
    return name.startswith(("encoder.", "decoder.")) and parameter.ndim > 1


def transformer(vocab: Vocab, linear: LinearLayer = nn.Linear, **sizes: Any) -> Transformer:
    """Return a Transformer for these vocabularies; ``sizes`` are those of ``Config``."""
    return Transformer(Config(len(vocab.german), len(vocab.english), **sizes), linear)


def save_model(model: Transformer, vocab: Vocab, path: Path) -> None:
    """Save a dense Transformer in half precision, with its vocabularies.

    Raises:
        ValueError: if it is compressed.
    """
    with torch.device("meta"):
        dense = Transformer(model.config).state_dict()
    if {name: value.shape for name, value in model.state_dict().items()} != {
            name: value.shape for name, value in dense.items()}:
        raise ValueError("only a dense Transformer can be saved so; of a compressed one save "
                         "model.state_dict()")
    state = {name: value.half() for name, value in model.state_dict().items()}
    if model.config.tied:
        del state["output.weight"]
    training.save_atomically({"config": asdict(model.config), "words": asdict(vocab),
                              "state": state}, path)


def load_model(path: Path) -> tuple[Transformer, Vocab]:
    """Return a Transformer of :func:`save_model`, in evaluation mode, and its vocabularies.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds something else.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(stored, dict):
            raise TypeError(f"it holds a {type(stored).__name__}")
        names = {"source_words": "source_vocab", "target_words": "target_vocab"}  # old to new
        config = {names.get(name, name): value for name, value in stored["config"].items()}
        model = Transformer(Config(**config))
        state = {name: value.float() for name, value in stored["state"].items()}
        if model.config.tied:
            state["output.weight"] = state["target_embedding.weight"]
        model.load_state_dict(state)
        return model.eval(), Vocab(**stored["words"])
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise ValueError(f"{path} holds no model saved by circtools ({error!r:.80}); if it is "
                         "damaged, delete it and train it or get it again") from error


def precision_for(device: torch.device | str) -> torch.dtype:
    """Return bf16 where the device multiplies it faster than fp32, else fp32."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32
