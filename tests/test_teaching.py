"""What a teacher takes along: plans that add up, slides, a handout, a quiz."""

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from pypdf import PageObject, PdfReader

from circtools.experiments import results
from circtools.report import gallery

NOTEBOOKS = gallery.TEACHING.parent
PLANS = re.findall(r"^## (.+)\n\n(?:[^|#\n].*\n\n)?((?:\|.*\n)+)\n(\*\*Leave out(?:.+\n)+)",
                   (NOTEBOOKS / "teaching.md").read_text(encoding="utf-8"), re.MULTILINE)
MINUTES = {exercise: int(minutes) for text in (NOTEBOOKS / "text").glob("*.py")  # by the headings
           for exercise, minutes in re.findall(r"^# ### Exercise (\d\.\d) ★+ (\d+) minutes",
                                               text.read_text(encoding="utf-8"), re.MULTILINE)}


@pytest.mark.parametrize(("name", "plan", "left_out"), PLANS, ids=[name for name, *_ in PLANS])
def test_a_plan_adds_up_and_gives_exercises_their_time(name: str, plan: str, left_out: str) -> None:
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")]
            for line in plan.splitlines()[2:]]
    now, done = 0, set()
    for start, minutes, where, _ in rows:
        assert start == f"{now // 60}:{now % 60:02}"
        now += int(minutes)
        for exercise in re.findall(r"\d\.\d", where):  # two in one row: one for each group
            done.add(exercise)
            assert int(minutes) >= MINUTES[exercise], exercise
    assert now == (120 if name == "Two hours" else 240)
    assert len(done) >= 3
    taught = set(re.findall(r"\(0(\d)_", plan))
    others = {exercise for exercise in MINUTES if exercise[0] in taught} - done
    assert others <= set(re.findall(r"\d\.\d", left_out))


def test_there_are_three_plans() -> None:
    assert [name for name, *_ in PLANS] == ["Two hours", "Half a day", "Half a day of translation"]


def test_the_quiz_has_ten_questions_with_an_answer_and_one_reason() -> None:
    text = (gallery.TEACHING / "quiz.md").read_text(encoding="utf-8")
    questions = text.split("\n## ")[1:]
    assert [question.split(".")[0] for question in questions] == [str(i) for i in range(1, 11)]
    for question in questions:
        asked, answer = question.split("<details")
        assert "?" in asked
        assert re.search(r"</summary>\n\n\*\*.+?\*\* [A-Z][^?]+\.\n\n</details>", answer), answer


def test_the_glossary_gives_a_sentence_for_each_word() -> None:
    found = gallery.glossary()
    assert len(found) > 25
    assert found["Block size"].startswith("The side b of the square blocks")
    assert all(re.fullmatch(r"[*A-Z].+[.]", sentence) for sentence in found.values())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return results.load()


def pages(path: Path) -> list[PageObject]:
    return list(PdfReader(io.BytesIO(path.read_bytes())).pages)


def test_a_slide_has_a_title_a_picture_and_a_question() -> None:
    slides = pages(gallery.TEACHING / "slides.pdf")
    assert 10 <= len(slides) <= 12
    for number, slide in enumerate(slides, start=1):
        width, height = slide.mediabox[2:]
        assert width / height == pytest.approx(16 / 9, rel=0.01)
        text = slide.extract_text()
        assert re.search(r"Ask: [^?]*\?", " ".join(text.split()))
        assert re.search(rf"Notebook \d\d · {number}\b", text)
        assert len(text.split()) < 60


def test_the_handout_is_one_sheet() -> None:
    [page] = pages(gallery.TEACHING / "handout.pdf")
    assert page.mediabox[2:] == pytest.approx((595, 842), abs=1)


@pytest.mark.slow
def test_the_committed_sheets_are_the_made_ones_to_the_byte(
        table: pd.DataFrame, tmp_path: Path) -> None:
    for path in gallery.make_slides(table, tmp_path):
        assert path.read_bytes() == (gallery.TEACHING / path.name).read_bytes(), "run 'make slides'"
    assert not plt.get_fignums()


@pytest.mark.slow
def test_a_finding_that_is_false_stops_the_slides(
        table: pd.DataFrame) -> None:
    named = gallery.numbers(table)
    named |= {"lent_4x_base": named["block_circulant_4x_base"]}
    with pytest.raises(ValueError, match=r"slides\.typ.*one learning rate cost five BLEU"):
        gallery.typeset(named, gallery.slide_figures(table), gallery.TEACHING / "slides.typ")
    plt.close("all")
