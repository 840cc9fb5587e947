# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 00 · Start here
#
# **What this course is.** There are two ways to make a neural network smaller. *Pruning* zeroes the
# smallest weights. *Block-circulant matrices* make weights share their values. A research poster
# compared the two and made four claims. This course rebuilds its experiments, tests each claim, and
# says which ones hold.
#
# **You will learn** what the two techniques look like, and what became of the four claims. You will
# check whether your machine is ready, and see how to use the notebooks.
#
# **You need** basic Python and the idea of a matrix product. No GPU, and no network once it is
# installed.
#
# **Time:** 15 minutes to read, under a minute to run (2 CPU cores). The exercises take 12 more.
#
# ## Is everything here?
#
# The next cell imports what the course needs. It looks for the data of MNIST, images of handwritten
# digits.

# %% tags=["hide-input"]
from exercises import check, hint, solution  # notebooks/exercises: checks, hints and solutions

import platform

import torch
from IPython.display import Markdown

from circtools.experiments import mnist, results
from circtools.report import claims, diagrams, headlines, mnist_figures, pages, style
from circtools.report import translation_figures

style.use()
print(f"Python {platform.python_version()}, torch {torch.__version__}, "
      f"{torch.get_num_threads()} threads, GPU: {torch.cuda.is_available()}")
digits = mnist.load()
print(f"data: {digits.origin}; {len(digits.train_x)} training, {len(digits.val_x)} validation "
      f"and {len(digits.test_x)} test images")

# %% [markdown]
# **Something fails?** If it is an import, another Python runs the notebook: start it with `make
# lab`. [CONTRIBUTING.md](../CONTRIBUTING.md) lists what else can happen. Without data and network,
# a built-in sample of printed digits takes the place of MNIST. The results that come with the
# course are always those of the real data.

# %% alt="Sixteen handwritten digits of MNIST, each with its label"
mnist_figures.images(digits.train_x[:16], [f"label {y}" for y in digits.train_y[:16].tolist()]);

# %% [markdown]
# ## The two techniques in two pictures
#
# Where a picture shows the values of weights, red is positive, blue is negative and pale is near
# zero. A grey dot marks a weight that was zeroed.
#
# **Pruning** trains a network, zeroes the weights of smallest magnitude, fine-tunes what is left,
# and repeats. *Fine-tuning* is training again. Each of our rounds takes 21 % of the *remaining*
# weights, as the poster did.

# %% alt="Pruning: each round zeroes the smallest weights and trains what is left"
diagrams.pruning_technique();

# %% [markdown]
# **A circulant matrix** is known by its first row: each next row is the one above, rotated right by
# one. A *block*-circulant matrix is cut into b x b blocks of this kind. It stores b numbers per
# block instead of b².
#
# **Compression** is the number of weights divided by the number stored, written 8x if an eighth is
# stored. Here it is the block size b.
#
# In this picture a colour says only which numbers are the same, and only within a block.

# %% alt="A circulant matrix repeats its first row, rotated; a block-circulant one has such blocks"
diagrams.circulant_technique();

# %% [markdown]
# A network with all its weights is called *dense*. Now suppose that it may store only one number in
# b. Is it better to *choose* which ones to keep, or to *share* them from the start? That is the
# question of the course.
#
# ## Four questions
#
# The poster's four claims are four questions. Below each is a picture of what we measured. (The
# poster gives no tables, so all results here are our own.) At each *Predict*, stop and guess before
# you look: the surprises are the lesson.
#
# ### 1. Are shared weights better than pruned ones, on MNIST?
#
# The poster says that they are, at equal compression, and that the gap grows with the compression.
# Our network has one hidden layer. Its first matrix, which holds nearly all the weights, is
# compressed. **Predict:** which curve of errors is lower?

# %% alt="On MNIST the two methods are close up to 28x; from 49x to 196x pruning has fewer errors"
table = results.load()
headlines.mnist_card(table, size=(6.4, 4), font=12);

# %% [markdown]
# **What to notice.** Pruning has fewer errors in the middle. From 49x to 196x that is more than
# chance. Everywhere else the difference could be chance, even at the right end: there two trainings
# of one method differ most. [Notebook 03](03_mnist_benchmark.ipynb) trains such networks and
# [notebook 04](04_pruning.ipynb) compares them.
#
# ### 2. Is pruning better in translation, by eight BLEU?
#
# A *Transformer* is the network that translates here, from German into English. BLEU scores its
# translations from 0 to 100, and more is better. The poster says that pruning is eight points ahead
# on average. **Predict:** how many do we find?

