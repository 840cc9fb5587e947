"""What a reader of a notebook in JupyterLab meets, as far as it shows without a browser."""

import ast
import importlib
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupytext
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from IPython.core.application import ENV_CONFIG_DIRS
from nbclient import NotebookClient
from PIL import Image

from circtools.experiments import corpus, mnist
from circtools.report import style

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TEXTS = sorted((FOLDER / "text").glob("*.py"))
sys.path.insert(0, str(FOLDER))
build = importlib.import_module("build")
exercises = importlib.import_module("exercises")
pictures = importlib.import_module("exercises.pictures")


@pytest.fixture(params=TEXTS, ids=lambda path: path.stem[:2])
def cells(request: pytest.FixtureRequest) -> list[Any]:
    return build.from_text(request.param).cells


def test_an_exercise_has_a_heading_its_effort_a_hint_and_a_solution(cells: list[Any]) -> None:
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    asked = re.findall(r'^check\("(\d\.\d)"', "\n".join(cell.source for cell in cells), re.M)
    headings = re.findall(r"^### Exercise (\d\.\d) ★{1,3} \d+ minutes(.*)$", prose, re.M)
    # An open question may have nothing to check.
    to_check = [name for name, kind in headings if name in asked or "open question" not in kind]
    assert len(asked) >= 2 and to_check == asked
    assert not re.search(r"\*\*\d\.\d\*\*|Stuck", prose)
    for name in asked:
        [cell] = [cell.source for cell in cells if f'check("{name}"' in cell.source]
        assert f'\n# hint("{name}")\n# solution("{name}")' in cell


def test_folded_cells_are_folded_in_jupyterlab_too(cells: list[Any]) -> None:
    for cell in cells:
        folded = "hide-input" in cell.metadata.get("tags", [])
        assert cell.metadata.get("jupyter", {}).get("source_hidden", False) == folded


def test_the_map_has_the_minutes_that_the_notebooks_state() -> None:
    words = {"under half a minute": "< 1 min", "under a minute": "< 1 min", "one minute": "1 min",
             "two minutes": "2 min", "a few minutes": "a few min"}
    rows = re.findall(r"^# \| \*\*(\d\d)\*\* .*\| (\d+) min \| (.*) \|$",
                      TEXTS[0].read_text("utf-8"), re.M)
    stated = []
    for path in TEXTS:
        first = jupytext.read(path).cells[0].source
        time, _, _ = " ".join(first.partition("**Time:**")[2].split()).partition(" to run")
        run = next(run for run in words if time.endswith(run))
        stated.append((path.stem[:2], str(max(map(int, re.findall(r"\d+", time)))), words[run]))
    assert rows == stated


def test_live_trainings_show_how_long_they_take() -> None:
    calls = [node for path in TEXTS for node in ast.walk(ast.parse(path.read_text("utf-8")))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
             and ast.unparse(node.func) in ("mnist.train", "multi30k.train")]
    assert len(calls) >= 10
    for call in calls:
        assert "progress" in {word.arg for word in call.keywords}, ast.unparse(call)


def test_what_is_read_for_the_first_time_leaves_nothing_in_a_cell(
        capsys: pytest.CaptureFixture) -> None:
    corpus._tokens([("Ein Hund.", "A dog.")] * 3, "train")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("number", ["02", "03", "04"])
def test_small_live_cells_use_one_thread(number: str) -> None:
    """Beside another busy process two threads took eight times as long."""
    [path] = [path for path in TEXTS if path.stem.startswith(number)]
    first = next(cell for cell in jupytext.read(path).cells if cell.cell_type == "code")
    assert "torch.set_num_threads(1)" in first.source


def test_an_exception_in_an_answer_is_told_with_its_line(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cell = tmp_path / "cell.py"  # IPython gives every cell a file name, too
    cell.write_text("def answer(rounds):\n    share = 1\n    return share / (rounds - rounds)\n")
    names: dict[str, Any] = {}
    exec(compile(cell.read_text(), str(cell), "exec"), names)
    exercises.check("0.1", names["answer"])
    said = capsys.readouterr().out
    assert ('ZeroDivisionError: division by zero, in line 3, "return share / (rounds - rounds)".'
            in " ".join(said.split()))
    assert max(map(len, said.splitlines())) <= 96, "it is wrapped"
    assert "in line" not in exercises.problem_with("0.1", 1e9), "it has no lines"


def test_a_solution_is_highlighted_in_a_notebook() -> None:
    code = exercises.source("1.1")
    shown = exercises.Code(code)
    assert repr(shown) == code
    assert shown._repr_markdown_() == f"```python\n{code}\n```"


def live(monkeypatch: pytest.MonkeyPatch, allow_stdin: bool, request: str) -> None:
    message = {"content": {"allow_stdin": allow_stdin}, "header": {"msg_id": request}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: message))
    monkeypatch.setattr(pictures, "get_ipython", lambda: shell)


