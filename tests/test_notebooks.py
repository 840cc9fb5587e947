"""The committed notebooks: paired with their text, executed in order, quiet, with exercises."""

import ast
import base64
import html
import importlib
import inspect
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jupytext
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch

import circtools
from circtools.experiments.bleu import bleu_of_counts

LARGE_LETTERS = "diagrams.", "architecture."  # whose figures are drawn with these
FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = [FOLDER / f"{text.stem}.ipynb" for text in sorted((FOLDER / "text").glob("*.py"))]
sys.path.insert(0, str(FOLDER))
build = importlib.import_module("build")
exercises = importlib.import_module("exercises")
answers = importlib.import_module("exercises.answers")
pictures = importlib.import_module("exercises.pictures")
CHAPTERS: list[ModuleType] = [
    importlib.import_module(f"exercises.{path.stem}")
    for path in sorted((FOLDER / "exercises").glob("nb*.py"))
]
EXERCISES = [exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES]


def ids(paths: list[Path]) -> list[str]:
    return [path.stem for path in paths]


def without_answers(path: Path) -> Path:
    if build.holds_answers(path):
        pytest.skip(f"these notebooks hold your answers: {path.name}")
    return path


@pytest.fixture(params=NOTEBOOKS, ids=ids(NOTEBOOKS))
def path(request: pytest.FixtureRequest) -> Path:
    """Each notebook as it is committed."""
    return without_answers(request.param)


def test_every_text_has_its_notebook() -> None:
    assert len(NOTEBOOKS) == 10 and all(path.exists() for path in NOTEBOOKS)


