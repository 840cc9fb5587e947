"""JupyterLab, as a reader uses it: run a notebook, answer an exercise wrongly and rightly."""

import os
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

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """JupyterLab on copies of two notebooks that train nothing: its address and its folder."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("00_start_here.ipynb", "01_circulant_matrices.ipynb"):
        shutil.copy(ROOT / "notebooks" / name, folder)
    shutil.copytree(ROOT / "notebooks" / "exercises", folder / "exercises")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "config"),
                                "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--log-level=ERROR"],
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


def execute(page, code: str) -> None:
    """Run a line in a new cell at the end."""
    page.locator("jp-button[data-command='notebook:insert-cell-below']").click()
    page.keyboard.press("Enter")
    page.keyboard.insert_text(code)
    page.keyboard.press("Control+Enter")


@pytest.mark.parametrize(("name", "wrong", "right"), [
    ("00_start_here", 'check("0.1", lambda rounds: 1 - 0.21 * rounds)',
     'check("0.1", lambda rounds: 0.79**rounds)'),
    ("01_circulant_matrices", 'check("1.2", lambda w, v: w * v)', 'check("1.2", lambda w, v: '
     'torch.fft.fft(spectrum(w) * spectrum(v), norm="forward").real)'),
])
def test_run_all_and_answer(page, lab, name: str, wrong: str, right: str) -> None:
    address, folder = lab
    page.goto(f"{address}/lab/tree/{name}.ipynb")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Run All Cells").click()
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    execute(page, 'print("all", "done")')
    page.get_by_text("all done", exact=True).wait_for(timeout=240_000)
    exercise = wrong[7:10]
    execute(page, wrong)
    page.get_by_text(f"Exercise {exercise}: not yet").last.wait_for()
    execute(page, right)
    page.get_by_text(f"Exercise {exercise}: correct!").wait_for()
    page.keyboard.press("Control+s")
    path = folder / f"{name}.ipynb"
    for _ in range(60):
        if right in path.read_text(encoding="utf-8").replace('\\"', '"'):
            break
        time.sleep(0.5)
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert not [output for cell in cells for output in cell.outputs
                if output.output_type == "error"]
    assert not [problem for problem in page.problems if "asks for" in problem]
