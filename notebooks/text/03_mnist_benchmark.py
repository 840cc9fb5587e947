# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 03 · The MNIST benchmark: what does sharing weights cost?
#
# **You will learn** what a block-circulant first layer does to an image, and how much accuracy it
# costs. You will see why a comparison at one untuned learning rate misleads. And you will find out
# whether the layer relies on the order of the pixels, as the poster supposed.
#
# **You need** notebook 02. In short: a block-circulant matrix stores only the first row of each b x
# b block, and the other rows are rotations of it.
#
# **Time:** 25 minutes to read, about one minute to run (2 CPU cores).

# %% tags=["hide-input"] alt="Sixteen handwritten digits of the training set"
from exercises import check, hint, solution
from exercises.pictures import bar

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown

from circtools import compress, compression_ratio, nearest_circulant
from circtools.experiments import choices, mnist, results, store
from circtools.report import claims, comparisons, mnist_figures, pages, statistics, style

style.use()
torch.set_num_threads(1)  # its products are small: beside a busy program, more threads only wait
digits = mnist.load()
few = digits.first(10_000)  # enough for the live experiments
print(f"data: {digits.origin}")
mnist_figures.images(digits.train_x[:16]);

# %% [markdown]
# ## The network
#
# A two-layer feed-forward classifier: 784 pixels, as many hidden units, 10 classes. Nearly all of
# its weights, 614,656 of 622,496, are in the first layer, so that is the layer to compress.

# %%
torch.manual_seed(0)
dense = mnist.classifier()
start = dense.hidden.weight.detach().clone()
print(dense)
history = mnist.train(dense, few, epochs=3, lr=1e-3, seed=0, progress=bar("dense"))
pd.DataFrame({"training loss": [epoch["train_loss"] for epoch in history],
              "validation error": [epoch["val_error"] for epoch in history]}).rename_axis(
                  "epoch").round(4)

# %% [markdown]
# Three epochs on 10,000 images take seconds. The validation error is the share of the 5,000
# validation images that are put into the wrong class. The full-scale runs below train for 10 epochs
# on 55,000 images, which leaves a much smaller error.
#
# ## The same network with a circulant first layer
#
# `compress` swaps the layers of a model, but for those that `skip` names. `init="random"` draws
# fresh weights, because we train from scratch.

# %%
torch.manual_seed(0)
shared = compress(mnist.classifier(), "block_circulant", block_size=28, skip=["output"],
                  init="random")
print(shared.hidden)
print(f"first layer: {compression_ratio(shared):g}x smaller, "
      f"all weight matrices: {compression_ratio(shared, 'weights'):.1f}x")
history = mnist.train(shared, few, epochs=3, lr=4e-3, seed=0, progress=bar("b = 28"))
print(f"validation error {history[-1]['val_error']:.1%}")

# %% [markdown]
# The first layer stores one weight in 28. Yet the output layer, which is not compressed, keeps the
# whole at about 21x. Always say over which set a compression is counted. Do not compare the two
# errors yet: this network had four times the learning rate of the dense one.
#
# ## What sharing means on an image
#
# With b = 28, a block of 28 inputs is exactly one row of the image, and a block of 28 hidden units
# shares its weights. The next unit of the block has the same weights with *every image row rotated
# right by one pixel*. Below are the weights of six units of one block, as images. Each unit is five
# places on from the last; red is positive, blue negative. Follow the darkest blue spot:

# %% alt="Hidden units of one block have the same weights, moved along the image"
weight = shared.hidden.dense_weight().detach()  # (784, 784): a row a hidden unit
mnist_figures.images(weight[56:84:5], [f"unit {unit} of the block" for unit in range(0, 28, 5)],
               columns=6, diverging=True)
assert torch.equal(weight[57].view(28, 28)[:, 1:], weight[56].view(28, 28)[:, :-1])

# %% [markdown]
# **What to notice.** A block of hidden units is one detector, tried at all 28 horizontal
# positions (with wrap-around): a convolution along the rows of the image. At b = 784 there is a
# single detector, rotated along the whole flattened image. Other block sizes cut the rows into
# pieces or run over their ends, and have no such simple picture.
#
# ### Exercise 3.1 ★★ 10 minutes
#
# At a block size of 28 a hidden unit's weights are an image of 28 x 28 pixels. Build that of unit
# number `unit` of a block from that of its first unit, `first`, of shape (28, 28). Build no matrix.


# %% tags=["nbval-check-output"]
def unit_image(first, unit):
    ...


check("3.1", unit_image)
# hint("3.1")
# solution("3.1")

