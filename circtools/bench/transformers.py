"""Speed of the Transformers, in training and in translation.

    python -m circtools.bench.transformers --preset base

First the dense one trains in three ways, in turn, in target words per second:

- plain: torch.nn.Transformer in fp32, batches of 128 sentences in random order from a DataLoader,
  the loss from the table of all logits, as most tutorials have it;
- circtools in fp32, and circtools in bf16.

The limit is the arithmetic of the matrix products alone, as torch counts it, at the rate measured
for a large product. Then it translates the test set, if a network of this size has been trained
here. Second, each compressed network trains a few batches and translates some sentences, in turn
with the dense one; the ratios are medians. These are untrained, and kept from ending a sentence, so
that all do the same number of steps. Do not run anything else beside it.
"""

import argparse
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from circtools import bench, compression, counting, pruning
from circtools.experiments import multi30k, multi30k_runs, store, translation
from circtools.experiments.corpus import END, Corpus
from circtools.experiments.multi30k_runs import Preset
from circtools.transformer import PAD, Transformer, sinusoids

Pair = tuple[Tensor, ...]  # source and target words of a batch


class Plain(nn.Module):
    """The Transformer as it is usually built."""

    def __init__(self, source_words: int, target_words: int, preset: Preset) -> None:
        super().__init__()
        d = preset.d_model
        self.source = nn.Embedding(source_words, d, padding_idx=PAD)
        self.target = nn.Embedding(target_words, d, padding_idx=PAD)
        self.body = nn.Transformer(d, preset.heads, preset.layers, preset.layers,
                                   preset.feed_forward, preset.dropout, batch_first=True)
        self.dropout = nn.Dropout(preset.dropout)
        self.output = nn.Linear(d, target_words)
        self.output.weight = self.target.weight
        self.positions = nn.Buffer(sinusoids(512, d))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        x, y = (self.dropout(embedding(words) * math.sqrt(embedding.embedding_dim)
                             + self.positions[: words.shape[1]])  # (batch, tokens, d_model)
                for embedding, words in ((self.source, source), (self.target, target)))
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        padding = (source == PAD).float() * -1e9
        return self.output(self.body(x, y, tgt_mask=causal, src_key_padding_mask=padding,
                                     memory_key_padding_mask=padding))


def steps(optimizer: torch.optim.Optimizer, loss: Callable[[Pair], Tensor], batches: Iterable[Pair]
          ) -> Callable[[], int]:
    """Return a function that trains on the next batches, and returns their target words."""
    endless = iter(batches)

    def run() -> int:
        words = 0
        for batch in itertools.islice(endless, 8):
            optimizer.zero_grad()
            loss(batch).backward()
            nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
            optimizer.step()
            words += int((batch[1][:, 1:] != PAD).sum())
        return words

    return run


def plain_steps(corpus: Corpus, preset: Preset) -> Callable[[], int]:
    """Return the steps of the usual tutorial."""
    model = Plain(len(corpus.vocab.german), len(corpus.vocab.english), preset)

    def loss(batch: Pair) -> Tensor:
        source, target = (words[:, : int((words != PAD).sum(1).max())] for words in batch)
        return F.cross_entropy(model(source, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten(),
                               ignore_index=PAD, label_smoothing=0.1)

    data = DataLoader(TensorDataset(corpus.train.source, corpus.train.target), 128, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98))
    return steps(optimizer, loss, itertools.chain.from_iterable(itertools.repeat(data)))


def our_steps(model: Transformer, corpus: Corpus, preset: Preset, precision: torch.dtype
              ) -> Callable[[], int]:
    """Return the steps that circtools.experiments.training.fit takes."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    return steps(optimizer, lambda batch: multi30k.loss(
        model.train(), (batch[0], batch[1]), 0.1, precision),
                 itertools.chain.from_iterable(
                     multi30k.batches(corpus.train, preset.recipe.batch_tokens)
                     for _ in itertools.count()))


def translation_seconds(preset: str, corpus: Corpus, model: Transformer) -> dict[str, float]:
    """Time a network trained here, if there is one: an untrained one never ends its sentences."""
    run = multi30k_runs.dense(preset, 0, tied=True)
    weights, seconds = store.Store(origin=corpus.origin).weights(run), {}
    for beam in (1, 4) if weights.exists() else ():
        model.load_state_dict(torch.load(weights, weights_only=True))
        start = time.perf_counter()
        translation.translate(model.eval(), corpus.vocab, corpus.test.german, beam=beam)
        seconds[f"beam {beam}"] = round(time.perf_counter() - start, 2)
    return seconds


def build(corpus: Corpus, preset: Preset, method: str, level: int, tied: bool = False
          ) -> Transformer:
    """Return an untrained network whose layers store ``level`` times fewer weights."""
    model = multi30k.build(corpus.vocab, preset, method, level, dropout=preset.dropout, tied=tied)
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


def training_speed(corpus: Corpus, name: str) -> dict[str, Any]:
    """Return the speed of the dense Transformer of a preset."""
    preset = multi30k_runs.PRESETS[name]
    torch.manual_seed(0)
    fp32, bf16 = (build(corpus, preset, "dense", 1, tied=True) for _ in range(2))
    ways = {"plain": plain_steps(corpus, preset),
            "circtools fp32": our_steps(fp32, corpus, preset, torch.float32),
            "circtools bf16": our_steps(bf16, corpus, preset, torch.bfloat16)}
    speed = {way: statistics.median(words / seconds for seconds, words in samples)
             for way, samples in bench.in_turn(ways, rounds=8).items()}
    with FlopCounterMode(display=False) as counter:
        words = ways["circtools fp32"]()
    for way, dtype in (("fp32 limit", torch.float32), ("bf16 limit", torch.bfloat16)):
        speed[way] = bench.product_rate(dtype) * words / counter.get_total_flops()
    return {"benchmark": "training_speed", "preset": name, "data": corpus.origin,
            "target_words_per_second": speed,
            "translation_seconds": translation_seconds(name, corpus, fp32),
            "threads": torch.get_num_threads(), "cores": os.cpu_count()}


def compressed_speed(corpus: Corpus, name: str) -> dict[str, Any]:
    """Return the speed of the compressed Transformers of a preset, a row for each."""
    preset, precision = multi30k_runs.PRESETS[name], multi30k.precision_for("cpu")
    dense, rows = build(corpus, preset, "dense", 1), []
    for method in ("block_circulant", "pruned", "low_rank", "small_dense"):
        for level in (4, 16):
            both = dense, build(corpus, preset, method, level)
            rows.append({
                "method": method, "compression": level,
                "training": ratio((our_steps(m, corpus, preset, precision) for m in both), 5),
                "translation": ratio((translating(m, corpus) for m in both), 2)})
    return {"preset": name, "data": corpus.origin, "ratios": rows}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="base", choices=list(multi30k_runs.PRESETS))
    name, corpus = parser.parse_args().preset, multi30k.load("auto")
    bench.write(training_speed(corpus, name), f"training_speed-{name}")
    bench.write(compressed_speed(corpus, name), f"compressed_speed-{name}")


if __name__ == "__main__":
    main()
