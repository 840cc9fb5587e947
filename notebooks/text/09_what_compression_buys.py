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
# **You will learn** how to choose a method by what matters most: bytes, seconds, weights or
# accuracy. You see where each method wins, and why pruning buys no speed by itself.
#
# **You need** an idea of what a block-circulant layer and a pruned layer are (notebooks 02 and 04).
#
# **Time:** 10 minutes for the chart and the pictures, 20 for all of it; under a minute to run. The
# timings are loaded. They were measured on an idle machine, which yours may not be now.

# %% tags=["hide-input", "nbval-check-output"]
from exercises import check, hint, solution

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
from circtools.experiments.methods import METHODS
from circtools.products import choose
from circtools.report import decision, facts, speed_figures, style
from circtools.structures import LowRankLinear

style.use()
torch.manual_seed(0)
found = results.load()
timings = results.timings()
cells, others = pd.DataFrame(timings["cells"]), pd.DataFrame(timings["others"])
machine = timings["machine"]
print(f"FULL-SCALE TIMINGS: {timings['provenance']['device']}, "
      f"{timings['provenance']['threads']} threads, torch {timings['provenance']['torch']}; "
      f"{machine['flops'] / 1e9:.0f} Gflop/s in products, {machine['bandwidth'] / 1e9:.0f} GB/s")

# %% [markdown]
# ## How to decide in ten minutes
#
# Compression saves bytes, seconds, or weights, and seldom all three. It also costs accuracy. Begin
# with what matters most to you.

# %% alt="A chart from bytes, seconds, weights or accuracy, by one question each, to a method"
decision.flow_chart(facts.facts(found));