# %% alt="In translation all differences are small, far below the original poster's eight BLEU"
headlines.headline_gap(table, size=(6.4, 4.4), font=12);

# %% [markdown]
# **What to notice.** The measured averages are below one BLEU, at both sizes of network. A
# bar is a 95 % interval: what chance leaves open. A filled mark is a *decided* difference, which
# chance alone would hardly give. The test allows for looking at five levels. So a bar may clear
# zero, and its mark be open.
#
# The smaller size, `small`, has three trainings of each method. `base` has one, so its bars leave
# out how trainings differ. [Notebook 08](08_analysis.ipynb) has the comparison. And
# [notebook 06](06_block_circulant_transformer.ipynb) shows how a difference of eight could arise:
# a single learning rate cost almost five BLEU.
#
# ### 3. Does a little pruning make a Transformer better?
#
# The poster says that a slightly pruned network beats the dense one. But a round of pruning is also
# a round of training. So there is a *control*: a network that trains just as long, with nothing
# pruned. A square shows how far the pruned network is above or below the dense one. A circle shows
# the same against the control.
#
# On the left is the test set of 2016, on which the verdict rests. On the right are four test sets
# together. **Predict:** do the squares lie above zero? And the circles?

# %% alt="In the first rounds BLEU is below the dense network's, with or without pruning"
figure = translation_figures.slightly_pruned(table)

# %% [markdown]
# **What to notice.** The squares lie below zero. On the left no mark is filled: nothing is decided.
# On the right more sentences make the bars shorter, and all squares are filled. The circles lie
# around zero on both sides. So the pruning costs nothing that we can see; the further training
# does. [Notebook 07](07_pruned_transformer.ipynb) looks closer.
#
# ### 4. Does sharing need an order among its inputs?
#
# The poster says that sharing works on MNIST because images have a symmetry, and fails on words
# because they have none. One part of that can be tested: shuffle (*permute*) the pixels, the same
# way in every image. **Predict:** does sharing then make more errors? At which block sizes?

# %% alt="With shuffled pixels large blocks make more errors; small blocks, once tuned, as many"
mnist_figures.mnist_permuted(table);

# %% [markdown]
# **What to notice.** Look at the right side, where each network has the learning rate that suits
# it. Up to 8x no harm shows. With larger blocks it makes more errors, and at four of the
# five levels that is decided. So large blocks use the order of the pixels. [Notebook
# 03](03_mnist_benchmark.ipynb) does the test.
#
# ### The four verdicts
#
# A difference is the mean over the levels of compression that were tested. *Preset* names the size
# of the network; `slight` is `small`, pruned for three rounds only. *Seeds* counts the trainings,
# each from its own random start.

# %% tags=["hide-input", "nbval-check-output"]
asked = {("claim1_first", "base"), ("claim2_by_eight", "small"), ("claim3_dense", "slight"),
         ("claim4_order", "base")}
tuned = [claim for claim in claims.all_claims(table) if claim.series == "tuned"]
verdicts = {claim.key: claim for claim in tuned if (claim.key, claim.preset) in asked}
assert verdicts["claim1_first"].above == [49, 98, 196] and not verdicts["claim1_first"].below
assert all(abs(c.difference.mean) < 1 for c in tuned if c.key == "claim2_by_eight")
control = next(c for c in tuned if c.key == "claim3_control")
assert verdicts["claim3_dense"].verdict == "undecided" and abs(control.difference.mean) < 0.1
assert not verdicts["claim3_dense"].above + verdicts["claim3_dense"].below, "no mark is filled"
four = next(c for c in tuned if c.key == "claim3_dense_four")
assert len(four.below) == len(four.levels) == 3, "all squares are filled"
assert verdicts["claim4_order"].above == [16, 28, 196, 784] and not verdicts["claim4_order"].below
Markdown(pages.claims_table(verdicts.values()))

