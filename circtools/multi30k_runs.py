"""The Multi30k experiments: their sizes, which runs there are, how one is built and measured."""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from circtools import multi30k, results, translation
from circtools.multi30k import Recipe
from circtools.runs import Run


@dataclass(frozen=True)
class Preset:
    """A size of the Multi30k experiments."""

    layers: int
    d_model: int
    heads: int
    feed_forward: int
    dropout: float
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def epochs(self) -> int:
        return self.recipe.epochs

    @property
    def sizes(self) -> dict[str, int]:
        """The arguments of the model's ``Config`` that give its size."""
        names = ("layers", "d_model", "heads", "feed_forward")
        return {name: getattr(self, name) for name in names}


PRESETS = {
    "quick": Preset(1, 64, 4, 256, dropout=0.0, recipe=Recipe(epochs=8, lr=4e-3, average=1)),
    "small": Preset(2, 128, 4, 512, dropout=0.2, recipe=Recipe(lr=2e-3)),
    "course": Preset(3, 256, 8, 1024, dropout=0.3),
    "poster": Preset(6, 512, 8, 2048, dropout=0.4, recipe=Recipe(lr=5e-4)),
}


def plan(preset: str, seeds: int, folder: Path, source: str = "real") -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    Args:
        preset: a key of :data:`PRESETS`.
        seeds: number of seeds of the final runs.
        folder: where the results are.
        source: ``"real"`` or ``"sample"``.
    """
    p = PRESETS[preset]
    return [[Run("multi30k", preset, "dense", p.recipe.lr, seed, tied=True, dropout=p.dropout)
             for seed in range(seeds)]]


DEMO = plan("small", 1, results.FOLDER)[0][0].path(results.FOLDER, "real").with_suffix(".pt")


class Experiment:
    """One Multi30k run at work: its corpus, its Transformer, and what is done with them."""

    def __init__(self, run: Run, source: str, device: str = "cpu") -> None:
        self.run, self.preset, self.device = run, PRESETS[run.preset], device
        self.corpus = multi30k.load(source)
        torch.manual_seed(run.seed)
        self.model = multi30k.transformer(
            self.corpus.words, dropout=run.dropout, tied=run.tied, **self.preset.sizes).to(device)
        self.recipe = replace(self.preset.recipe, lr=run.lr)
        self.precision = multi30k.precision_for(device)
        self.epochs = self.recipe.epochs
        self.config = {"base_lr": self.preset.recipe.lr, "preset_values": asdict(self.preset),
                       "precision": str(self.precision).removeprefix("torch."),
                       "beam": translation.BEAM, "length_penalty": translation.LENGTH_PENALTY}
        self._texts: list[str] = []

    def fit(self, epochs: int, seed: int, checkpoint: Path | None,
            progress: str | None = None) -> list[dict[str, float]]:
        recipe = replace(self.recipe, epochs=epochs, average=min(self.recipe.average, epochs))
        return multi30k.train(self.model, self.corpus, recipe, seed=seed, device=self.device,
                              precision=self.precision, checkpoint=checkpoint, progress=progress)

    def measure(self) -> dict[str, Any]:
        """Return the metrics on validation and, in a final run only, on the test set."""
        corpus, val = self.corpus, self.corpus.val
        words = corpus.words
        metrics: dict[str, Any] = {
            "val_loss": multi30k.validation_loss(self.model, val.to(self.device))}
        self._texts = []
        if self.run.stage == "final":
            written = translation.translate(self.model, words, val.german)
            metrics["val_bleu"] = translation.score(written, val.english, resamples=0).bleu
            started = time.monotonic()
            self._texts = translation.translate(self.model, words, corpus.test.german)
            metrics["translation_seconds"] = round(time.monotonic() - started, 2)
            scored = translation.score(self._texts, corpus.test.english)
            metrics |= {f"test_{name}": value for name, value in asdict(scored).items()}
        return metrics

    def texts(self) -> list[str]:
        """Return the translations of the test set that the last measurement wrote."""
        return self._texts

    def keep(self, path: Path) -> None:
        """Write beside the result of seed 0 the network that ``circtools translate`` uses."""
        if self.run.preset in ("quick", "small") and self.run.method == "dense":
            multi30k.save_model(self.model, self.corpus.words, path.with_suffix(".pt"))

    def prunable(self) -> list[nn.Module]:
        """Return the layers that a chain prunes."""
        raise NotImplementedError(self.run.method)

    def seconds_per_epoch(self) -> float:
        """Time an eighth of an epoch."""
        train = self.corpus.train
        few = multi30k.Split(train.german[::8], train.english[::8], train.source[::8],
                             train.target[::8])
        corpus = replace(self.corpus, train=few)
        history = multi30k.train(self.model, corpus, replace(self.recipe, epochs=1, average=1),
                                 seed=0, device=self.device, precision=self.precision)
        return 8 * history[0]["seconds"]
