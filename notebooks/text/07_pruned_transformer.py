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
# **You will learn** how a trained Transformer is pruned in rounds, and which of its matrices and
# heads the rounds empty. You will see what a control that prunes nothing is for. With it you can
# tell whether a slightly pruned Transformer really is better than the one it came from.
#
# **You need** pruning in rounds, from notebook 04, and the Transformer, from notebook 05.
#
# **Time:** 25 minutes to read, two minutes to run (2 CPU cores).

# %% tags=["hide-input"]
from exercises import check, find, hint, solution
from exercises.pictures import moving

import textwrap

import matplotlib.pyplot as plt
import pandas as pd
import torch
from IPython.display import Markdown
from torch.nn.utils.rnn import pad_sequence

from circtools import counting, prune, pruning
from circtools.experiments import multi30k, results, store, translation
from circtools.experiments.corpus import END, START
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
# Here is the trained network that comes with the course. The smallest weights of its layers are set
# to zero, one tenth more at a time, and nothing is trained afterwards. Each time it translates
# eight test sentences.


# %%
def layers_of(model):
    """Return the weight matrices of encoder and decoder, by name."""
    layers = counting.weight_layers(model)
    return {name: layer for name, layer in layers.items() if name != "output"}


model, words = multi30k.load_model(DEMO)
layers = list(layers_of(model).values())
captions = corpus.test.first(8)
prune(layers, amount=0)  # only puts the masks on
written = {}
for zeros in range(0, 100, 10):
    prune(layers, amount=1 - (1 - zeros / 100) / pruning.density(layers))
    written[zeros] = translation.translate(model, words, captions.german)
print(f"LIVE: {len(written)} networks have translated {len(captions)} sentences each")

# %% [markdown]
# With this notebook running, move the share of zeros and choose a sentence. The curve says how many
# words of the whole network's translation are still there.
#
# **Predict:** at which share of zeros does the translation stop making sense?

# %% alt="Words of a translation that remain as the share of zeros grows from none to nine tenths"
def draw(zeros=80, sentence=captions.german[1]):
    number = captions.german.index(sentence)
    whole = set(written[0][number].split())
    kept = {share: len(whole & set(texts[number].split())) / len(whole)
            for share, texts in written.items()}
    figure, axes = plt.subplots(figsize=(9, 3.6))
    axes.plot(kept.keys(), kept.values(), "--o", color=style.VERMILION, markerfacecolor="white")
    axes.plot(zeros, kept[zeros], "o", color=style.VERMILION, markersize=13)
    axes.set(xlabel="zeros, % of the weights", ylabel="share of the words", ylim=(-0.05, 1.1))
    lines = (f"German: {sentence}", f"{zeros} % zeros: {written[zeros][number]}",
             f"by a person: {captions.english[number]}")
    axes.set_title("\n".join(textwrap.fill(line, 95) for line in lines), loc="left", fontsize=12)
    return figure


moving(draw, zeros=list(written), sentence=captions.german)

# %% [markdown]
# **What to notice.** Half of the weights can go, and hardly a word changes. At 70 % the long
# sentences break, at 80 % all but the easiest. Then the network repeats itself. Where it writes
# that it does not know a word, the German one is copied: so German words come in.
#
# ## Fine-tuning between the cuts
#
# Fine-tuning repairs what a cut destroys, if the cut is small. Each round takes 21 % of what
# remains, and two epochs of training follow. At which learning rate? A trained network is usually
# fine-tuned at a fraction of the rate of its training. **Predict:** does that hold when a quarter,
# or a sixteenth, of the weights is left?
#
# The next figure is of short trials. Each cut takes as much as two rounds, and one epoch follows.

# %% alt="In short trials twice the dense network's learning rate is best for fine-tuning"
network_figures.learning_rates(table, "pruned");