# %% [markdown]
# ## Why not simply project the dense network?
#
# Notebook 02 showed that the nearest block-circulant matrix of a *random* one keeps 1/b of its
# squared norm. How much does a *trained* first layer keep?

# %%
trained = dense.hidden.weight.detach()
torch.manual_seed(0)
random = torch.nn.Linear(784, 784).weight.detach()
kept = {b: [(nearest_circulant(w, b).square().sum() * b / w.square().sum()).item()
            for w in (trained, trained - start, random)] for b in (4, 28, 784)}
print(f"LIVE, {digits.origin} data: share of the squared norm that projection keeps")
pd.DataFrame(kept, index=["trained", "trained - start", "random"]).T.rename_axis(
    "block size").round(4)

# %% [markdown]
# After this short training the matrix is still mostly its random start. So look at the second
# column, at what the training added. It keeps more than random numbers do. But the share is only
# about 0.01 above 1/b. Dense training has little reason to put equal weights along the
# diagonals. Sharing has to be there from the start of the training, or has to be trained in
# afterwards. (Notebook 06 projects a network that was trained to the end.)
#
# ## The learning rate is part of the comparison
#
# A shared weight appears in b places, and there are b times fewer of them to learn. We train with
# the optimizer Adam, which divides each gradient by its usual size. So each stored number moves by
# about the learning rate in a step. But one such step moves b entries of the matrix, all in the
# same way. So the rate that suits the dense network need not suit this one.
#
# The next cell tries three learning rates: 0.001, then four times and sixteen times that.
# **Predict:** with b = 28 and a short training, which of them gives the lowest error? And for the
# dense network?

# %%
rows = []
for block_size in (1, 28, 784):
    for lr in (1e-3, 4e-3, 16e-3):
        torch.manual_seed(0)
        model = mnist.classifier()
        if block_size > 1:
            compress(model, "block_circulant", block_size=block_size, skip=["output"],
                     init="random")
        history = mnist.train(model, few, epochs=2, lr=lr, seed=0,
                              progress=bar(f"b = {block_size}, rate {lr}"))
        rows.append({"block size": block_size, "learning rate": lr,
                     "validation error": f"{history[-1]['val_error']:.1%}"})
print(f"LIVE, {digits.origin} data: {len(few.train_x)} images, 2 epochs, one seed")
pd.DataFrame(rows).pivot(index="block size", columns="learning rate", values="validation error")

# %% [markdown]
# **What to notice.** Here one rate is best, or nearly so, for all three: the short dense training
# above was under-tuned too. A fair comparison needs the search on *both* sides, even where it ends
# at the same value.
#
# These are short trainings with one seed each. For the full-scale results, five learning rates
# were tried for *every* structure, on validation images, with two seeds that are used for nothing
# else. The table shows what they chose.

# %% tags=["nbval-check-output"]
table = results.load()
course = results.select(table, task="mnist", preset="base")
print("FULL-SCALE RESULTS:", results.describe(course))
chosen = choices.chosen_rates(course)
chosen = chosen[chosen["method"].isin(["dense", "block_circulant"])]
chosen["learning rate"] = chosen["lr"].map("{:g}".format)
chosen = chosen.groupby(["pixels", "learning rate"])["block_size"]
chosen = chosen.agg(lambda sizes: ", ".join(map(str, sorted(sizes))))
assert chosen["permuted", "0.001"] == "196"
print("FULL-SCALE: the block sizes that chose each rate; block size 1 is the dense network")
chosen["natural"].to_frame("block sizes")

# %% [markdown]
# Five rates were tried, each twice the one before, from 0.001 to 0.016. At b = 49 the lowest was
# chosen, so a still lower one might be better. The choice is noisy, too: neighbouring sizes such as
# 28 and 49 should not need rates that differ by a factor of four.
#
# Later in this notebook the pixels of all images are put into one random order. Those trainings
# chose their own rates, and b = 196 then took the lowest.
#
# ## The benchmark
#
# There are two series of trainings. In *same*, every structure has the rate 0.001, a default that
# nobody tuned. In *tuned*, each structure has the learning rate of the table above.
#
# **Predict before you run the next cell.** The dense network has a test error of about 1.5 %. What
# will it be with the first layer 8 times smaller? And 784 times smaller, with only 784 weights
# left?

# %% tags=["nbval-check-output"]
sharing = course[course["method"].isin(["dense", "block_circulant"])]
natural = results.select(sharing, layers="first", pixels="natural")
summary = (natural[natural["series"] != "search"]
           .pivot_table(index="block_size", columns="series", values="test_error"))