# %% [markdown]
# ## Three rules of a fair comparison
#
# 1. **Say what was compressed:** one layer, all weight matrices, or the whole model.
# 2. **Tune both sides alike.** In the series *tuned* each method has a learning rate of its own,
#    chosen on validation data from equally many trials. Verdicts come from it. The series *same*
#    keeps one untuned setting for all.
# 3. **Show the spread.** A number is a mean over several seeds, with a 95 % interval. With fewer
#    than three seeds there is no verdict. No choice uses the test data.
#
# ## The map
#
# The two techniques, and MNIST:
#
# | Notebook | Question | Read | Run |
# | --- | --- | --- | --- |
# | **00** start here | What was found, and is my machine ready? | 15 min | < 1 min |
# | **01** circulant matrices | What is a circulant matrix, and why is it fast? | 25 min | < 1 min |
# | **02** block-circulant layers | How does it become a layer of a network? | 35 min | < 1 min |
# | **03** MNIST benchmark | What does sharing weights cost in accuracy? | 25 min | 1 min |
# | **04** pruning | Is removing weights better than sharing them? | 30 min | 1 min |
#
# Translation, and advice:
#
# | Notebook | Question | Read | Run |
# | --- | --- | --- | --- |
# | **05** Transformer | How does a network translate, and how good is ours? | 40 min | a few min |
# | **06** block-circulant Transformer | What can one learning rate cost? | 30 min | 2 min |
# | **07** pruned Transformer | Which weights go, and what is left? | 25 min | 2 min |
# | **08** analysis | Which method, when? And do the poster's claims hold? | 20 min | < 1 min |
# | **09** what compression buys | Which method buys bytes, which buys time? | 20 min | < 1 min |
#
# Reading times leave out the exercises. The first lines of a notebook say which ones to read
# before. With ten minutes, read the beginning of 08; with one hour, 02 and 04.
#
# * *Live* experiments run on your machine, and are small. *Full-scale* results are loaded from
#   `data/results`.
# * New words are in the [glossary](glossary.md). Teachers have [a page](teaching.md), too.
#
# ## Exercises
#
# Write the function in place of the dots and run the cell. For help, remove the `#` before `hint`
# or `solution`. One star is easy, three are hard.
#
# ### Exercise 0.1 ★ 2 minutes
#
# How many of a layer's weights are left after some rounds of pruning, each taking 21 % of those
# that remain? Return the *share* that remains.


# %% tags=["nbval-check-output"]
def remaining(rounds):
    ...


check("0.1", remaining)
# hint("0.1")
# solution("0.1")

# %% [markdown]
# ### Exercise 0.2 ★ 5 minutes
#
# A network has weight matrices of several layers, but only some are compressed. Return the
# compression over *all* its weight matrices taken together. `layers` is a list of pairs: the dense
# number of weights, and the number stored.


# %% tags=["nbval-check-output"]
def overall_compression(layers):
    ...


check("0.2", overall_compression)
# hint("0.2")
# solution("0.2")

# %% [markdown]
# ### Exercise 0.3 ★★ 5 minutes, an open question
#
# Each round of pruning is followed by fine-tuning, so rounds cost time. Suppose you have time for a
# given number of them. What share of the remaining weights must each round take to reach `factor`
# at the end?
#
# **Predict:** 21 % per round reaches about 32x in 15 rounds. What share does it take with a third
# of the rounds? Then try 33 rounds, and a single one. Which number would you choose, and how could
# you find out?
#
# <details class="help"><summary>What we found</summary>
#
# | Rounds to 32x | Each takes | Epochs of fine-tuning, 2 per round |
# | --- | --- | --- |
# | 1 | 97 % | 2 |
# | 5 | 50 % | 10 |
# | 15 | 21 % | 30 |
# | 33 | 10 % | 66 |
#
# Arithmetic gives the price of small steps, not their worth. For that you have to train. Exercise
# 4.4 cuts all at once and trains just as long as for 15 rounds. The rounds end with about 0.3
# points fewer errors.
#
# </details>


# %% tags=["nbval-check-output"]
def share_per_round(factor, rounds):
    ...


check("0.3", share_per_round)
# hint("0.3")
# solution("0.3")

# %% [markdown]
# ## What we saw, and where next
#
# A working set-up, the two techniques, four questions with their answers, and the map.
#
# Next: [01_circulant_matrices](01_circulant_matrices.ipynb), or, if you trust the mathematics,
# [02_block_circulant_layers](02_block_circulant_layers.ipynb).
#
# **References.** S. Han, J. Pool, J. Tran, W. Dally,
# [Learning both Weights and Connections for Efficient Neural
# Networks](https://arxiv.org/abs/1506.02626), 2015. C. Ding et al., [CirCNN: Accelerating and
# Compressing Deep Neural Networks Using Block-Circulant Weight
# Matrices](https://arxiv.org/abs/1708.08917), 2017. Y. LeCun, C. Cortes, C. Burges, the MNIST
# database of handwritten digits.
