"""JupyterLab, as a reader uses it: run a notebook, answer an exercise wrongly and rightly."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """JupyterLab on copies of two notebooks that train nothing: its address and its folder."""
    folder = tmp_path / "lab"
    folder.mkdir()
    for name in ("00_start_here.ipynb", "01_circulant_matrices.ipynb"):
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / name)
    shutil.copytree(ROOT / "notebooks" / "exercises", folder / "exercises")
    startup = tmp_path / "ipython" / "profile_default" / "startup"  # for make lab: in its .venv
    startup.mkdir(parents=True)
    shutil.copy(folder / "exercises" / "first_cell.py", startup)
    [options] = re.findall("^LAB = .* lab (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
                                "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--log-level=ERROR",
         *options.split()],
        env=environment,
    ) as server:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api")
                break
            except OSError:
                time.sleep(0.5)
        yield address, folder
        server.terminate()


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


def run_all(page: Page, address: str, name: str) -> None:
    """Open a notebook and run all of its cells."""
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    page.get_by_text("(ipykernel) | Idle").wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("[data-command='runmenu:run-all']").click()
    execute(page, 'print("all", "done")')
    page.get_by_text("all done", exact=True).wait_for(timeout=240_000)


@pytest.mark.parametrize(("name", "exercise", "wrong", "says", "right"), [
    ("00_start_here", "0.1", "lambda rounds: 1 - 0.21 * rounds", "so the shares multiply",
     "lambda rounds: 0.79**rounds"),
    ("01_circulant_matrices", "1.2", "lambda w, v: w * v", "multiplied the rows entry by entry",
     "lambda w, v: torch.fft.fft(spectrum(w) * spectrum(v), norm='forward').real"),
])
def test_run_all_and_answer(page: Page, lab: tuple[str, Path], name: str, exercise: str,
                            wrong: str, says: str, right: str) -> None:
    address, folder = lab
    run_all(page, address, name)
    execute(page, f'check("{exercise}", {wrong})')
    page.get_by_text(re.compile(f"Exercise {exercise}: not yet.*{says}")).wait_for()
    execute(page, f'check("{exercise}", {right})')
    page.get_by_text(f"Exercise {exercise}: correct!").wait_for()
    execute(page, f'solution("{exercise}")')
    page.locator(".jp-RenderedMarkdown code span", has_text="return").wait_for()  # highlighted
    page.locator("jp-button[data-command='docmanager:save']").click()
    page.get_by_text("Saving completed").wait_for()
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [output for cell in cells for output in cell.outputs
                if output.output_type == "error"]
    assert not [problem for problem in page.problems if "asks for" in problem]
    files = page.locator(".jp-DirListing-itemName").all_inner_texts()
    assert f"{name}.ipynb" in files and "exercises" not in files, "it has the solutions"
    page.locator("jp-button[data-command='notebook:restart-kernel']").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.locator(".jp-Dialog").wait_for(state="detached")
    page.get_by_text(f"Exercise {exercise}: correct!").click()  # out of the toolbar
    execute(page, f'check("{exercise}", {right})')
    page.get_by_text("Run the first cell first").wait_for()


def test_a_training_shows_its_time_and_leaves_nothing(page: Page, lab: tuple[str, Path]) -> None:
    run_all(page, lab[0], "00_start_here")
    execute(page, "from exercises.pictures import bar\n"
                  "mnist.train(model, digits.first(5_000), epochs=9, lr=1e-3, seed=0, "
                  "progress=bar('a training'));")
    line = page.get_by_text(re.compile("^a training: .*<"))
    line.wait_for()
    line.wait_for(state="detached", timeout=240_000)


def test_a_slider_moves_the_picture(page: Page, lab: tuple[str, Path]) -> None:
    run_all(page, lab[0], "01_circulant_matrices")
    cell = page.locator(".jp-CodeCell", has=page.get_by_text("w0", exact=True))
    picture = cell.locator("img")
    still = picture.get_attribute("src")
    cell.get_by_role("slider", name="w0").press("ArrowRight")  # the name is for screen readers
    expect(picture).not_to_have_attribute("src", still)
    assert not [problem for problem in page.problems if "asks for" in problem]
