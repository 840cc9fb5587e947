# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 08 · Analysis: which method, when?
#
# **You will learn** how the original poster's four claims fell, how sure that is, and what to do
# with a network of your own.
#
# **You need** the idea of pruning and of block-circulant matrices; notebooks 06 and 07 show where
# each curve comes from.
#
# **Time:** 10 minutes for the claims, three pictures and the recommendations, which come first.
# All of it takes 30 minutes to read and under a minute to run. The exercises take 35 more.

# %% tags=["hide-input", "nbval-check-output"]
from exercises import check, hint, solution
from exercises.pictures import moving

import numpy as np
import pandas as pd
from IPython.display import Markdown

from circtools.experiments import results, store
from circtools.experiments.bleu import bleu_of_counts
from circtools.report import (claims, comparisons, mnist_figures, pages, style,
                              translation_figures)

style.use()
pd.set_option("display.max_colwidth", None)
table = results.load()
rows = comparisons.of_multi30k(table)
print("FULL-SCALE RESULTS:", results.describe(results.select(table, task="multi30k", tied=False)))

# %% [markdown]
# ## The four claims, as they fell

# %% tags=["nbval-check-output"]
size = comparisons.main_preset(table)
asked = ["claim1_first", "claim1_growth", "claim2_ahead", "claim2_by_eight", "claim3_dense",
         "claim3_control", "claim4_order"]
Markdown(pages.claims_table(
    claim for claim in claims.all_claims(table)
    if claim.key in asked and claim.series == "tuned"
    and (claim.task == "mnist" or claim.preset == size)))

# %% [markdown]
# **What to notice.** Claims 1 and 3 are refuted, and that the gap grows with compression is open.
# Of claim 2 the eight BLEU are refuted, and whether pruning is ahead at all is open. Claim 4 is
# confirmed, in a wording that we weakened after the results: sharing profits from the order of
# the pixels, but does not need it.
#
# *Confirmed* means that the interval of the mean has the claimed sign, and no level of
# compression is decided against it. *Refuted* means that it has the other sign, or that a level
# is decided against it. A claim that names a number is refuted if its interval leaves the number
# out. With fewer than three trainings of either method there is no verdict: the interval then
# says nothing of another training. So the size `base` has no verdicts.
#
# Each method has settings of its own here. With one untuned setting for all, claim 1 fails as
# well, and pruning's lead then grows with compression. [RESULTS.md](../RESULTS.md) has both
# series, the levels, and the rules in full.
#
# ## The picture that matters
#
# **Predict:** with a sixteenth of the numbers in the Transformer's layers, which loses less:
# choosing the numbers to keep (pruning), or sharing them (block-circulant)? By how many BLEU? And
# does a larger network, on the right, bear it better or worse?

# %% alt="Pruned and block-circulant networks stay close together; low rank falls far below"
translation_figures.translation_benchmark(table);

# %% [markdown]
# **What to notice.** In the preset `small`, pruned networks stay within 0.7 BLEU of the dense one
# up to 8x. Block-circulant layers are a little below them there. They fall more slowly
# afterwards, and at 32x the two are nearly level. At `base` neither loses anything to speak of up
# to 4x. Pruned sixteenfold, that network is still within a BLEU of where it began: a larger
# network bears compression better.
#
# It matters which weights are cut. Picked at random, they leave less than sharing does from 4x
# on, at both sizes. It matters as well what is given up. At 16x matrices of low rank come last,
# and before them the smaller network, which gives up width.
#
# (The grey band is the dense network's 95 % interval: on the left over three seeds, on the right,
# with one seed, over the test sentences.)
#
# ## Sharing or structure?
#
# Is it the circulant form that matters, or only that weights are shared? **Random sharing** can
# tell. It shuffles the rows and the columns of each circulant block. So it stores as many weights
# and uses each as often, but nothing of the rotation is left.
#
# **Tiles** are circulant in both directions of the image. Cut from every few pixels, the shift of
# a tile is a shift of the image. Cut from the row of all pixels, it is not.
#
# **Predict:** do circulant blocks beat random sharing on digits? And if the pixels are permuted?
# And on words, which have no order of their own inside a vector?

# %% alt="Circulant blocks make fewer errors than random sharing until the pixels are permuted"
mnist_figures.sharing_or_structure(table);

# %% [markdown]
# **What to notice.** On digits it is the structure. While the pixels keep their order, circulant
# blocks make fewer errors than random sharing, clearly so from 8x on. Once the pixels are
# permuted, the two are level. Tiles whose shifts are shifts of the image do best of all at 49x
# and 196x. These statements were written down before the runs, and all are confirmed.
#
# In translation (three trainings of each) circulant blocks are ahead of random sharing as well,
# by about 1.3 BLEU on average. We had expected the two to be level, because nobody gives an order
# to the numbers of a word's vector. So the poster's reason for claim 4 fits digits better than
# words. The spectra of notebook 06 look for an order that the network may have found by itself.
#
# ## Recommendations
#
# The numbers are those of this small translation task. What a file weighs depends on how much of
# the model is embeddings.

