"""The Multi30k task: its corpus, its batches, its Transformers, their training and their loss."""

import gzip
import hashlib
import json
import pickle
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from circtools.compression import weight_in_use
from circtools.experiments import captions, data, training
from circtools.experiments.files import ROOT
from circtools.experiments.losses import linear_cross_entropy
from circtools.transformer import PAD, Config, LinearLayer, Transformer

UNKNOWN, START, END = 1, 2, 3  # PAD is 0
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
MIN_COUNT = 2  # a word seen less often in the training split is unknown
SPLITS = {"train": "train", "val": "val", "test": "test_2016_flickr"}
INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
EXTRA = ("test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")
CACHE = ROOT / "data" / "cache"


@dataclass(frozen=True)
class Split:
    """Sentence pairs, as text and as indices padded to one length with :data:`PAD`."""

    german: list[str]
    english: list[str]
    source: Tensor  # (sentences, longest), each ends with END
    target: Tensor  # (sentences, longest), each begins with START and ends with END
    words: list[list[str]] = field(default_factory=list)  # the German ones; not of "train"

    def __len__(self) -> int:
        return len(self.german)

    def first(self, n: int) -> "Split":
        """Return the first n pairs."""
        return Split(self.german[:n], self.english[:n], self.source[:n], self.target[:n],
                     self.words[:n])

    def to(self, device: torch.device | str) -> "Split":
        return replace(self, source=self.source.to(device), target=self.target.to(device))


@dataclass(frozen=True)
class Words:
    """The two vocabularies, each in the order of its indices."""

    german: list[str]
    english: list[str]

    def encode(self, sentences: Iterable[str | Sequence[str]]) -> Tensor:
        """Return German sentences, as text or as words, as indices, (sentences, longest)."""
        return _indices([german_words(s) for s in sentences], self.german, start=False)


@dataclass(frozen=True)
class Corpus:
    """The three splits and the vocabularies, which are made from the training split alone."""

    origin: Literal["real", "sample"]
    words: Words
    train: Split
    val: Split
    test: Split


def load(origin: str = "auto") -> Corpus:
    """Return Multi30k German-English, or the built-in sample where it cannot be had.

    The encoded corpus is kept in one file below ``data/cache``, so that a machine without spaCy
    can train from it, and translate its sentences.

    Args:
        origin: ``"auto"`` falls back to the sample, with a printed notice, if the data is on no
            disk and cannot be downloaded; ``"real"`` raises instead; ``"sample"`` asks for it.

    Raises:
        circtools.experiments.data.DataUnavailable: for ``"real"``, without data and network.
        circtools.experiments.data.CorruptData: if a file is damaged or its lines do not pair up.
    """
    if origin not in ("auto", "real", "sample"):
        raise ValueError(f"origin must be 'auto', 'real' or 'sample', got {origin!r}")
    if origin != "sample":
        try:
            return _real()
        except data.DataUnavailable as error:
            if origin == "real":
                raise
            print(f"NOTICE: Multi30k is not available ({str(error).splitlines()[0]}).\n"
                  "NOTICE: the built-in sample, captions made by a small grammar, is used instead; "
                  "results are recorded as data: sample.")
    return _sample()


@cache
def _real() -> Corpus:
    path = CACHE / f"multi30k-{_corpus_key()}.pt"
    if not path.exists():
        folder = data.locate("multi30k")
        pairs = {split: read_pairs(folder / "multi30k" / f"{name}.de.gz",
                                   folder / "multi30k" / f"{name}.en.gz")
                 for split, name in SPLITS.items()}
        training.save_atomically(_encode(pairs), path)
    return _corpus("real", torch.load(path, weights_only=True))


def _corpus_key() -> str:
    return _key({"files": [entry["sha256"] for entry in data.manifest("multi30k")],
                 "tokenizer": "spacy.blank, lower case", "min_count": MIN_COUNT, "format": 2})


