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
# **You will learn** what the experiments say about the poster's claims, and what to do with a
# network of your own.
#
# **You need** the idea of pruning and of block-circulant matrices; notebooks 06 and 07 show where
# each curve comes from.
#
# **Time:** 5 minutes for the first two pictures and the recommendations, 25 for all of it; under a
# minute to run.

# %%
import numpy as np
import pandas as pd
from IPython.display import Markdown

from circtools import (
    claims,
    figures,
    multi30k_runs,
    results,
    style,
    translation_claims,
    translation_figures,
)
from exercises import check, hint, solution

style.use()
pd.set_option("display.max_colwidth", None)
table = results.load()
rows = translation_figures.of_multi30k(table)
print("FULL-SCALE RESULTS:", results.describe(rows))

# %% [markdown]
# ## The picture that matters
#
# **Predict:** with a sixteenth of the numbers in the Transformer's layers, which loses less:
# choosing the numbers to keep (pruning), or sharing them (block-circulant)? By how many BLEU? (The
# grey band is the dense network's 95 % interval, with one seed over the test sentences. Two curves
# are compared by a paired test, below, and not by this band.)

# %%
translation_figures.translation_benchmark(table);

# %% [markdown]
# **What to notice** (in the preset `small`, one seed). Pruning loses nothing up to 8x.
# Block-circulant layers lose from the start. But from 8x on they fall more slowly than pruning
# does, and at 32x the two are level. Which weights are cut matters: cut *at random*, they leave
# less than sharing does from 4x on. (Low rank and smaller dense networks have not been tuned yet;
# notebook 06 shows them at the base settings.)
#
# Pruning in rounds has had more epochs than block-circulant layers from scratch, 44 against 20 at
# 16x. Is that why it is ahead? Two curves compare like with like. With 20 epochs each, pruned while
# it is trained (the stars) against from scratch, pruning is ahead by about a BLEU at 16x. With 44
# epochs each, pruned in rounds against a trained network *projected* onto block-circulant form and
# fine-tuned, the two are level there. So the epochs may be what puts pruning in rounds ahead; they
# are not what puts gradual pruning ahead, which had no more of them.
#
# The same as a difference, level by level, at both sizes that have been run. The poster says that
# pruning is ahead by 8 BLEU on average. We find a fraction of that. Notebook 06 shows how a gap can
# grow: by one learning rate. At the rate that was best for the small network, a block-circulant one
# of the size `course` loses almost five BLEU that it need not lose.
#
# (Filled marks are decided at 5 % after Holm's correction for looking at several levels; the
# intervals are not corrected, so one may leave zero out and its mark be hollow. Marks stand a
# little beside their level so as not to cover each other.)

# %%
translation_figures.translation_gap(table);

# %% [markdown]
# ## At another size
#
# `course` is twice as wide as `small` and half as deep again. **Predict:** does a larger network
# bear compression better, or worse? And does the gap close or open?

# %%
sizes = figures.select(table, task="multi30k", series="tuned", tied=False, seed=0)
sizes = sizes.assign(level=translation_claims.levels_of(sizes)).dropna(subset="level")
methods = ["dense", "pruned", "random_pruned", "block_circulant"]
shown = sizes[sizes["method"].isin(methods)].pivot(
    index="level", columns=["preset", "method"], values="test_bleu")
shown = shown.reindex(columns=pd.MultiIndex.from_product([["small", "course"], methods]))
print("FULL-SCALE: test BLEU by compression of the Transformer's layers")
shown.rename("{:.0f}x".format).map("{:.1f}".format).replace("nan", "")

# %%
whole = figures.select(sizes, method="pruned_all")
whole = whole.pivot(index="level", columns="preset", values="test_bleu")
print("FULL-SCALE: test BLEU, pruned with the output layer, by compression of all matrices but the "
      "embeddings")
whole[["small", "course"]].rename("{:.0f}x".format).round(1)

# %%
loops = figures.select(table, task="multi30k", series="tuned", method="unpruned", seed=0)
loops = loops.groupby("preset", sort=False)["test_bleu"].agg(["mean", "std"])
for preset, row in loops.iterrows():
    print(f"FULL-SCALE, {preset}: the same rounds with nothing pruned have {row['mean']:.1f} BLEU "
          f"on average, with a standard deviation of {row['std']:.2f} from round to round")

# %% [markdown]
# **What to notice** (one seed each). The larger network bears compression better. Up to 4x neither
# method costs it anything; and pruned sixteenfold, with the output layer or without, it is still
# level with its dense self, where `small` has lost more than a BLEU and a half, or two and a half.
# The single circulant, 256x, has 4.4 BLEU less than the dense network. As at the small size, the
# rounds alone bring nothing, and weights picked at random are worth less than shared ones.
#
# Over all levels pruning is ahead by about as much as at the small size, but not at the same ones:
# here there is no gap at 2x, and the largest at 16x. One seed cannot say which of these ups and
# downs would come again. None of them is near 8.
#
# ## Recommendations
#
# Each with the number that supports it; the numbers are those of this small translation task, and
# of the preset named above.

