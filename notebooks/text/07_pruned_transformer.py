# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Pruned Transformers
#
# **You will learn** how a trained Transformer is pruned in rounds, which of its matrices and heads
# the rounds empty, what a control that prunes nothing is for, and whether a slightly pruned
# Transformer really is better than the one it came from.
#
# **You need** notebooks 04 (pruning in rounds) and 05 (the Transformer), or their ideas.
#
# **Time:** 25 minutes to read, two minutes to run (2 CPU cores).

# %% tags=["hide-input"]
from exercises import check, hint, solution

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Markdown

from circtools import counting, prune, pruning
from circtools.experiments import multi30k, results, store, translation
from circtools.experiments.multi30k_runs import DEMO
from circtools.report import claims, comparisons, network_figures, pages, style, translation_figures

style.use()
pd.set_option("display.max_colwidth", None)
corpus = multi30k.load()
table = results.load()
rows = comparisons.of_multi30k(table)
preset = rows["preset"].iloc[0]
print("FULL-SCALE RESULTS:", results.describe(rows))

# %% [markdown]
# ## Live: prune without mercy
#
# Here is the trained network that comes with the course. Its layers are pruned in one stroke, with
# no fine-tuning. **Predict:** at which share of zeros does it stop making sense?

# %%
german = corpus.test.german[4]
lines = []
for amount in (0.0, 0.2, 0.4, 0.6, 0.8):
    model, words = multi30k.load_model(DEMO)
    layers = counting.weight_layers(model)
    prune([layer for name, layer in layers.items() if name != "output"], amount)
    lines.append((f"{amount:.0%}", translation.translate(model, words, [german])[0]))
print("LIVE:", german)
pd.DataFrame(lines, columns=["zeros", "translation"])

# %% [markdown]
# This sentence bears a good half of zeros, and not four fifths. (It is an easy one.)
#
# Fine-tuning repairs what each cut destroys, if the cuts are small: 21 % of what remains in each
# round, then two epochs of training. At which learning rate? A trained network is usually
# fine-tuned at a fraction of the rate it was trained with. **Predict:** does that hold when a
# quarter, or a sixteenth, of the weights is left?

# %% alt="In short trials twice the dense network's learning rate is best for fine-tuning"
network_figures.learning_rates(table, "pruned");

# %% [markdown]
# (Short trials: two rounds at once, one epoch after them.) Half the rate is the worst choice at
# both levels, and costs more at 16x than at 4x: the more has been cut, the more there is to learn
# anew. Both curves are lowest at *twice* the rate of the training. Renda, Frankle and Carbin, in
# 2020, found too that fine-tuning at the low final rate of a training is not the best. One rate
# must serve all rounds here; it is the one with the lowest mean of the two losses.
#
# ## Full scale
#
# (The bands are 95 % intervals over three seeds; what has one seed has none.)
#
# Fifteen rounds, by magnitude. (The stars come later.) Two controls belong to it: pruning at
# random, which shows what choosing by magnitude is worth; and the same loop with nothing pruned,
# which shows what the additional epochs are worth. (It is drawn where pruning stands after as many
# rounds.) **Predict:** how many BLEU does 4x cost? And 34x? And how many, if the weights are picked
# at random?

# %% alt="Pruning by magnitude stays near the dense network far longer than pruning at random"
translation_figures.poster_panel(table, "pruned_transformer");

# %% tags=["nbval-check-output"]
tuned = results.select(rows, series="tuned", seed=0)
chains = tuned[tuned["round"] > 0].pivot(index="round", columns="method", values="test_bleu")
chains = chains.reindex(columns=["pruned", "random_pruned", "finetune_control"])
control = chains["finetune_control"]
print(f"FULL-SCALE, preset {preset}: the control's test BLEU is {control.mean():.1f} on average, "
      f"with a standard deviation of {control.std():.2f} from round to round")
chains.loc[[1, 3, 6, 9, 12, 15]].round(1)

