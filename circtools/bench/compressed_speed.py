"""Speed of the compressed Transformers, in training and in translation, as ratios to the dense one.

    python -m circtools.bench.compressed_speed --preset base

Each network trains a few batches and translates some sentences, in turn with the dense one; the
ratios are medians. The networks are untrained, and kept from ending a sentence, so that all write
as many words as they may and do the same number of steps. Do not run anything else beside it. The
result is written to data/results/benchmarks.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from circtools import compression
from circtools.experiments import multi30k, multi30k_runs, store, translation
from circtools.experiments.multi30k_runs import Preset
from circtools.experiments.results import FEW
from circtools.transformer import Transformer

SENTENCES = 200


def build(words: multi30k.Words, preset: Preset, method: str, b: int) -> Transformer:
    """Return an untrained network whose layers store a b-th of the weights."""
    model = multi30k_runs.build(words, preset, method, b, dropout=preset.dropout, tied=False)
    if method == "pruned":
        layers = compression.weight_layers(model)
        compression.prune([layers[name] for name in layers if name != "output"], 1 - 1 / b)
    return model


def training(model: Transformer, corpus: multi30k.Corpus, preset: Preset) -> Callable[[], None]:
    """Return eight steps of training."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    parts: Iterator[tuple[Tensor, Tensor]] = itertools.chain.from_iterable(
        multi30k.batches(corpus.train, preset.recipe.batch_tokens) for _ in itertools.count())
    precision = multi30k.precision_for("cpu")

    def steps() -> None:
        model.train()
        for _ in range(8):
            optimizer.zero_grad(set_to_none=True)
            multi30k.loss(model, next(parts), 0.1, precision).backward()
            optimizer.step()

    return steps


def translating(model: Transformer, corpus: multi30k.Corpus) -> Callable[[], None]:
    """Return the translation of some test sentences with a beam of 4."""
    with torch.no_grad():
        model.output.weight[multi30k.END] = 0  # far from the best of thousands of random scores

    def run() -> None:
        translation.translate_indices(model.eval(), corpus.test.source[:SENTENCES])

    return run


def ratio(dense: Callable[[], None], other: Callable[[], None], rounds: int) -> float:
    """Return how many times as fast as the dense network another is, timed in turn."""
    ratios = []
    for number in range(rounds + 1):
        seconds = []
        for run in (dense, other):
            torch.manual_seed(number)  # the same batches for both
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])  # the first round warms up


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="base", choices=list(multi30k_runs.PRESETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=store.FOLDER / "benchmarks")
    options = parser.parse_args()
    corpus, preset = multi30k.load("auto"), multi30k_runs.PRESETS[options.preset]
    dense = build(corpus.words, preset, "dense", 1)
    rows = []
    print(f"preset {options.preset}, {torch.get_num_threads()} threads; times the dense network")
    for method in ("block_circulant", "pruned", "low_rank", "small_dense"):
        for b in FEW:
            model = build(corpus.words, preset, method, b)
            speed = {"training": ratio(training(dense, corpus, preset),
                                       training(model, corpus, preset), options.rounds)}
            if method == "pruned":  # for use, the zeros are written into the matrices
                for layer in compression.weight_layers(model).values():
                    if nn.utils.prune.is_pruned(layer):
                        nn.utils.prune.remove(layer, "weight")
            speed["translation"] = ratio(translating(dense, corpus), translating(model, corpus),
                                         max(2, options.rounds // 2))
            rows.append({"method": method, "compression": b, **speed})
            print(f"{method:16}{b:4}x   training {speed['training']:.2f}   "
                  f"translation {speed['translation']:.2f}", flush=True)
    store.write({"preset": options.preset, "data": corpus.origin, "ratios": rows,
                   "provenance": store.provenance() | {"threads": torch.get_num_threads()}},
                  options.output / f"compressed_speed-{options.preset}.json")


if __name__ == "__main__":
    main()
