"""Translation with a trained Transformer: beam search, and from words back to text."""

import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Literal

import torch
from sacremoses import MosesDetokenizer
from torch import Tensor

from circtools.experiments.corpus import END, START, UNKNOWN, Vocab, german_tokens
from circtools.transformer import PAD, Attention, State, Transformer

SENTENCES = 100  # translated together
BEAM = 4
# Chosen on the validation split (commit a3d9c8a; first 0.6), as a smaller one writes too little.
# There the committed demo network has 38.7, 39.2 and 40.0 BLEU at 0, 0.6 and 2.5, and writes 93, 94
# and 98 % as many tokens as the references have.
LENGTH_PENALTY = 2.5
DETOKENIZER = MosesDetokenizer("en")


@torch.inference_mode()
def beam_search(model: Transformer, source: Tensor, *, beam: int = BEAM,
                length_penalty: float = LENGTH_PENALTY, unknown: bool = True) -> list[list[int]]:
    """Return the best translation that the search finds of each source sentence.

    Args:
        model: in evaluation mode.
        source: indices (sentences, tokens), padded at the end.
        beam: hypotheses kept of each sentence; 1 is greedy search.
        length_penalty: a finished hypothesis of n tokens (its end counted) is judged by its
            log-probability divided by ((5 + n) / 6) to this power.
        unknown: whether the unknown token may be written.

    A translation is its tokens, without start and end. In training mode, or if an argument is out
    of its range, it raises a ValueError.

    Source: the length penalty is that of Y. Wu et al., "Google's Neural Machine Translation
    System", 2016, section 7.
    """
    if model.training:
        raise ValueError("the model is in training mode, with dropout; call model.eval() first")
    if beam < 1 or length_penalty < 0:
        raise ValueError("beam must be 1 or more and length_penalty 0 or more, got "
                         f"beam={beam}, length_penalty={length_penalty}")
    device = source.device
    state = model.encode(source)
    sentences = torch.arange(len(source), device=device)  # those still in work: (batch,)
    limits = (source != PAD).sum(1) * 3 // 2 + 10  # no translation of a sentence is longer
    prefixes = torch.full((len(source), beam, 1), START, device=device)  # (batch, beam, tokens)
    scores = torch.full((len(source), beam), -torch.inf, device=device)
    scores[:, 0] = 0.0  # the hypotheses are still the same one: the others must not count
    found = _Found(len(source), device)
    forbidden = [PAD, START] if unknown else [PAD, START, UNKNOWN]
    for length in range(1, int(limits.max()) + 1):
        logits = _next_logits(model, prefixes, state)  # (batch, beam, vocab)
        logits[:, :, forbidden] = -torch.inf
        totals, parents, tokens = _candidates(logits, scores)  # each (batch, 2 beam)
        rows = torch.arange(len(sentences), device=device).unsqueeze(1)
        longer = torch.cat([prefixes[rows, parents], tokens.unsqueeze(2)], dim=2)

        ends = tokens == END
        is_last = (length >= limits[sentences]).unsqueeze(1)  # what is unfinished counts as it is
        judged = totals / ((5 + length) / 6) ** length_penalty
        judged = judged.masked_fill(~(ends | is_last), -torch.inf)
        found.add(sentences, longer[:, :beam], judged[:, :beam])

        scores, order = totals.masked_fill(ends, -torch.inf).topk(beam, dim=1)
        prefixes, beams = longer[rows, order], rows * beam + parents.gather(1, order)
        unfinished = (found.count[sentences] < beam) & ~is_last.squeeze(1)
        if not unfinished.any():
            break
        keep = slice(None) if unfinished.all() else unfinished.nonzero().flatten()
        sentences, scores, prefixes = sentences[keep], scores[keep], prefixes[keep]
        state.select(keep, beams[keep].flatten())  # the rows of the cache that go on
    return found.tokens


def _next_logits(model: Transformer, prefixes: Tensor, state: State) -> Tensor:
    """Return the logits (batch, beam, vocab) of the token after each prefix."""
    features = model.decode(prefixes[:, :, -1:].flatten(0, 1), state, step=True)
    return model.output(features[:, -1]).float().unflatten(0, prefixes.shape[:2])