# %%
Markdown("\n".join(f"- {line}" for line in translation_claims.recommendations(rows)))

# %% [markdown]
# What these numbers do not show is time. A pruned matrix is as slow as a dense one unless special
# kernels multiply it, a block-circulant one is faster from a width of about a thousand on:
# [notebook 09](09_what_compression_buys.ipynb) measures it.
#
# **8.1** How many rounds of pruning, each taking 21 % of the remaining weights, does it take to
# reach a given compression?


# %% tags=["nbval-check-output"]
def rounds_for(compression):
    ...


check("8.1", rounds_for)

# %% [markdown]
# ## The verdicts
#
# Each claim of the poster, with its estimate and what the interval rests on. Where there is one
# seed, the interval is the paired bootstrap over the test sentences: it says how sure the
# difference between *these two networks* is, not what another seed would give. An estimate above
# zero supports the claim as it is worded. *Confirmed*: the interval of the average lies above zero,
# and no level is decided against the claim. *Refuted*: it lies below zero, or a level is decided
# against; a claim that names a number is refuted if the interval leaves that number out. *True at*,
# *false at*, *open at* count the decided levels. *tuned* and *same*: with settings chosen for the
# method, or with the dense network's; at the size `course` the trials chose the latter, so its rows
# agree.

# %%
Markdown(claims.markdown(claims.table_of_claims(table)))

# %% [markdown]
# Claim 4, that sharing works for pixels and fails for words because words have no symmetry, was
# tested where it can be: with permuted pixels (notebook 03). On translation, the spectra of
# notebook 06 show whether the blocks found an order that nobody gave them.
#
# **8.2** Two methods, each trained with the same seeds. Return the 95 % interval of their mean
# difference, paired by seed (Student's t), as `(low, high)`.


# %% tags=["nbval-check-output"]
def paired_interval(first, second):
    ...


check("8.2", paired_interval)

# %% [markdown]
# ## Counted otherwise
#
# Over all matrices but the embeddings, and over the whole model, the curves move to the left: what
# is not compressed stays. **Predict:** does that change who is ahead?

# %%
translation_figures.translation_sets(table);

# %% [markdown]
# **What to notice** (in the preset `small`). The order stays. But what is left alone sets a limit:
# with the output layer untouched, no curve gets much beyond 2x of the matrices, or 1.4x of the
# model. With it, pruning goes to 5x of the matrices at no loss.
#
# ## Side by side
#
# One test sentence as compression grows.

# %%
translation_figures.side_by_side(rows, 4).fillna("")

# %% [markdown]
# And another, longer one:

# %%
dense = figures.select(rows, method="dense", series="tuned", seed=0)
lengths = results.counts(dense["run"].iloc[0])[:, 9]
translation_figures.side_by_side(rows, int(np.argsort(lengths)[-25])).fillna("")

# %% [markdown]
# Are long sentences hurt more than short ones?

# %%
translation_figures.bleu_by_length(table);

# %% [markdown]
# **What to notice** (in the preset `small`, one seed). No: from the shortest quarter to the longest
# there is no trend in what either method costs.
#
# ## Had structured matrices never been applied to language?
#
# The poster opens with that claim. It holds or not depending on the date one gives it:
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
# Every run is one command away: `circtools run multi30k --methods all --preset course --seeds 3`
# does what is missing, and nothing twice.

# %%
present = table[(table["task"] == "multi30k") & ~table["tied"].astype(bool)]
counted = present[present["series"].isin(["same", "tuned"])].groupby(["preset", "method"])["seed"]
seeds = counted.nunique().unstack().reindex(columns=multi30k_runs.METHODS,
                                            index=["small", "course", "poster"])
print("FULL-SCALE: seeds for which there are results of networks with untied output weights")
seeds.fillna(0).astype(int).T

# %% [markdown]
# ## What we saw, and where next
#
# The picture at the top is the answer; the recommendations say it in words. Next:
# [09](09_what_compression_buys.ipynb), what compression buys in bytes and seconds. Stuck on an
# exercise? `hint("8.1")`, `solution("8.1")`, and so on.
#
# **References.** Z. Lu, V. Sindhwani, T. Sainath, [Learning Compact Recurrent Neural
# Networks](https://arxiv.org/abs/1604.02594), 2016. A. Thomas et al., [Learning Compressed
# Transforms with Low Displacement Rank](https://arxiv.org/abs/1810.02309), 2018. T. Dao et al.,
# [Kaleidoscope: An Efficient, Learnable Representation For All Structured Linear
# Maps](https://arxiv.org/abs/2012.14966), 2020. B. Li et al.,
# [FTRANS](https://arxiv.org/abs/2007.08563), 2020. P. Koehn, [Statistical Significance Tests for
# Machine Translation Evaluation](https://aclanthology.org/W04-3250/), 2004.
