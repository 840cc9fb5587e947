# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 05 · A Transformer that translates
#
# **You will learn** how a sentence becomes numbers and back, what attention computes, how an
# encoder-decoder Transformer is trained on 29,000 picture captions, how it writes a translation
# word by word, and what a BLEU score means, and does not mean.
#
# **You need** the idea of a linear layer and of gradient descent; notebooks 00 to 04 help, and are
# not needed. This network, uncompressed, is what the next notebooks compress.
#
# **Time:** 35 minutes to read, about two minutes to run (2 CPU cores).

# %% tags=["hide-input"] alt="A Transformer: encoder and decoder, joined by cross-attention"
from exercises import check, hint, solution

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from circtools.experiments import bleu, multi30k, results, store, training, translation
from circtools.experiments.corpus import END, START, UNKNOWN, tokenise
from circtools.experiments.multi30k_runs import DEMO, PRESETS
from circtools.report import architecture, network_figures, style
from circtools.transformer import PAD

style.use()
pd.set_option("display.max_colwidth", None)
corpus = multi30k.load()
print(f"data: {corpus.origin}; {len(corpus.train)} training, {len(corpus.val)} validation, "
      f"{len(corpus.test)} test pairs")
architecture.transformer();

# %% [markdown]
# The picture is the whole network. On the left the **encoder** reads the German sentence; on the
# right the **decoder** writes the English one, a word at a time, looking at what it has written so
# far and, through *cross-attention*, at what the encoder made of the German. Most of what is
# learned sits in the square tiles: matrices, which this course compresses. Nearly all the rest is
# in the two grey boxes, the *embeddings*.
#
# ## From a sentence to numbers
#
# Multi30k is a set of photographs with an English caption, translated into German by people who
# work as translators. We go the other way, from German to English.

# %%
pd.DataFrame({"German": corpus.train.german[:3], "English": corpus.train.english[:3]})

# %% [markdown]
# A network reads numbers. A sentence is cut into words and punctuation marks (by spaCy's rules, in
# lower case), and each is looked up in a **vocabulary**: the words that occur at least twice in the
# *training* sentences. Every other word becomes `<unk>`, the unknown word. Four places are taken by
# marks of our own: padding, unknown, start and end of a sentence.

# %%
sentence = corpus.train.german[0]
words = tokenise(sentence, "de")
indices = corpus.vocab.encode([sentence])[0]
pd.DataFrame({"word": [*words, "(end)"], "index": indices.tolist(),
              "in the vocabulary": [corpus.vocab.german[i] for i in indices]}).T

# %% alt="Most captions have about twelve words; a few words make up most of the text"
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4))
lengths = {"German": (corpus.train.source != PAD).sum(1) - 1,
           "English": (corpus.train.target != PAD).sum(1) - 2}
bins = np.arange(0, 41) - 0.5
left.hist([lengths["German"], lengths["English"]], bins, label=list(lengths),
          color=["0.6", style.BLACK], histtype="step", linewidth=2)
left.set(title="words in a sentence", xlabel="words", ylabel="training sentences")
left.legend()
counts = np.sort(np.bincount(corpus.train.source[corpus.train.source > 3].numpy()))[::-1]
counts = counts[counts > 0]
right.loglog(np.arange(1, len(counts) + 1), counts, color=style.BLUE)
right.set(title="how often a German word occurs", xlabel="rank of the word", ylabel="occurrences");

# %%
marks = torch.tensor([PAD, START, END])
unknown = {language: (split[~torch.isin(split, marks)] == UNKNOWN).double().mean()
           for language, split in (("German", corpus.test.source), ("English", corpus.test.target))}
print(f"vocabulary: {len(corpus.vocab.german)} German, {len(corpus.vocab.english)} English words")
print("unknown in the test sentences: "
      + ", ".join(f"{share:.1%} of the {language}" for language, share in unknown.items()))