# %% [markdown]
# BLEU and megabytes are of the smaller Transformer on its small translation task. The speed is of
# one layer in inference, on two cores of a CPU. The sections below show where the branches of
# bytes, seconds and weights come from.
#
# Which method loses least accuracy? With equally many weights pruning is a little ahead, on average
# over the levels of compression. In files of equal size its lead is smaller. In neither case is it
# decided: both intervals hold zero. [Notebook 08](08_analysis.ipynb) has the comparison.
#
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
# Each is a product between the blocks. To transform n inputs, and as many outputs back, costs it n.
products = {"dense": n * n, "block-circulant": for_frequencies * ((n // c) ** 2 + 2 * n),
            "low rank": n * n // c, "pruned": n * n // c}
table = pd.DataFrame({
    "stored weights": {name: counting.stored_weights(layer) for name, layer in layers.items()},
    "file, MB": {name: round(counting.file_bytes(layer) / 1e6, 2)
                 for name, layer in layers.items()},
    "multiplications": products})
table.map("{:,}".format)

# %% [markdown]
# **What to notice.** All three store an eighth of the weights. The pruned file is the largest of
# them, because a pruned matrix must also say *where* its weights are. It does so with a bit for
# every place, or with a short number for every weight that is left, whichever takes less.
#
# The block-circulant layer multiplies half as much again as low rank or pruning, and far less than
# dense. It transforms its input, multiplies, and transforms back. Each complex product takes three
# real ones.
#
# ### Exercise 9.1 ★★ 5 minutes
#
# Each frequency of a block costs matrix products between the blocks. A real frequency takes one, a
# complex one takes three, by Gauss's trick. Real are the constant frequency and, for even $b$, the
# alternating one. The others come in pairs, and each pair is one complex frequency. How many
# products is that for a block of size $b$?


# %% tags=["nbval-check-output"]
def products_of(b):
    ...


check("9.1", products_of)
# hint("9.1")
# solution("9.1")

# %% [markdown]
# ### Exercise 9.2 ★ 5 minutes
#
# Return the size of a pruned matrix's file in megabytes. Each weight that is left takes 4 bytes. To
# say where they are takes one *bit* for every place in the matrix, or 2 bytes for each weight that
# is left. Count the shorter of the two.


# %% tags=["nbval-check-output"]
def sparse_megabytes(weights, density):
    ...


check("9.2", sparse_megabytes)
# hint("9.2")
# solution("9.2")

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
    return 1e3 * min(taken)  # whatever else runs can only add to it


x = torch.randn(256, n)
zeros = nn.Linear(n, n)
with torch.no_grad():
    zeros.weight.mul_(torch.rand(n, n) >= 0.9)
live = {"dense": dense.eval(), "90 % zeros": zeros.eval(), "block-circulant, b = 8":
        layers["block-circulant"].eval(), "low rank, 8x": layers["low rank"].eval()}
taken = {name: milliseconds(layer, x) for name, layer in live.items()}
print("LIVE:", "; ".join(f"{name} {value:.2f} ms" for name, value in taken.items()))

# %% [markdown]
# A product with zeros is a product. The processor does not look. To skip the zeros, they must not
# be stored. Then each weight needs its index, and its input is fetched from here or there. The wide
# vector units, which make a dense product fast, stand idle.
#
# Here is everything, measured on an idle machine. Some words of the legend:
#
# - A *token* is one row of the input: in a Transformer one word.
# - *CSR*, compressed sparse rows, stores the weights that are left, row by row, with their columns.
# - *Int8* keeps every weight, rounded to an integer of 8 bits. It runs in onnxruntime, a program
#   that executes exported networks.

# %% alt="Pruning kept dense gains no time; low rank and block-circulant layers gain at once"
speed_figures.against_compression(cells, others);

# %% tags=["nbval-check-output"]
at = others[(others["n"] == 1024) & (others["method"] == "pruned, sparse CSR")]
wide = at.pivot(index="compression", columns="tokens", values="ratio")
wide.index = [f"{1 - 1 / c:.0%} zeros" for c in wide.index]
print("FULL-SCALE TIMINGS: sparse CSR, times as fast as the dense product (n = 1024)")
wide.rename(columns=lambda count: f"{count} token{'s' * (count > 1)}").rename_axis(
    columns=None).round(2)

# %% [markdown]
# **What to notice.**
#
# - *Pruned and kept dense* is a flat line at 1.
# - *Sparse storage* starts slower than dense, and pays for sure once nine of ten weights are zero.
# - *Low rank* is two smaller dense products. With many tokens it gains nearly as much as it
#   compresses, up to 16x.
# - *Block-circulant* gains with the block size, until the transforms are the work. It is slower
#   than low rank throughout.
# - *Int8* removes no weight. A part of its gain is the other program's: see the section on ONNX.
#
# With a single token little is left to gain at this width, because calling the operations takes
# most of the time.
#
# ## Where block-circulant wins
#
# Each panel has one number of tokens: a single token is decoding, thousands are training.
# **Predict:** in which corner is a block-circulant layer slower than the dense one?

# %% alt="In inference wide block-circulant layers are faster than dense ones, narrow ones slower"
speed_figures.crossover_map(cells, mode="inference");

# %% alt="In training wide block-circulant layers are faster than dense ones, narrow ones slower"
speed_figures.crossover_map(cells, tokens=(32, 256, 2048), mode="training");

# %% [markdown]
# **What to notice.** Orange cells are losses. They sit at widths of 256 and 512, where a dense
# product is so quick that the layer's extra calls cost as much. In training with few tokens, small
# blocks lose at larger widths as well.
#
# With wide layers the gain grows with the block size to about b = 32. Beyond that it changes little
# or falls, because the transforms take over. The last column, n, is a single block as wide as the
# matrix. It has next to no weights, is transformed by FFT, and gains again. At the width 256 all
# blocks are as fast in inference: `prepare()` keeps so small a matrix dense.
#
# The layer chooses its algorithm by a rule of two sentences. Blocks of up to 32 are transformed by
# products with small matrices, larger ones than 128 by FFT. Those between take the FFT from 256
# tokens on.

# %% tags=["nbval-check-output"]
words = {"dft": "small matrices", "fft": "FFT"}  # by what the layer transforms
pd.DataFrame({name: {f"blocks of {b}": words[choose(b, count)] for b in (2, 64, 1024)}
              for name, count in {"few tokens": 1, "many tokens": 256}.items()})

# %% [markdown]
# The features can also be kept in the *strided* order of notebook 02, in which a product needs no
# transposition. It is the faster order for small blocks:

# %% tags=["nbval-check-output"]
wide = cells[(cells["n"] >= 1024) & (cells["tokens"] >= 256)]
gain = np.log(wide["strided_ratio"] / wide["ratio"]).groupby([wide["mode"], wide["block_size"]])
gain = np.exp(gain.mean()).unstack().round(2)
print("FULL-SCALE TIMINGS: strided order, times as fast as the contiguous one "
      "(widths from 1024, 256 tokens)")
gain[[2, 8, 32, 128]].rename(columns="blocks of {}".format).rename_axis(index=None, columns=None)

# %% [markdown]
# ## Two limits
#
# A processor can be short of arithmetic, or of data. The **roofline** shows which. Its horizontal
# axis counts the operations for every byte that must come from memory. Its slanted part is the
# memory's bandwidth, its flat part the rate of a large dense product.
#
# One example: a layer 2,048 wide with blocks of 8, for one token and for 256.

# %% tags=["nbval-check-output"]
def two_limits(tokens, n=2048, b=8):
    flops, moved = speed_figures.work(tokens, n, b)
    cell = cells[(cells["mode"] == "inference") & (cells["tokens"] == tokens) & (cells["n"] == n)
                 & (cells["block_size"] == b)].iloc[0]
    return [flops / machine["flops"], moved / machine["bandwidth"], cell["seconds"]]


limits = pd.DataFrame({f"{tokens} token{'s' * (tokens > 1)}": two_limits(tokens)
                       for tokens in (1, 256)})
limits.index = ["arithmetic alone", "memory alone", "measured"]
print("FULL-SCALE TIMINGS: microseconds")
(1e6 * limits).round(0).astype(int)

# %% [markdown]
# With one token each weight is read for a single use, so memory is the limit. With 256 tokens the
# same weights serve all of them, and arithmetic is the limit. Here are all block sizes:

# %% alt="With one token layers sit at the limit of memory, with many at that of arithmetic"
speed_figures.roofline(cells, machine);

# %% [markdown]
# With one token, small blocks reach the memory's limit. A mark may even be above the slanted line,
# where weights stay in the cache. With larger blocks so little is left to do that the calls are the
# time, whatever b is.
#
# ### Exercise 9.3 ★ 5 minutes
#
# Return the shortest time that a machine allows. It does `rate` operations per second and moves
# `bandwidth` bytes per second, both at once. The work is `flops` operations and `moved` bytes.


# %% tags=["nbval-check-output"]
def shortest_time(flops, moved, rate, bandwidth):
    ...


check("9.3", shortest_time)
# hint("9.3")
# solution("9.3")

# %% [markdown]
# ## Where it falls short
#
# Three aims were set before anything was measured, for widths from 512 and enough tokens: 32 in
# inference, 256 in training.
#
# - Never slower than 0.95 times `nn.Linear`.
# - Five times as fast as C3A, the block-circulant operator of the package `peft`.
# - Half of the roofline.

# %% tags=["nbval-check-output"]
enough = cells[(cells["n"] >= 512)
               & (cells["tokens"] >= np.where(cells["mode"] == "inference", 32, 256))]
few = enough[enough["block_size"] <= 64]
summary = few.groupby("mode").apply(lambda rows: pd.Series({
    "slowest cell": rows["ratio"].min(),
    "geometric mean": np.exp(np.log(rows["ratio"]).mean()),
    "in the strided order": np.exp(np.log(rows["strided_ratio"]).mean()),
    "times C3A": np.exp(np.log((rows["ratio"] / rows["c3a_ratio"]).dropna()).mean()),
    "share of the roofline": np.exp(np.log(rows["roofline"]).mean())}), include_groups=False)
print("FULL-SCALE TIMINGS: times as fast as nn.Linear, for blocks of up to 64")
summary.T.rename_axis(columns=None).round(2)

# %% tags=["nbval-check-output"]
missed = enough[enough["ratio"] < 0.95].sort_values("ratio")
print(f"FULL-SCALE TIMINGS: {len(missed)} of {len(enough)} cells miss the first aim")
missed = missed.set_index("mode")[["n", "tokens", "block_size", "ratio"]].round(3)
missed.set_axis(["width", "tokens", "block size", "times nn.Linear"], axis=1).rename_axis(None)

# %% [markdown]
# The cells that miss are at the smallest width, where there is little to win. The second aim is
# missed as well: the layer is about three times as fast as C3A. So is the third. Between transform,
# product and transform back, results are written and read again; one fused kernel would keep them
# in the cache.
#
# What helped: Gauss's three products, the frequencies in front, the weight's spectrum computed
# once, and large inputs in parts. What did not: splitting long blocks into interleaved shorter
# ones, and keeping the order of the frequencies from layer to layer.
#
# ## Why layers with an FFT disappoint
#
# C3A is written as the formula reads: FFT, multiply, FFT back.

# %% alt="The course's layer is faster than the one with complex FFTs at every block size"
rows = cells[(cells["n"] == 1024) & (cells["tokens"] == 256) & (cells["block_size"] <= 128)]
figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True)
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
# The operation count promised a win at every block size. Three things eat it.
#
# - A *complex* FFT of real numbers does everything twice.
# - Short transforms, of 4 or 8 numbers, are nearly all overhead. A product with a small matrix of
#   cosines runs at the processor's full rate.
# - The FFT leaves the frequencies side by side in memory, so multiplying frequency by frequency
#   takes large steps. With the frequencies in front, each is one contiguous product.
#
# The course's layer takes an FFT as well, of real numbers, and for long blocks alone.
#
# ## Memory in training
#
# What a layer keeps between forward and backward, besides its weights:

# %% tags=["nbval-check-output"]
kept = cells[(cells["mode"] == "training") & (cells["n"] == 1024) & (cells["tokens"] == 2048)]
pd.DataFrame({"transformed by": kept["algorithm"].map(words),
              "block-circulant, MB": kept["kept_bytes"] / 1e6,
              "nn.Linear, MB": kept["linear_kept_bytes"] / 1e6}).round(1).set_index(
                  kept["block_size"].map("blocks of {}".format)).rename_axis(None)

# %% [markdown]
# The dense layer keeps its input. The block-circulant layer keeps the spectrum of its input. By
# small matrices that is up to half as much again, three real numbers for every complex one. By FFT
# it is twice as much. So it has fewer weights, gradients and optimizer states, and keeps more
# between forward and backward.
#
# ## A whole network
#
# A layer is not a network. The embeddings and the output layer are not compressed, attention and
# normalisation cost what they cost, and beam search does many small steps. Here is the speed in
# training and in translation, as a multiple of the dense network's:

# %% tags=["nbval-check-output"]
whole = results.timings("compressed_speed-base")
frame = pd.DataFrame(whole["ratios"]).round(2)
frame["method"] = [METHODS[name].label for name in frame["method"]]
frame["compression"] = frame["compression"].map("{}x".format)
print(f"FULL-SCALE TIMINGS: {whole['provenance']['device']}, preset {whole['preset']}")
frame.set_index("method").rename_axis(None)

# %% [markdown]
# **What to notice.** This Transformer is 256 features wide, where the maps show little to gain.
# Sharing makes it neither faster nor much slower. (That was timed with an earlier version of the
# layer.) Low rank gains in translation and not in training. Only a smaller dense network saves
# everywhere. Whoever prunes a small network, or shares its weights, buys bytes and not seconds.

# %% [markdown]
# ## Elsewhere: ONNX
#
# ONNX is a file format for networks that programs other than PyTorch can run. The layer's
# transforms are products with constant matrices, so an exported network needs no Fourier operator.
# Here both layers run in onnxruntime:

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
# Only the ratio of the two layers counts here. Both can be much faster than in PyTorch. So a
# speed-up that also changes the program, as that of int8 did, is not due to the numbers alone.
#
# ### Exercise 9.4 ★★ 15 minutes, an open question
#
# Time both orders on your machine. This does it for one:
#
# ```python
# n = 256
# layer = BlockCirculantLinear(n, n, 8, order="strided").eval().prepare()
# print(milliseconds(layer, torch.randn(256, n)))
# ```
#
# Without `order` the layer is contiguous. Take widths up to 4,096, and `nn.Linear(n, n).eval()`
# beside them. **Predict:** from which width on does either order beat the dense layer? And with a
# single token?
#
# <details class="help"><summary>What we found</summary>
#
# In the full-scale timings the dense layer is just ahead at width 256. From 512 on both orders beat
# it. The strided one is faster than the other, at 512 and 1,024 by half. A single token needs a
# width of 1,024. Below that, either order takes about twice as long as the dense layer.
#
# </details>
#
# ## What we saw, and where next
#
# Fewer operations are not fewer seconds. Zeros that are stored gain nothing. Low rank and
# block-circulant layers gain where they are wide, and our small Transformer gains bytes alone. To
# prune for speed, prune whole blocks or rows, or have hardware that skips zeros. The timings are of
# the machines that are named above them; `python -m circtools.bench.layer` measures yours.
#
# **References.** S. Williams, A. Waterman, D. Patterson, [Roofline: An Insightful Visual
# Performance Model](https://doi.org/10.1145/1498765.1498785), 2009. C. Ding et al.,
# [CirCNN](https://arxiv.org/abs/1708.08917), 2017. T. Gale et al., [Sparse GPU Kernels for Deep
# Learning](https://arxiv.org/abs/2006.10901), 2020.