def test_text_and_notebook_are_the_same(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = build.from_text(FOLDER / "text" / f"{path.stem}.py")
    pairs = [[(cell.id, cell.cell_type, cell.source, cell.metadata.get("tags", []))
              for cell in nb.cells] for nb in (notebook, text)]
    assert pairs[0] == pairs[1], f"{path.name} and its text differ: run make notebooks"
    assert "jupytext" not in notebook.metadata, "JupyterLab would pair them"


def test_executed_in_order_and_quiet(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    assert not re.search(r"(?<![\w.])/(?:work|root|home)/|vnd\.jupyter\.widget",
                         path.read_text(encoding="utf-8"))
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", output.get("ename")
            assert output.get("name") != "stderr", output.get("text")
            assert "NOTICE" not in output.get("text", ""), "executed without the real data"


def test_what_is_made_of_committed_results_is_compared(path: Path) -> None:
    """By nbval, and nothing is that is trained here or depends on the data at hand."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    compared, results = 0, 0
    for cell in cells:
        tagged = "nbval-check-output" in cell.metadata.get("tags", [])
        printed = "".join(output.get("text", "") for output in cell.outputs)
        committed = printed.startswith("FULL-SCALE") or "Markdown(pages." in cell.source
        # A cell that loads the data too says so where only the sample is at hand.
        if committed and "multi30k.load()" not in cell.source:
            assert tagged, cell.source
        results += committed
        compared += committed and tagged
        if tagged:
            assert "LIVE" not in printed
            assert not re.search(r"\b(corpus|digits)\.", cell.source)
    assert compared >= min(results, 3)


def test_pictures_have_an_alternative_text_and_imports_are_folded(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert "hide-input" in cells[0].metadata["tags"]
    assert cells[0].source.startswith("from exercises import")  # which sees a wrong Python
    for cell in cells:
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(pictures) <= 1, "one alternative text cannot say what two pictures show"
        assert bool(pictures) == ("alt" in cell.metadata), cell.source
        assert not pictures or len(cell.metadata["alt"].split()) >= 6
        for output in pictures:  # twice as many dots as it is wide, for dense screens
            header = base64.b64decode(output.data["image/png"])[:24]
            dots = int.from_bytes(header[16:20], "big")
            width = output.metadata["image/png"]["width"]
            assert dots >= 2 * width - 1
            # A page shows it 700 dots wide: its letters must be large enough then.
            assert width <= 1050 or any(name in cell.source for name in LARGE_LETTERS)


def test_first_and_last_cell_say_what_a_reader_needs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    for word in ("learn", "need", "minute"):
        assert word in cells[0].source.lower()
    assert "where next" in cells[-1].source and "http" in cells[-1].source


def test_two_exercises_or_more_with_stubs_that_fail(path: Path) -> None:
    number = int(path.stem[:2])
    names = [e.name for e in EXERCISES if int(e.name.split(".")[0]) == number]
    assert len(names) >= 2
    cells = nbformat.read(path, as_version=4).cells
    for name in names:
        stubs = [cell for cell in cells if f'check("{name}"' in cell.source]
        assert len(stubs) == 1, f"exercise {name} is not asked exactly once"
        printed = "".join(output.get("text", "") for output in stubs[0].outputs)
        problem = exercises.problem_with(name, stub(name))
        assert " ".join(printed.split()).startswith(f"Exercise {name}: not yet - {problem}.")


def stub(name: str) -> Any:
    """Return the function that a notebook asks to complete."""
    [text] = (FOLDER / "text").glob(f"{int(name.split('.')[0]):02}_*.py")
    [cell] = [cell.source for cell in jupytext.read(text).cells if f'check("{name}"' in cell.source]
    function = [node for node in ast.parse(cell).body if isinstance(node, ast.FunctionDef)][-1]
    names: dict[str, Any] = {}
    exec(ast.unparse(function), names)
    return names[function.name]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_stub_has_the_name_and_the_arguments_of_the_solution_and_fails(exercise) -> None:
    asked = stub(exercise.name)
    assert asked.__name__ == exercise.solution.__name__
    assert [*inspect.signature(asked).parameters] == [*inspect.signature(
        exercise.solution).parameters]
    assert exercises.problem_with(exercise.name, asked)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_three_typical_mistakes_or_more_are_named(exercise) -> None:
    assert len({named for _, named in exercise.mistakes}) >= 3
    for wrong, named in exercise.mistakes:
        assert exercises.problem_with(exercise.name, wrong) == named


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_solution_passes_and_wrong_answers_do_not(exercise, capsys) -> None:
    assert exercises.problem_with(exercise.name, exercise.solution) is None
    exercises.check(exercise.name, exercise.solution)
    assert "correct" in capsys.readouterr().out
    for wrong in (None, ..., 1e9, "no", lambda *_: None, lambda *_: 1 / 0, lambda: 0):
        assert exercises.problem_with(exercise.name, wrong)
        exercises.check(exercise.name, wrong)  # prints, and never raises
        assert "not yet" in capsys.readouterr().out
    exercises.hint(exercise.name)
    assert len(capsys.readouterr().out) > 40


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_a_printed_solution_can_be_pasted(exercise, capsys) -> None:
    exercises.solution(exercise.name)
    pasted: dict[str, Any] = {}
    exec(capsys.readouterr().out, pasted)
    answer = pasted[exercise.solution.__name__]
    assert exercises.problem_with(exercise.name, answer) is None


def test_a_picture_moves_in_a_live_notebook_and_is_still_elsewhere(
        monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, shown, views = [], [], []

    def draw(block_size=8, kind="smooth"):
        drawn.append((block_size, kind))
        return plt.figure()

    def run(shell: Any) -> None:
        monkeypatch.setattr(pictures, "get_ipython", lambda: shell)
        pictures.moving(draw, block_size=[1, 8, 64], kind=["random", "smooth"])

    def kernel(allow_stdin: bool) -> Any:
        request = {"content": {"allow_stdin": allow_stdin}}
        return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: request))

    monkeypatch.setattr(pictures, "display", lambda view, raw: views.append(view))
    monkeypatch.setattr(pictures.DisplayHandle, "display", lambda _, figure: shown.append(figure))
    for shell in (None, kernel(allow_stdin=False)):  # a script; nbclient and nbval
        run(shell)
    assert len(shown) == len(drawn) == 2 and not views
    run(kernel(allow_stdin=True))
    assert [list(view) for view in views] == [["application/vnd.jupyter.widget-view+json"],
                                              ["application/javascript"]]
    assert drawn == [(8, "smooth")] * len(shown) == [(8, "smooth")] * 3
    slider, menu = pictures.controls(
        draw, shown.append, {"block_size": [1, 8, 64], "kind": ["random", "smooth"]}).children
    assert (slider.description, menu.description) == ("block size", "kind")
    slider.value, menu.value = 64, "random"
    assert drawn[3:] == [(64, "smooth"), (64, "random")] and len(shown) == 5
    assert not plt.get_fignums()  # an open figure is shown twice


def test_a_python_without_circtools_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "circtools", None)
    with pytest.raises(ImportError, match=r"runs in .*; start it with make lab") as caught:
        importlib.reload(exercises)
    assert caught.value._render_traceback_() == [str(caught.value)]


def test_threads_are_told_to_sleep_soon_before_torch_is_imported() -> None:
    code = ("import os, sys\n"
            "class Watch:\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'torch': print(os.environ.get('GOMP_SPINCOUNT'))\n"
            "sys.meta_path.insert(0, Watch())\n"
            "import exercises")
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment["PYTHONPATH"] = os.pathsep.join([str(FOLDER), str(FOLDER.parent)])
    said = subprocess.run([sys.executable, "-c", code], env=environment, text=True, check=True,
                          capture_output=True).stdout
    assert said.splitlines()[0] == "1000"


@pytest.mark.slow
def test_the_command_that_notebook_05_advises_runs_in_its_kernel() -> None:
    text = (FOLDER / "text" / "05_transformer_multi30k.py").read_text(encoding="utf-8")
    [command] = re.findall("`([^`]*circtools translate [^`]*)`", text)
    done = subprocess.run([sys.executable, "-m", "IPython", "-c", command], cwd=FOLDER,
                          env=os.environ | {"PATH": ""}, capture_output=True, text=True)
    assert "dog" in done.stdout, done.stderr


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the course with one notebook, and its blank copy in build/blank."""
    text = FOLDER / "text" / "00_start_here.py"
    (tmp_path / "notebooks" / "text").mkdir(parents=True)
    for path in (text, FOLDER.parent / "Makefile", FOLDER.parent / "pyproject.toml"):
        shutil.copy(path, tmp_path / path.relative_to(FOLDER.parent))
    nbformat.write(build.from_text(text), tmp_path / "notebooks" / "00_start_here.ipynb")
    monkeypatch.setattr(build, "FOLDER", tmp_path / "notebooks")
    monkeypatch.chdir(tmp_path)
    assert build.main(["build/blank", "--blank"]) == 0
    return tmp_path


def answer(path: Path, old: str, new: str) -> bytes:
    """Replace in the sources of a notebook or a text; return what is then in the file."""
    written = path.read_text(encoding="utf-8")
    assert old in written
    path.write_text(written.replace(old, new, 1), encoding="utf-8")
    return path.read_bytes()


def test_no_command_loses_an_answer(course: Path) -> None:
    name, text = "00_start_here.ipynb", course / "notebooks/text/00_start_here.py"
    asked, blank = course / "notebooks" / name, course / "build/blank" / name
    assert without_answers(asked) and without_answers(blank)
    answers = {asked: answer(asked, "    ...", "    return 0.79**rounds"), blank: b""}
    notebook = nbformat.read(blank, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("mine = 1"))  # a cell of one's own
    nbformat.write(notebook, blank)
    answers[blank] = blank.read_bytes()
    for path, command in ((asked, ["build", "--update"]), (blank, ["build/blank", "--blank"])):
        with pytest.raises(pytest.skip.Exception, match=f"hold your answers: {name}"):
            without_answers(path)
        with pytest.raises(SystemExit, match=rf"hold your answers: .*{name}\. Nothing was"):
            build.main(command)
    (course / "build/site").mkdir()
    subprocess.run(["make", "clean"], check=True, capture_output=True)
    assert not (course / "build/site").exists()
    lab = jupytext.TextFileContentsManager(root_dir=str(course))  # JupyterLab at the root
    text.touch()
    committed = text.read_bytes()
    for path, written in answers.items():
        assert path.read_bytes() == written
        model = lab.get(str(path.relative_to(course)))
        lab.save(model, model["path"])
        assert path.read_bytes() == written
    assert text.read_bytes() == committed
    assert build.main(["build/another", "--blank"]) == 0
    assert "0.79**rounds" not in (course / "build/another" / name).read_text(encoding="utf-8")


def test_nbval_leaves_out_a_notebook_with_answers_and_one_of_ones_own(course: Path) -> None:
    for name in ("build.py", "conftest.py"):
        shutil.copy(FOLDER / name, course / "notebooks" / name)
    asked = course / "notebooks" / "00_start_here.ipynb"
    notebook = nbformat.read(asked, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("1 / 0"))
    for path in (asked, asked.with_name("00_start_here-Copy1.ipynb")):
        nbformat.write(notebook, path)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--nbval-lax",
                           "--nbval-current-env", "notebooks"], capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "hold your answers: 00_start_here-Copy1.ipynb, 00_start_here.ipynb" in done.stdout


def test_what_a_maintainer_edits_is_no_answer(course: Path) -> None:
    answer(course / "notebooks/text/00_start_here.py", "    ...", '    """The share."""\n    ...')
    assert not build.holds_answers(course / "notebooks/00_start_here.ipynb")
    assert build.main(["build/blank", "--blank"]) == 0
    assert "The share." in (course / "build/blank/00_start_here.ipynb").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "wrong"), [
    ("1.1", lambda row: circtools.circulant(row)),
    ("1.1", lambda row: torch.stack([circtools.circulant(row)[r] for r in range(len(row))])),
    ("1.2", lambda w, v: (circtools.circulant(w) @ circtools.circulant(v))[0]),
    ("1.2", lambda w, v: w @ torch.stack([v.roll(r) for r in range(len(v))])),
    ("1.3", lambda w, y: torch.linalg.solve(circtools.circulant(w), y)),
    ("1.3", lambda w, y: torch.linalg.pinv(torch.stack([w.roll(r) for r in range(len(w))])) @ y),
    ("2.2", lambda matrix: circtools.nearest_circulant(matrix, len(matrix))[0, 0]),
    ("2.3", lambda rows, x: circtools.block_circulant(rows) @ x),
    ("2.3", lambda rows, x: torch.cat([torch.cat([torch.stack([
        row.roll(r) for r in range(len(row))]) for row in line], 1) for line in rows]) @ x),
    ("4.3", lambda compressions, errors, target: math.nan),
    ("4.3", lambda compressions, errors, target: sum(
        errors[torch.searchsorted(
            torch.tensor(compressions), target, side=side) - shift] / 2
        for side, shift in (("left", 0), ("right", 1)))),
    ("4.2", lambda weights, amount: [
        w.abs() > torch.cat([v.flatten() for v in weights]).abs().median() for w in weights]),
    ("4.4", lambda layers, rounds: circtools.prune(layers, 1 - 0.79**rounds, "random")),
    ("5.1", lambda q, k, v: torch.where(torch.ones(5, 5).tril() > 0, q @ k.T / 8**0.5, -torch.inf)
        .softmax(1) @ v),
    ("5.1", lambda q, k, v: torch.where(
        torch.ones(5, 5).tril() > 0, q @ k.T / (q.shape[1] / 2), -torch.inf).softmax(1) @ v),
    ("5.2", lambda step, steps, share: step / 100 if step < 100 else (1000 - step) / 900),
    ("6.2", lambda d_model, heads, b: b > 32),
    ("6.2", lambda d_model, heads, b: b > 4 * heads),
    ("7.1", lambda mask, heads: (kept := mask.view(heads, -1).sum(1)) / kept.max()),
    ("7.1", lambda mask, heads: mask[:: len(mask) // heads].float().mean(1)),
    ("7.2", lambda mean, sd: math.ceil(sd / mean)),
    ("7.3", lambda layers, amount: [circtools.prune([x], amount, "random") for x in layers]),
])
def test_answers_that_only_look_right_do_not_pass(name: str, wrong: Any) -> None:
    problem = exercises.problem_with(name, wrong)
    assert problem and "stopped with" not in problem


def one_by_one(rounds: int) -> float:
    share = 1.0
    for _ in range(rounds):
        share -= 0.21
    return share


def shift_left(row: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[row[(r + c) % len(row)] for c in range(len(row))]
                         for r in range(len(row))])


