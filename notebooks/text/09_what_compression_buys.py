# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · What compression buys
#
# **You will learn** what you get for a compressed layer besides fewer weights: a smaller file, less
# arithmetic, sometimes less memory and sometimes less time. Where each method wins, and why the one
# that keeps the most accuracy buys no speed at all by itself.
#
# **You need** an idea of what a block-circulant layer and a pruned layer are (notebooks 02 and 04).
#
# **Time:** 10 minutes for the tables and pictures, 30 for all of it; under a minute to run. The
# timings are loaded: they were measured on an idle machine, which yours may not be now.

# %% tags=["hide-input", "nbval-check-output"]
from exercises import check, hint, solution

import statistics
import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from onnxruntime import InferenceSession
from torch import nn

from circtools import BlockCirculantLinear, counting, prune
from circtools.experiments import results
from circtools.products import choose
from circtools.report import speed_figures, style
from circtools.structures import LowRankLinear

style.use()
torch.manual_seed(0)
timings = results.timings()
cells, others = pd.DataFrame(timings["cells"]), pd.DataFrame(timings["others"])
machine = timings["machine"]
print(f"FULL-SCALE TIMINGS: {timings['provenance']['device']}, "
      f"{timings['provenance']['threads']} threads, torch {timings['provenance']['torch']}; "
      f"{machine['flops'] / 1e9:.0f} Gflop/s in products, {machine['bandwidth'] / 1e9:.0f} GB/s")

# %% [markdown]
# ## One layer, three currencies
#
# Take a matrix with 1024 rows and columns and compress it eightfold in each way. What becomes of
# the weights, the file, and the arithmetic for one input?
#
# **Predict** which of the methods needs the least arithmetic, and which has the smallest file.

# %% tags=["nbval-check-output"]
n, c = 1024, 8
dense, sparse = nn.Linear(n, n), nn.Linear(n, n)
prune([sparse], 1 - 1 / c)
layers = {"dense": dense, "block-circulant": BlockCirculantLinear(n, n, c),
          "low rank": LowRankLinear(n, n, c), "pruned": sparse}