# %% [markdown]
# **What to notice.** Captions are short, a dozen words. A few words make up most of the text and
# thousands occur a handful of times; German, which writes compounds as one word, has more of them,
# and more unknown ones. More than a third of the network's weights will be the *embeddings*, one
# row of numbers for each of these words.
#
# ## Attention: a soft look-up
#
# Each word asks a question, the **query**; every word offers a **key**, a label, and a **value**,
# its content. How well query and key agree decides how much of the value is taken:
#
# $$\operatorname{attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{Q K^\top}{\sqrt{d}}
# \right) V$$
#
# with one row of $Q$, $K$, $V$ a word, and $d$ features in each row of $Q$ and $K$. The softmax
# makes each row of weights positive with sum 1. Queries, keys and values are the words' features
# times three matrices, the tiles Q, K, V above. Several **heads** do this side by side, each with
# its own slice of the features; a fourth matrix, O, mixes their results. *Feed-forward* is two
# linear layers, 1 and 2, with a nonlinearity between them, for each word by itself. At each ⊕ the
# input of a part is added to its output, which is called a *residual connection*. So a part has
# only to learn what to add. Before each part the features are *normalised*, to mean 0 and
# variance 1, with a learned scale and shift.

# %%
torch.manual_seed(0)
features = torch.randn(4, 8)  # four words
Q, K, V = (features @ torch.randn(8, 8) for _ in range(3))
weights = (Q @ K.T / Q.shape[1] ** 0.5).softmax(dim=1)  # (4 words ask, 4 words answer)
mixed = weights @ V
print("each row sums to", weights.sum(1).round(decimals=6).tolist())

# %% [markdown]
# While it learns, the decoder sees the whole English sentence at once, and must not peek at the
# word it is to predict. So a **causal mask** sets the scores of later words to minus infinity
# before the softmax.
#
# **5.1** Write attention with a causal mask. Arguments and result have shape `(words, features)`.


# %% tags=["nbval-check-output"]
def attend(queries, keys, values):
    ...


check("5.1", attend)

# %% [markdown]
# Nothing in attention knows the *order* of the words. So each place in the sentence has a pattern
# of its own, sines and cosines of many wavelengths, which is added to the word's embedding:

# %% alt="Each place in the sentence has its own pattern of sines and cosines"
model = multi30k.transformer(corpus.vocab, **PRESETS["base"].sizes)
positions = model.positions[:40]
figure, axes = plt.subplots(figsize=(10, 3.2))
axes.imshow(positions[:, :96], cmap=style.DIVERGING, aspect="auto", vmin=-1.2, vmax=1.2)
axes.grid(False)
axes.set(xlabel="feature (the first 96)", ylabel="place in the sentence",
         title="one row a place: no two are alike");

# %% [markdown]
# ## Where the weights are
#
# **Predict:** the embeddings, the attention and the feed-forward layers: which of the three holds
# most of the weights of this network?

# %%
def kind(name):
    if "embedding" in name:
        return "embeddings"
    return "feed-forward" if "feed_forward" in name else "attention"


matrices = [(kind(n), p.numel()) for n, p in model.named_parameters() if p.dim() == 2]
held = pd.DataFrame(matrices, columns=["part", "weights"]).groupby("part")["weights"].sum()
total = sum(p.numel() for p in model.parameters())
print(f"preset 'base': {total / 1e6:.1f} million weights")
(held / total).map("{:.0%}".format).to_frame("share of the weights")

# %% [markdown]
# The output layer, which scores every English word, has no matrix of its own here: it uses the
# target embedding's (the weights are **tied**). The compressed networks of the next notebooks will
# untie it, and say each time which set of matrices was compressed.
#
# ## How it is trained
#
# The network predicts every next word of every English sentence; the loss is the cross-entropy in
# *nats* a word: minus the natural logarithm of the probability that it gave to the right word, on
# average. Five tricks of the trade:
#
# - **Label smoothing.** The target is not "this word with certainty" but 90 % of certainty, and the
#   rest spread over the vocabulary. A network that may never be certain stays humble, and
#   translates better.
# - **Warm-up.** The learning rate rises from zero in the first tenth of the training and falls to
#   zero in the rest. A young Transformer that takes large steps spoils itself for good.
# - **Dropout.** In training each feature is set to zero with a probability, here 0.2 or 0.3, so
#   that the network cannot rely on any single one, and learns the training set less by heart.
# - **Batches of similar length**, so that little is spent on padding. About 1,000 words a batch.
# - **Averaging.** The network that is kept has the mean of the weights after each of the last five
#   epochs. (The curves below show the epochs, the table shows that mean.)

