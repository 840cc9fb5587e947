"""The Multi30k task: batches of its corpus, its Transformers, their training, a run at work."""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from circtools import compression, counting, pruning
from circtools.experiments import bleu, runs, store, training, translation
from circtools.experiments.corpus import Corpus, Split, Vocab, extra_test_sets, load
from circtools.experiments.files import DAMAGED, save_atomically
from circtools.experiments.losses import linear_cross_entropy
from circtools.experiments.methods import METHODS
from circtools.experiments.multi30k_runs import PRESETS, TRIAL_STRIDE, Preset, Recipe
from circtools.linear import StructuredLinear
from circtools.structures import STRUCTURES
from circtools.transformer import PAD, Config, LinearLayer, Transformer


def batches(split: Split, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Return a split's (source, target) batches in random order, each of similar lengths.

    Sentences are put into buckets three target tokens wide, whose edges move from epoch to epoch,
    sorted by source length, and cut where one more sentence would make the padded target longer
    than ``tokens``. Padding is then about 5 % of what is computed.
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

    The arguments and errors are those of :func:`.training.fit`; the metrics are ``train_loss``
    (with label smoothing) and ``val_loss`` (without), in nats per token, ``seconds`` and ``tokens``
    (targets trained on, without padding).
    """
    split, held_out = corpus.train.to(device), corpus.val.to(device)
    tokens = int((corpus.train.target[:, 1:] != PAD).sum())
    task = training.Task(
        batches=lambda: batches(split, recipe.batch_tokens),
        loss=lambda m, batch: loss(m, batch, recipe.smoothing, precision),
        count=lambda batch: (batch[1][:, 1:] != PAD).sum(), size=tokens, unit="token",
        evaluate=lambda m: {"val_loss": validation_loss(m, held_out), "tokens": tokens})

    # Not what has two dimensions: the shared weights of a structure may be a vector.
    matrices = {id(parameter) for name, layer in counting.weight_layers(model).items()
                if name.startswith(("encoder.", "decoder."))
                for path, parameter in layer.named_parameters() if path != "bias"}

    def lr_scale(name: str, parameter: nn.Parameter) -> float:
        return recipe.matrix_lr_scale if id(parameter) in matrices else 1.0

    return training.fit(model.to(device), task, recipe, seed=seed, lr_scale=lr_scale,
                        before_epoch=before_epoch, checkpoint=checkpoint, progress=progress)


def transformer(vocab: Vocab, linear: LinearLayer = nn.Linear, **sizes: Any) -> Transformer:
    """Return a Transformer for these vocabularies; ``sizes`` are those of ``Config``."""
    return Transformer(Config(len(vocab.german), len(vocab.english), **sizes), linear)


def save_model(model: Transformer, vocab: Vocab, path: Path) -> None:
    """Save a Transformer in half precision, with its vocabularies; a ValueError if compressed."""
    with torch.device("meta"):
        dense = Transformer(model.config).state_dict()
    if {name: value.shape for name, value in model.state_dict().items()} != {
            name: value.shape for name, value in dense.items()}:
        raise ValueError("only a dense Transformer can be saved so; of a compressed one save "
                         "model.state_dict()")
    state = {name: value.half() for name, value in model.state_dict().items()}
    if model.config.tied:
        del state["output.weight"]
    save_atomically({"config": asdict(model.config), "words": asdict(vocab), "state": state}, path)


def load_model(path: Path) -> tuple[Transformer, Vocab]:
    """Return a Transformer of :func:`save_model`, in evaluation mode, and its vocabularies.

    It raises a FileNotFoundError without a file, and a ValueError if that holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no model {path}; 'circtools run multi30k --preset tiny "
                                "--seeds 1' trains one and leaves it as a .pt file beside its "
                                "result: name that file")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        names = {"source_words": "source_vocab", "target_words": "target_vocab"}  # old to new
        config = {names.get(name, name): value for name, value in stored["config"].items()
                  if name != "norm"}  # which old files name; it is always before a sublayer
        model = Transformer(Config(**config))
        state = {name: value.float() for name, value in stored["state"].items()}
        if model.config.tied:
            state["output.weight"] = state["target_embedding.weight"]
        model.load_state_dict(state)
        return model.eval(), Vocab(**stored["words"])
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


def build(vocab: Vocab, preset: Preset, method: str, block_size: int, *, dropout: float,
          tied: bool) -> Transformer:
    """Return the untrained network of a method; what is pruned or projected begins dense.

    ``block_size`` is that of its layers, or how many times fewer weights they store.
    """
    sizes = preset.sizes
    if METHODS[method].narrower:
        for name in ("d_model", "feed_forward"):
            sizes[name] //= math.isqrt(block_size)
    kind: Any = STRUCTURES.get(METHODS[method].structure)
    layer = (lambda n_in, n_out: kind(n_in, n_out, block_size)) if kind else nn.Linear
    return transformer(vocab, layer, dropout=dropout, tied=tied, **sizes)