def test_a_training_shows_its_time_to_somebody_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[list[str]] = []

    def show(data: dict[str, str], raw: bool, display_id: bool) -> SimpleNamespace:
        places.append([data["text/plain"]])
        lines = places[-1]
        return SimpleNamespace(update=lambda data, raw: lines.append(data["text/plain"]))

    monkeypatch.setattr(pictures, "display", show)
    digits = mnist.load("sample").first(256)

    def train(label: str) -> None:
        mnist.train(mnist.classifier(8), digits, epochs=1, lr=1e-3, seed=0,
                    progress=pictures.bar(label))

    live(monkeypatch, allow_stdin=False, request="a")
    train("nobody is there")
    assert not places
    live(monkeypatch, allow_stdin=True, request="b")
    train("first")
    train("second")
    live(monkeypatch, allow_stdin=True, request="c")
    train("third")
    assert len(places) == 2, "a line for each cell"
    for lines, label in zip(places, ("first", "third"), strict=True):
        assert any(re.match(rf"{label}: .*\[\d\d:\d\d<", line) for line in lines), "the time left"
        assert lines[-1] == "", "nothing is left of it"


@pytest.mark.slow
def test_after_a_restart_a_cell_says_what_to_do(tmp_path: Path) -> None:
    def last_line(*sources: str, folder: Path = FOLDER) -> str:
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
        startup = FOLDER / "exercises" / "first_cell.py"
        NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
            allow_errors=True,
            extra_arguments=[f"--IPKernelApp.exec_files={startup}"]).execute()
        traceback = "\n".join(notebook.cells[-1].outputs[-1].traceback)
        return re.sub(r"\x1b\[[\d;]*m", "", traceback).splitlines()[-1]

    assert last_line('check("0.1", None)') == "Run the first cell first: the others need its names."
    assert last_line("import exercises", "chek") == "NameError: name 'chek' is not defined"
    assert last_line("chek", folder=tmp_path) == "NameError: name 'chek' is not defined"


def test_make_lab_gives_the_kernels_that_and_hides_the_solutions() -> None:
    assert str(Path(sys.prefix) / "etc" / "ipython") in ENV_CONFIG_DIRS, "IPython looks there"
    for target, folder in (("lab", "notebooks"), ("class", "build/blank")):
        done = subprocess.run(["make", "--always-make", "--dry-run", target], cwd=FOLDER.parent,
                              capture_output=True, text=True, check=True)
        assert re.search(r"cp notebooks/exercises/first_cell.py .venv/etc/ipython/startup/",
                         done.stdout)
        assert "hide_globs=exercises " in done.stdout
        assert "app_settings_dir=notebooks/exercises/lab " in done.stdout
        assert f"--notebook-dir={folder}\n" in done.stdout


def test_pictures_are_sharp_and_small() -> None:
    with style.context():
        figure, axes = plt.subplots(figsize=(4, 3))
        axes.imshow(np.random.default_rng(0).random((20, 20)), cmap=style.SEQUENTIAL)
    file, size = style.sharp(figure)
    picture = Image.open(BytesIO(file))
    whole = BytesIO()
    figure.savefig(whole, dpi=2 * figure.dpi, bbox_inches="tight")
    plt.close(figure)
    assert abs(picture.width - 2 * size["width"]) <= 1
    assert picture.size == Image.open(whole).size
    assert len(file) < len(whole.getvalue()) / 2
    colours, right = (np.asarray(Image.open(png).convert("RGB")).astype(int)
                      for png in (BytesIO(file), whole))
    assert np.abs(colours - right).mean() < 1 and (colours[0] == 255).all()


def test_words_in_a_table_are_on_the_left_and_numbers_on_the_right() -> None:
    table = pd.DataFrame({"BLEU": ["39.9 (39 to 41)", "38.1 (37 to 39)"],
                          "translation": ["a dog runs", "<b>"]}, index=[2, 4])
    left = ' style="text-align: left"'
    html = style.readable(table)
    assert re.findall(f"<t[hd]{left}>(.*?)</t", html) == ["translation", "a dog runs", "&lt;b&gt;"]
    assert html.replace(left, "") == table._repr_html_()
    labels = style.readable(table.set_index("translation"))
    assert re.findall(f"<t[hd]{left}>(.*?)</t", labels) == ["", "translation", "a dog runs",
                                                            "&lt;b&gt;"]
    wide = pd.concat({"small": table, "base": table}, axis=1)
    assert style.readable(wide).count(left) == 6, "the header above two columns is left alone"
