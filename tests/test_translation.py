"""Beam search against the slow path and against all translations; text; scores."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from circtools.experiments import bleu, multi30k, translation
from circtools.experiments.bleu import score
from circtools.experiments.corpus import (
    END,
    SPECIAL,
    START,
    UNKNOWN,
    Vocab,
    captions,
    tokenise,
)
from circtools.experiments.translation import beam_search, detokenise, translate
from circtools.transformer import PAD, Config, State, Transformer

WORDS = 12


@pytest.fixture(scope="module")
def model() -> Transformer:
    """A small random network, sharpened so that its translations differ in length."""
    torch.manual_seed(3)
    model = Transformer(Config(15, WORDS, layers=2, d_model=16, heads=2, feed_forward=24,
                               dropout=0.0)).eval()
    nn.init.normal_(model.output.weight, std=0.7)
    model.output.weight.data[UNKNOWN] = 1.1 * model.output.weight.data[4]  # a word it likes
    return model


def sources(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(4, 15, (length,), generator=generator)
            for length in torch.randint(1, 9, (n,), generator=generator).tolist()]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


# --- Beam search ---------------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [1, 2, 4, 7])
@pytest.mark.parametrize("unknown", [True, False])
def test_cached_equals_uncached_and_one_by_one(
    model: Transformer, beam: int, unknown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute_anew(model: Transformer, prefixes: Tensor, state: State) -> Tensor:
        features = model.decode(prefixes.flatten(0, 1), state)
        return model.output(features[:, -1]).unflatten(0, prefixes.shape[:2])

    source = sources(24)
    fast = beam_search(model, source, beam=beam, unknown=unknown)
    with monkeypatch.context() as slow:
        slow.setattr(translation, "_next_logits", compute_anew)
        assert fast == beam_search(model, source, beam=beam, unknown=unknown)
    alone = [beam_search(model, row[row != PAD][None], beam=beam, unknown=unknown)[0]
             for row in source]
    assert fast == alone, "a sentence's translation does not depend on its neighbours"
    assert fast == translation.translate_indices(model, source, beam=beam, unknown=unknown)
    assert len({len(words) for words in fast}) > 2, "rows finish at different times"
    assert (UNKNOWN in itertools.chain(*fast)) is unknown


def test_greedy_takes_the_likeliest_word(model: Transformer) -> None:
    for row in sources(10):
        row, written = row[row != PAD][None], [START]
        while len(written) <= row.shape[1] * 3 // 2 + 10:
            logits = model(row, torch.tensor([written]))[0, -1]
            logits[[PAD, START]] = -torch.inf
            if (word := int(logits.argmax())) == END:
                break
            written.append(word)
        assert beam_search(model, row, beam=1)[0] == written[1:]


def log_probabilities(model: Transformer, row: Tensor, n: int) -> dict[tuple[int, ...], float]:
    """Return those of all translations of n words."""
    every = list(itertools.product([UNKNOWN, 4, 5], repeat=n))
    words = torch.tensor(every, dtype=torch.long).view(len(every), n)
    marks = torch.ones(len(every), 1, dtype=torch.long)
    logits = model(row.expand(len(every), -1), torch.cat([START * marks, words], 1))
    logits[..., [PAD, START]] = -torch.inf
    chosen = torch.cat([words, END * marks], 1).unsqueeze(2)
    scores = logits.log_softmax(2).gather(2, chosen).sum((1, 2))
    return dict(zip(every, scores.tolist(), strict=True))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all(penalty: float) -> None:
    """With 3 words, all translations of up to 4 words can be listed."""
    torch.manual_seed(5)
    model = Transformer(Config(9, 6, layers=1, d_model=8, heads=1, feed_forward=8, dropout=0.0))
    nn.init.normal_(model.eval().output.weight, std=1.0)
    model.output.weight.data[END] += 0.4 * model.output.weight.data[4:].mean(0)
    found = 0
    for row in torch.randint(4, 9, (20, 1, 2)):
        ranked = {words: score / ((6 + n) / 6) ** penalty for n in range(5)
                  for words, score in log_probabilities(model, row, n).items()}
        best = max(ranked, key=ranked.__getitem__)
        written = tuple(beam_search(model, row, beam=60, length_penalty=penalty)[0])
        if len(written) <= 4:
            assert written == best
            found += 1
    assert found >= 5


@pytest.mark.parametrize(("more", "words"), [
    ({"beam": 0}, "got beam=0"), ({"length_penalty": -1.0}, r"length_penalty=-1\.0")])
def test_bad_arguments_are_named(model: Transformer, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        beam_search(model, sources(1), **more)


# --- Unknown words -------------------------------------------------------------------------------


def test_unknown_words_are_copied_forbidden_or_kept() -> None:
    """A network that always writes the unknown word, once, and looks at the second word."""
    words = Vocab(german=[*SPECIAL, "ein", "blauer"],
                  english=[*SPECIAL, "a", "blue"])

    class Fixed(Transformer):
        def decode(self, target: Tensor, state: Any, step: bool = False) -> Tensor:
            super().decode(target, state, step)
            first = (target[:, -1:] == START).float().unsqueeze(2)
            return torch.cat([first, 1 - first], dim=2)

    torch.manual_seed(0)
    model = Fixed(Config(6, 6, layers=1, d_model=2, heads=1, feed_forward=2, tied=False)).eval()
    model.output.weight.data.zero_()
    model.output.weight.data[UNKNOWN, 0] = model.output.weight.data[END, 1] = 9.0
    attention = model.decoder[0].cross_attention
    spy = attention.key.weight.data
    for place, expected in ((0, "ein"), (1, "zebra")):
        # Find keys that make the decoder look at this word.
        for seed in range(200):
            torch.manual_seed(seed)
            spy.normal_(std=5)
            source = words.encode(["Ein Zebra"])
            if translation._aligned(model, source[0], [UNKNOWN]) == [place]:
                break
        else:
            pytest.fail("no such keys")
        assert translate(model, words, ["Ein Zebra"]) == [expected]
    assert translate(model, words, ["Ein Zebra"], unknown="keep") == ["<unk>"]
    assert "<unk>" not in translate(model, words, ["Ein Zebra"], unknown="forbid")[0]
    with pytest.raises(ValueError, match="'drop'"):
        translate(model, words, ["Ein Zebra"], unknown="drop")  # type: ignore[arg-type]
    assert translate(model, words, []) == []
    for empty in " ", "\ufeff\u200b", []:
        with pytest.raises(ValueError, match="sentence 2 is empty"):
            translate(model, words, ["Ein Zebra", empty])


# --- Text and score ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "a man in a t-shirt doesn't look at the dog's ball.", "two boys, a black-and-white cat.",
    'a sign that says "stop here!"', "it's 5:30 (in the morning).", "a 10-year-old can't swim.",
])
def test_detokenised_as_written(text: str) -> None:
    assert detokenise(tokenise(text, "en")) == text


def test_detokenised_references_score_as_the_originals() -> None:
    corpus = multi30k.load("auto")
    for split in (corpus.val, corpus.test):
        again = [detokenise(tokenise(text, "en")) for text in split.english]
        assert score(again, split.english, resamples=0).bleu >= 99.5


def test_score_is_sacrebleus() -> None:
    references = ["A man rides a red bike.", "Two dogs play in the deep snow.", "It is cold."]
    exact = score([text.lower() for text in references], references, resamples=0)
    assert exact.bleu == pytest.approx(100) and exact.chrf == pytest.approx(100)
    assert "case:lc" in exact.signature and "tok:13a" in exact.signature
    worse = score(["a man rides a bike.", "two dogs play in snow.", "it is cold."], references)
    assert worse.bleu_low < worse.bleu < worse.bleu_high and worse.bleu < 90
    with pytest.raises(ValueError, match="2 hypotheses and 3 references"):
        score(["a", "b"], references)


def test_counts_of_any_sentences_give_their_bleu() -> None:
    references = [english for _, english in captions()[:80]]
    written = [english.replace("the", "a") for english in references[:-4]] + references[-4:]
    counts = bleu.sentence_counts(written, references)
    rows = np.array([3, 3, 8, 30, 30, 77, 0])
    parts = [[texts[i] for i in rows] for texts in (written, references)]
    for picked, (hypotheses, right) in ((slice(None), (written, references)), (rows, parts)):
        truth = score(hypotheses, right, resamples=0).bleu
        assert bleu.bleu_of_counts(counts[picked].sum(0)) == pytest.approx(truth)
    both = np.stack([counts.sum(0), counts[rows].sum(0)])
    assert bleu.bleu_of_counts(both).shape == (2,)
    none = bleu.sentence_counts(["x"], ["a b c d e"])
    assert bleu.bleu_of_counts(none.sum(0) + np.array([0] * 4 + [1] * 6)) == 0
    with pytest.raises(ValueError, match="longer than"):
        bleu.sentence_counts(["a"], ["a", "b"])


def test_scores_of_next_to_nothing() -> None:
    with pytest.raises(ValueError, match="0 hypotheses and 0 references"):
        score([], [])
    nothing = bleu.sentence_counts(["", ""], ["a dog runs .", "a cat sits ."])
    assert bleu.bleu_of_counts(nothing.sum(0)) == 0
    assert score(["", ""], ["a dog runs .", "a cat sits ."]).bleu == 0


@pytest.mark.parametrize("written", [
    "Ein Ma\u0308dchen la\u0308uft u\u0308ber die Straße.",
    "\ufeffEin Mädchen läuft über die Straße.",
    "Ein Mäd\u00adchen läuft\u200b über die Straße."], ids=["decomposed", "marked", "hyphenated"])
def test_words_do_not_depend_on_how_a_letter_is_encoded(written: str) -> None:
    expected = ["ein", "mädchen", "läuft", "über", "die", "straße", "."]
    assert tokenise(written, "de") == expected