# %% [markdown]
# **What to notice.** Half the rate is the worst choice at both levels. Six rounds leave a quarter
# of the weights, which is 4x. Twelve rounds leave a sixteenth. There the wrong rate costs more: the
# more has been cut, the more there is to learn anew. Both curves are lowest at *twice* the rate of
# the training. Renda, Frankle and Carbin reported in 2020, too, that the low rate at the end of a
# training is not the best for fine-tuning. One rate must serve all rounds here. It is the one with
# the lowest mean of the two losses.
#
# ## Full scale
#
# Now fifteen rounds, by magnitude, with two controls. *Pruned at random* shows what choosing by
# magnitude is worth. *Nothing pruned* is the same loop without the cuts, and shows what the
# additional epochs are worth. After each round it is drawn at the compression that pruning has
# reached by then. Bands are 95 % intervals over three seeds, and a curve of one seed has none. The
# stars come later.
#
# **Predict:** how many BLEU does 4x cost? And 34x? And how many, if the weights are picked at
# random?

# %% alt="Pruning by magnitude stays near the dense network far longer than pruning at random"
translation_figures.poster_panel(table, "pruned_transformer");

# %% [markdown]
# **What to notice** (in the preset `small`).
#
# * *More epochs.* The control does not climb. Thirty more epochs teach the network nothing, so they
#   are not what keeps the pruned one up.
# * *Which weights are cut* matters more and more. Picked at random, they leave the network less
#   than one BLEU below the control up to 2.6x, which may be chance. At 16x it is five. From 4x on,
#   random pruning is behind block-circulant layers as well: see notebook 08. Weights that are
#   shared are worth more than weights left by chance.
#
# Some of the points, of one seed, in numbers:

# %% tags=["nbval-check-output"]
tuned = results.select(rows, series="tuned", seed=0)
names = {"pruned": "pruned by magnitude", "random_pruned": "pruned at random",
         "finetune_control": "nothing pruned"}
chains = tuned[tuned["round"] > 0].pivot(index="round", columns="method", values="test_bleu")
chains = chains[list(names)].rename(columns=names).rename_axis(columns=None)
control = chains["nothing pruned"]
print(f"FULL-SCALE, preset {preset}, one seed: test BLEU. With nothing pruned it is "
      f"{control.mean():.1f} on average,\nwith a standard deviation of {control.std():.2f} from "
      "round to round")
chains.loc[[1, 3, 6, 9, 12, 15]].round(1)

# %% [markdown]
# A look at the *chance* in these numbers. The control loses no weight, and still its BLEU wanders
# from round to round. Each time it is trained for two more epochs, at a rate that rises again, and
# lands somewhere else. A difference between two networks wanders more than either. So less than one
# BLEU, at one level, in one run, has shown nothing. Up to 8x pruning costs no more than that. A
# mean over several levels wanders less: notebook 08 takes it.
#
# ## Without rounds
#
# Rounds take time: after the 20 epochs of the dense network, 24 more to 16x. But weights can be cut
# *while* the network is trained. A fresh one has all its weights for five epochs. Before each of
# the next ten, the weights that have become smallest are set to zero: many at first, few at the
# end. The last epochs repair. Zhu and Gupta proposed this in 2017. Here are both schedules to 16x:

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
# **Predict:** the gradual network has 20 epochs in all, with the dense network's settings. Rounds
# take 32 to 4x, and 44 to 16x. What does that cost?

# %% tags=["nbval-check-output"]
way = {"pruned": "in rounds", "gradual": "gradually"}
ways = results.select(rows, series="tuned")
ways = ways[ways["method"].isin(way)]
ways = ways.assign(way=ways["method"].map(way), to=comparisons.levels_of(ways))
ways = ways[ways["to"].isin([4, 16])].rename(columns={"test_bleu": "test BLEU"})
lead = comparisons.compare(comparisons.pairs_at_equal_compression(rows, second="gradual"))
assert lead.mean.high < 0 and lead.seeds == 3
print(f"FULL-SCALE, means of {lead.seeds} trainings: epochs, with those of the dense network, and "
      f"test BLEU.\nBLEU in rounds minus gradually, over both levels: {lead.mean.text()}")
ways = ways.pivot_table(index="to", columns="way", values=["epochs", "test BLEU"])
ways.rename("{:.0f}x".format).astype({("epochs", name): int for name in way.values()}).round(1)

