"""The Multi30k experiments: their sizes, which runs there are, how one is built and measured."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from circtools import compression, counting, pruning
from circtools.experiments import bleu, choices, multi30k, store, translation
from circtools.experiments.choices import TRIAL_PRESET, HparamScale
from circtools.experiments.corpus import Vocab, extra_test_sets
from circtools.experiments.methods import CONTROL_LEVELS, METHODS, ROUNDS_AT, tuned_as
from circtools.experiments.multi30k import Recipe
from circtools.experiments.runs import SEARCH_SEEDS, Run
from circtools.experiments.store import Store
from circtools.linear import StructuredLinear
from circtools.transformer import Transformer

UNTUNED_BLOCK_SIZES = (4, 16, 32)  # of the series "same", with the dense hyper-parameters
FULL_SEEDS = 3  # seeds of everything; further ones only for claim 3, about slight pruning
EXTRA_SEED_ROUNDS = {"pruned": 3, "finetune_control": 3}  # rounds that these have then
TRIAL_EPOCHS = 4  # from scratch, or of fine-tuning
TRIAL_ROUNDS = 12
TRIAL_STRIDE = 2  # rounds that a trial prunes at once, and one epoch of fine-tuning after them
RATES = {"from scratch": (1.0, 2.0, 4.0, 8.0),  # multiples of the base learning rate
         "fine-tuning": (0.5, 1.0, 2.0, 4.0)}
MATRIX_LR_SCALE = 4.0  # tried for the Transformer layers' matrices alone
BASE = HparamScale()


@dataclass(frozen=True)
class Preset:
    """A size of the Multi30k experiments."""

    layers: int
    d_model: int
    heads: int
    feed_forward: int
    dropout: float
    recipe: Recipe = field(default_factory=Recipe)
    block_sizes: tuple[int, ...] = (*ROUNDS_AT, 64, 128)
    rounds: int = 15
    finetune_epochs: int = 2  # after each round of pruning

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of the model's ``Config`` that give its size."""
        names = ("layers", "d_model", "heads", "feed_forward")
        return {name: getattr(self, name) for name in names}


PRESETS = {
    "tiny": Preset(1, 64, 4, 256, dropout=0.1, recipe=Recipe(epochs=8, lr=4e-3, average=1)),
    "small": Preset(2, 128, 4, 512, dropout=0.2, recipe=Recipe(lr=2e-3)),
    "base": Preset(3, 256, 8, 1024, dropout=0.3),
    "large": Preset(6, 512, 8, 2048, dropout=0.4, recipe=Recipe(lr=5e-4)),
}