print("FULL-SCALE: test error, mean of five seeds; block size 1 is the dense network")
summary.loc[[1, 8, 28, 98, 784]].map("{:.2%}".format)

# %% alt="Sharing costs nothing that shows at small blocks; at large ones the error climbs"
mnist_figures.mnist_benchmark(sharing);

# %% [markdown]
# Both axes are logarithmic. The bands are 95 % intervals, the grey one is the dense network's.
#
# Which of these differences can five seeds tell from chance? The two kinds of networks were trained
# apart. So they are two independent samples, and the test is Welch's t-test, which lets their
# spreads differ. The table shows the mean difference and its 95 % interval.
#
# The last column says *worse* where the error is higher by the test, at 5 %. It says *better* where
# the error is lower, and *undecided* where five seeds cannot tell. Each block size is one *level*.
# With many levels, chance alone soon makes one look decided. Holm's correction makes the test
# stricter, but not the intervals. So an interval may leave zero out while its level is undecided.

# %% tags=["nbval-check-output"]
tuned = results.select(natural, series="tuned")
dense_error = results.select(tuned, method="dense").set_index("seed")["test_error"]
cost = results.select(tuned, method="block_circulant")
cost = cost.assign(first=100 * cost["test_error"], second=100 * cost["seed"].map(dense_error))
print("FULL-SCALE, tuned: test error minus the dense network's, in percentage points")
each, _ = statistics.levels(cost)


def in_words(each):
    said = each["decided"].map({1: "worse", -1: "better", 0: "undecided"})
    return pd.DataFrame({"difference": each["mean"], "from (95 %)": each["low"],
                         "to (95 %)": each["high"], "by the test": said}).round(3).set_index(
                             each["block_size"].rename("block size"))


in_words(each).loc[[8, 16, 28, 49, 196, 784]]

# %% [markdown]
# **What to notice.** Up to b = 28 every mean is within 0.15 points of the dense network's error.
# The sizes that this table leaves out are in the picture. Of all these only b = 28 is worse by a
# difference that five seeds decide. From b = 49 on, half a point worse, the error climbs. A single
# circulant makes an extra mistake on one image in 80. It stores 784 numbers instead of 614,656.
#
# ### Exercise 3.2 ★ 5 minutes
#
# The 95 % interval of a mean over n seeds is mean ± t · s / √n. Here s is the standard deviation,
# with n - 1 as its divisor. And t is the 97.5 % point of Student's t with n - 1 degrees of freedom:
# `scipy.stats.t.ppf` gives it. Return the pair (low, high).


# %% tags=["nbval-check-output"]
def t_interval(values):
    ...


check("3.2", t_interval)
# hint("3.2")
# solution("3.2")

# %% [markdown]
# ### What tuning gains
#
# At most sizes tuning gains 0.1 to 0.2 points, for the dense network too. At b = 392 and 784 it
# gains half a point. **Predict:** does the half point mean that large blocks need a special rate?
# Look at the trials with which the rates were chosen. A point is the mean of their two seeds:

# %% alt="All three networks gain from twice the rate, large blocks a little more from a higher one"
tried = results.select(course, series="search", pixels="natural")
tried = tried[tried["method"].isin(["dense", "block_circulant"])
              & tried["block_size"].isin([1, 392, 784])]
tried = 100 * tried.pivot_table(index="lr", columns="block_size", values="val_error")
gained = (tried.loc[0.001] - tried.loc[0.002]) / (tried.loc[0.001] - tried.min())
assert tried[1].idxmin() == 0.002 and 0.7 < gained[392] < 0.8 and 0.35 < gained[784] < 0.45
assert (tried.loc[0.001] - tried.min())[[392, 784]].between(0.25, 0.4).all(), "a third of a point"
figure, axes = plt.subplots(figsize=(8, 4.2))
for size, look, color in ((784, "^-", style.VERMILION), (392, "s-", style.BLUE),
                          (1, "o--", style.BLACK)):
    axes.plot(tried[size], look, color=color, label=f"b = {size}" if size > 1 else "dense")
axes.set_xscale("log", base=2)
axes.set_xticks(tried.index, tried.index)
axes.set(title="Full-scale: the trials", xlabel="learning rate", ylabel="validation error (%)")
axes.legend();

# %% [markdown]
# **What to notice.** Only in part. The dense network, when it is tuned, chooses 0.002. That rate
# already brings three quarters of the gain at b = 392, and two fifths at b = 784. (On these
# validation images the whole gain is a third of a point.) So a part of it is owed to a rate, 0.001,
# that was too low for everyone. Whoever keeps 0.001 charges all of it to the structure.
#
# ## Did those 784 numbers learn anything?
#
# **Predict:** what is the error if the first layer keeps its random start and only the output layer
# is trained? Of a dense layer, and of a fully circulant one?