# %% [markdown]
# **What to notice** (in the preset `small`). It costs nothing: the gradual network is better. Over
# both levels together its lead is decided, though barely. So it is not the long training that makes
# pruning strong. Gradual pruning has as many epochs as block-circulant layers, which makes for a
# fair comparison: notebook 08 draws it. In the figure above it is the two stars.
#
# ## The entire network
#
# The output layer scores almost six thousand words, and is by far the largest matrix after the
# embeddings. May it be pruned too? The next figure counts all matrices but the embeddings.

# %% alt="With the output layer pruned too, the whole network shrinks far more before BLEU falls"
if "pruned_all" in set(rows["method"]):
    translation_figures.poster_panel(table, "pruned_entire_network")
else:
    print("This has not been run at full scale yet: "
          "circtools run multi30k --preset small --seeds 1 --methods pruned_all")

# %% [markdown]
# **What to notice** (in the preset `small`). Where only the layers are pruned, the curve turns down
# at about 2x. The output layer is not touched there, and is nearly half of what is counted. So that
# curve cannot pass 2x by much. With the output layer pruned too, one training lost nothing down to
# a fifth of these weights. At the far end the rounds cut into what is needed: the last two cost
# more than the thirteen before.
#
# ## What the rounds empty
#
# Pruning is global: a matrix keeps many weights if they are large beside those of the others.
# **Predict:** which matrices are emptied first: attention or feed-forward, encoder or decoder? A
# number stands where a matrix is far from the average.

# %% alt="Values and outputs of the last cross-attention keep the most weights"
chain = results.select(rows, method="pruned", series="tuned", seed=0)
run = next(r for r in store.read() if r["run"] == chain["run"].iloc[0])
network_figures.emptied_layers(run);

# %% [markdown]
# **What to notice** (in the preset `small`, one seed). On average attention and feed-forward have
# kept about the same, the encoder a little less than the decoder. The large differences are inside.
#
# * *Cross-attention, layer 2.* Values and outputs carry the German sentence to the English one.
#   They keep more than the average, up to two and a half times as much; queries and keys keep less.
# * *Encoder self-attention.* There it is the other way round: values and outputs are emptied first.
#
# And the heads of one matrix? **Predict:** do they keep equal shares? A number stands where a head
# is more than a quarter away from the average of its matrix.

# %% alt="Within a matrix some heads keep several times as many weights as others"
network_figures.emptied_heads(network_figures.artefacts(table, "pruned"));

# %% [markdown]
# **What to notice.** In the cross-attentions and in the last decoder layer they nearly do. In the
# queries and keys of the encoder and of the first decoder layer they do not. There one head keeps
# two to three and a half times as much as another, and mostly it is the same head in both matrices.
#
# A head is a group of rows of its query, key and value matrices, and a group of columns of the
# output matrix.
#
# ### Exercise 7.1 ★ 5 minutes
#
# Return the share of weights left in each head of a query matrix. Given is its mask
# `(d_model, d_model)`, whose *rows* are cut into heads.


# %% tags=["nbval-check-output"]
def density_by_head(mask, heads):
    ...


check("7.1", density_by_head)
# hint("7.1")
# solution("7.1")

# %% [markdown]
# ## Claim 3: is slightly pruned better?
#
# This course tests four claims of a research poster. The third says that a slightly pruned
# Transformer beats the uncompressed one. *Slightly* means here the first three rounds, up to 2x.
# After a round the network has had two epochs more than the dense one. So it is compared with the
# control too, which has had the same epochs.
#
# We tested it twice. The first test refuted it, but was not fair. In it a round had the learning
# rate that was best at rounds 6 and 12: twice the dense network's. It averaged its weights over two
# epochs, and the dense network over five. In the second test the rate was chosen at these three
# rounds, and both average over two epochs.
#
# The picture shows the second, fair test. The verdict rests on the left side, the test set of 2016,
# with 1,000 sentences. On the right are four test sets together, with 3,532. That they may check a
# verdict and not change it was written down before anybody looked at them.
#
# **Predict:** does one round make the network better than the dense one? Than the control? And do
# more sentences change the answer?

# %% alt="Slightly pruned networks lie below the dense one and level with the control on both sides"
translation_figures.slightly_pruned(table);

