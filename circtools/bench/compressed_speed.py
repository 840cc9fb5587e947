"""Speed of the compressed Transformers, in training and in translation, as ratios to the dense one.

    python -m circtools.bench.compressed_speed --preset base

Each network trains a few batches and translates some sentences, in turn with the dense one; the
ratios are medians. The networks are untrained, and kept from ending a sentence, so that all do the
same number of steps. Do not run anything else beside it. It writes to data/results/benchmarks.
"""

import statistics
from collections.abc import Callable, Iterable

import torch
from torch.nn.utils import parametrize

from circtools import bench, compression, counting, pruning
from circtools.bench.training_speed import our_steps
from circtools.experiments import multi30k, multi30k_runs, translation
from circtools.experiments.corpus import END, Corpus
from circtools.experiments.multi30k_runs import Preset
from circtools.transformer import Transformer


def build(corpus: Corpus, preset: Preset, method: str, level: int) -> Transformer:
    """Return an untrained network whose layers store ``level`` times fewer weights."""
    model = multi30k.build(corpus.vocab, preset, method, level, dropout=preset.dropout, tied=False)
    if method == "pruned":
        layers = counting.weight_layers(model)
        pruning.prune([layers[name] for name in layers if name != "output"], 1 - 1 / level)
    return model


def translating(model: Transformer, corpus: Corpus) -> Callable[[], object]:
    """Return the translation of 200 test sentences with a beam of 4."""
    for layer in counting.weight_layers(model).values():
        if pruning.mask_of(layer) is not None:  # for use, the zeros are written into the matrices
            parametrize.remove_parametrizations(layer, "weight")
    with torch.no_grad():
        model.output.weight[END] = 0  # far from the best of thousands of random scores
    compression.prepare(model.eval())
    return lambda: translation.translate_indices(model, corpus.test.source[:200])


def ratio(runs: Iterable[Callable[[], object]], rounds: int) -> float:
    """Return how many times as fast as the first function the second is, timed in turn."""
    first, second = bench.in_turn(dict(zip("ab", runs, strict=True)), rounds).values()
    return statistics.median(a / b for (a, _), (b, _) in zip(first, second, strict=True))


def main() -> None:
    """Measure, print and write."""
    name = bench.preset_of_command_line(__doc__)
    corpus, preset = multi30k.load("auto"), multi30k_runs.PRESETS[name]
    precision = multi30k.precision_for("cpu")
    dense, rows = build(corpus, preset, "dense", 1), []
    for method in ("block_circulant", "pruned", "low_rank", "small_dense"):
        for level in (4, 16):
            both = dense, build(corpus, preset, method, level)
            rows.append({
                "method": method, "compression": level,
                "training": ratio((our_steps(m, corpus, preset, precision) for m in both), 5),
                "translation": ratio((translating(m, corpus) for m in both), 2)})
            print(rows[-1], flush=True)
    bench.write({"preset": name, "data": corpus.origin, "ratios": rows}, f"compressed_speed-{name}")


if __name__ == "__main__":
    main()