# %% tags=["nbval-check-output"]
Markdown(pages.advice(table))

# %% [markdown]
# ### A budget in megabytes
#
# Suppose that the file of the whole model may have so many megabytes and no more. Of each method
# the picture takes the network with the best validation BLEU that fits, and ranks them by test
# BLEU. With this notebook running, move the slider.
#
# **Predict:** which method comes first at 16 MB? Where does the order change?

# %% alt="Methods ranked by test BLEU within a budget of megabytes, at two sizes of Transformer"
sizes = translation_figures.files(table)


def draw(megabytes=16):
    return translation_figures.within_budget(sizes, megabytes)


moving(draw, megabytes=[3, 5, 6, 8, 10, 10.5, 11, 12, 14, 16, 18, 20, 22, 24, 26, 30, 36, 43])

# %% [markdown]
# **What to notice.** XXX
#
# ## Level by level, at both sizes
#
# The original poster says that pruning is ahead by 8 BLEU on average. **Predict:** how far is it
# ahead at 2x, and at 32x? Is that the same at both sizes?

# %% alt="The gap between pruning and block-circulant is far below the poster's eight BLEU"
translation_figures.translation_gap(table);

# %% [markdown]
# **What to notice.** No level comes near 8. At `base` there is no gap at 2x, and the largest is
# at 16x. At `small` the largest is at 8x. Which of these ups and downs would come again, one seed
# at `base` cannot say. Fully circulant, the larger network has 4.4 BLEU less than the dense one.
#
# How can a gap grow to 8? Notebook 06 shows one way. At the rate that was best for the small
# network, a block-circulant one of the size `base` loses almost five BLEU at 4x that it need not
# lose. And at 32x the tuned setting serves block-circulant layers of the size `small` badly. It
# was chosen at 4x and 16x; the dense network's setting would have been better (the dotted line).
#
# (Filled marks are decided after Holm's correction; the bars are not corrected. Marks stand a
# little beside their level. After fifteen rounds of pruning the compression is 34x and not 32x.)
#
# ## How sure is a difference?
#
# With one training of each method, another set of test sentences is all that an interval can
# speak of. A **paired bootstrap** makes such sets from the one there is.
#
# **8.1** ★★ (15 minutes) `first` and `second` hold what BLEU counts in each test sentence of two
# networks, one row per sentence. `bleu_of_counts` turns the sum of such rows into a BLEU. Each
# row of `draws` holds the numbers of the sentences that a resample drew. Return the 95 % interval
# of the difference, first minus second, as `(low, high)`.


# %% tags=["nbval-check-output"]
def bootstrap_interval(first, second, draws):
    ...


check("8.1", bootstrap_interval)

# %% [markdown]
# Our own intervals use the jackknife, which needs no random numbers. At 16x, for seed 0 of the
# preset `small`, it says:

# %% tags=["nbval-check-output"]
pair = comparisons.pairs_at_equal_compression(results.select(rows, seed=0))
pair = results.select(pair, block_size=16)
first, second = (store.counts(*pair[side].item()) for side in ("first_run", "second_run"))
draws = np.random.default_rng(0).integers(len(first), size=(1000, len(first)))
print("FULL-SCALE: BLEU of pruned minus block-circulant:", comparisons.compare(pair).mean.text())

# %% [markdown]
# What does `bootstrap_interval(first, second, draws)` say? The two should agree to a tenth of a
# BLEU or so.
#
# Several levels bring another danger: look at twenty, and one is likely to pass a test at 5 % by
# luck. **Holm's correction** goes through the p-values from the smallest to the largest. The
# first must be at most 0.05 / n, the next at most 0.05 / (n - 1), and so on. The first that is
# above its limit ends it.
#
# **8.2** ★★ (10 minutes) Return which hypotheses are rejected at 5 %, as truth values in the
# order of the p-values given.


# %% tags=["nbval-check-output"]
def rejected(p_values):
    ...


check("8.2", rejected)

# %% [markdown]
# ## Is the lead of pruning safe?
#
# Two choices of ours may have made it. The networks pruned in rounds have been trained for more
# epochs. And settings were chosen by the validation *loss*, where validation BLEU would have
# chosen others for block-circulant layers.
#
# **8.3** ★★★ (10 minutes, open) Change the experiment so that the lead of pruning would vanish,
# if one of these choices has made it. Which networks would you train, with which settings and for
# how many epochs? `circtools run multi30k --preset small --methods all --plan` says what a
# training takes. Write your guess down before you look at what we found.