def _candidates(logits: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations: log-probability, hypothesis and token, (batch, 2 beam) each.

    At least half of them do not end their sentence, so a whole beam goes on. A sentence's best are
    among the best 2 * beam tokens of each of its hypotheses, which have the log-probabilities
    ``scores``, (batch, beam).
    """
    n = 2 * scores.shape[1]
    values, tokens = logits.topk(min(n, logits.shape[2]), dim=2)  # (batch, beam, each)
    totals = values - logits.logsumexp(2, keepdim=True) + scores.unsqueeze(2)
    best, places = totals.flatten(1).topk(n, dim=1)
    return best, places // values.shape[2], tokens.flatten(1).gather(1, places)


class _Found:
    """The best finished hypothesis of each sentence, and how many were finished so far."""

    def __init__(self, sentences: int, device: torch.device) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(sentences)]
        self.score = torch.full((sentences,), -torch.inf, device=device)
        self.count = torch.zeros(sentences, dtype=torch.long, device=device)

    def add(self, sentences: Tensor, hypotheses: Tensor, judged: Tensor) -> None:
        """Take in what these sentences, (batch,), have finished.

        Of their hypotheses, (batch, beam, tokens), the best is found by how they are judged,
        (batch, beam): minus infinity if not finished.
        """
        top, place = judged.max(1)
        for i in (top > self.score[sentences]).nonzero().flatten().tolist():
            written = hypotheses[i, place[i], 1:].tolist()
            self.tokens[int(sentences[i])] = written[:-1] if written[-1] == END else written
        self.score[sentences] = self.score[sentences].maximum(top)
        self.count[sentences] += judged.isfinite().sum(1)


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
        sentences: as they are written, or each as the list that :func:`.corpus.tokenise` gives.
        unknown: what becomes of an unknown word in the translation: ``"copy"`` puts the source
            word there that the decoder attended to most, ``"forbid"`` keeps it from being
            written, ``"keep"`` shows it as ``<unk>``.
        search: further arguments of :func:`beam_search`.

    Raises:
        TypeError: if ``sentences`` is a string.
        ValueError: if one is empty, ``unknown`` is none of these, or as :func:`beam_search`.

    Source: copying after M.-T. Luong et al., "Addressing the Rare Word Problem in Neural Machine
    Translation", ACL 2015, with attention for the alignment.
    """
    if unknown not in ("copy", "forbid", "keep"):
        raise ValueError(f"unknown must be 'copy', 'forbid' or 'keep', got {unknown!r}")
    if isinstance(sentences, str):
        raise TypeError(f"sentences must be a sequence of sentences, got the string {sentences!r}; "
                        f"write [{sentences!r}]")
    if not sentences:
        return []
    german = [german_tokens(sentence) for sentence in sentences]
    for number, tokens in enumerate(german, start=1):
        if not "".join(tokens).strip():
            raise ValueError(f"sentence {number} is empty: there is nothing to translate; leave it "
                             "out")
    source = words.encode(german).to(next(model.parameters()).device)
    translations = translate_indices(model, source, unknown=unknown != "forbid", **search)
    texts = []
    for tokens, row, indices in zip(german, source, translations, strict=True):
        english = [words.english[i] for i in indices]
        if unknown == "copy" and UNKNOWN in indices:
            english = [tokens[place] if i == UNKNOWN else word for i, word, place in
                       zip(indices, english, _aligned(model, row, indices), strict=True)]
        texts.append(detokenise(english))
    return texts


def attention_maps(model: Transformer, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the attention weights of a forward pass, (batch, heads, queries, keys), by module.

    They are computed again from the inputs of each attention: the fused product that the model
    uses never forms them.
    """
    maps: dict[str, Tensor] = {}

    def record(name: str, module: Attention, inputs: tuple[Tensor, ...], options: dict[str, bool],
               output: Tensor) -> None:
        x, keys, _, *mask = inputs
        queries = module.split(module.query(x))  # (batch, heads, queries, d_head)
        scores = queries @ keys.transpose(2, 3) / math.sqrt(keys.shape[-1])
        if options.get("causal"):
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        if mask:
            scores = scores.masked_fill(~mask[0], -math.inf)
        maps[name] = scores.softmax(-1)

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, Attention):
                hooks.enter_context(module.register_forward_hook(
                    partial(record, name), with_kwargs=True))
        model(source, target)
    return maps


def _aligned(model: Transformer, source: Tensor, translation: list[int]) -> list[int]:
    """Return, for each translated word, the place of the source word most attended to."""
    source = source[source != PAD].unsqueeze(0)  # (1, source tokens)
    target = torch.tensor([[START, *translation[:-1]]], device=source.device)
    maps = attention_maps(model, source, target)
    last = f"decoder.{len(model.decoder) - 1}.cross_attention"
    weights = maps[last][0].mean(0)  # (target tokens, source tokens)
    return weights[:, :-1].argmax(1).tolist()  # the end of the sentence is no word to copy


def detokenise(words: Sequence[str]) -> str:
    """Join English words as one writes them; the inverse, nearly, of spaCy's tokenizer."""
    text = re.sub(r"(?<=\w) - (?=\w)", "-", " ".join(words))  # t - shirt
    return DETOKENIZER.detokenize(text.replace(" n't", "n't").split())  # do n't