def plan(preset: str, seeds: int, kept: Store, table: pd.DataFrame,
         methods: Sequence[str] = ()) -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    First the dense networks; then, if any other method is asked for, the :func:`trials`; then,
    with what was chosen, the rest.

    Args:
        preset: a key of :data:`PRESETS`.
        seeds: number of seeds of the final runs; those after the first :data:`FULL_SEEDS` have
            only the untied dense networks (without other methods, the tied ones) and the first
            rounds of pruning and of its control.
        kept: where the results are.
        table: the results that there are.
        methods: of :data:`METHODS`; ``dense`` is always among them.
    """
    only_dense = set(methods) <= {"dense"}
    tied = range(seeds if only_dense else min(seeds, FULL_SEEDS))
    stages = [[dense(preset, seed, tied=True) for seed in tied]]
    if only_dense:
        return stages
    stages += [[dense(TRIAL_PRESET, 0)], *trials(preset, methods, kept, table)]
    if any(map(kept.missing, stages[1:])):
        return stages
    chosen = _chosen(table, preset)
    stages.append([dense(preset, seed, chosen["dense"]) for seed in range(seeds)])
    stages.append([dense(preset, seed) for seed in range(seeds)])  # the series "same"
    final = [run for seed in range(seeds) for method in methods
             if seed < FULL_SEEDS or method in EXTRA_SEED_ROUNDS
             for run in _of_method(method, preset, seed, chosen)]
    stages.append(list(dict.fromkeys(final)))
    return stages


def _of_method(method: str, preset: str, seed: int, chosen: dict[str, HparamScale]) -> list[Run]:
    """Return the final runs of a method with one seed."""
    kind, p = METHODS[method], PRESETS[preset]
    own = partial(_run, preset, method, seed, chosen[method])
    more = {"start": dense(preset, seed, chosen["dense"])} if kind.fine_tunes else {}
    if method == "dense":
        return []
    if kind.prunes:
        rounds = p.rounds if seed < FULL_SEEDS else EXTRA_SEED_ROUNDS[method]
        return [own(rounds=rounds, **more)]
    if kind.at_control_levels:
        return [own(block_size=b, **more) for b in CONTROL_LEVELS]
    sizes = (*(b for b in p.block_sizes if b < p.d_model), p.d_model)  # the last: fully circulant
    return [*(own(block_size=b) for b in sizes),
            *(_run(preset, method, seed, BASE, block_size=b) for b in UNTUNED_BLOCK_SIZES)]


def _run(preset: str, method: str, seed: int, scale: HparamScale, **more: Any) -> Run:
    base = PRESETS[preset]
    return Run("multi30k", preset, method, seed=seed, lr=scale.lr * base.recipe.lr,
               dropout=scale.dropout * base.dropout, matrix_lr_scale=scale.matrix_lr,
               **{"tied": False, **more})


def dense(preset: str, seed: int, scale: HparamScale = BASE, tied: bool = False) -> Run:
    """Return the run of a dense network."""
    return _run(preset, "dense", seed, scale, tied=tied)


def trials(preset: str, methods: Sequence[str], kept: Store, table: pd.DataFrame
           ) -> list[list[Run]]:
    """Return the trials of each method's hyper-parameters, in stages; each needs those before it.

    The same settings for each method, at two compressions, at the size :data:`TRIAL_PRESET`. First
    learning rates are tried in short trainings. Second, a higher rate of the Transformer layers'
    matrices alone; last, half the dropout with the best of all these.

    For training from scratch a short trial is but a first guess: a network that has not begun to
    overfit prefers higher rates and less dropout than it would in the end. So there the second and
    the third stage are complete runs, which are kept, the base values and the first guess among
    them.

    At any other size, what was chosen is then tried against the base values.
    """
    methods = list(dict.fromkeys(map(tuned_as, ("dense", *methods))))
    scratch = [method for method in methods if not METHODS[method].fine_tunes]
    trial = partial(_trial, TRIAL_PRESET)
    stages = [[run for method in methods
               for lr in RATES["from scratch" if method in scratch else "fine-tuning"]
               for run in trial(method, HparamScale(lr), complete=False)]]
    if kept.missing(stages[0]):
        return stages
    full = table[table["dropout_factor"] == 1]
    first = choices.scales_by_method(full[full["series"] == "search"])
    stages.append([run for method in methods for scale in dict.fromkeys(
                       [BASE, first[method], HparamScale(matrix_lr=MATRIX_LR_SCALE)])
                   for run in trial(method, scale, complete=method in scratch)])
    if kept.missing(stages[1]):
        return stages
    best = choices.scales_by_method(full)
    stages.append([run for method in methods
                   for run in trial(method, best[method]._replace(dropout=0.5),
                                    complete=method in scratch)])
    if preset == TRIAL_PRESET or kept.missing(stages[2]):
        return stages
    lent = _chosen(table, TRIAL_PRESET)
    for complete in (True, False):  # what is fine-tuned starts from the dense network
        stages.append([run for method in methods if (method in scratch) == complete
                       for scale in dict.fromkeys([BASE, lent[method]])
                       for run in _trial(preset, method, scale, complete)])
    return stages


def _trial(preset: str, method: str, scale: HparamScale, complete: bool = True) -> list[Run]:
    """Return the runs that try one setting of a method."""
    kind = METHODS[method]
    more: dict[str, Any] = {"rounds": TRIAL_ROUNDS} if kind.prunes else {}
    if kind.fine_tunes:
        more["start"] = dense(preset, 0)
    stage, seed = ("final", 0) if complete else ("search", SEARCH_SEEDS[0])
    levels = (1,) if method == "dense" or kind.prunes else CONTROL_LEVELS
    return [_run(preset, method, seed, scale, stage=stage, block_size=b, **more) for b in levels]


def _chosen(table: pd.DataFrame, preset: str) -> dict[str, HparamScale]:
    """Return, for each method, the hyper-parameters that its trials, or its lender's, chose."""
    chosen = choices.scales_by_method(table, preset)
    return {method: chosen[tuned_as(method)] for method in METHODS if tuned_as(method) in chosen}


def epochs(run: Run) -> tuple[int, int]:
    """Return the epochs before a run starts (of the network it starts from), and its own."""
    p = PRESETS[run.preset]
    before = p.recipe.epochs if run.start else 0
    if run.stage == "search":
        return before, run.rounds // TRIAL_STRIDE or TRIAL_EPOCHS
    if METHODS[run.method].prunes:
        return before, run.rounds * p.finetune_epochs
    longer = METHODS[run.method].longer
    more = ROUNDS_AT.get(run.block_size, 0) * p.finetune_epochs if longer else 0
    return before, more + (0 if run.start else p.recipe.epochs)


DEMO = Store().path(dense("small", 0, tied=True)).with_suffix(".pt")


def build(vocab: Vocab, preset: Preset, method: str, block_size: int, *, dropout: float,
          tied: bool) -> Transformer:
    """Return the untrained network of a method, with its own kind of layers.

    Args:
        vocab: the vocabularies.
        preset: its size.
        method: of :data:`METHODS`; what is pruned or projected begins dense.
        block_size: of the layers, or how many times fewer weights they store.
        dropout: a share.
        tied: whether the output weights are the target embedding's.
    """
    sizes = preset.sizes
    if METHODS[method].narrower:
        for name in ("d_model", "feed_forward"):
            sizes[name] //= math.isqrt(block_size)
    return multi30k.transformer(vocab, METHODS[method].layer(block_size), dropout=dropout,
                                tied=tied, **sizes)