def without_scale(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = (q @ k.T).exp().tril()
    return weights / weights.sum(1, keepdim=True) @ v


@pytest.mark.parametrize(("name", "wrong", "named"), [
    ("0.1", one_by_one, "so the shares multiply"),
    ("1.1", shift_left, "to the left"),
    ("5.1", without_scale, "square root"),
    ("8.1", lambda f, s, d: np.percentile(bleu_of_counts(f[d].sum(1)) - bleu_of_counts(
        s[d[::-1]].sum(1)), [2.5, 97.5]), "same draw"),  # any other draws
    ("8.1", lambda f, s, d: 0.0, "two numbers"),
    ("8.2", lambda p: np.array(p) < 0.05, "without any correction"),
    ("8.2", lambda p: [False] * len(p), "it should be"),
    ("8.2", lambda p: [], "as many"),
])
def test_a_mistake_is_named_however_it_is_written(name: str, wrong: Any, named: str) -> None:
    assert named in exercises.problem_with(name, wrong)


@pytest.mark.parametrize("name", [e.name for e in EXERCISES if e.picture])
def test_a_wrong_answer_is_drawn_beside_what_was_wanted(
        name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(answers, "display", lambda view, raw: shown.append(view))
    exercise = exercises.find(name)
    wrong = exercise.mistakes[0][0]
    exercises.check(name, wrong)
    assert not shown, "there is no notebook"
    monkeypatch.setattr(answers, "get_ipython", lambda: SimpleNamespace())
    exercises.check(name, wrong)
    [view] = shown
    alt = html.unescape(re.search('alt="(.+?)"', view["text/html"])[1])
    assert alt == view["text/plain"] and exercise.picture[0] in alt
    assert "yours beside what was wanted" in alt and not re.search(" 0 differ", alt)
    picture = base64.b64decode(re.search('base64,(.+?)"', view["text/html"])[1])
    assert picture.startswith(b"\x89PNG") and len(picture) < 50_000
    assert not plt.get_fignums(), "an open figure is shown twice"
    for nothing in (exercise.solution, stub(name), None, 1e9, lambda *_: torch.zeros(2, 2) * 1j):
        exercises.check(name, nothing)
    assert len(shown) == 1


def test_an_unknown_exercise_names_those_there_are() -> None:
    with pytest.raises(KeyError, match=r"0\.1"):
        exercises.check("0.9", 1)
