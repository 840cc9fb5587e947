"""The corpus of Multi30k: its sentence pairs, their tokens, the vocabularies, and their cache."""

import gzip
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from circtools.experiments import data
from circtools.experiments.files import ROOT, load_saved, save_atomically
from circtools.transformer import PAD

UNKNOWN, START, END = 1, 2, 3  # PAD is 0
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
MIN_COUNT = 2  # a token seen less often in the training split is unknown
SPLITS = {"train": "train", "val": "val", "test": "test_2016_flickr"}
EXTRA = ("test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
CACHE = ROOT / "data" / "cache"
CAPTIONS = Path(__file__).with_name("captions.tsv.gz")

Origin = Literal["real", "sample"]
Language = Literal["de", "en"]
Pairs = list[tuple[str, str]]  # German, English
Sentences = list[list[str]]  # tokens


@dataclass(frozen=True)
class Split:
    """Sentence pairs, as text and as indices padded to one length with :data:`PAD`."""

    german: list[str]
    english: list[str]
    source: Tensor  # (sentences, longest), each ends with END
    target: Tensor  # (sentences, longest), each begins with START and ends with END
    tokens: Sentences = field(default_factory=list)  # the German ones; not of "train"

    def __len__(self) -> int:
        return len(self.german)

    def first(self, n: int) -> "Split":
        """Return the first n pairs."""
        return Split(self.german[:n], self.english[:n], self.source[:n], self.target[:n],
                     self.tokens[:n])

    def to(self, device: torch.device | str) -> "Split":
        """Return the same pairs with their indices on a device."""
        return replace(self, source=self.source.to(device), target=self.target.to(device))


@dataclass(frozen=True)
class Vocab:
    """The two vocabularies, each a list of tokens in the order of their indices."""

    german: list[str]
    english: list[str]

    def encode(self, sentences: Iterable[str | Sequence[str]]) -> Tensor:
        """Return German sentences, as text or as tokens, as indices, (sentences, longest)."""
        return _indices([german_tokens(s) for s in sentences], self.german, start=False)


@dataclass(frozen=True)
class Corpus:
    """The three splits and the vocabularies, which are made from the training split alone."""

    origin: Origin
    vocab: Vocab
    train: Split
    val: Split
    test: Split


def load(origin: str = "auto") -> Corpus:
    """Return Multi30k German-English, or the built-in sample; see :func:`.data.real_or_sample`.

    The encoded corpus is kept in one file below ``data/cache``, with which a machine without spaCy
    can train, and translate the corpus's sentences.
    """
    return data.real_or_sample(origin, _real, _sample, "Multi30k",
                               "captions made by a small grammar")


@cache
def _real() -> Corpus:
    return _cached("multi30k", {}, lambda folder: _corpus(
        "real", {split: read_pairs(folder, name) for split, name in SPLITS.items()}))


@cache
def _sample() -> Corpus:
    pairs = captions()
    return _corpus("sample", {"train": pairs[:-1_000], "val": pairs[-1_000:-500],
                              "test": pairs[-500:]})


def captions() -> Pairs:
    """Return the pairs of the built-in sample: distinct picture captions, in random order.

    They have what makes the pair hard: the verb's place (second, also after a place; last in a
    subordinate clause; split in two), cases and genders with their endings, and compounds. The
    project's own grammar made them; the file's first line names the licence and the commit that has
    it.
    """
    lines = gzip.decompress(CAPTIONS.read_bytes()).decode("utf-8").splitlines()
    return [(german, english) for german, english in (line.split("\t") for line in lines[1:])]


@cache
def extra_test_sets() -> dict[str, Split]:
    """Return the further test sets :data:`EXTRA` by name, indexed with the real vocabularies.

    They serve no choice: each final network translates them once, at its end. They are kept as
    :func:`load` keeps the corpus; the errors are those of :func:`.data.locate`.
    """
    vocab = load("real").vocab

    def make(folder: Path) -> dict[str, Split]:
        pairs = {name: read_pairs(folder, name) for name in EXTRA}
        return {name: _split(pairs[name], _tokens(pairs[name], name), vocab) for name in EXTRA}

    return _cached("multi30k-extra", {"vocab": [vocab.german, vocab.english]}, make)


def _cached(task: str, settings: dict[str, Any], make: Callable[[Path], Any]) -> Any:
    """Read what is made of a task's files from the cache; make it if it is missing or damaged.

    The file's name tells the data, the settings and the version of spaCy, which splits sentences. A
    machine without spaCy takes the file of any version.
    """
    settings |= {"files": [entry["sha256"] for entry in data.manifest(task)],
                 "tokenizer": "spacy.blank, lower case", "min_count": MIN_COUNT, "format": 4}
    digest = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    try:
        version = metadata.version("spacy")
    except metadata.PackageNotFoundError:
        version = "*"
    name = f"{task}-{digest}-spacy{version}.pt"
    for path in sorted(CACHE.glob(name)):
        with suppress(ValueError), torch.serialization.safe_globals([Corpus, Split, Vocab]):
            return load_saved(path)
    made = make(data.locate(task) / "multi30k")  # which needs spaCy
    with suppress(OSError):  # a course that nobody may write into goes on without
        save_atomically(made, CACHE / name)
    return made


def read_pairs(folder: Path, name: str) -> Pairs:
    """Return the sentence pairs of ``name.de.gz`` and ``name.en.gz``, one sentence per line."""
    def lines(language: Language) -> list[str]:
        with gzip.open(folder / f"{name}.{language}.gz", "rt", encoding="utf-8") as file:
            return [line.strip() for line in file]

    return list(zip(lines("de"), lines("en"), strict=True))


@cache
def _tokenizer(language: str) -> Callable[[str], Iterable[Any]]:
    import spacy  # here, because training from the cache must not need it

    return spacy.blank(language)


def tokenise(sentence: str, language: Language) -> list[str]:
    """Return the lower-cased tokens of a sentence: words and punctuation marks, by spaCy's rules.

    Accents are composed with their letters, and characters that nobody sees are dropped.
    """
    text = unicodedata.normalize("NFC", sentence).translate(INVISIBLE)
    return [token.text.lower() for token in _tokenizer(language)(text) if not token.is_space]


def german_tokens(sentence: str | Sequence[str]) -> Sequence[str]:
    """Return the tokens of a sentence, which may be given as tokens already."""
    return tokenise(sentence, "de") if isinstance(sentence, str) else sentence


def vocabulary(sentences: Iterable[Sequence[str]]) -> list[str]:
    """Return the tokens seen at least :data:`MIN_COUNT` times, the most frequent first."""
    counts = Counter(token for sentence in sentences for token in sentence)
    frequent = sorted((token for token, n in counts.items() if n >= MIN_COUNT),
                      key=lambda token: (-counts[token], token))
    return [*SPECIAL, *frequent]


def _indices(sentences: Sequence[Sequence[str]], vocab: Sequence[str], start: bool) -> Tensor:
    index = {token: i for i, token in enumerate(vocab)}
    rows = [torch.tensor([START] * start + [index.get(t, UNKNOWN) for t in s] + [END])
            for s in sentences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def _tokens(pairs: Pairs, name: str) -> tuple[Sentences, Sentences]:
    both = [(tokenise(german, "de"), tokenise(english, "en")) for german, english in tqdm(
        pairs, desc=f"tokenising {name}", leave=False, mininterval=0.5, disable=None)]
    return [german for german, _ in both], [english for _, english in both]


def _split(pairs: Pairs, tokens: tuple[Sentences, Sentences], vocab: Vocab) -> Split:
    german, english = map(list, zip(*pairs, strict=True))
    return Split(german, english, _indices(tokens[0], vocab.german, start=False),
                 _indices(tokens[1], vocab.english, start=True), tokens[0])


def _corpus(origin: Origin, pairs: dict[str, Pairs]) -> Corpus:
    tokens = {name: _tokens(pairs[name], name) for name in pairs}
    vocab = Vocab(*map(vocabulary, tokens["train"]))
    splits = {name: _split(pairs[name], tokens[name], vocab) for name in pairs}
    splits["train"] = replace(splits["train"], tokens=[])  # nobody asks for so many
    return Corpus(origin, vocab, **splits)
