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
# **What this course is.** Two ways to make a neural network smaller, compared at equal size:
# *pruning* (zero the smallest weights) and *block-circulant weight matrices* (make weights share
# their values). It rebuilds the experiments of a research poster, tests each of its claims, and
# says which ones hold.
#
# **You will learn** how the course is laid out, whether your machine is ready, what the two
# techniques look like, and how to use the notebooks in a workshop.
#
# **You need** basic Python and the idea of a matrix product. No GPU, and no network once it is
# installed.
#
# **Time:** 10 minutes to read, under a minute to run (2 CPU cores).

# %% [markdown]
# ## The map
#
# | Notebook | Question | Read | Run |
# | --- | --- | --- | --- |
# | **00** start here | Is my machine ready? | 10 min | < 1 min |
# | **01** circulant matrices | What is a circulant matrix, and why is it fast? | 25 min | < 1 min |
# | **02** block-circulant layers | How does it become a layer of a network? | 25 min | < 1 min |
# | **03** MNIST benchmark | What does sharing weights cost in accuracy? | 25 min | 1 min |
# | **04** pruning | Is removing weights better than sharing them? | 25 min | 1 min |
# | **05** Transformer | How does a network translate, and how good is ours? | 35 min | 2 min |
# | **06** block-circulant Transformer | What if all its matrices share weights? | 25 min | 1 min |
# | **07** pruned Transformer | Which weights go, and what is left? | 25 min | 1 min |
# | **08** analysis | Which method, when? And do the poster's claims hold? | 25 min | < 1 min |
# | **09** what compression buys | Which method buys bytes, which buys time? | 30 min | < 1 min |
#
# Each notebook stands alone. If you have five minutes, read the first two pictures and the
# recommendations of 08, which come next; if you have one hour, 02 and 04.
# Most notebooks have a small experiment that runs live on your machine; from 03 on the full-scale
# results are shown too, loaded from `data/results` and labelled as such. New words are explained
# in the [glossary](glossary.md).
#
# **The poster's claims**, to which the notebooks come back:
#
# 1. On MNIST, block-circulant beats pruning at equal compression, and the gap grows with it.
# 2. In translation, pruning beats block-circulant, by 8 BLEU on average.
# 3. A slightly pruned Transformer beats the uncompressed one.
# 4. Circulant sharing works on MNIST because images have a symmetry, shifts, and fails on words
#    because they have none.
#
# Of the poster's numbers we have those in its claims, "20 epochs", and its pruning: 21 % a round,
# 15 rounds. It gives no tables. All results here are our own.

# %% [markdown]
# ## Is everything here?
#
# The next cell imports what the course needs and looks for the data: first where the environment
# variable `CIRCTOOLS_DATA` points, then in `data/raw`, then by a download. Without data *and*
# network it says so, and a built-in sample of printed digits takes the place of MNIST, so that a
# workshop goes on. (The full-scale results below are always those of the real data.)

# %% tags=["hide-input"]
from exercises import check, hint, solution  # notebooks/exercises: checks, hints and solutions

import platform

import torch

from circtools import compression_ratio
from circtools.experiments import mnist, results
from circtools.report import diagrams, mnist_figures, style

style.use()
print(f"Python {platform.python_version()}, torch {torch.__version__}, "
      f"{torch.get_num_threads()} threads, GPU: {torch.cuda.is_available()}")
digits = mnist.load()
print(f"data: {digits.origin}; {len(digits.train_x)} training, {len(digits.val_x)} validation "
      f"and {len(digits.test_x)} test images")

# %% [markdown]
# If an import fails, the notebook runs in another Python than the one the course was installed
# into: start it with `make lab`. If a data file is reported as truncated or corrupted, delete the
# file that the message names and run the cell again.

# %% alt="Sixteen handwritten digits of MNIST, each with its label"
mnist_figures.images(digits.train_x[:16], [f"label {y}" for y in digits.train_y[:16].tolist()]);

# %% [markdown]
# ## The two techniques in two pictures
#
# Where a picture shows the values of weights, red is positive, blue is negative and pale is near
# zero; a grey dot marks a weight that was zeroed.
#
# **Pruning** trains a network, zeroes the weights of smallest magnitude, trains what is left, and
# repeats. Our rounds take 21 % of the *remaining* weights, as the poster did.

# %% alt="Pruning: each round zeroes the smallest weights and trains what is left"
diagrams.pruning_technique();

# %% [markdown]
# **A circulant matrix** is known by its first row: each next row is the one above, rotated right
# by one. A *block*-circulant matrix is cut into b x b blocks of this kind. It stores b numbers a
# block instead of b², so the block size b *is* the compression factor. (Here a colour says only
# which numbers are the same, and only within a block; it does not say how large they are.)