# %% alt="A batch of similar lengths is almost all words; a batch at random is nearly half padding"
torch.manual_seed(0)
batches = multi30k.batches(corpus.train, PRESETS["base"].recipe.batch_tokens)
shuffled = torch.randperm(len(corpus.train)).split(128)


def padding(pairs):
    words = sum(int((target != PAD).sum()) for _, target in pairs)
    return 1 - words / sum(target.numel() for _, target in pairs)


def cut(rows):
    return corpus.train.source[rows], corpus.train.target[rows][:, : int(
        (corpus.train.target[rows] != PAD).sum(1).max())]


print(f"padding: {padding([cut(rows) for rows in shuffled]):.0%} in batches of 128 at random, "
      f"{padding(batches):.0%} in batches of similar length")
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 3.6))
longest = cut(shuffled[0])[1].shape[1]
similar = next(target for _, target in batches if target.shape[1] > 15)
for axes, target, name in ((left, cut(shuffled[0])[1], "at random"),
                           (right, similar, "of similar length")):
    axes.imshow(target[:64] == PAD, cmap=style.SEQUENTIAL, aspect="auto", interpolation="none")
    axes.grid(False)
    axes.set(title=f"a batch {name} (light: padding)", xlabel="word",
             ylabel="sentence")

# %% [markdown]
# **5.2** Return the factor of the learning rate at a step. It begins at 0 and rises in a straight
# line. At the share `share` of the steps it is 1. From there it falls in a straight line to 0.


# %% tags=["nbval-check-output"]
def warmup(step, steps, share):
    ...


check("5.2", warmup)

# %% alt="The learning rate rises over the first two epochs and then falls in a straight line"
figure, axes = plt.subplots(figsize=(8, 3))
done = np.linspace(0, 1, 200, endpoint=False)
axes.plot(20 * done, [training.warmup_decay(d, 0.1) for d in done], color=style.BLACK)
axes.set(xlabel="epoch", ylabel="share of the peak", title="the learning rate over the training");

# %% [markdown]
# ## Live: a small one, here and now
#
# The preset `tiny` has one layer on each side and 64 features. **Predict:** what will it have
# learned after three epochs, a few seconds each: words, grammar, both?

# %%
preset = PRESETS["tiny"]
short = replace(preset.recipe, epochs=3)
torch.manual_seed(0)
tiny = multi30k.transformer(corpus.vocab, dropout=preset.dropout, **preset.sizes)
curve = multi30k.train(tiny, corpus, short, seed=0)
sample = corpus.test.german[:3]
print(f"LIVE, {corpus.origin} data: {sum(p.numel() for p in tiny.parameters()) / 1e6:.1f} million "
      f"weights, {short.epochs} epochs; validation loss by epoch: "
      + ", ".join(f"{epoch['val_loss']:.2f}" for epoch in curve))
pd.DataFrame({"German": sample, "written by a person": corpus.test.english[:3],
              "written by the tiny network": translation.translate(tiny, corpus.vocab, sample)})

# %% [markdown]
# It writes English, and often about the wrong things: grammar is learned first, because it is in
# every sentence; a rare noun is in few. (A German word in the translation stands where the network
# wrote `<unk>`, the unknown word. The place it looks at most tells which German word it is stuck
# on, and `translation.translate` copies that one, which helps with names and numbers.)
#
# ## Writing: greedy and beam search
#
# The decoder gives a probability to every next word. **Greedy** search takes the likeliest each
# time; **beam search** keeps the best few beginnings side by side, because the best first word is
# not always the start of the best sentence. From here on the translations are by the network that
# comes with the course (preset `small`, trained for 20 epochs on Multi30k). BLEU, explained below,
# scores a translation from 0 to 100 by the words that it shares with a person's.

# %%
demo, demo_words = multi30k.load_model(DEMO)
score_of = {}
for beam in (1, 4):
    texts = translation.translate(demo, demo_words, corpus.val.german, beam=beam)
    score_of[beam] = bleu.score(texts, corpus.val.english, resamples=0).bleu
print(f"LIVE, {corpus.origin} data, validation BLEU of the network that comes with the course: "
      f"{score_of[1]:.1f} greedy, {score_of[4]:.1f} with a beam of 4")

# %% [markdown]
# Here is the poster's example sentence, and three of the test set beside it.

