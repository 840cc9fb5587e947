"""Execute the notebooks in order and render them as HTML: ``python notebooks/build.py build``.

Writes one HTML page a notebook and an ``index.html`` that links them. One line of progress is
printed a notebook; the exit status is 1 if any of them fails.
"""

import argparse
import html
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

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
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    paths = sorted(FOLDER.glob("[0-9]*.ipynb"))
    items, failures = [], 0
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path.stem} ... ", end="", flush=True)
        started = time.monotonic()
        notebook = nbformat.read(path, as_version=4)
        problem = execute(notebook)
        print(f"{'FAILED' if problem else 'ok'}, {time.monotonic() - started:.0f} s", flush=True)
        if problem:
            failures += 1
            print(problem, file=sys.stderr)
        page, _ = HTMLExporter().from_notebook_node(notebook)
        (output / f"{path.stem}.html").write_text(page, encoding="utf-8")
        nbformat.write(notebook, output / path.name)
        items.append(f'<li><a href="{path.stem}.html">{html.escape(title(notebook))}</a></li>')
    index = output / "index.html"
    index.write_text(PAGE.format(items="\n".join(items)), encoding="utf-8")
    print(f"The course is in {index}")
    return 1 if failures else 0


def execute(notebook: nbformat.NotebookNode) -> str | None:
    """Execute a notebook in place; return what went wrong, or None."""
    client = NotebookClient(notebook, timeout=600, kernel_name="python3",
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