# %% alt="At base the lead of pruning stays under every change, at small it comes and goes"
translation_figures.lead_of_pruning(table);

# %% [markdown]
# **What we found** (one seed each). At `base` neither choice matters: the lead stays. At `small`
# it hangs on both. Against the settings that BLEU would have chosen it is gone. Against projected
# networks, which have had as many epochs, less is left. With 20 epochs for both, pruning *while
# it is trained* is ahead, just; at `base` that has not been run. So at the small size nobody
# should choose by this lead. At the larger one it holds, for these networks. (The settings of
# projected networks come from short trials alone.)
#
# The rounds by themselves are not what helps: with nothing pruned they bring nothing, at either
# size.
#
# **Time** is something else. A pruned matrix is as slow as a dense one unless special kernels
# multiply it. A block-circulant one is faster than a dense one only where it is wide, as
# [notebook 09](09_what_compression_buys.ipynb) maps.
#
# ## Counted otherwise
#
# Over all matrices but the embeddings, and in bytes of the whole file, the curves move to the
# left: what is not compressed stays. **Predict:** does that change who is ahead?

# %% alt="Counted over the whole file, a smaller dense network shrinks more than either method"
translation_figures.translation_sets(table);

# %% [markdown]
# **What to notice** (in the preset `small`). Yes. With the output layer untouched, pruning and
# sharing get little beyond 2x of the matrices, and far less of the file. Pruned with the output
# layer, the matrices shrink fivefold at no loss; but the file, most of which are embeddings then,
# stays above a half.
#
# The smaller dense network shrinks its embeddings too. With half the width it has less than half
# the file, at half a BLEU. With a quarter of the width six BLEU are gone, and at `base` three and
# a half. Two things have not been run: block-circulant output layers, and a narrower network that
# is compressed as well.
#
# ## Side by side
#
# One test sentence as compression grows.

# %% tags=["nbval-check-output"]
translation_figures.side_by_side(rows, 4).fillna("")

# %% [markdown]
# And another, longer one:

# %% tags=["nbval-check-output"]
lengths = first[:, 9]  # words of the reference
translation_figures.side_by_side(rows, int(np.argsort(lengths, kind="stable")[-25])).fillna("")

# %% [markdown]
# Are long sentences hurt more than short ones?

# %% alt="Neither method loses more on long sentences than on short ones"
translation_figures.bleu_by_length(table);

# %% [markdown]
# **What to notice** (in the preset `small`, one seed). From the shortest quarter to the longest
# there is no trend in what either method costs that four groups of 250 sentences could show.
#
# ## Had structured matrices never been applied to language?
#
# The original poster opens with that claim, beside the four. It holds or not depending on the
# date one gives it:
#
# - April 2016: Toeplitz-like matrices in recurrent networks for speech (Lu, Sindhwani, Sainath).
# - October 2018: matrices of low displacement rank, which circulant ones are, in recurrent
#   networks, for language modelling among other tasks (Thomas, Gu, Dao, Rudra, Ré).
# - April 2020: products of butterfly matrices in a network that translates from German to English
#   (Dao et al., Kaleidoscope).
# - July 2020: block-circulant matrices in Transformers for language, on an FPGA (Li et al.,
#   FTRANS).
#
# So as a general statement it has been wrong since 2018 at the latest, and for block-circulant
# Transformers since July 2020.
#
# ## What has not been run
#
# RESULTS.md lists it, and every run is one command away: `circtools run multi30k --methods all
# --preset base --seeds 3` does what is missing there, and nothing twice.
#
# ## What we saw, and where next
#
# - With equally many weights the two methods are less than a BLEU apart on average, and not 8. In
#   files of equal size the lead of pruning is not decided.
# - For a small file, a narrower dense network is the rival to beat.
# - On digits it is the structure that helps, and not only that weights are shared.
#
# Next: [09](09_what_compression_buys.ipynb), what compression buys in bytes and seconds. Stuck on
# an exercise? `hint("8.1")`, `solution("8.1")`, and so on.
#
# **References.** Z. Lu, V. Sindhwani, T. Sainath, [Learning Compact Recurrent Neural
# Networks](https://arxiv.org/abs/1604.02594), 2016. A. Thomas et al., [Learning Compressed
# Transforms with Low Displacement Rank](https://arxiv.org/abs/1810.02309), 2018. T. Dao et al.,
# [Kaleidoscope: An Efficient, Learnable Representation For All Structured Linear
# Maps](https://arxiv.org/abs/2012.14966), 2020. B. Li et al.,
# [FTRANS](https://arxiv.org/abs/2007.08563), 2020. P. Koehn, [Statistical Significance Tests for
# Machine Translation Evaluation](https://aclanthology.org/W04-3250/), 2004.