# %% [markdown]
# **What to notice** (in the preset `small`). The control loses no weight, and still its BLEU
# wanders from round to round: each time it is trained for two more epochs, at a rate that rises
# again, and lands somewhere else. That much is chance. A difference between two networks wanders
# more than either: one of less than a BLEU, at one level, in one run, has shown nothing, and up to
# 8x this is all that happens. (A mean over several levels wanders less: notebook 08.) The control
# does not climb either: thirty more epochs teach the network nothing, so they are not what keeps
# the pruned one up.
#
# Which weights are cut matters more and more. Picked at random, they leave the network less than a
# BLEU below the control up to 2x, which may be chance; from there on it is more, and at 16x it is
# five. From 4x on, random pruning is behind block-circulant layers
# as well (notebook 08): weights that are shared are worth more than weights left by chance.
#
# ## Without rounds
#
# Rounds take time: after the 20 epochs of the dense network, 24 more to 16x. But weights can be cut
# *while* the network is trained. A fresh one has all its weights for five epochs. Before each of
# the next ten, those that have become smallest are set to zero, many at first and few at the end;
# the last epochs repair (Zhu and Gupta, 2017). Here are both schedules to 16x:

# %% alt="Gradual pruning reaches a sixteenth within the training, rounds only long after it"
rounds = [(1 - pruning.AMOUNT) ** (1 + epoch // 2) for epoch in range(24)]  # two epochs each
gradual = [pruning.gradual_density(epoch / 20, 1 / 16) for epoch in range(21)]
figure, axes = plt.subplots(figsize=(9, 4.2))
axes.step(range(45), [1.0] * 20 + rounds + rounds[-1:], where="post", color=style.VERMILION,
          linestyle="--", label="in rounds, after the training")
axes.step(range(21), gradual, where="post", color=style.ORANGE,
          label="gradually, in the training")
axes.axhline(1 / 16, color="black", linestyle=":", linewidth=1.2, label="a sixteenth")
axes.set(xlabel="epoch", ylabel="share of the weights left", title="Two ways to 16x",
         xlim=(0, 44), ylim=(0, 1.05))
axes.legend(loc="upper right");

# %% [markdown]
# **Predict:** the gradual network is never trained in full, and then has half the epochs. What does
# that cost?

# %% tags=["nbval-check-output"]
way = {"pruned": "in rounds", "gradual": "gradually"}
ways = tuned[tuned["method"].isin(way)]
ways = ways.assign(way=ways["method"].map(way), to=comparisons.levels_of(ways))
ways = ways[ways["to"].isin([4, 16])].rename(columns={"test_bleu": "test BLEU"})
print("FULL-SCALE: epochs, those of the dense network included, and test BLEU")
ways = ways.pivot(index="to", columns="way", values=["epochs", "test BLEU"])
ways.rename("{:.0f}x".format).round(1)

# %% [markdown]
# **What to notice** (in the preset `small`, one seed). It costs nothing. To 4x both ways give the
# same BLEU, to 16x the gradual one is a little ahead (by less than one seed can decide). So it is
# not only the long training that makes pruning strong. Gradual pruning has as many epochs as
# block-circulant layers, which makes for a fair comparison; notebook 08 draws it.
#
# ## The entire network
#
# The output layer scores almost six thousand words, and is by far the largest matrix after the
# embeddings. May it be pruned too? Counted over all matrices but the embeddings:

# %% alt="With the output layer pruned too, the whole network shrinks far more before BLEU falls"
if "pruned_all" in set(rows["method"]):
    translation_figures.poster_panel(table, "pruned_entire_network")
else:
    print("This has not been run at full scale yet: "
          "circtools run multi30k --preset small --seeds 1 --methods pruned_all")

# %% [markdown]
# **What to notice** (in the preset `small`). Where only the layers are pruned, the curve turns down
# at about 2x: the output layer, which is not touched, is nearly half of what is counted. With the
# output layer, nothing is lost down to a fifth of these weights. At the far end the rounds cut into
# what is needed, and the last two cost more than the thirteen before.
#
# ## What the rounds empty
#
# Pruning is global: a matrix keeps many weights if they are large beside those of the others.
# **Predict:** which matrices are emptied first: attention or feed-forward, encoder or decoder?

# %% alt="Values and outputs of the last cross-attention keep the most weights"
chain = results.select(rows, method="pruned", series="tuned", seed=0)
run = next(r for r in store.read() if r["run"] == chain["run"].iloc[0])
network_figures.emptied_layers(run);

# %% [markdown]
# **What to notice** (in the preset `small`). Attention and feed-forward have kept about the same,
# the encoder a little less than the decoder. The large differences are inside. In the
# cross-attention of the last decoder layer, values and outputs, through which the German sentence
# reaches the English one, keep two to two and a half times the average, queries and keys less than
# it. In the encoder's own attention it is the other way round: values and outputs are emptied
# first. And the heads of one matrix? **Predict:** do they keep equal shares?

# %% alt="Within a matrix some heads keep several times as many weights as others"
network_figures.emptied_heads(network_figures.artefacts(table, "pruned"));

# %% [markdown]
# In the cross-attentions and in the last decoder layer they nearly do. In the queries and keys of
# the encoder and of the first decoder layer they do not: one head keeps two to three and a half
# times as much as another, mostly the same in both matrices. (In an *output* matrix a head is a
# group of columns, in the others of rows.)
#
# **7.1** The share of weights left in each head of a query matrix, from its mask
# `(d_model, d_model)` whose *rows* are cut into heads.


# %% tags=["nbval-check-output"]
def density_by_head(mask, heads):
    ...


check("7.1", density_by_head)

# %% [markdown]
# ## Claim 3: is slightly pruned better?
#
# The poster says that the slightly pruned Transformer beats the uncompressed one. Round 1 was named
# as "slightly pruned" before anything was run. It has had two epochs more than the dense network;
# so it is compared with the control too, which has had the same two.

# %% alt="One round makes the network worse than the dense one, but no worse than the control"
translation_figures.slightly_pruned(table);

# %% tags=["nbval-check-output"]
Markdown(pages.claims_table(c for c in claims.all_claims(table) if c.key.startswith("claim3")))

# %% tags=["nbval-check-output"]
slight = results.select(table, task="multi30k", preset="small", series="tuned", tied=False)
slight = slight[slight["method"].isin(["dense", "pruned", "finetune_control"])]
slight = slight[slight["round"] <= 3]
print("FULL-SCALE, preset small: test BLEU over seeds")
slight = slight.groupby(["method", "round"])["test_bleu"].agg(["count", "mean", "std"])
slight.set_axis(["seeds", "mean", "standard deviation"], axis=1).round(2)

# %% [markdown]
# **What to notice.** At `small` there are ten seeds, and the answer is no: after one round the
# network is 0.6 BLEU *below* the dense one it came from, in every one of the ten. Is that the
# pruning? The control says that it is not: it has lost as much. What costs is the round itself, two
# more epochs at a rate that rises again. (Why, is not shown here. The rate is twice that of the
# training, and only two epochs of weights are averaged in a round, not five.) Beside the control,
# taking 21 % of the weights away does neither good nor harm. At `base` one seed decides nothing;
# its interval says what another test set could give, and nothing of other trainings.
#
# The table also shows what chance does. Trained again from another seed, the same network's BLEU
# differs with a standard deviation of 0.2 to 0.4, and so the difference of two single trainings
# with about a half. Read the curves of these notebooks that are of one seed with that in mind.
#
# **7.2** How many seeds until a difference of mean `mean` (above zero) and standard deviation `sd`
# between seeds is decided, if a normal distribution is good enough: the smallest n with
# $1.96 \cdot sd / \sqrt{n} < mean$?


# %% tags=["nbval-check-output"]
def seeds_needed(mean, sd):
    ...


check("7.2", seeds_needed)

# %% [markdown]
# ## What we saw, and where next
#
# - Pruned in rounds by magnitude, this Transformer loses nothing that can be told from chance up to
#   8x, and a few BLEU at 34x. Pruned at random it loses more than chance explains from 2.6x on.
# - Thirty more epochs without pruning bring nothing; pruning *during* the twenty epochs does as
#   well as rounds after them.
# - The output layer can be pruned too: all matrices but the embeddings go to a fifth at no loss.
# - Claim 3 does not hold at the size `small`: the slightly pruned network is a little worse than
#   the dense one, and so is the control. It is the round that costs, and not the pruning.
# - Another seed moves the BLEU of one of these networks by some tenths.
#
# Next: [08](08_analysis.ipynb) compares the methods. Stuck on an exercise? `hint("7.1")`,
# `solution("7.1")`, and so on.
#
# **References.** A. See, M.-T. Luong, C. Manning, [Compression of Neural Machine Translation Models
# via Pruning](https://arxiv.org/abs/1606.09274), 2016. P. Michel, O. Levy, G. Neubig, [Are Sixteen
# Heads Really Better than One?](https://arxiv.org/abs/1905.10650), 2019. J. Frankle, M. Carbin,
# [The Lottery Ticket Hypothesis](https://arxiv.org/abs/1803.03635), 2019. A. Renda, J. Frankle,
# M. Carbin, [Comparing Rewinding and Fine-tuning in Neural Network
# Pruning](https://arxiv.org/abs/2003.02389), 2020. M. Zhu, S. Gupta, [To prune, or not to
# prune](https://arxiv.org/abs/1710.01878), 2017.