def _key(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


@cache
def _sample() -> Corpus:
    pairs = captions.pairs(5_000)
    return _corpus("sample", _encode({"train": pairs[:-1_000], "val": pairs[-1_000:-500],
                                      "test": pairs[-500:]}))


@cache
def extra_test_sets() -> dict[str, Split]:
    """Return the further test sets :data:`EXTRA` by name, indexed with the real vocabularies.

    They serve no choice: each final network translates them once, at its end. They are kept beside
    the encoded corpus, so that a machine without spaCy can translate them.

    Raises:
        circtools.experiments.data.DataUnavailable: if they are on no disk and cannot be downloaded.
        circtools.experiments.data.CorruptData: if a file is damaged or its lines do not pair up.
    """
    corpus = load("real")
    settings = {"files": [entry["sha256"] for entry in data.manifest("multi30k-extra")],
                "vocabulary": _corpus_key(), "format": 1}
    path = CACHE / f"multi30k-extra-{_key(settings)}.pt"
    if not path.exists():
        folder = data.locate("multi30k-extra") / "multi30k"
        sets = {}
        for name in EXTRA:
            pairs = read_pairs(folder / f"{name}.de.gz", folder / f"{name}.en.gz")
            sets[name] = _encode_split(pairs, _tokens(pairs, name), corpus.words.german,
                                       corpus.words.english)
        training.save_atomically(sets, path)
    return {name: _split(stored)
            for name, stored in torch.load(path, weights_only=True).items()}


def read_pairs(german: Path, english: Path) -> list[tuple[str, str]]:
    """Return the sentence pairs of two gzipped text files of one sentence a line.

    Raises:
        circtools.experiments.data.CorruptData: naming file and line, if a line is empty or no
            UTF-8, or if one file has more lines than the other.
    """
    sides = []
    for path in (german, english):
        sentences = []
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    sentence = line.decode("utf-8").strip()
                except UnicodeDecodeError as error:
                    raise data.CorruptData(f"{path}, line {number}: no valid UTF-8 ({error}); "
                                           "save the file in UTF-8") from error
                if not sentence:
                    raise data.CorruptData(f"{path}, line {number} is empty; each line must hold "
                                           "the translation of the same line of the other file")
                sentences.append(sentence)
        sides.append(sentences)
    if len(sides[0]) != len(sides[1]):
        short = min(len(sides[0]), len(sides[1]))
        raise data.CorruptData(f"{german} has {len(sides[0])} lines and {english} has "
                               f"{len(sides[1])}; from line {short + 1} on nothing pairs up")
    return list(zip(*sides, strict=True))


# --- Words and indices ---------------------------------------------------------------------------


@cache
def _tokenizer(language: str) -> Callable[[str], Iterable[Any]]:
    import spacy  # here, because training from the cache must not need it

    return spacy.blank(language)


def tokenise(sentence: str, language: Literal["de", "en"]) -> list[str]:
    """Return the lower-cased words and punctuation marks of a sentence, by spaCy's rules.

    Letters that are written as a letter and an accent are composed first, and characters that
    nobody sees are dropped: a byte order mark, zero-width spaces and joiners, soft hyphens.
    """
    text = unicodedata.normalize("NFC", sentence).translate(INVISIBLE)
    return [token.text.lower() for token in _tokenizer(language)(text) if not token.is_space]


def german_words(sentence: str | Sequence[str]) -> Sequence[str]:
    """Return the words of a sentence, which may be given as words already."""
    return tokenise(sentence, "de") if isinstance(sentence, str) else sentence


def vocabulary(sentences: Iterable[Sequence[str]], min_count: int = MIN_COUNT) -> list[str]:
    """Return the words seen at least ``min_count`` times, the most frequent first."""
    counts = Counter(word for sentence in sentences for word in sentence)
    frequent = sorted((word for word, n in counts.items() if n >= min_count),
                      key=lambda word: (-counts[word], word))
    return [*SPECIAL, *frequent]


def _indices(sentences: Sequence[Sequence[str]], words: Sequence[str], start: bool) -> Tensor:
    index = {word: i for i, word in enumerate(words)}
    rows = [torch.tensor([START] * start + [index.get(w, UNKNOWN) for w in s] + [END])
            for s in sentences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


Tokens = list[list[list[str]]]  # of a split: the German sentences, then the English ones


def _tokens(pairs: list[tuple[str, str]], name: str) -> Tokens:
    return [[tokenise(pair[side], language) for pair in tqdm(
                 pairs, desc=f"tokenising {name}.{language}", leave=False, mininterval=0.5)]
            for side, language in enumerate(("de", "en"))]


def _encode(splits: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    """Tokenise and index everything; the result is what the cache holds."""
    tokens = {split: _tokens(pairs, split) for split, pairs in splits.items()}
    german, english = map(vocabulary, tokens["train"])
    encoded = {split: _encode_split(pairs, tokens[split], german, english)
               for split, pairs in splits.items()}
    encoded["train"]["words"] = []
    return {"words": {"german": german, "english": english}, "splits": encoded}


def _encode_split(pairs: list[tuple[str, str]], tokens: Tokens, german: list[str],
                  english: list[str]) -> dict[str, Any]:
    return {"german": [german for german, _ in pairs], "english": [english for _, english in pairs],
            "source": _indices(tokens[0], german, start=False).short(),
            "target": _indices(tokens[1], english, start=True).short(), "words": tokens[0]}


def _split(stored: dict[str, Any]) -> Split:
    return Split(**stored | {side: stored[side].long() for side in ("source", "target")})


def _corpus(origin: Literal["real", "sample"], stored: dict[str, Any]) -> Corpus:
    splits = {name: _split(s) for name, s in stored["splits"].items()}
    return Corpus(origin, Words(**stored["words"]), **splits)


# --- Training ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How a Transformer is trained; chosen on the validation split."""

    epochs: int = 20
    lr: float = 1e-3
    matrix_lr: float = 1.0  # that of the Transformer layers' matrices, as a multiple of lr
    batch_tokens: int = 1_000  # target words in a batch, padding counted
    warmup: float = 0.1  # share of the training in which the learning rate rises
    smoothing: float = 0.1  # of the labels
    clip_norm: float = 1.0
    average: int = 5  # last epochs whose weights are averaged


def batches(split: Split, tokens: int) -> list[tuple[Tensor, Tensor]]:
    """Return a split's (source, target) batches in random order, each of similar lengths.

    Sentences are put into buckets three target words wide, whose edges move from epoch to epoch,
    sorted by source length in each, and cut where one more sentence would make the padded target
    longer than ``tokens`` words. Padding is then about 5 % of what is computed.
    """
    sources = (split.source != PAD).sum(1).cpu()
    targets = (split.target != PAD).sum(1).cpu() - 1  # START is read, not predicted
    bucket = (targets + 3 * torch.rand(())).div(3, rounding_mode="floor")
    order = (1000 * bucket + sources + torch.rand(len(split))).argsort()
    sizes, longest = [0], 0
    for target in targets[order].tolist():
        longest = max(longest, target)
        if (sizes[-1] + 1) * longest > tokens and sizes[-1]:
            sizes.append(0)
            longest = target
        sizes[-1] += 1
    rows = order.to(split.source.device).split(sizes)  # one copy an epoch: a GPU never waits
    lengths = [(sources[part].max(), targets[part].max() + 1) for part in order.split(sizes)]
    made = [(split.source[part, :s], split.target[part, :t])
            for part, (s, t) in zip(rows, lengths, strict=True)]
    return [made[i] for i in torch.randperm(len(made)).tolist()]


def loss(model: Transformer, batch: tuple[Tensor, Tensor], smoothing: float,
         precision: torch.dtype) -> Tensor:
    """Return the mean label-smoothed cross-entropy of a batch, in nats a word."""
    source, target = batch
    with torch.autocast(source.device.type, precision, enabled=precision != torch.float32):
        features = model.decode(target[:, :-1], model.encode(source))
        return linear_cross_entropy(features.flatten(0, 1), weight_in_use(model.output),
                                    target[:, 1:].flatten(), smoothing=smoothing, ignore=PAD)


def validation_loss(model: Transformer, split: Split, tokens: int = 4_000) -> float:
    """Return the cross-entropy of a split without label smoothing, in nats a word."""
    total = torch.zeros((), device=split.source.device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # the same batches at every call
        cut = batches(split, tokens)
    for batch in cut:
        words = (batch[1][:, 1:] != PAD).sum()
        total += loss(model, batch, 0.0, torch.float32) * words
    return total.item() / int((split.target[:, 1:] != PAD).sum())


def train(model: Transformer, corpus: Corpus, recipe: Recipe, *, seed: int,
          device: torch.device | str = "cpu", precision: torch.dtype = torch.float32,
          before_epoch: Callable[[float], None] = lambda progress: None,
          checkpoint: Path | None = None, progress: str | None = None) -> list[dict[str, float]]:
    """Train a Transformer in place; return its metrics, a dictionary per epoch.

    The arguments and what is raised are those of :func:`circtools.experiments.training.fit`; the
    metrics are ``train_loss`` (with label smoothing) and ``val_loss`` (without), in nats per
    token, ``seconds`` and ``tokens`` (targets trained on, without padding).
    """
    split, held_out = corpus.train.to(device), corpus.val.to(device)
    tokens = int((corpus.train.target[:, 1:] != PAD).sum())
    task = training.Task[Transformer](
        batches=lambda epoch: batches(split, recipe.batch_tokens),
        loss=lambda m, batch: loss(m, batch, recipe.smoothing, precision),
        count=lambda batch: (batch[1][:, 1:] != PAD).sum(), size=tokens, unit="token",
        evaluate=lambda m: {"val_loss": validation_loss(m, held_out), "tokens": tokens},
    )
    numbers = training.Recipe(recipe.epochs, recipe.lr, recipe.warmup, betas=(0.9, 0.98),
                              clip_norm=recipe.clip_norm, average=recipe.average)
    return training.fit(
        model.to(device), task, numbers, seed=seed,
        lr_scale=lambda name, parameter: recipe.matrix_lr if _is_matrix(name, parameter) else 1.0,
        before_epoch=before_epoch, checkpoint=checkpoint, progress=progress)


def _is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter holds weights of a linear layer inside the encoder or the decoder."""
    return name.startswith(("encoder.", "decoder.")) and parameter.ndim > 1


def transformer(words: Words, linear: LinearLayer = nn.Linear, **sizes: Any) -> Transformer:
    """Return a Transformer for these vocabularies; ``sizes`` are those of ``Config``."""
    return Transformer(Config(len(words.german), len(words.english), **sizes), linear)


def save_model(model: Transformer, words: Words, path: Path) -> None:
    """Save a dense Transformer in half precision, with its vocabularies.

    Raises:
        ValueError: if it is compressed.
    """
    with torch.device("meta"):
        dense = Transformer(model.config).state_dict()
    if {name: value.shape for name, value in model.state_dict().items()} != {
            name: value.shape for name, value in dense.items()}:
        raise ValueError("only a dense Transformer can be saved so; of a compressed one save "
                         "model.state_dict()")
    state = {name: value.half() for name, value in model.state_dict().items()}
    if model.config.tied:
        del state["output.weight"]
    training.save_atomically({"config": asdict(model.config), "words": asdict(words),
                              "state": state}, path)


def load_model(path: Path) -> tuple[Transformer, Words]:
    """Return a Transformer that :func:`save_model` saved, in evaluation mode, and its words.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds something else.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(stored, dict):
            raise TypeError(f"it holds a {type(stored).__name__}")
        model = Transformer(Config(**stored["config"]))
        state = {name: value.float() for name, value in stored["state"].items()}
        if model.config.tied:
            state["output.weight"] = state["target_embedding.weight"]
        model.load_state_dict(state)
        return model.eval(), Words(**stored["words"])
    except (KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} holds no model saved by circtools ({error})") from error


def precision_for(device: torch.device | str) -> torch.dtype:
    """Return bf16 where the device multiplies it faster than fp32, else fp32."""
    if torch.device(device).type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32