class Experiment(runs.Experiment):
    """One Multi30k run at work: its corpus, its Transformer, and what is done with them."""

    model: Transformer

    def __init__(self, run: runs.Run, origin: str, device: str = "cpu") -> None:
        assert run.dropout is not None and run.tied is not None
        self.run, self.preset, self.device = run, PRESETS[run.preset], device
        self.corpus = load(origin)
        trial = run.stage == "search"
        self.finetune_epochs = 1 if trial else self.preset.finetune_epochs
        self.rounds_at_once = TRIAL_STRIDE if trial else 1
        self.recipe = replace(self.preset.recipe, lr=run.lr, matrix_lr_scale=run.matrix_lr_scale)
        self.precision = precision_for(device)
        self.config = {"base_lr": self.preset.recipe.lr, "base_dropout": self.preset.dropout,
                       "preset_values": asdict(self.preset),
                       "precision": str(self.precision).removeprefix("torch."),
                       "beam": translation.BEAM, "length_penalty": translation.LENGTH_PENALTY}
        torch.manual_seed(run.seed)
        self.model = build(self.corpus.vocab, self.preset, run.method, run.block_size,
                           dropout=run.dropout, tied=run.tied).to(device)
        if METHODS[run.method].gradual:
            pruning.prune(self.prunable(), amount=0.0)  # masks, so that a state can be loaded
        final = run.stage == "final"
        self._extra = extra_test_sets() if final and origin == "real" else {}

    def begin(self) -> dict[str, Any]:
        if self.run.method != "projected":
            return {}
        before = {name: layer.get_parameter("weight").detach().clone()
                  for name, layer in counting.weight_layers(self.model).items()}
        compression.compress(self.model, "block_circulant", block_size=self.run.block_size,
                             skip=["output"])
        return {"projection_error": {
            name: ((layer.dense_weight() - before[name]).norm() / before[name].norm()).item()
            for name, layer in counting.weight_layers(self.model).items()
            if isinstance(layer, StructuredLinear)}}

    def fit(self, epochs: int, seed: int, checkpoint: Path | None,
            progress: str | None = None) -> list[dict[str, float]]:
        recipe = replace(self.recipe, epochs=epochs, average=min(self.recipe.average, epochs))
        self._last_begins = 1 - 1 / epochs
        more = {"before_epoch": self._prune_gradually} if METHODS[self.run.method].gradual else {}
        return train(self.model, self.corpus, recipe, seed=seed, device=self.device,
                     precision=self.precision, checkpoint=checkpoint, progress=progress, **more)

    def _prune_gradually(self, progress: float) -> None:
        layers = self.prunable()
        # The last epoch trains what is left: of a short training the curve would miss its end.
        done = 1.0 if progress >= self._last_begins else progress
        target = pruning.gradual_density(done, 1 / self.run.block_size)
        pruning.prune(layers, max(0.0, 1 - target / pruning.density(layers)))

    def measure(self, path: Path, number: int) -> dict[str, Any]:
        corpus, val = self.corpus, self.corpus.val
        metrics: dict[str, Any] = {"val_loss": validation_loss(self.model, val.to(self.device))}
        if self.run.stage == "search":
            return metrics
        compression.prepare(self.model)
        translate = partial(translation.translate, self.model, corpus.vocab)
        metrics["val_bleu"] = bleu.score(translate(val.tokens), val.english, resamples=0).bleu
        scores = {}
        for name, split in {"": corpus.test, **self._extra}.items():
            texts = translate(split.tokens)
            store.write_texts(texts, path, number, name)
            store.write_counts(bleu.sentence_counts(texts, split.english), path, number, name)
            scores[name] = bleu.score(texts, split.english)
        metrics |= {f"test_{name}": value for name, value in asdict(scores.pop("")).items()}
        metrics["extra"] = {name: {"bleu": score.bleu, "chrf": score.chrf}
                            for name, score in scores.items()}
        return metrics

    def counts(self) -> dict[str, Any]:
        with torch.device("meta"):
            whole = transformer(self.corpus.vocab, tied=self.run.tied, **self.preset.sizes)
        names = ("compression", "compression_all", "compression_model")
        counts: dict[str, Any] = {name: dense / stored for name, dense, stored in zip(
            names, _stored(whole), _stored(self.model), strict=True)}
        counts["file_bytes"] = counting.file_bytes(self.model)
        if masks := pruning.masks(self.model):
            counts["density"] = {name: round(float(m.float().mean()), 5)
                                 for name, m in masks.items()}
        return counts

    def keep(self, path: Path) -> None:
        run, arrays = self.run, {}
        if run.preset in ("tiny", "small") and run.method == "dense" and run.tied:
            save_model(self.model, self.corpus.vocab, path.with_suffix(".pt"))
        layers = counting.weight_layers(self.model)
        if run.method == "block_circulant":
            kept = ("encoder.0.attention.query", "decoder.0.attention.query",
                    "decoder.0.feed_forward.hidden")
            arrays = {name: layers[name].get_parameter("weight").detach().half().cpu().numpy()
                      for name in kept}
        elif METHODS[run.method].prunes and run.method != "finetune_control":
            arrays = {name: _density_by_head(name, mask, self.preset.heads)
                      for name, mask in pruning.masks(self.model).items()
                      if "attention" in name}
        if arrays:
            store.write_arrays(arrays, path.with_suffix(".npz"))

    def prunable(self) -> list[nn.Module]:
        return [layer for name, layer in counting.weight_layers(self.model).items()
                if name != "output" or self.run.method == "pruned_all"]

    def seconds_per_epoch(self) -> float:
        """Time an eighth of an epoch."""
        train = self.corpus.train
        self.corpus = replace(self.corpus, train=train.first(len(train) // 8))
        return 8 * super().seconds_per_epoch()


def _stored(model: Transformer) -> tuple[int, int, int]:
    """Return the weights stored in the Transformer layers, in all weight matrices, in total."""
    layers = sum(map(counting.stored_weights, (model.encoder, model.decoder)))
    output = 0 if model.config.tied else counting.stored_weights(model.output)
    return layers, layers + output, counting.stored_weights(model, "model")


def _density_by_head(name: str, mask: Tensor, heads: int) -> np.ndarray:
    """Return the share of weights left in each head's slice of an attention matrix, (heads,)."""
    of_inputs = name.endswith(".output")  # its heads are its columns, the others' are their rows
    return mask.float().mean(0 if of_inputs else 1).view(heads, -1).mean(1).cpu().numpy()