# %%
poster = "Mehrere Männer mit Schutzhelmen bedienen ein Antriebsradsystem."
reference = "Several men in hard hats are operating a giant pulley system."
others = [0, 4, 7]
table = pd.DataFrame({
    "from": ["the poster", *["test set"] * 3],
    "German": [poster, *(corpus.test.german[i] for i in others)],
    "by a person": [reference, *(corpus.test.english[i] for i in others)]})
table["by the network"] = translation.translate(demo, demo_words, list(table["German"]))
table

# %% [markdown]
# **A caution about the poster's example.** It is the second sentence of the *training* set: the
# network has seen it twenty times, together with its translation. And its last noun,
# *Antriebsradsystem*, occurs only there, so for the network it is `<unk>`, the unknown word. How
# well a network does on this sentence says something of its memory and nothing of its skill. The
# test sentences are new to it.
#
# ## Looking at attention
#
# Which German words does the decoder look at while it writes? The weights of the cross-attention
# of the last layer, averaged over the heads:

# %% alt="Each English word looks at its German counterpart, even far from the diagonal"
def look(german):
    source = demo_words.encode([german])
    written = translation.beam_search(demo, source)[0]
    target = torch.tensor([[START, *written]])
    maps = translation.attention_maps(demo, source, target)
    last = f"decoder.{len(demo.decoder) - 1}.cross_attention"
    return maps[last][0].mean(0), [demo_words.english[i] for i in written] + ["(end)"]


german = corpus.test.german[12]
weights, english = look(german)
figure, axes = plt.subplots(figsize=(9, 6.5))
picture = axes.imshow(weights, cmap=style.SEQUENTIAL, vmin=0)
axes.grid(False)
labels = [*tokenise(german, "de"), "(end)"]
axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
axes.set_yticks(range(len(english)), english)
axes.set(title="rows: English words as they are written; columns: where the decoder looks")
figure.colorbar(picture, ax=axes, label="attention weight", shrink=0.8);

# %% [markdown]
# **What to notice.** In German the verb stands at the end of this sentence (*hält*), and the
# kitchen before the bowl. The bright cells leave the diagonal for it: *kitchen* looks at *küche*,
# *bowl* at *schale*, and *holding* far to the right, at *hält* and at what is held. Nobody told the
# network which words belong together.
#
# ## BLEU, and its interval
#
# BLEU compares the written text to a reference, by counting shared n-grams (runs of n words):
#
# $$\text{BLEU} = 100 \cdot \min\!\left(1, e^{1 - r/h}\right) \cdot (p_1 p_2 p_3 p_4)^{1/4}$$
#
# where $p_n$ is the share of the written n-grams that are in the reference (each counted at most as
# often as the reference has it), over the whole test set, and the first factor punishes a text of
# $h$ words that is shorter than the reference's $r$.
#
# **5.3** The clipped precision $p_n$ for one sentence: how many of the hypothesis's n-grams are in
# the reference, each counted at most as often as the reference has it, divided by the number of
# n-grams in the hypothesis (0 if it is too short to have any).


# %% tags=["nbval-check-output"]
def clipped_precision(hypothesis, reference, n):
    ...


check("5.3", clipped_precision)

# %% [markdown]
# Two things BLEU is not. It is not a percentage of correct sentences: a translation may be perfect
# and share few words with the one reference. And it is not exact: on other test sentences it would
# have come out differently. The **bootstrap** says how differently: draw 1,000 sentences out of the
# 1,000 with repetition, score them, and do it a thousand times. The 95 % interval spans the middle
# 950 of these scores.

# %% tags=["nbval-check-output"]
table = results.load()
runs = results.select(table, task="multi30k", method="dense", tied=True)
print("FULL-SCALE RESULTS:", results.describe(runs))
demo_row = results.select(runs, preset="small", seed=0).iloc[0]
print(f"BLEU of {demo_row['run']}: {demo_row['test_bleu']:.1f} "
      f"(95 % interval {demo_row['test_bleu_low']:.1f} to {demo_row['test_bleu_high']:.1f})")
demo_result = next(r for r in store.read() if r["run"] == demo_row["run"])
signature = demo_result["final"][0]["test_signature"]
print("sacreBLEU's signature, which says how it was computed:", signature)

