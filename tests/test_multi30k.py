"""Batches of the corpus, the training of a Transformer and its runs."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from circtools import BlockCirculantLinear, counting
from circtools.experiments import (
    bleu,
    execute,
    multi30k,
    multi30k_runs,
    results,
    store,
    training,
    translation,
)
from circtools.experiments.corpus import Corpus, Split
from circtools.experiments.multi30k import batches
from circtools.experiments.runs import Run
from circtools.pruning import ORIGINAL, mask_of, prune
from circtools.structures import STRUCTURES
from circtools.transformer import PAD


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return multi30k.load("sample")


# --- Batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [10, 300, 2000])
def test_every_sentence_is_in_one_batch(corpus: Corpus, tokens: int) -> None:
    torch.manual_seed(0)
    split = corpus.train
    made = batches(split, tokens)
    seen = Counter(tuple(row[row != PAD].tolist()) for source, _ in made for row in source)
    assert seen == Counter(tuple(row[row != PAD].tolist()) for row in split.source)
    for source, target in made:
        assert len(source) == len(target)
        assert target[:, 1:].numel() <= tokens or len(target) == 1
        assert (source[:, -1] != PAD).any() and (target[:, -1] != PAD).any(), "no needless padding"


def test_batches_waste_little_and_differ_between_epochs(corpus: Corpus) -> None:
    torch.manual_seed(0)
    first, second = batches(corpus.train, 2000), batches(corpus.train, 2000)
    words = int((corpus.train.target[:, 1:] != PAD).sum() + (corpus.train.source != PAD).sum())
    computed = sum(source.numel() + target[:, 1:].numel() for source, target in first)
    assert computed < 1.15 * words
    assert not any(torch.equal(a[0], b[0]) for a in first for b in second)
    lengths = [target.shape[1] for _, target in first]
    assert lengths != sorted(lengths), "short and long batches are mixed"


# --- Training ------------------------------------------------------------------------------------


def small(corpus: Corpus, method: str = "dense") -> tuple[Any, Corpus, multi30k.Recipe]:
    torch.manual_seed(0)
    preset = multi30k_runs.Preset(1, 16, 2, 16, dropout=0.1)
    model = multi30k.build(corpus.vocab, preset, method, 4, dropout=0.1, tied=True)
    recipe = multi30k.Recipe(epochs=4, lr=1e-2, batch_tokens=500, average=2)
    return model, replace(corpus, train=corpus.train.first(300)), recipe


def test_training_lowers_the_loss_and_averages_the_last_epochs(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, few, recipe = small(corpus)
    ends: list[list[torch.Tensor]] = []
    original = multi30k.validation_loss

    def spy(m: Any, split: Split) -> float:
        ends.append([p.detach().clone() for p in m.parameters()])
        return original(m, split)

    monkeypatch.setattr(multi30k, "validation_loss", spy)
    history = multi30k.train(model, few, recipe, seed=0)
    assert [set(epoch) for epoch in history] == \
        [{"train_loss", "val_loss", "tokens", "seconds"}] * 4
    assert history[-1]["val_loss"] < 0.9 * history[0]["val_loss"]
    for parameter, third, fourth in zip(model.parameters(), *ends[-2:], strict=True):
        torch.testing.assert_close(parameter.detach(), (third + fourth) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 3])
def test_killed_and_resumed_with_averaging_is_bit_identical(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stop: int
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    expected, few, recipe = small(corpus)
    recipe = replace(recipe, matrix_lr_scale=2.0)
    whole = multi30k.train(expected, few, recipe, seed=0)
    original, epochs = multi30k.batches, iter(range(4))

    def killed(split: Split, tokens: int) -> Any:
        if split.source is few.train.source and next(epochs) == stop:
            raise KeyboardInterrupt
        return original(split, tokens)

    model, _, _ = small(corpus)
    monkeypatch.setattr(multi30k, "batches", killed)
    with pytest.raises(KeyboardInterrupt):
        multi30k.train(model, few, recipe, seed=0, checkpoint=tmp_path / "run.ckpt")
    monkeypatch.setattr(multi30k, "batches", original)
    model, _, _ = small(corpus)
    again = multi30k.train(model, few, recipe, seed=0, checkpoint=tmp_path / "run.ckpt")
    assert [{**e, "seconds": 0} for e in again] == [{**e, "seconds": 0} for e in whole]
    for a, b in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", ["dense", *STRUCTURES])
def test_the_matrices_have_a_learning_rate_of_their_own(corpus: Corpus, method: str) -> None:
    """In every structure: the weights that random sharing shares are a vector."""
    model, few, recipe = small(corpus, method)
    layers = counting.weight_layers(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    multi30k.train(model, few, replace(recipe, epochs=1, average=1, matrix_lr_scale=0.0), seed=0)
    stayed = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert stayed == {f"{name}.{path}" for name, layer in layers.items() if name != "output"
                      for path, _ in layer.named_parameters() if path != "bias"}


def test_validation_loss_does_not_disturb_the_random_numbers(corpus: Corpus) -> None:
    model, few, _ = small(corpus)
    model.eval()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = multi30k.validation_loss(model, few.val)
    assert torch.equal(torch.get_rng_state(), before)
    assert multi30k.validation_loss(model, few.val, tokens=100) == pytest.approx(first, rel=1e-5)


def test_a_pruned_output_layer_stays_pruned_in_the_loss(corpus: Corpus) -> None:
    torch.manual_seed(0)
    model = multi30k.transformer(corpus.vocab, layers=1, d_model=16, heads=2, feed_forward=16,
                                 tied=False, dropout=0.0)
    batch = multi30k.batches(corpus.val, 500)[0]
    prune([model.output], 0.5)
    mask = mask_of(model.output)
    for _ in range(2):
        model.zero_grad()
        got = multi30k.loss(model, batch, 0.0, torch.float32)
        logits = model(batch[0], batch[1][:, :-1]).flatten(0, 1)
        expected = F.cross_entropy(logits, batch[1][:, 1:].flatten(), ignore_index=PAD)
        torch.testing.assert_close(got, expected)
        got.backward()
        assert not model.output.get_parameter(ORIGINAL).grad[~mask].any()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad


def test_model_is_saved_and_loaded(corpus: Corpus, tmp_path: Path) -> None:
    model, _, _ = small(corpus)
    multi30k.save_model(model, corpus.vocab, tmp_path / "m.pt")
    again, vocab = multi30k.load_model(tmp_path / "m.pt")
    assert vocab == corpus.vocab and again.config == model.config
    assert again.output.weight is again.target_embedding.weight
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    whole = (tmp_path / "m.pt").read_bytes()
    no_text = whole.replace(b"state", b"st\xffte")  # a name that is no UTF-8 any more
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    tensor = (tmp_path / "tensor.pt").read_bytes()
    for content in b"nothing", b"", whole[: len(whole) // 2], no_text, tensor:
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"^.*bad\.pt holds no model .*; .* delete it .*$"):
            multi30k.load_model(tmp_path / "bad.pt")
    with pytest.raises(FileNotFoundError):
        multi30k.load_model(tmp_path / "none.pt")


def test_a_compressed_model_is_not_saved_as_a_dense_one(
    corpus: Corpus, tmp_path: Path
) -> None:
    sizes = {"layers": 1, "d_model": 16, "heads": 2, "feed_forward": 16}
    model = multi30k.transformer(corpus.vocab, partial(BlockCirculantLinear, block_size=4), **sizes)
    with pytest.raises(ValueError, match="only a dense Transformer"):
        multi30k.save_model(model, corpus.vocab, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


def test_a_model_in_half_precision_translates(corpus: Corpus) -> None:
    model = multi30k.transformer(corpus.vocab, layers=1, d_model=16, heads=2, feed_forward=16)
    model.bfloat16().eval()
    assert len(translation.translate(model, corpus.vocab, corpus.test.german[:3])) == 3


# --- Runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_leaves_its_result_and_its_translations(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = replace(multi30k_runs.PRESETS["tiny"], recipe=multi30k.Recipe(epochs=1, average=1))
    monkeypatch.setitem(multi30k_runs.PRESETS, "tiny", preset)
    kept = store.Store(tmp_path, "sample")
    [[run]] = multi30k_runs.plan("tiny", 1, kept, results.of_store(kept))
    path = execute.execute(run, kept)
    table = results.load(tmp_path, data="sample")
    row = table.iloc[0]
    assert len(table) == 1 and row["series"] == "same" and row["tied"] and row["task"] == "multi30k"
    assert row["compression"] == row["compression_model"] == 1
    texts = store.texts(row["run"], folder=tmp_path)
    assert len(texts) == len(corpus.test)
    again = bleu.score(texts, corpus.test.english)
    assert again.bleu == row["test_bleu"] and again.chrf == row["test_chrf"]
    counts = store.counts(row["run"], folder=tmp_path)
    assert len(counts) == len(texts)  # sacreBLEU smooths the tiny BLEU of one epoch
    assert bleu.bleu_of_counts(counts.sum(0)) == pytest.approx(again.bleu, abs=0.1)
    assert row["test_bleu_low"] <= row["test_bleu"] <= row["test_bleu_high"]
    result = store.read(tmp_path)[0]
    assert result["final"][0]["test_signature"] == again.signature
    assert result["config"]["precision"] in ("bfloat16", "float32")
    assert execute.pending("multi30k", "tiny", 1, kept) == []
    model, vocab = multi30k.load_model(path.with_suffix(".pt"))
    assert len(translation.translate(model, vocab, ["Ein Hund läuft."])) == 1


def test_a_trial_never_reads_the_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("multi30k", "tiny", "dense", 1e-3, 1000, stage="search", tied=True, dropout=0.0)
    work = multi30k.Experiment(run, "sample")
    monkeypatch.setattr(translation, "translate", None)
    assert set(work.measure(tmp_path / "run.json", 0)) == {"val_loss"}
    assert not list(tmp_path.iterdir()), "nothing was translated"
