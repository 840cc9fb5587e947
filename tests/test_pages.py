"""The facts, and the pages that quote them."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest
import torch

from circtools.experiments import results
from circtools.report import facts, pages
from circtools.report.claims import Claim
from circtools.report.statistics import Interval


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return results.load()


@pytest.fixture(scope="module")
def values(table: pd.DataFrame) -> dict[str, Any]:
    return facts.facts(table)


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_committed_pages_say_what_the_results_say(name: str, values: dict[str, Any]) -> None:
    fresh = pages.render(Path(name).name, values)
    assert (pages.ROOT / name).read_text(encoding="utf-8") == fresh, "run 'make report'"
    assert not re.search(r"\bnan\b|\binf\b|\{\{|None", fresh)


def test_the_readme_is_one_page() -> None:
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 130
    assert len(text.split()) <= 900
    assert len(re.findall(r"\d[\d.,]*", text)) <= 60
    assert next(i for i, line in enumerate(lines) if line.startswith("make ")) < 40


@pytest.mark.parametrize("page", ["README.md", "RESULTS.md", "CONTRIBUTING.md", "data/README.md",
                                  "notebooks/teaching.md", "notebooks/teaching/setup.md",
                                  "notebooks/teaching/quiz.md"])
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    path = pages.ROOT / page
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert ":" in target or (path.parent / target).exists(), target


def test_a_fact_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("{{ no_such_fact }}", "{{ values['no_such_fact'] }}", "{{ no_such_fact|two }}",
                 "{% do expect(1 > 2, 'one is more than two') %}"):
        monkeypatch.setattr(pages.TEMPLATES, "loader", jinja2.DictLoader({"page.j2": text}))
        with pytest.raises(ValueError, match=r"no_such_fact|one is more than two"):
            pages.render("page", {})


def test_write_says_what_was_stale(values: dict[str, Any], tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "notebooks" / "teaching").mkdir(parents=True)
    assert pages.write(values, check=True) == list(pages.PAGES)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert pages.write(values) == list(pages.PAGES)
    assert pages.write(values, check=True) == []
    (tmp_path / "README.md").write_text("old", encoding="utf-8")
    assert pages.write(values) == ["README.md"]


def claim(key: str, *difference: float) -> Claim:
    return Claim(key, "mnist", "base", "tuned", Interval(*difference), "refuted", seeds=5,
                 levels=[2.0, 4.0], above=[2.0], below=[])


@pytest.mark.parametrize(("difference", "words"), [
    ((0.14, 0.08, 0.2), "0.14 points more errors (0.08 to 0.20)"),
    ((-0.14, -0.2, -0.08), "0.14 points fewer errors (0.08 to 0.20)"),
    ((0.14, -0.08, 0.36),
     "0.14 points more errors (from 0.08 points fewer errors to 0.36 points more errors)")])
def test_a_difference_says_its_direction(difference: tuple[float, ...], words: str) -> None:
    assert f"| {words} |" in pages.claims_table([claim("claim1_first", *difference)])


def test_every_claim_has_its_words(values: dict[str, Any]) -> None:
    keys = {claim.key for claim in values["claims"]}
    assert len(keys) == 15
    with pytest.raises(ValueError, match="claim5"):
        pages.claims_table([dataclasses.replace(claim("x", 1, 1, 1), key="claim5")])


def test_without_results_of_translation_there_are_no_facts(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="circtools run multi30k"):
        facts.facts(table[table["task"] == "mnist"])


def test_a_level_is_chosen_on_validation() -> None:
    """The first failure ends the search, whatever the test set says."""
    dense = pd.DataFrame({"val_bleu": [40.0]})
    rows = pd.DataFrame({"level": [2.0, 4.0, 8.0, 16.0], "val_bleu": [39.5, 39.1, 38.0, 39.9],
                         "test_bleu": [10.0, 20.0, 40.0, 50.0], "file_bytes": 1e6, "epochs": 20.0,
                         "compression": [2.0, 4.0, 8.0, 16.0], "compression_all": 2.0, "seed": 0})
    reach = facts._reach(rows, dense)
    assert reach is not None and reach.compression == 4 and reach.bleu == 20
    assert facts._reach(rows[2:], dense) is None


def test_the_page_on_your_own_model_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    text = (pages.ROOT / "notebooks" / "compress.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    names: dict[str, Any] = {}
    exec(re.sub(r"train\((\w+), 5", r"train(\1, 1", code), names)
    assert "8.0" in (out := capsys.readouterr().out) and "pruned to 2.0x" in out
    x = torch.randn(3, 784)
    torch.testing.assert_close(names["again"](x), names["model"].eval()(x))