class Experiment:
    """One Multi30k run at work: its corpus, its Transformer, and what is done with them."""

    def __init__(self, run: Run, origin: str, device: str = "cpu") -> None:
        assert run.dropout is not None and run.tied is not None
        self.run, self.preset, self.device = run, PRESETS[run.preset], device
        self.corpus = multi30k.load(origin)
        trial = run.stage == "search"
        self.finetune_epochs = 1 if trial else self.preset.finetune_epochs
        self.rounds_at_once = TRIAL_STRIDE if trial else 1
        self.recipe = replace(self.preset.recipe, lr=run.lr, matrix_lr_scale=run.matrix_lr_scale)
        self.precision = multi30k.precision_for(device)
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
        self._written: dict[str, tuple[list[str], list[str]]] = {}  # by test set: and references

    def begin(self) -> dict[str, Any]:
        """Change the trained network that a run starts from; return what is to be recorded."""
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
        return multi30k.train(self.model, self.corpus, recipe, seed=seed, device=self.device,
                              precision=self.precision, checkpoint=checkpoint, progress=progress,
                              **more)

    def _prune_gradually(self, progress: float) -> None:
        layers = self.prunable()
        # The last epoch trains what is left: of a short training the curve would miss its end.
        done = 1.0 if progress >= self._last_begins else progress
        target = pruning.gradual_density(done, 1 / self.run.block_size)
        pruning.prune(layers, max(0.0, 1 - target / pruning.density(layers)))

    def measure(self) -> dict[str, Any]:
        """Return the metrics on validation and, in a final run only, on the test set."""
        corpus, val = self.corpus, self.corpus.val
        vocab = corpus.vocab
        metrics: dict[str, Any] = {
            "val_loss": multi30k.validation_loss(self.model, val.to(self.device))}
        self._written = {}
        compression.prepare(self.model)
        if self.run.stage == "final":
            written = translation.translate(self.model, vocab, val.tokens)
            metrics["val_bleu"] = bleu.score(written, val.english, resamples=0).bleu
            for name, split in {"": corpus.test, **self._extra}.items():
                texts = translation.translate(self.model, vocab, split.tokens)
                self._written[name] = texts, split.english
            scored = {name: bleu.score(*texts) for name, texts in self._written.items()}
            metrics |= {f"test_{name}": value for name, value in asdict(scored.pop("")).items()}
            metrics["extra"] = {name: {"bleu": score.bleu, "chrf": score.chrf}
                                for name, score in scored.items()}
        return metrics

    def keep_round(self, path: Path, number: int) -> None:
        """Write beside the result what the last measurement translated."""
        for name, (texts, references) in self._written.items():
            store.write_texts(texts, path, number, name)
            store.write_counts(bleu.sentence_counts(texts, references), path, number, name)

    def counts(self) -> dict[str, Any]:
        """Return the compression over the Transformer layers, over all weight matrices but the
        embeddings, and over the whole model; and the bytes of a file."""
        with torch.device("meta"):
            whole = multi30k.transformer(self.corpus.vocab, tied=self.run.tied,
                                         **self.preset.sizes)
        ratios = [_stored(whole)[i] / stored for i, stored in enumerate(_stored(self.model))]
        names = ("compression", "compression_all", "compression_model")
        counts: dict[str, Any] = dict(zip(names, ratios, strict=True))
        counts["file_bytes"] = counting.file_bytes(self.model)
        if masks := pruning.masks(self.model):
            counts["density"] = {name: round(float(m.float().mean()), 5)
                                 for name, m in masks.items()}
        return counts

    def keep(self, path: Path) -> None:
        """Write beside the result of seed 0 what the notebooks and ``translate`` need."""
        run, arrays = self.run, {}
        if run.preset in ("tiny", "small") and run.method == "dense" and run.tied:
            multi30k.save_model(self.model, self.corpus.vocab, path.with_suffix(".pt"))
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
        """Return the layers that a chain prunes: the Transformer's, or all with weight matrices."""
        layers = counting.weight_layers(self.model)
        return [layer for name, layer in layers.items()
                if name != "output" or self.run.method == "pruned_all"]

    def seconds_per_epoch(self) -> float:
        """Time an eighth of an epoch."""
        train = self.corpus.train
        corpus = replace(self.corpus, train=train.first(len(train) // 8))
        history = multi30k.train(self.model, corpus, replace(self.recipe, epochs=1, average=1),
                                 seed=0, device=self.device, precision=self.precision)
        return 8 * history[0]["seconds"]


def _stored(model: Transformer) -> tuple[int, int, int]:
    """Return the weights stored in the Transformer layers, in all weight matrices, in total."""
    layers = sum(map(counting.stored_weights, (model.encoder, model.decoder)))
    output = 0 if model.config.tied else counting.stored_weights(model.output)
    return layers, layers + output, counting.stored_weights(model, "model")


def _density_by_head(name: str, mask: Tensor, heads: int) -> np.ndarray:
    """Return the share of weights left in each head's slice of an attention matrix, (heads,)."""
    of_inputs = name.endswith(".output")  # its heads are its columns, the others' are their rows
    return mask.float().mean(0 if of_inputs else 1).view(heads, -1).mean(1).cpu().numpy()