# %%
rows = []
for block_size in (1, 784):
    for trained in (False, True):
        torch.manual_seed(0)
        model = mnist.classifier()
        if block_size > 1:
            compress(model, "block_circulant", block_size=block_size, skip=["output"],
                     init="random")
        model.hidden.requires_grad_(trained)
        history = mnist.train(model, few, epochs=3, lr=4e-3, seed=0,
                              progress=bar(f"b = {block_size}"))
        rows.append({"block size": block_size, "first layer": "trained" if trained else "random",
                     "validation error": f"{history[-1]['val_error']:.1%}"})
print(f"LIVE, {digits.origin} data: {len(few.train_x)} images, 3 epochs, one seed")
pd.DataFrame(rows).pivot(index="block size", columns="first layer", values="validation error")

# %% [markdown]
# **What to notice.** A random first layer is far from useless: the images are easy, and an output
# layer finds its way through 784 random features. A compressed layer has to beat that, and not just
# the error of guessing. The 784 trained weights, with as many biases, do.
#
# ## What the fully circulant layer learned
#
# With b = 784 the first layer is 784 numbers. Reshaped to an image they are the one detector that
# all hidden units share. With smaller blocks there are more: 28 detectors at b = 28. The pictures
# are of full-scale runs.

# %% alt="The shared detectors show strokes and edges, and nowhere a whole digit"
def first_rows(block_size, pixels="natural"):
    """The learned first rows of the tuned run of seed 0, a row a block."""
    run = results.select(course, method="block_circulant", series="tuned", seed=0, pixels=pixels,
                         block_size=block_size, layers="first")["run"].item()
    return store.arrays(run)["first_rows"]


mnist_figures.images([first_rows(784).reshape(-1), *first_rows(28)[:5]],
               ["b = 784: all", *(f"b = 28: block {i}" for i in range(5))],
               columns=6, diverging=True);

# %% [markdown]
# The first picture is the whole first layer of the fully circulant network. The others are five of
# the 28 detectors of the network with b = 28.
#
# **What to notice.** Each of the five is used at every horizontal position. They show strokes and
# edges, and nowhere a whole digit.
#
# ## Compressing the output layer too
#
# The output layer has only ten rows. A block of 16 or more is wider than that. Then the layer is
# padded to b outputs, of which ten are used. So one first row per block must make all ten classes.
# In the table, `all` means both layers and `first` only the first one.

# %% tags=["nbval-check-output"]
both = results.select(course, method="block_circulant", series="tuned", pixels="natural")
both = (both.groupby(["layers", "block_size"])
        .agg(compression=("compression_all", "mean"), error=("test_error", "mean"))
        .unstack("layers").dropna())
both["error"] = 100 * both["error"]
both.columns = [f"{what}, {which} compressed" for what, which in both.columns]
print("FULL-SCALE: compression over all weight matrices, and test error in percent")
both.loc[[4, 16, 49, 784]].round({column: 2 if "error" in column else 1 for column in both})

# %% [markdown]
# **What to notice.** Sharing in the output layer costs far more than in the hidden one: at b = 16
# the error nearly doubles, to save another 7,000 weights. The ten output rows are the ten classes.
# There is no reason why the weights of the class 4 should be those of the class 3, moved by one
# unit. So if a layer is small and its outputs mean different things, leave it alone. A part of the
# loss may be the learning rate, which was chosen with the first layer alone compressed.
#
# ## Does it need the order of the pixels?
#
# The poster explains its MNIST result by a symmetry. Shift a digit by a pixel and it is still the
# same digit, and a circulant layer is made of shifts. If that is the reason, a fixed random
# permutation of the pixels, the same for all images, should take the advantage away.
#
# First, why the *dense* network cannot feel a permutation. Permute the pixels, and the columns of
# the first weights with them: the training is the same up to rounding. And the permuted start is as
# likely as the other, because all these weights are drawn independently from one distribution.

# %%
order = torch.randperm(mnist.PIXELS, generator=torch.Generator().manual_seed(0))
outputs = {}
for name, data, columns in (("natural", few, slice(None)), ("permuted", few.permuted(0), order)):
    torch.manual_seed(0)
    model = mnist.classifier()
    with torch.no_grad():
        model.hidden.weight.copy_(model.hidden.weight[:, columns].clone())
    mnist.train(model, data, epochs=1, lr=1e-3, seed=0, progress=bar(f"{name} pixels"))
    outputs[name] = model(data.val_x).detach()
