"""The benchmarks: what is timed in turn, what is counted, and that the rows have all their keys."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from circtools import BlockCirculantLinear, bench
from circtools.bench import in_turn, layer, transformers
from circtools.experiments import multi30k, multi30k_runs, store

COMMITTED = store.FOLDER / "benchmarks"


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time everything a single time."""
    monkeypatch.setattr(bench, "in_turn", lambda runs, *_, **__: in_turn(runs, rounds=1))


def test_functions_are_timed_in_turn_from_the_same_random_numbers() -> None:
    order: list[tuple[str, float]] = []

    def run(name: str) -> float:
        order.append((name, torch.rand(()).item()))
        torch.randn(400, 400) @ torch.randn(400, 400)
        return order[-1][1]

    samples = in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, rounds=3)
    assert [len(s) for s in samples.values()] == [3, 3]
    assert all(seconds > 0 for s in samples.values() for seconds, _ in s)
    timed = [name for name, _ in order[4:]]  # after the warming up
    turns = [name for name, before in zip(timed, ["", *timed], strict=False) if name != before]
    assert turns == ["a", "b"] * 3
    first = {name: next(random for n, random in order[4:] if n == name) for name in "ab"}
    assert first["a"] == first["b"]


def test_a_layer_keeps_its_input_for_the_backward_pass() -> None:
    x = torch.randn(10, 64)
    assert layer.kept_bytes(nn.Linear(64, 64), x) == 4 * x.numel()


def test_the_limit_counts_the_products() -> None:
    machine = {"flops": 1.0, "bandwidth": 1e30}
    linear, x = nn.Linear(64, 32).eval(), torch.randn(10, 64)
    assert layer.limit(linear, x, machine) == 2 * 10 * 64 * 32
    assert layer.limit(linear.train(), x, machine) == 3 * 2 * 10 * 64 * 32
    small = BlockCirculantLinear(64, 32, 8).eval()
    assert layer.limit(small, x, machine) < 2 * 10 * 64 * 32
    assert layer.limit(linear.eval(), x, {"flops": 1e30, "bandwidth": 4.0}) == (
        2 * 10 * 64 + 64 * 32 + 32)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_rows_of_the_layer_have_the_keys_of_the_committed_ones(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "c3a_operator", lambda: lambda x, w: x * w.sum())
    monkeypatch.setattr(layer, "quantised", lambda n: nn.Identity())  # onnxruntime takes seconds
    cells = layer.measure_layer((32,), (1, 4), (2, 4), {"flops": 1e9, "bandwidth": 1e9})
    others = layer.measure_others((32,), (1,))
    committed = json.loads((COMMITTED / "layer.json").read_text(encoding="utf-8"))
    for rows, name in ((cells, "cells"), (others, "others")):
        assert {frozenset(row) for row in rows} == {frozenset(row) for row in committed[name]}
    methods = {(row["method"], round(row["compression"])) for row in others}
    assert methods == {(row["method"], round(row["compression"])) for row in committed["others"]}


@pytest.mark.slow
def test_transformers_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = multi30k.load("sample")
    sample = replace(sample, train=sample.train.first(30), test=sample.test.first(2))
    monkeypatch.setattr(multi30k, "load", lambda _: sample)
    monkeypatch.setattr(bench, "product_rate", lambda dtype: 1e9)
    monkeypatch.setattr(multi30k_runs, "PRESETS", {
        "tiny": multi30k_runs.Preset(1, 16, 4, 16, dropout=0.1)})
    monkeypatch.setattr(bench, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["", "--preset", "tiny"])
    transformers.main()
    for name, key in (("compressed_speed", "ratios"),
                      ("training_speed", "target_words_per_second")):
        made, committed = (json.loads(path.read_text(encoding="utf-8")) for path in (
            tmp_path / f"{name}-tiny.json", COMMITTED / f"{name}-base.json"))
        assert made.keys() == committed.keys()
        assert len(made[key]) == len(committed[key])