# %% [markdown]
# ## Full scale
#
# **Predict:** three times as many weights and twice as many features: how many BLEU points better
# than `small` will `base` be?

# %% tags=["nbval-check-output"]
columns = {"preset": "preset", "seed": "seed", "test_bleu": "BLEU", "test_bleu_low": "from",
           "test_bleu_high": "to", "test_chrf": "chrF", "val_loss": "validation loss",
           "epochs": "epochs"}
shown = runs.sort_values(["preset", "seed"])[list(columns)].rename(columns=columns)
shown.round({"BLEU": 1, "from": 1, "to": 1, "chrF": 1, "validation loss": 3}).reset_index(drop=True)

# %% alt="The validation loss falls fast, then flattens; the larger network ends a little lower"
network_figures.training_curves([r for r in store.read() if r["run"] in set(runs["run"])]);

# %% [markdown]
# **What to notice.** The loss falls fastest during the warm-up, then ever more slowly; at the end
# it is flat because the learning rate goes to zero there. Whether a longer schedule would do
# better, this picture cannot say. In the table, chrF compares runs of letters instead of words.
#
# The interval of a single system is more than a point wide on either side. So two networks that
# differ by one point need more. A *paired* test, sentence by sentence, says what another test set
# would give. Several seeds say what another training would give. Notebook 08 has both for the small
# networks; of the larger ones there is one seed so far.

# %% tags=["nbval-check-output"]
means = runs.groupby("preset")["test_bleu"].agg(["mean", "count"])
for preset, row in means.iterrows():
    print(f"FULL-SCALE: {preset}: {row['mean']:.2f} BLEU (seeds: {row['count']:.0f})")

# %% [markdown]
# The best public figures that we know for networks of about this size are 40.5 to 41.1 BLEU. (They
# too have 20 epochs, text only, this test set, lower-cased.) So `base` is among them and not above.
# The recipe was made on the validation split alone. We tried the dropout, the size of
# the batches, the width of the beam, the length penalty, and what to do with unknown words; these
# trials are not among the committed results. (A *length penalty* keeps the beam from preferring
# short sentences, whose probability is a product of fewer factors.) Note how little the size buys:
# `small` has a third of the weights. Of `base` there is one seed.
#
# How fast is that? The same network was trained for a few batches in three ways on an idle machine.
# One way is the usual tutorial's: `nn.Transformer`, fp32, shuffled batches. The other two are ours,
# in fp32 and in bf16. Numbers of bf16 have 16 bits instead of 32; they are less exact and faster.
# The limit is what the matrix products alone would take at the rate of a large product.

# %% tags=["nbval-check-output"]
speed = results.timings("training_speed-base")
rates = pd.Series(speed["target_words_per_second"])
print(f"FULL-SCALE TIMINGS: {speed['provenance']['device']}, {speed['threads']} threads; "
      f"1,000 sentences with a beam of 4: {speed['translation_seconds']['beam 4']} s")
pd.DataFrame({"target words a second": rates.round(-1).astype(int),
              "times the plain way": (rates / rates["plain"]).round(1)})

# %% [markdown]
# The fp32 training comes near half of its limit. In bf16 the products are so fast that they hardly
# count any more: the time goes into everything between them (softmax, normalisation, dropout, the
# optimizer), and into matrices too small to reach the full rate.
#
# ## What we saw, and where next
#
# A sentence becomes indices, attention mixes words, a decoder writes, a beam search finds, and BLEU
# compares, with an interval of more than a point on either side. That is the dense baseline: what
# the compressed networks of the next notebooks are measured against. Try your own captions in a new
# cell: `%run -m circtools translate "Ein Hund rennt über den Strand."`
#
# Stuck on an exercise? `hint("5.1")`, `solution("5.1")`, and so on.
#
# **References.** A. Vaswani et al., [Attention Is All You
# Need](https://arxiv.org/abs/1706.03762), 2017. D. Elliott et al., [Multi30K: Multilingual
# English-German Image Descriptions](https://arxiv.org/abs/1605.00459), 2016. M. Post, [A Call for
# Clarity in Reporting BLEU Scores](https://arxiv.org/abs/1804.08771), 2018. C. Szegedy et al.,
# [Rethinking the Inception Architecture](https://arxiv.org/abs/1512.00567), 2015 (label smoothing).