# %% alt="A circulant matrix repeats its first row, rotated; a block-circulant one has such blocks"
diagrams.circulant_technique();

# %% [markdown]
# The question of the course: if a network may store only one number in b, is it better to *choose*
# which ones to keep (pruning), or to *share* them from the start (block-circulant)?

# %% [markdown]
# ## A word about fair comparisons
#
# Three rules hold in all notebooks.
#
# 1. **Say what was compressed.** "8 times smaller" may speak of one layer, of all weight matrices,
#    or of the whole model. Compression is dense weights / stored weights over a named set.
# 2. **Tune both sides alike.** The series *same* keeps one untuned setting for all, as a quick
#    reproduction would (in translation for the block-circulant networks; fine-tuning after pruning
#    has no setting to keep, and is always tuned). The series *tuned* chooses the learning rate (for
#    Transformers the dropout too) on validation data, with the same number of trials for either
#    method: on MNIST for the chain of pruning and for each block size, in translation at two
#    compressions. (Pruning while the network is trained keeps the dense network's setting.)
#    Verdicts come from *tuned*.
# 3. **Show the spread.** On MNIST a number is a mean over five seeds, with a 95 % interval by
#    Student's t. In translation the interval also says what another set of test sentences could
#    give. With fewer than three seeds there is no verdict. No choice uses the test data. (Short
#    trials never read them. Complete trials of a Transformer are measured on them as each ends;
#    those that were not chosen are kept, as *rejected*.)

# %% tags=["nbval-check-output"]
model = mnist.classifier()
weights = sum(p.numel() for name, p in model.named_parameters() if name.endswith("weight"))
print(f"The MNIST classifier 784-784-10 has {weights:,} weights; "
      f"uncompressed, its ratio is {compression_ratio(model):g}")

# %% [markdown]
# ## The results that come with the course
#
# Every run left one JSON file in `data/results`: its configuration, its metrics by epoch, its
# device, its commit. `results.load()` gives them as one table, a row a run (a round, for pruning).

# %% tags=["nbval-check-output"]
table = results.load()
print("FULL-SCALE RESULTS:", results.describe(table))
runs = table.groupby(["task", "preset", "method", "series"])["run"].nunique()
runs.unstack(fill_value=0)

# %% [markdown]
# (A *preset* is a size: in translation `small`, or `base`, twice as wide and three layers deep
# instead of two. *search*: trials of a setting, which never read the test data and are not counted
# in the line above; on MNIST they are as long as the final runs, with two seeds of their own, in
# translation they are short. *rejected*: complete trials of a setting that was not chosen. A run
# that serves *same* and *tuned* is counted in both. `pruned_all` prunes the output layer too;
# `gradual` prunes during the training; `projected` starts block-circulant layers from a trained
# dense network. `finetune_control` and `random_pruned` are controls; `low_rank` and `small_dense`
# are two other ways to be small.)
#
# `make figures` draws every figure of our own poster from this table, and
# `make experiments` runs whatever result is missing. On two CPU cores all of MNIST takes about an
# hour and a half, one Transformer 20 minutes (`small`) to an hour (`base`); a run that was
# stopped resumes.

# %% [markdown]
# ## Exercises
#
# Exercises look like the next two cells: write the function in place of the dots and run the
# cell. `check` says what is wrong; `hint("0.1")` and `solution("0.1")` help.
#
# **0.1** How many of a layer's weights are left after some rounds of pruning, each taking 21 % of
# those that remain? Return the *share* that remains.


# %% tags=["nbval-check-output"]
def remaining(rounds):
    ...


check("0.1", remaining)

# %% [markdown]
# **0.2** A network has weight matrices of several layers, but only some are compressed. Return the
# compression over *all* its weight matrices. `layers` is a list of pairs: the dense number of
# weights, and the number stored.


# %% tags=["nbval-check-output"]
def overall_compression(layers):
    ...


check("0.2", overall_compression)

# %% [markdown]
# ## For teachers
#
# [The teacher's page](teaching.md) has plans for two hours, for half a day and for half a day of
# translation. It says how to prepare a class, how to teach without a network, and what to do with
# slow laptops. `make blank` writes copies of the notebooks without outputs into `build/blank`, so
# that the answer to a *Predict* does not stand below it; `make class` opens them.

# %% [markdown]
# ## What we saw, and where next
#
# The map, a working set-up, the two techniques, and the three rules of a fair comparison.
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