for_frequencies = 11  # real products for all frequencies of a block of 8; exercise 9.1 counts them
products = {"dense": n * n, "block-circulant": for_frequencies * ((n // c) ** 2 + 2 * n),
            "low rank": n * n // c, "pruned": n * n // c}
table = pd.DataFrame({
    "stored weights": {name: counting.stored_weights(layer) for name, layer in layers.items()},
    "file, MB": {name: round(counting.file_bytes(layer) / 1e6, 2)
                 for name, layer in layers.items()},
    "multiplications": products})
table.map("{:,}".format)

# %% [markdown]
# **What to notice.** All three store an eighth of the weights. The pruned file is larger than the
# other two, because a pruned matrix must also say *where* its weights are: with a bit for every
# place, or a short number for every weight that is left, whichever takes less. And the
# block-circulant layer multiplies half as much again as the others: a transform there, a transform
# back, and three real products for every complex one.
#
# **9.1** Each frequency of a block costs a product between the blocks: one where the Fourier
# vector is real (the constant, and for even $b$ the alternating one), three real ones where it is
# complex (Gauss's trick; four without). How many is that in all for a block of size $b$?


# %% tags=["nbval-check-output"]
def products_of(b):
    ...


check("9.1", products_of)

# %% [markdown]
# **9.2** The file of a pruned matrix in megabytes. Each weight that is left takes 4 bytes. To say
# where they are takes one *bit* for every place in the matrix, or 2 bytes for each weight that is
# left. Count the shorter of the two.


# %% tags=["nbval-check-output"]
def sparse_megabytes(weights, density):
    ...


check("9.2", sparse_megabytes)

# %% [markdown]
# ## The truth about time
#
# Less arithmetic is a promise, not a speed-up. Here is a live measurement on this machine.
#
# **Predict:** a matrix with nine of ten weights pruned away, multiplied as it is: how much faster?

# %%
def milliseconds(layer, x, repeats=15):
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        with torch.no_grad():
            layer(x)
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


x = torch.randn(256, n)
zeros = nn.Linear(n, n)
with torch.no_grad():
    zeros.weight.mul_(torch.rand(n, n) >= 0.9)
live = {"dense": dense.eval(), "90 % zeros": zeros.eval(), "block-circulant, b = 8":
        layers["block-circulant"].eval(), "low rank, 8x": layers["low rank"].eval()}
taken = {name: milliseconds(layer, x) for name, layer in live.items()}
print("LIVE:", "; ".join(f"{name} {value:.2f} ms" for name, value in taken.items()))

# %% [markdown]
# A product with zeros is a product. The processor does not look. To skip them, the zeros must not
# be stored, and then each weight needs its index, the inputs are fetched one by one from here and
# there, and the wide vector units that make a dense product fast stand idle. Here is everything,
# measured on an idle machine, against what it compresses. (A *token* is one row of the input: in a
# Transformer one word. *CSR*, compressed sparse rows, stores the weights that are left, row by row,
# with their columns. *Int8* keeps every weight, but rounds weights and inputs to integers of 8
# bits, a quarter of the bytes; it runs in onnxruntime, a program that executes exported networks.)

# %% alt="Pruning kept dense gains no time; low rank and block-circulant layers gain at once"
speed_figures.against_compression(cells, others);

# %% tags=["nbval-check-output"]
at = others[(others["n"] == 1024) & (others["method"] == "pruned, sparse CSR")]
wide = at.pivot(index="compression", columns="tokens", values="ratio")
wide.index = [f"{1 - 1 / c:.0%} zeros" for c in wide.index]
print("FULL-SCALE TIMINGS: sparse CSR, times the dense product, by number of tokens (n = 1024)")
wide.round(2)

# %% [markdown]
# **What to notice.** *Pruned and kept dense* is a flat line at 1. *Sparse storage* (CSR) starts
# slower than dense and pays from 90 % of zeros on (with 32 tokens from 75 %). *Low rank* is two
# smaller dense products: with many tokens it gains nearly as much as it compresses, up to 16x; with
# one token much less, because then the calls themselves are the time. *Int8* removes no weight. Its
# star compares onnxruntime in 8 bits with PyTorch in 32, and a part of the gain is the program's:
# the last section shows how fast the dense layer alone is there. *Block-circulant* layers are
# slower than low rank throughout, and faster than sparse storage up to about 16x: they gain with
# the block size, up to the point where the transforms themselves (with one token, the calls) are
# the work.
#
# ## Where block-circulant wins
#
# One panel a number of tokens: a single token is decoding, thousands are training. **Predict:** in
# which corner is a block-circulant layer slower than the dense one?

# %% alt="In inference wide block-circulant layers are faster than dense ones, narrow ones slower"
speed_figures.crossover_map(cells, mode="inference");

# %% alt="In training wide block-circulant layers are faster than dense ones, narrow ones slower"
speed_figures.crossover_map(cells, tokens=(32, 256, 2048), mode="training");

# %% [markdown]
# **What to notice.** Orange cells are losses. Most sit at widths of 256 and 512 with few tokens,
# where a dense product is so quick that the layer's extra calls cost as much. Two kinds reach
# further. In training with 32 tokens, blocks of 2 lose at every width. And at a width of 256 some
# block sizes lose even with 2,048 tokens, above all blocks of 2, and in training of 64 and 128.
# With wide layers the gain grows with the block size to about b = 16 or 32; then, with many tokens,
# it falls again, because the transforms take over. The last column, n, is a single block as wide as
# the matrix, with next to no weights: it is transformed by FFT, and gains again.
#
# Up to a block size of 128 the layer takes the DFT, above it the FFT. In inference it needs a call
# of `prepare()` first, which computes the spectrum of its weights once. The timings on this page
# are older than that rule: an earlier version kept the spectrum by itself, and chose the algorithm
# by a cost model. They have not been taken again.

# %% tags=["nbval-check-output"]
for b in (2, 32, 1024):
    print(f"b = {b:4}: {choose(b)}")

# %% [markdown]
# ## Two limits
#
# A processor can be short of arithmetic, or of data. Which of the two, the **roofline** shows: how
# many operations there are for every byte that must come from memory, and how many were done in a
# second. The slanted part of the roof is the memory's bandwidth, the flat part the rate of a large
# dense product in PyTorch. With one token nearly every number is read for a single use, so memory
# is the limit. The circles reach it with the smallest blocks: what counts there is how few weights
# there are to read. With larger blocks so little is left to do that the calls themselves are the
# time, some forty microseconds, whatever b is. With many tokens the same weights serve all of them,
# and arithmetic is the limit. (A mark above the slanted line is no error: weights that stay in the
# cache from call to call are read faster than from memory.)

# %% alt="With one token layers sit at the limit of memory, with many at that of arithmetic"
speed_figures.roofline(cells, machine);

# %% [markdown]
# **9.3** The shortest time that a machine allows: `flops` operations at `rate` a second, `moved`
# bytes at `bandwidth` a second, and both can go on at once.


# %% tags=["nbval-check-output"]
def shortest_time(flops, moved, rate, bandwidth):
    ...


check("9.3", shortest_time)

# %% [markdown]
# ## Where it falls short
#
# Three aims were set before anything was measured, at widths from 512 and with enough tokens: 32 in
# inference, 256 in training.
#
# - Never slower than 0.95 times `nn.Linear`.
# - Four times as fast as C3A, the block-circulant operator of the package `peft`, for blocks up to
#   32.
# - Half of the roofline.

# %% tags=["nbval-check-output"]
enough = cells[(cells["n"] >= 512)
               & (cells["tokens"] >= np.where(cells["mode"] == "inference", 32, 256))]
summary = enough.groupby("mode").apply(lambda rows: pd.Series({
    "cells": len(rows),
    "slowest cell": rows["ratio"].min(),
    "geometric mean": np.exp(np.log(rows["ratio"]).mean()),
    "times C3A (b <= 32)": np.exp(np.log(
        (rows["ratio"] / rows["c3a_ratio"])[rows["block_size"] <= 32].dropna()).mean()),
    "share of the roofline": np.exp(np.log(rows["roofline"]).mean())}), include_groups=False)
print("FULL-SCALE TIMINGS: times nn.Linear, over widths from 512 and 32 tokens (training: 256)")
summary.round(2)

# %% [markdown]
# None of the three aims is quite met. The cells that miss the first:

# %% tags=["nbval-check-output"]
missed = enough[enough["ratio"] < 0.95].sort_values("ratio")
missed = missed.assign(microseconds=1e6 * missed["seconds"],
                       linear_microseconds=1e6 * missed["linear_seconds"])
missed[["mode", "n", "tokens", "block_size", "algorithm", "ratio", "microseconds",
        "linear_microseconds"]].round(2).reset_index(drop=True)

# %% [markdown]
# At the smallest width that the aim speaks of there is little to win. In some of these cells the
# layer had made its dense matrix once, and *was* an `nn.Linear` plus a few microseconds. In the
# others the transforms cost more than they save.
#
# The roofline's share is not quite a half: between transform, product and transform back the
# intermediate results are written and read again, which a single fused kernel would keep in the
# cache. Tried, without gain: FFTs instead of products for the transforms (only long blocks gain);
# splitting long blocks into interleaved shorter ones; transforms in float32 under bfloat16; keeping
# the order of the frequencies from layer to layer (the product reads either order equally fast).
# What did help: Gauss's three products; the frequencies in front; the weight's spectrum computed
# once for inference; large inputs in parts, so that results stay in memory that the process has
# already.
#
# ## Why layers with an FFT disappoint
#
# C3A is written as the formula reads: FFT, multiply, FFT back.

# %% alt="The course's layer is faster than the one with complex FFTs at every block size"
rows = cells[(cells["n"] == 1024) & (cells["tokens"] == 256) & (cells["block_size"] <= 128)]
figure, panels = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
for axes, mode in zip(panels, ("inference", "training"), strict=True):
    some = rows[rows["mode"] == mode]
    place = np.arange(len(some))
    axes.bar(place - 0.2, some["ratio"], 0.4, color=style.BLUE, label="this course's layer")
    axes.bar(place + 0.2, some["c3a_ratio"], 0.4, color="0.7", hatch="//",
             label="C3A, with complex FFTs")
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(place, some["block_size"])
    axes.set(title=f"{mode}, n = 1024, 256 tokens", xlabel="block size")
panels[0].set(ylabel="speed, times nn.Linear", ylim=(0, 1.3 * rows["ratio"].max()))
panels[0].legend(loc="upper left");

# %% [markdown]
# The operation count promised a win at every block size. Three things eat it. A *complex* FFT of
# real numbers does everything twice. Short transforms (of 4, of 8 numbers) are nearly all
# overhead, while a product with a small matrix of cosines runs at the processor's full rate. And
# multiplying frequency by frequency in the layout that the FFT leaves walks through memory in
# large steps; with the frequencies in front, each is one contiguous product.
#
# ## Memory in training
#
# What a layer keeps between forward and backward, besides its weights:

# %% tags=["nbval-check-output"]
kept = cells[(cells["mode"] == "training") & (cells["n"] == 1024) & (cells["tokens"] == 2048)]
kept = kept[["block_size", "algorithm", "kept_bytes", "linear_kept_bytes"]].copy()
kept[["kept_bytes", "linear_kept_bytes"]] /= 1e6
kept.columns = ["block size", "algorithm", "block-circulant, MB", "nn.Linear, MB"]
kept.round(1).reset_index(drop=True)

# %% [markdown]
# The dense layer keeps its input. The block-circulant layer keeps the spectra of its input and of
# its weights: with three real numbers for every complex one, the input's takes up to half as much
# again (by FFT twice as much). So it has fewer weights, gradients and optimizer states, and keeps
# more between forward and backward. No dense matrix is made.
#
# ## A whole network
#
# A layer is not a network. In a translation model the embeddings and the output layer are not
# compressed, attention and normalisation cost what they cost, and beam search does many small
# steps. The speed in training and in translation, as a multiple of the dense network's (above 1 is
# faster):

# %% tags=["nbval-check-output"]
whole = results.timings("compressed_speed-base")
frame = pd.DataFrame(whole["ratios"]).round(2)
print(f"FULL-SCALE TIMINGS: {whole['provenance']['device']}, preset {whole['preset']}")
frame

# %% [markdown]
# **What to notice.** The Transformer of notebook 05 is 256 features wide, in the orange corner of
# the map. It trains in bf16, numbers of 16 bits, where the dense product is faster still. When this
# was measured, the block-circulant layer made its matrix there and multiplied by it. So it was
# neither faster nor much slower than the dense one. (Today's layer makes none in training; that has
# not been timed.) Low rank, with a fraction of the arithmetic, gains a fifth to a third in
# translation. In training it gains nothing: the output layer and everything between the matrices
# stay as they are. Only a smaller dense network saves of all that. Whoever prunes a small network,
# or shares its weights, buys bytes, not seconds.

# %% [markdown]
# ## Elsewhere: ONNX
#
# ONNX is a file format for networks that programs other than PyTorch can run. A layer made of
# matrix products can leave PyTorch: the transforms are products with constant matrices, so an
# exported model needs no Fourier operator. Here both layers run in onnxruntime:

# %%
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # in torch
    sessions = {}
    for name in ("dense", "block-circulant"):
        program = torch.onnx.export(layers[name].eval(), (x,), input_names=["x"], verbose=False)
        sessions[name] = InferenceSession(program.model_proto.SerializeToString())
feed = {"x": x.numpy()}
with torch.no_grad():
    [y] = sessions["block-circulant"].run(None, feed)
    difference = np.abs(y - layers["block-circulant"](x).numpy()).max()
taken = {name: milliseconds(lambda _, session=session: session.run(None, feed), x)
         for name, session in sessions.items()}
print(f"LIVE, onnxruntime: largest difference from PyTorch {difference:.0e}; "
      + "; ".join(f"{name} {value:.2f} ms" for name, value in taken.items()))

# %% [markdown]
# The ratio of the two layers is what counts here. Both can be much faster than in PyTorch, above:
# so PyTorch's dense product is not this processor's limit, and a speed-up that also changes the
# program, as that of int8 did, is not due to the numbers alone.
#
# ## What to choose
#
# - **The best accuracy for a given number of weights, whatever the speed:** pruning (notebooks 04
#   and 08); and count the indices in its file.
# - **A smaller file, on any hardware:** first a smaller dense network, whose embeddings shrink too
#   (notebook 08). For layers that must keep their width: block-circulant. They shrink by b, and no
#   index is stored; in files of equal size pruning is not surely ahead any more. (Memory shrinks
#   too where the weights are most of it, not where the activations are.)
# - **Speed on wide layers:** block-circulant or low rank. Both are dense products of smaller
#   matrices. In inference the block-circulant layer is faster from a width of 2,048 on. At 1,024 it
#   is, too, except for a single token with b = 2. At 512 it needs 32 tokens and blocks of 4 to 32.
# - **Speed of small layers, one token at a time:** a smaller dense network, or another program
#   (int8 in onnxruntime). A few microseconds leave no room for transforms.
# - **Pruning and speed:** prune whole blocks or rows, or have hardware that skips zeros.
#
# ## What we saw, and where next
#
# Weights, bytes of the file, operations, memory and seconds are five different currencies, and a
# method that is rich in one may be poor in another. The timings of layers are of the machine that
# the top of this notebook names, those of the whole network of the one named above its table;
# `python -m circtools.bench.layer` measures yours.
#
# Stuck on an exercise? `hint("9.1")`, `solution("9.1")`, and so on.
#
# **References.** S. Williams, A. Waterman, D. Patterson, [Roofline: An Insightful Visual
# Performance Model](https://doi.org/10.1145/1498765.1498785), 2009. C. Ding et al.,
# [CirCNN](https://arxiv.org/abs/1708.08917), 2017. T. Gale et al., [Sparse GPU Kernels for Deep
# Learning](https://arxiv.org/abs/2006.10901), 2020.
