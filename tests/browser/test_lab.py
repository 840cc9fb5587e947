"""JupyterLab, as a learner uses it: run a notebook, answer an exercise, find the answer again."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
FAILED = "[data-mime-type='application/vnd.jupyter.error']"
STORY = "00_start_here"  # whose exercises a learner answers here
LONG = ("02", "03", "04", "05", "06", "07", "09")  # notebooks that run for a minute or more here


class Course:
    """A copy of the course, whose notebooks are not executed, with what is installed here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "requirements.txt"):
            shutil.copy(ROOT / name, folder)
        for name in ("notebooks", "tests"):
            shutil.copytree(ROOT / name, folder / name, copy_function=shutil.copy,
                            ignore=shutil.ignore_patterns("*.ipynb", ".*", "__pycache__"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        server = {"ServerApp": {"port": port, "port_retries": 0, "open_browser": False,
                                "allow_root": True, "log_level": "ERROR"},
                  "IdentityProvider": {"token": ""}}
        (folder / "config").mkdir()
        (folder / "config/jupyter_server_config.json").write_text(json.dumps(server))
        (folder / ".venv").mkdir()
        (folder / ".venv/.installed").write_text(str(folder))  # so make installs nothing
        self.run(sys.executable, "notebooks/build.py", "notebooks", "--blank", check=True)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(self.folder / "ipython"),
                             "JUPYTER_CONFIG_DIR": str(self.folder / "config")}

    def make(self, target: str) -> list[str]:
        """Return the command; IPython runs a profile's start-up files as it does a .venv's."""
        startup = self.folder / "ipython/profile_default/startup/first_cell.py"
        return ["make", f"BIN={BIN}", f"STARTUP={startup}", target]

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=self.folder, env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check)

    @contextmanager
    def served(self, command: Sequence[str]) -> Iterator[str]:
        """Run a command that starts JupyterLab; yield its address."""
        with subprocess.Popen(command, cwd=self.folder, env=self.environment) as server:
            try:
                while True:
                    assert server.poll() is None, "JupyterLab did not start"
                    try:
                        urllib.request.urlopen(f"{self.address}/api")
                        break
                    except OSError:
                        time.sleep(0.5)
                yield self.address
            finally:
                server.terminate()


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course(tmp_path.resolve())


@pytest.fixture
def lab(course: Course) -> Iterator[str]:
    """The address of ``make lab``."""
    with course.served(course.make("lab")) as address:
        yield address


def execute(page: Page, code: str) -> None:
    """Run a line in a new cell at the end."""
    place = page.get_by_text(re.compile(r"^Cell \d+/\d+$"))  # in the status bar
    before = place.inner_text().split("/")[1]
    for _ in range(40):  # a menu that is still closing takes the first keys
        page.keyboard.press("Escape")  # to command mode, in which b makes a cell below
        page.keyboard.press("b")
        page.wait_for_timeout(250)
        if place.inner_text().split("/")[1] != before:
            break
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Control+Enter")


def open_notebook(page: Page, address: str, path: str) -> None:
    page.goto(f"{address}/lab/tree/{path}?reset")
    page.get_by_text("(ipykernel) | Idle").wait_for()


