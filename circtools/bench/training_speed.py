"""Speed of training and translation, beside the plain way and beside what the machine allows.

    python -m circtools.bench.training_speed --preset base

Trains the same Transformer for a few batches in three ways, in turn, and prints target words a
second (padding not counted), as ratios to the first:

- plain: torch.nn.Transformer in fp32, batches of 128 sentences in random order from a DataLoader,
  the loss from the table of all logits, as most tutorials have it;
- circtools in fp32, and circtools in bf16.

The limit is the arithmetic of the matrix products alone (6 operations a weight and word) at the
rate measured for a large product in the same run. Then it translates the test set, if a
network of this size has been trained here. Do not run anything else beside it. The result is
written to data/results/benchmarks.
"""

import argparse
import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from circtools.experiments import execute, multi30k, multi30k_runs, store, translation
from circtools.transformer import PAD


class Plain(nn.Module):
    """The Transformer as it is usually built."""

    def __init__(self, words: multi30k.Words, preset: multi30k_runs.Preset) -> None:
        super().__init__()
        self.d_model = d = preset.d_model
        self.source = nn.Embedding(len(words.german), d, padding_idx=PAD)
        self.target = nn.Embedding(len(words.english), d, padding_idx=PAD)
        self.body = nn.Transformer(d, preset.heads, preset.layers, preset.layers,
                                   preset.feed_forward, preset.dropout, batch_first=True)
        self.dropout = nn.Dropout(preset.dropout)
        self.output = nn.Linear(d, len(words.english))
        self.output.weight = self.target.weight
        angle = torch.arange(512).unsqueeze(1) * torch.exp(
            torch.arange(0, d, 2) * (-math.log(10_000) / d))
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], 2).flatten(1))

    def embed(self, embedding: nn.Embedding, words: Tensor) -> Tensor:
        x = embedding(words) * math.sqrt(self.d_model)
        return self.dropout(x + self.positions[: words.shape[1]])

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        x = self.body(self.embed(self.source, source), self.embed(self.target, target),
                      tgt_mask=causal, src_key_padding_mask=(source == PAD).float() * -1e9,
                      memory_key_padding_mask=(source == PAD).float() * -1e9)
        return self.output(x)


def collate(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Pad a batch to its longest sentences."""
    sides = [[row[row != PAD] for row in side] for side in zip(*pairs, strict=True)]
    source, target = (nn.utils.rnn.pad_sequence(rows, batch_first=True) for rows in sides)
    return source, target


Step = Callable[[], int]  # trains on one batch, returns its target words


def plain_steps(corpus: multi30k.Corpus, preset: multi30k_runs.Preset) -> Step:
    """Return the step of the usual tutorial."""
    model = Plain(corpus.words, preset)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98))
    pairs = list(zip(corpus.train.source, corpus.train.target, strict=True))
    loader = iter(DataLoader(pairs, batch_size=128, shuffle=True, collate_fn=collate))

    def step() -> int:
        source, target = next(loader)
        logits = model(source, target[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD,
                               label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return int((target[:, 1:] != PAD).sum())

    return step


def our_steps(corpus: multi30k.Corpus, preset: multi30k_runs.Preset,
              precision: torch.dtype) -> Step:
    """Return the step that circtools.experiments.training.fit takes."""
    model = multi30k.transformer(corpus.words, dropout=preset.dropout, **preset.sizes)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    parts: Iterator[tuple[Tensor, Tensor]] = itertools.chain.from_iterable(
        multi30k.batches(corpus.train, preset.recipe.batch_tokens) for _ in itertools.count())

    def step() -> int:
        batch = next(parts)
        loss = multi30k.loss(model, batch, 0.1, precision)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return int((batch[1][:, 1:] != PAD).sum())

    return step


def product_rate(dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product."""
    a, b = torch.randn(2048, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        seconds.append((time.perf_counter() - start) / 5)
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / statistics.median(seconds[5:])


def operations_per_word(corpus: multi30k.Corpus, preset: multi30k_runs.Preset) -> float:
    """Return the operations of a training step's products, for each target word."""
    model = multi30k.transformer(corpus.words, **preset.sizes)
    per_source = sum(p.numel() for p in model.encoder.parameters() if p.dim() == 2)
    per_target = sum(p.numel() for p in model.decoder.parameters() if p.dim() == 2)
    for layer in model.decoder:  # these two read the source
        cross = [layer.cross_attention.key.weight, layer.cross_attention.value.weight]
        per_source += sum(w.numel() for w in cross)
        per_target -= sum(w.numel() for w in cross)
    per_target += model.output.weight.numel()
    source = int((corpus.train.source != PAD).sum())
    target = int((corpus.train.target[:, 1:] != PAD).sum())
    return 6 * (per_source * source / target + per_target)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="base", choices=list(multi30k_runs.PRESETS))
    parser.add_argument("--rounds", type=int, default=8, help="of 8 batches for each way")
    parser.add_argument("--output", type=Path, default=store.FOLDER / "benchmarks")
    options = parser.parse_args()
    corpus, preset = multi30k.load("auto"), multi30k_runs.PRESETS[options.preset]
    torch.manual_seed(0)
    ways = {"plain": plain_steps(corpus, preset),
            "circtools fp32": our_steps(corpus, preset, torch.float32),
            "circtools bf16": our_steps(corpus, preset, torch.bfloat16)}
    for step in ways.values():
        for _ in range(4):  # warm up
            step()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, step in ways.items():
            start = time.perf_counter()
            words = sum(step() for _ in range(8))
            rates[name].append(words / (time.perf_counter() - start))
    speed = {name: statistics.median(values) for name, values in rates.items()}
    for name, dtype in (("fp32 limit", torch.float32), ("bf16 limit", torch.bfloat16)):
        speed[name] = product_rate(dtype) / operations_per_word(corpus, preset)
    seconds = {}
    run = multi30k_runs.plan(options.preset, 1, store.FOLDER)[0][0]
    weights = execute.weights_path(run, store.FOLDER, corpus.origin)
    if weights.exists():  # of a network trained here; an untrained one never ends its sentences
        model = multi30k.transformer(corpus.words, **preset.sizes).eval()
        model.load_state_dict(torch.load(weights, weights_only=True))
        for beam in (1, 4):
            start = time.perf_counter()
            translation.translate(model, corpus.words, corpus.test.german, beam=beam)
            seconds[f"beam {beam}"] = round(time.perf_counter() - start, 2)
    print(f"{corpus.origin} data, preset {options.preset}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}")
    for name, value in speed.items():
        print(f"{name:16}{value:9.0f} target words/s{value / speed['plain']:7.2f} x plain")
    share = speed["circtools bf16"] / speed["bf16 limit"]
    print(f"circtools bf16 reaches {share:.2f} of its limit")
    for name, value in seconds.items():
        print(f"translating {len(corpus.test)} sentences, {name}: {value} s")
    store.write({"benchmark": "training_speed", "preset": options.preset, "data": corpus.origin,
                   "target_words_per_second": speed, "translation_seconds": seconds,
                   "threads": torch.get_num_threads(), "cores": os.cpu_count(),
                   "provenance": store.provenance()},
                  options.output / f"training_speed-{options.preset}.json")


if __name__ == "__main__":
    main()
