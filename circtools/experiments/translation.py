"""Translation with a trained Transformer: beam search, and from words back to text."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from circtools.experiments.corpus import END, START, UNKNOWN, Vocab, german_tokens
from circtools.transformer import PAD, Transformer, attention_maps

SENTENCES = 100  # translated together
BEAM, LENGTH_PENALTY = 4, 2.5


@torch.inference_mode()
def beam_search(model: Transformer, source: Tensor, *, beam: int = BEAM,
                length_penalty: float = LENGTH_PENALTY, unknown: bool = True,
                cached: bool = True) -> list[list[int]]:
    """Return the best translation that the search finds of each source sentence.

    Args:
        model: in evaluation mode.
        source: indices (sentences, tokens), padded at the end.
        beam: hypotheses kept of each sentence; 1 is greedy search.
        length_penalty: a finished hypothesis of n words (its end counted) is judged by its
            log-probability divided by ((5 + n) / 6) to this power.
        unknown: whether the unknown word may be written.
        cached: False computes every prefix anew at every step; slow, for tests.

    Returns:
        The words of each translation, without start and end.

    Raises:
        ValueError: if the model is in training mode, ``beam`` is not positive or
            ``length_penalty`` is negative.

    Source: Y. Wu et al., "Google's Neural Machine Translation System", 2016, section 7, for the
    length penalty.
    """
    if model.training:
        raise ValueError("the model is in training mode, with dropout; call model.eval() first")
    if beam < 1:
        raise ValueError(f"beam must be 1 or more, got {beam}")
    if length_penalty < 0:
        raise ValueError(f"length_penalty must be 0 or more, got {length_penalty}")
    device, words = source.device, model.config.target_words
    state = model.encode(source)
    sentences = torch.arange(len(source), device=device)  # those still in work
    limits = (source != PAD).sum(1) * 3 // 2 + 10  # no translation of a sentence is longer
    prefixes = torch.full((len(source), beam, 1), START, device=device)  # (batch, beam, words)
    scores = torch.full((len(source), beam), -torch.inf, device=device)
    scores[:, 0] = 0.0  # the hypotheses are still the same one: the others must not count
    best: list[list[int]] = [[] for _ in source]
    best_score = torch.full((len(source),), -torch.inf, device=device)
    finished = torch.zeros(len(source), dtype=torch.long, device=device)
    forbidden = [PAD, START] if unknown else [PAD, START, UNKNOWN]
    for length in range(1, int(limits.max()) + 1):
        if cached:
            features = model.decode(prefixes[:, :, -1:].flatten(0, 1), state, step=True)
        else:
            features = model.decode(prefixes.flatten(0, 1), state)
        logits = model.output(features[:, -1]).float().view(len(sentences), beam, words)
        logits[:, :, forbidden] = -torch.inf
        # A sentence's best candidates are among the best 2 * beam words of each hypothesis, and
        # of these at least beam do not end it.
        log_sum = logits.logsumexp(2, keepdim=True)  # (batch, beam, 1)
        value, word = logits.topk(min(2 * beam, words), dim=2)
        total = (value - log_sum + scores.unsqueeze(2)).flatten(1)  # (batch, beam * 2 beam)
        value, candidate = total.topk(2 * beam, dim=1)
        word = word.flatten(1).gather(1, candidate)
        parent = candidate // (total.shape[1] // beam)  # (batch, 2 beam)

        ends = word == END
        penalty = ((5 + length) / 6) ** length_penalty
        is_last = (length >= limits[sentences]).unsqueeze(1)  # what is unfinished counts as it is
        complete = (ends | is_last)[:, :beam] & value[:, :beam].isfinite()
        judged = (value[:, :beam] / penalty).masked_fill(~complete, -torch.inf)
        top, place = judged.max(1)
        for i in (top > best_score[sentences]).nonzero().flatten().tolist():
            written = prefixes[i, parent[i, place[i]], 1:].tolist()
            last = int(word[i, place[i]])
            best[int(sentences[i])] = written if last == END else [*written, last]
        best_score[sentences] = best_score[sentences].maximum(top)
        finished[sentences] += complete.sum(1)

        scores, order = value.masked_fill(ends, -torch.inf).topk(beam, dim=1)
        word, parent = word.gather(1, order), parent.gather(1, order)
        rows = torch.arange(len(sentences), device=device).unsqueeze(1)
        prefixes = torch.cat([prefixes[rows, parent], word.unsqueeze(2)], dim=2)
        open_ = (finished[sentences] < beam) & ~is_last.squeeze(1)
        if not open_.any():
            break
        keep = None if open_.all() else open_.nonzero().flatten()
        beams = rows * beam + parent  # rows of the cache
        if keep is not None:
            sentences, scores, prefixes = sentences[keep], scores[keep], prefixes[keep]
            beams = beams[keep]
        state.select(keep, beams.flatten())
    return best


def translate_indices(model: Transformer, source: Tensor, **search: Any) -> list[list[int]]:
    """Translate any number of sentences, those of similar length together; see beam_search."""
    lengths = (source != PAD).sum(1)
    found: list[list[int]] = [[] for _ in source]
    for part in lengths.argsort(descending=True, stable=True).split(SENTENCES):
        block = source[part, : int(lengths[part].max())]
        for i, words in zip(part.tolist(), beam_search(model, block, **search), strict=True):
            found[i] = words
    return found


def translate(model: Transformer, words: Vocab, sentences: Sequence[str | Sequence[str]], *,
              unknown: Literal["copy", "forbid", "keep"] = "copy", **search: Any) -> list[str]:
    """Translate German sentences into lower-cased English text.

    Args:
        model: in evaluation mode.
        words: the vocabularies that it was trained with.
        sentences: as they are written, with capital letters and punctuation; or each as a list of
            its words, as :func:`circtools.experiments.corpus.tokenise` gives them.
        unknown: what becomes of an unknown word in the translation: ``"copy"`` puts the source
            word there that the decoder attended to most, ``"forbid"`` keeps it from being
            written, ``"keep"`` shows it as ``<unk>``.
        search: further arguments of :func:`beam_search`.

    Raises:
        TypeError: if ``sentences`` is a string.
        ValueError: if a sentence is empty, naming it, ``unknown`` is none of these, or as
            :func:`beam_search`.

    Source: copying after M.-T. Luong et al., "Addressing the Rare Word Problem in Neural Machine
    Translation", ACL 2015, with attention for the alignment.
    """
    if unknown not in ("copy", "forbid", "keep"):
        raise ValueError(f"unknown must be 'copy', 'forbid' or 'keep', got {unknown!r}")
    if isinstance(sentences, str):
        raise TypeError(f"sentences must be a sequence of sentences, got the string {sentences!r}; "
                        f"write [{sentences!r}]")
    for number, sentence in enumerate(sentences, start=1):
        if not "".join(sentence).strip():
            raise ValueError(f"sentence {number} is empty: there is nothing to translate; leave it "
                             "out")
    if not sentences:
        return []
    device = next(model.parameters()).device
    source = words.encode(sentences).to(device)
    translations = translate_indices(model, source, unknown=unknown != "forbid", **search)
    texts = []
    for sentence, row, indices in zip(sentences, source, translations, strict=True):
        english = [words.english[i] for i in indices]
        if unknown == "copy" and UNKNOWN in indices:
            german = german_tokens(sentence)
            english = [german[place] if i == UNKNOWN else word for i, word, place in
                       zip(indices, english, _aligned(model, row, indices), strict=True)]
        texts.append(detokenise(english))
    return texts


def _aligned(model: Transformer, source: Tensor, translation: list[int]) -> Iterator[int]:
    """Yield, for each translated word, the place of the source word most attended to."""
    source = source[source != PAD].unsqueeze(0)  # (1, source tokens)
    target = torch.tensor([[START, *translation[:-1]]], device=source.device)
    maps = attention_maps(model, source, target)
    last = list(model.decoder.named_children())[-1][0]
    weights = maps[f"decoder.{last}.cross_attention"][0].mean(0)  # (target tokens, source tokens)
    yield from weights[:, :-1].argmax(1).tolist()  # the end of the sentence is no word to copy


@cache
def _detokenizer() -> Any:
    from sacremoses import MosesDetokenizer

    return MosesDetokenizer("en")


def detokenise(words: Sequence[str]) -> str:
    """Join English words as one writes them; the inverse, nearly, of spaCy's tokenizer."""
    text = re.sub(r"(?<=\w) - (?=\w)", "-", " ".join(words))  # t - shirt
    return _detokenizer().detokenize(text.replace(" n't", "n't").split())  # do n't