def run_all(page: Page, address: str, name: str) -> None:
    """Open a notebook and run all of its cells."""
    open_notebook(page, address, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    execute(page, 'print("all", "done")')
    failed = page.locator(FAILED)
    page.get_by_text("all done", exact=True).or_(failed).first.wait_for()
    assert not failed.count(), failed.all_inner_texts()


def leaf_through(page: Page) -> None:
    """Scroll from the top to the end: JupyterLab draws what is on the screen."""
    cells = page.locator(".jp-WindowedPanel-outer")
    cells.evaluate("outer => { outer.scrollTop = 0 }")
    while cells.evaluate("outer => outer.scrollTop + outer.clientHeight < outer.scrollHeight - 2"):
        cells.evaluate("outer => { outer.scrollTop += 0.8 * outer.clientHeight }")
        page.wait_for_timeout(300)
        assert not page.locator("mjx-merror").count(), "a formula has an error"
        assert not page.get_by_text(re.compile("^(Error displaying|JavaScript Error)")).count()


def choose_theme(page: Page, theme: str) -> None:
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    for label in ("Theme", f"JupyterLab {theme}"):
        page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()
    page.locator(f"body[data-jp-theme-name='JupyterLab {theme}']").wait_for(state="attached")


def leaf_through_in_light_and_dark(page: Page) -> None:
    for theme in ("Light", "Dark"):
        choose_theme(page, theme)
        leaf_through(page)


def save(page: Page) -> None:
    page.locator("jp-button[data-command='docmanager:save']").click()
    page.get_by_text("Saving completed").wait_for()


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def run_without_a_complaint(path: Path) -> bool:
    """Return whether each cell was run, and none has an error or a warning to show."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return all(cell.execution_count for cell in code) and not [
        output for cell in code for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("name", [
    pytest.param(path.stem, marks=[pytest.mark.slow] * path.stem.startswith(LONG))
    for path in sorted((ROOT / "notebooks/text").glob("*.py")) if path.stem != STORY])
def test_run_all_in_light_and_dark(page: Page, course: Course, name: str) -> None:
    with course.served(course.make("lab")) as address:
        run_all(page, address, f"{name}.ipynb")
        leaf_through_in_light_and_dark(page)
        save(page)
    assert run_without_a_complaint(course.folder / f"notebooks/{name}.ipynb")
    assert page.problems == []


def test_a_learners_story(page: Page, course: Course) -> None:
    """Answered wrongly, rightly, and saved: no way to open it and no command loses the answer."""
    name, right = f"{STORY}.ipynb", "return 0.79**rounds"
    notebook = course.folder / "notebooks" / name
    [asked] = [source for source in sources(notebook) if 'check("0.1"' in source]
    cell = page.locator(".jp-CodeCell", has_text='check("0.1"')
    page.set_viewport_size({"width": 800, "height": 900})
    with course.served(course.make("lab")) as address:
        run_all(page, address, name)
        leaf_through_in_light_and_dark(page)
        for line, said in (("return 1 - 0.21 * rounds", "not yet.*so the shares multiply"),
                           (right, "correct!")):
            cell.locator(".cm-content").click()
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(asked.replace("...", line))
            page.keyboard.press("Control+Enter")
            cell.get_by_text(re.compile(f"Exercise 0.1: {said}")).wait_for()
        execute(page, 'solution("0.1")')
        page.locator(".jp-RenderedMarkdown code span", has_text="return").wait_for()  # highlighted
        save(page)
        answered = sources(notebook)
        assert asked.replace("...", right) in answered
        code = [cell for cell in nbformat.read(notebook, as_version=4).cells
                if cell.cell_type == "code"]
        assert all(run.execution_count for run in code)
        assert not [output for run in code for output in run.outputs
                    if output.output_type == "error"]
        files = page.locator(".jp-DirListing-itemName").all_inner_texts()
        assert name in files and "exercises" not in files, "it has the solutions"
        wide = "all => all.filter(code => code.scrollWidth > code.clientWidth).length"
        assert page.locator(".cm-scroller").evaluate_all(wide) == 0, "code is cut off"
        page.locator("jp-button[data-command='notebook:restart-kernel']").click()
        page.locator(".jp-Dialog .jp-mod-accept").click()
        page.locator(".jp-Dialog").wait_for(state="detached")
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.get_by_text("Run the first cell first").wait_for()

    (course.folder / f"notebooks/text/{STORY}.py").touch()  # as after git pull
    with course.served([str(BIN / "jupyter"), "lab"]) as address:  # not make lab
        open_notebook(page, address, f"notebooks/{name}")
        expect(cell.locator(".cm-content")).to_contain_text(right)
        save(page)
    assert not [problem for problem in page.problems if "asks for" in problem]

    tests = course.run(sys.executable, "-m", "pytest", "-rs", "-k", name.removesuffix(".ipynb"),
                       "tests/test_notebooks.py")
    assert tests.returncode == 0 and f"hold your answers: {name}" in tests.stdout, tests.stdout
    remade = course.run(*course.make("notebooks"))
    assert remade.returncode and f"hold your answers: {notebook}" in remade.stdout
    course.run(*course.make("blank"), check=True)
    blank = course.folder / "build/blank" / name
    assert asked in sources(blank), "a blank copy has no answers"
    blank.write_bytes(notebook.read_bytes())  # answered in class
    again = course.run(*course.make("blank"))
    assert again.returncode and f"hold your answers: build/blank/{name}" in again.stdout
    course.run(*course.make("clean"), check=True)
    assert sources(blank) == answered
    assert sources(notebook) == answered


def test_a_training_shows_its_time_and_leaves_nothing(page: Page, lab: str) -> None:
    open_notebook(page, lab, f"{STORY}.ipynb")
    execute(page, "import torch; from circtools.experiments import mnist\n"
                  "from exercises.pictures import bar\n"
                  "mnist.train(torch.nn.Linear(784, 10), mnist.load().first(5_000), epochs=30, "
                  "lr=1e-3, seed=0, progress=bar('a training'));")
    line = page.get_by_text(re.compile("^a training: .*<"))
    line.or_(page.locator(FAILED)).first.wait_for()
    line.wait_for(state="detached")
    assert not page.locator(FAILED).count(), page.locator(FAILED).all_inner_texts()


def test_a_slider_moves_the_picture(page: Page, lab: str) -> None:
    run_all(page, lab, "01_circulant_matrices.ipynb")
    cell = page.locator(".jp-CodeCell", has=page.get_by_text("w0", exact=True))
    picture = cell.locator("img")
    still = picture.get_attribute("src")
    cell.get_by_role("slider", name="w0").press("ArrowRight")  # the name is for screen readers
    expect(picture).not_to_have_attribute("src", still)
    assert not [problem for problem in page.problems if "asks for" in problem]
