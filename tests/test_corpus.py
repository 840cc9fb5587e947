"""The corpus: its files, its cache, its tokens and vocabularies."""

import gzip
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from circtools.experiments import corpus as corpora
from circtools.experiments import data, multi30k, translation
from circtools.experiments.corpus import (
    END,
    EXTRA,
    SPECIAL,
    SPLITS,
    START,
    UNKNOWN,
    Corpus,
    extra_test_sets,
    load,
    read_pairs,
    tokenise,
)
from circtools.transformer import PAD


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load("sample")


def write(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in lines)))
    return path


# --- The files -----------------------------------------------------------------------------------


def test_pairs_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.de.gz", ["Ein Mädchen. ".encode(), b"Zwei"])
    for english in [b"A girl.", b"Two"], [b"A girl.\r", b"Two\r"], [b"A girl.\rTwo"]:
        write(tmp_path / "a.en.gz", english)
        assert read_pairs(tmp_path, "a") == [("Ein Mädchen.", "A girl."), ("Zwei", "Two")]


def test_without_data_and_network_the_sample_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> Path:
        raise data.DataUnavailable("no network")

    monkeypatch.setattr(data, "locate", fail)
    monkeypatch.setattr(corpora, "CACHE", tmp_path)
    corpora._real.cache_clear()
    corpus = load("auto")
    assert corpus.origin == "sample"
    printed = capsys.readouterr().out
    assert "NOTICE" in printed and "no network" in printed and "data: sample" in printed
    with pytest.raises(data.DataUnavailable):
        load("real")
    with pytest.raises(ValueError, match="'fake'"):
        load("fake")
    corpora._real.cache_clear()


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: Corpus) -> Path:
    """A folder of small "real" files, with an empty cache."""
    (tmp_path / "multi30k").mkdir()
    for name in SPLITS.values():
        for texts, language in (corpus.val.german, "de"), (corpus.val.english, "en"):
            write(tmp_path / "multi30k" / f"{name}.{language}.gz",
                  [text.encode() for text in texts[:100]])
    monkeypatch.setattr(data, "locate", lambda task: tmp_path)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(corpora, "_real", corpora._real.__wrapped__)
    return tmp_path


def without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(data, "locate", None)
    monkeypatch.setattr(corpora, "tokenise", None)


def test_a_machine_without_spacy_trains_from_the_cache(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("real")
    assert first.origin == "real" and len(first.train) == 100
    without_spacy(monkeypatch)
    again = load("real")
    assert again.vocab == first.vocab and torch.equal(again.test.target, first.test.target)
    model = multi30k.transformer(again.vocab, layers=1, d_model=16, heads=2, feed_forward=16).eval()
    assert len(translation.translate(model, again.vocab, again.test.tokens[:3], beam=1)) == 3


def test_a_course_that_is_read_only_goes_on_without_a_cache(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "a file").touch()
    monkeypatch.setattr(corpora, "CACHE", files / "a file" / "cache")  # no folder can be made
    assert len(load("real").train) == 100


def test_another_version_of_spacy_makes_the_cache_anew(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for versions in ["1.0"], ["1.0"], ["1.0", "2.0"]:
        monkeypatch.setattr(metadata, "version", lambda _, now=versions[-1]: now)
        load("real")
        made = sorted(path.stem.rpartition("-spacy")[2] for path in (files / "cache").iterdir())
        assert made == versions


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_a_damaged_cache_is_made_anew(files: Path, damage: str) -> None:
    first = load("real")
    [path] = (files / "cache").iterdir()
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:len(whole) // 2], "empty": b"", "text": b"nothing",
                      "flipped": whole.replace(b"vocab", b"voc\xffb")}[damage])
    again = load("real")
    assert again.vocab == first.vocab and torch.equal(again.train.source, first.train.source)
    assert [other.name for other in (files / "cache").iterdir()] == [path.name]
    assert torch.load(path, weights_only=False).vocab == first.vocab


def test_the_tokens_of_a_sentence_serve_as_well_as_its_text(corpus: Corpus) -> None:
    texts, tokens = corpus.test.german[:20], corpus.test.tokens[:20]
    assert tokens == [tokenise(text, "de") for text in texts]
    assert torch.equal(corpus.vocab.encode(texts), corpus.vocab.encode(tokens))
    torch.manual_seed(0)
    model = multi30k.transformer(corpus.vocab, layers=1, d_model=16, heads=2, feed_forward=16)
    with pytest.raises(ValueError, match=r"call model\.eval\(\) first"):
        translation.translate(model, corpus.vocab, texts)
    model.eval()
    assert (translation.translate(model, corpus.vocab, texts, beam=1)
            == translation.translate(model, corpus.vocab, tokens, beam=1))
    with pytest.raises(TypeError, match=r"write \['Ein Hund'\]"):
        translation.translate(model, corpus.vocab, "Ein Hund")


def test_the_further_test_sets_are_indexed_like_the_corpus(
        corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {entry["path"] for entry in data.manifest("multi30k-extra")}
    (tmp_path / "multi30k").mkdir()
    for name in EXTRA:
        for side, language in enumerate(("de", "en")):
            path = f"multi30k/{name}.{language}.gz"
            assert path in paths
            texts = [pair[side] for pair in zip(corpus.test.german, corpus.test.english,
                                                strict=True)][:5]
            (tmp_path / path).write_bytes(gzip.compress("\n".join(texts).encode()))
    monkeypatch.setattr(corpora, "load", lambda origin: corpus)
    monkeypatch.setattr(data, "locate", lambda task: tmp_path)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    expected = corpus.test.first(5)
    for _ in "encoded", "from the cache":
        extra_test_sets.cache_clear()
        sets = extra_test_sets()
        assert list(sets) == list(EXTRA)
        for split in sets.values():
            assert split.english == expected.english and split.tokens == expected.tokens
            longest = split.source.shape[1]
            assert (split.source == expected.source[:, :longest]).all()
        monkeypatch.setattr(data, "locate", None)
    extra_test_sets.cache_clear()


# --- Tokens and indices --------------------------------------------------------------------------


def test_vocabulary_is_of_the_training_split_alone(corpus: Corpus) -> None:
    counts = Counter(w for text in corpus.train.german for w in tokenise(text, "de"))
    tokens = corpus.vocab.german
    assert tuple(tokens[:4]) == SPECIAL and len(set(tokens)) == len(tokens)
    assert set(tokens[4:]) == {token for token, n in counts.items() if n >= 2}
    assert [counts[t] for t in tokens[4:]] == sorted((counts[t] for t in tokens[4:]), reverse=True)
    assert all(token == token.lower() for token in tokens)


def test_sentences_are_encoded(corpus: Corpus) -> None:
    split, vocab = corpus.val, corpus.vocab
    for i in range(20):
        source = [vocab.german[k] for k in split.source[i] if k not in (PAD, END)]
        target = [vocab.english[k] for k in split.target[i] if k not in (PAD, START, END)]
        for got, text, language in ((source, split.german[i], "de"),
                                    (target, split.english[i], "en")):
            expected = tokenise(text, language)  # type: ignore[arg-type]
            assert [w if w != "<unk>" else e for w, e in zip(got, expected, strict=True)] == \
                expected
        assert split.target[i, 0] == START
        assert int((split.source[i] == END).sum()) == int((split.target[i] == END).sum()) == 1
    assert vocab.encode(["Xyzzy!"]).tolist()[0][0] == UNKNOWN
