"""Execute the notebooks in order and render them as HTML: ``python notebooks/build.py build``.

Writes one HTML page a notebook and an ``index.html`` that links them. One line of progress is
printed a notebook; the exit status is 1 if any of them fails.

With ``--update`` the notebooks are made afresh from their texts and saved executed in their place,
which is how they are changed: edit the text, ``make notebooks``, commit both.
"""

import argparse
import html
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from circtools import data

FOLDER = Path(__file__).resolve().parent
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>circtools: the course</title>
<style>body {{ font: 18px/1.6 sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }}
</style>
<h1>Compressing neural networks</h1>
<p>The notebooks, executed on this machine.</p>
<ol start="0">
{items}
</ol></html>
"""


def main() -> int:
    """Build every notebook; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for the pages")
    parser.add_argument("--update", action="store_true",
                        help="make the notebooks from their texts and save them executed")
    parser.add_argument("--only", default="", metavar="START",
                        help="only the notebooks whose name starts with this")
    options = parser.parse_args()
    if options.update:
        for task in ("mnist", "multi30k"):
            data.locate(task)  # raises without it: the committed notebooks show the real data
    output = options.output
    output.mkdir(parents=True, exist_ok=True)
    paths = sorted((FOLDER / "text").glob(f"{options.only}*.py"))
    items, failures = [], 0
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path.stem} ... ", end="", flush=True)
        started = time.monotonic()
        committed = FOLDER / f"{path.stem}.ipynb"
        notebook = from_text(path) if options.update else nbformat.read(committed, as_version=4)
        problem = execute(notebook)
        print(f"{'FAILED' if problem else 'ok'}, {time.monotonic() - started:.0f} s", flush=True)
        if problem:
            failures += 1
            print(problem, file=sys.stderr)
        elif options.update:
            nbformat.write(notebook, committed)
        page, _ = HTMLExporter().from_notebook_node(notebook)
        (output / f"{path.stem}.html").write_text(page, encoding="utf-8")
        nbformat.write(notebook, output / committed.name)
        items.append(f'<li><a href="{path.stem}.html">{html.escape(title(notebook))}</a></li>')
    index = output / "index.html"
    index.write_text(PAGE.format(items="\n".join(items)), encoding="utf-8")
    print(f"The course is in {index}")
    return 1 if failures else 0


def from_text(path: Path) -> nbformat.NotebookNode:
    """Return the notebook of a text, with cell ids that stay the same from time to time."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def execute(notebook: nbformat.NotebookNode) -> str | None:
    """Execute a notebook in place; return what went wrong, or None."""
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False,
                            coalesce_streams=True, extra_arguments=["--log-level=40"],
                            resources={"metadata": {"path": str(FOLDER)}})
    try:
        client.execute()
    except CellExecutionError as error:
        return str(error)
    return None


def title(notebook: nbformat.NotebookNode) -> str:
    """Return the text of the first heading."""
    lines = notebook.cells[0].source.splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "untitled")


if __name__ == "__main__":
    sys.exit(main())