# %% tags=["nbval-check-output"]
tried = results.select(table, preset="slight")
tried = tried[tried["seed"] < 3].groupby(["method", "lr_factor", "round"])["val_loss"].mean()
assert tried.idxmin()[0] == "dense", "each rate of fine-tuning raises the validation loss"
Markdown(pages.claims_table(c for c in claims.all_claims(table) if c.key.startswith("claim3")))

# %% [markdown]
# **What to notice.** On the test set of 2016 the question stays open. Over the three rounds the
# pruned network is 0.3 BLEU below the dense one, and zero is just inside the interval. More
# sentences speak against the claim. On four test sets together, that of 2016 among them, it is 0.4
# BLEU *below*, and every square is filled. That is significant even with three rounds tested at
# once.
#
# Is that the pruning? The control says that it is not: it has lost as much. So further training at
# this rate costs BLEU. Taking away 21 % of the weights, or half of them, does neither good nor harm
# that shows.
#
# No learning rate helped. Each method could take a quarter, a half or the whole of the dense
# network's rate. With each of them the validation loss rose above the dense network's.
#
# Here are the first rounds of the ten seeds of the first test. There, round 1 was 0.6 BLEU below
# the dense network it came from.

# %% tags=["nbval-check-output"]
slight = results.select(table, task="multi30k", preset="small", series="tuned", tied=False)
slight = slight[slight["round"] <= 3]
slight["network"] = slight["method"].map({"dense": "dense"} | names)
slight = slight[slight["method"] != "random_pruned"].groupby(["round", "network"])["test_bleu"]
assert set(slight.size()) == {10}
print("FULL-SCALE, preset small: test BLEU over ten seeds, before and after rounds")
slight.agg(["mean", "std"]).rename(columns={"std": "standard deviation"}).round(2)

# %% [markdown]
# The table also shows what chance does. Trained again from another seed, the same network's BLEU
# differs with a standard deviation of 0.2 to 0.4. So two single trainings differ with a standard
# deviation of 0.3 to 0.6. Read single curves with that in mind.
#
# ### Exercise 7.2 ★ 5 minutes
#
# How many seeds until a difference is decided? Over seeds it has the mean `mean`, above zero, and
# the standard deviation `sd`. Decided means that its 95 % interval leaves zero out. Return the
# smallest n with $1.96 \cdot sd / \sqrt{n} < mean$, as if a normal distribution were good enough.


# %% tags=["nbval-check-output"]
def seeds_needed(mean, sd):
    ...


check("7.2", seeds_needed)
# hint("7.2")
# solution("7.2")

# %% [markdown]
# ## Your turn: every matrix by itself
#
# `prune` compares the weights of all matrices with each other. So a matrix of small weights loses
# more than others do. What if each lost the same share? Try it on the network of the beginning: it
# takes seconds, for nothing is trained. `after` prunes a fresh copy. It returns the pruned
# network's loss on the translations that the whole network has written, in nats per token.


# %%
source = words.encode(corpus.val.german[:100])
whole, _ = multi30k.load_model(DEMO)
target = pad_sequence([torch.tensor([START, *tokens, END]) for tokens in
                       translation.translate_indices(whole, source, beam=1)], batch_first=True)


@torch.no_grad()
def after(cut, zeros, names=None):
    """Return the loss after cut(layers, zeros), with the layers of these names or all of them."""
    model, _ = multi30k.load_model(DEMO)
    layers = layers_of(model)
    cut([layers[name] for name in names or layers], zeros)
    return multi30k.loss(model, (source, target), 0.0, torch.float32).item()


print(f"LIVE: loss {after(prune, 0.0):.2f} when whole, {after(prune, 0.6):.2f} with 60 % zeros")

# %% [markdown]
# ### Exercise 7.3 ★★ 20 minutes, an open question
#
# Write `prune_each`, which takes the share `amount` from *each* layer by itself, with `prune`.
# **Predict:** at 60 % zeros, has it more loss than `prune`, or less? Look with `after(prune_each,
# 0.6)`, then at other shares.
#
# Which matrices suffer most when they alone are pruned? For one of them it is
# `after(prune, 0.8, ["encoder.0.attention.query"])`; `layers_of(whole)` has the other names.