largest = (outputs["natural"] - outputs["permuted"]).abs().max()
print(f"largest difference between the outputs of the two networks: {largest:.0e}")

# %% [markdown]
# The same argument holds for pruning, which looks at each weight by itself. A circulant layer is
# different: its weights sit in fixed places relative to each other. All full-scale runs share one
# permutation, so their intervals say nothing about other permutations.
#
# **Predict:** will the error of block-circulant networks rise with permuted pixels? By how much at
# b = 8, and at b = 784?

# %% alt="Two digits, and the same two with their pixels permuted to noise"
mnist_figures.images([digits.train_x[0], digits.train_x[1], digits.permuted().train_x[0],
                digits.permuted().train_x[1]], ["natural", "natural", "permuted", "permuted"]);

# %% alt="Permuting the pixels costs nothing at small blocks and raises the error at large ones"
mnist_figures.mnist_permuted(course);

# %% tags=["nbval-check-output"]
sides = [("block_circulant", pixels) for pixels in ("natural", "permuted")]
levels, _ = statistics.levels(comparisons.classifier_pairs(course, "tuned", *sides))
print("FULL-SCALE, tuned: what the permutation adds to the test error, in percentage points")
in_words(levels).loc[[8, 16, 28, 49, 196, 784]]

# %% [markdown]
# The rule for a verdict is the same in all notebooks. *Confirmed*: the average over the levels has
# the claimed sign with its whole interval, and no level is decided against the claim. *Refuted*:
# the whole interval has the other sign, or a single level is decided against the claim. All else is
# *undecided*. The first row of the table is the series *tuned*, the second is *same*.

# %% tags=["nbval-check-output"]
found = claims.all_claims(course)
Markdown(pages.claims_table(claim for claim in found if claim.key == "claim4_order"))

# %% [markdown]
# **What to notice.** Up to b = 8 the permutation changes nothing that shows. The differences are a
# few hundredths of a point, with intervals around zero. The picture shows the sizes left out. From
# b = 16 on the error is higher with permuted pixels, and that is decided at four of these five
# levels. So large blocks do use the order of the pixels, as the poster says. But that is not the
# whole reason why sharing works on MNIST. Small blocks do as well without it. Even the fully
# circulant layer makes only 3.4 % errors on shuffled pixels, where its 784 numbers have no symmetry
# to use.
#
# One thing about this claim was changed after its results were seen: its wording, from "needs the
# order" to "profits from the order". What is confirmed is the weaker statement.
#
# Notebook 04 asks the same of the comparison with pruning: does it depend on the order?
#
# ### Exercise 3.3 ★ 5 minutes
#
# A dense layer does not feel the order of the pixels. Which orders does a circulant one not feel?
# Permute the columns of any circulant matrix: column `order[c]` goes to place `c`. Is the result
# always circulant again? Return True or False for the list `order`.


# %% tags=["nbval-check-output"]
def still_circulant(order):
    ...


check("3.3", still_circulant)
# hint("3.3")
# solution("3.3")

# %% [markdown]
# ### Exercise 3.4 ★★ 15 minutes, an open question
#
# At b = 28 a block's shift moves the image sideways. With `compress(..., order="strided")` each
# block is a *column* of the image, and its shift moves the image up or down. **Predict:** which of
# the two makes fewer errors? Train both as in the second section, each with the seeds 0 and 1. Then
# try other orders of the pixels: `few.permuted(0)` is one.
#
# <details class="help"><summary>What we found</summary>
#
# In this short training the two orders are level. A digit can be shifted both ways, so neither has
# the whole symmetry. With permuted pixels both make more errors. Notebook 08 has the full-scale
# result for *tiles*, blocks that shift both ways: at 49x and 196x they make far fewer errors.
#
# </details>

# %% [markdown]
# ## What we saw, and where next
#
# On MNIST, sharing weights within blocks of up to 28 costs 0.15 points or less. Even one weight in
# 784 goes a long way. The learning rate has to be tuned on both sides, and the output layer is a
# bad place to share. Large blocks do profit from the order of the pixels. Whether sharing is
# *better than removing weights* is the question of the next notebook,
# [04_pruning](04_pruning.ipynb).
#
# **References.** C. Ding et al., [CirCNN](https://arxiv.org/abs/1708.08917), 2017. Y. Cheng et al.,
# [An Exploration of Parameter Redundancy in Deep Networks with Circulant
# Projections](https://arxiv.org/abs/1502.03436), 2015. S. Holm, A Simple Sequentially Rejective
# Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