# %% tags=["nbval-check-output"]
def prune_each(layers, amount):
    ...


check("7.3", prune_each)
# hint("7.3")
# solution("7.3")

# %% [markdown]
# What we found is below. First the two ways:

# %%
ways = {"all matrices together": prune, "each matrix by itself": find("7.3").solution}
print("LIVE: loss in nats per token, by the share of zeros")
pd.DataFrame({name: {f"{zeros:.0%}": after(cut, zeros) for zeros in (0.0, 0.4, 0.6, 0.7, 0.8, 0.9)}
              for name, cut in ways.items()}).round(2)

# %% [markdown]
# **What to notice.** It matters little how the cut is shared out. Up to 70 % the two ways are
# level. Beyond that it is better to compare all weights.
#
# Now each matrix alone, with 80 % zeros. Across stands the share that it keeps if 80 % of *all*
# weights are pruned together.

# %% alt="Values and outputs of cross-attention suffer most, and global pruning keeps most of them"
prune(layers_of(whole).values(), 0.8)
matrices = pd.DataFrame({
    "role": {name: network_figures.role_and_place(name)[0] for name in layers_of(whole)},
    "kept": {name: 100 * mask.float().mean().item() for name, mask in pruning.masks(whole).items()},
    "loss": {name: after(prune, 0.8, [name]) for name in layers_of(whole)}})
figure, axes = plt.subplots(figsize=(9, 4.8))
for (role, found), color, marker in zip(
        matrices.groupby("role"), (style.VERMILION, style.SKY, style.BLUE, "0.45"), "s^ox",
        strict=True):
    axes.plot(found["kept"], found["loss"], marker, color=color, label=role)
unpruned = after(prune, 0.0)
axes.axhline(unpruned, color="black", linestyle="--", label="nothing pruned")
axes.set(xlabel="% of it kept when all are pruned together", ylabel="loss when it alone is pruned")
axes.legend()
added = (matrices["loss"] - unpruned).sum()
together = after(ways["each matrix by itself"], 0.8) - unpruned
print(f"LIVE: what 80 % zeros add to the loss: {added:.2f} summed over {len(matrices)} matrices, "
      f"each pruned alone;\n{together:.2f} if all are pruned at once")

# %% [markdown]
# **What to notice.** No matrix alone costs much, and two feed-forward matrices even lower the loss.
# Yet damage does more than add up: all at once cost over twice the sum of the single ones.
#
# The values and outputs of cross-attention suffer most, and global pruning keeps most of just
# those. But the size of the weights does not tell it all. It keeps least of the encoder's values
# and outputs, and other matrices would suffer less. Fine-tuning may change all this.
#
# ## What we saw, and where next
#
# - Against the control, pruning in rounds costs nothing beyond chance up to 8x, and a few BLEU at
#   34x. Pruning at random costs more than chance explains from 2.6x on.
# - Thirty more epochs without pruning bring nothing. Pruning *during* the twenty epochs does as
#   well as rounds after them.
# - The output layer can be pruned too. In one training all matrices but the embeddings went to a
#   fifth at no loss.
# - Nothing speaks for claim 3: its fair test leaves it open, and more sentences speak against it.
#   The control has lost as much as the pruned network.
# - Another seed moves the BLEU of such a network by some tenths.
#
# Next: [08](08_analysis.ipynb) compares the methods.
#
# **References.** A. See, M.-T. Luong, C. Manning, [Compression of Neural Machine Translation Models
# via Pruning](https://arxiv.org/abs/1606.09274), 2016. P. Michel, O. Levy, G. Neubig, [Are Sixteen
# Heads Really Better than One?](https://arxiv.org/abs/1905.10650), 2019. J. Frankle, M. Carbin,
# [The Lottery Ticket Hypothesis](https://arxiv.org/abs/1803.03635), 2019. A. Renda, J. Frankle,
# M. Carbin, [Comparing Rewinding and Fine-tuning in Neural Network
# Pruning](https://arxiv.org/abs/2003.02389), 2020. M. Zhu, S. Gupta, [To prune, or not to
# prune](https://arxiv.org/abs/1710.01878), 2017.
