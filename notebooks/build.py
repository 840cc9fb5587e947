"""Execute the notebooks in order: ``python notebooks/build.py build`` writes them there.

With ``--update`` they are made afresh from their texts and saved executed in their place, which is
how they are changed: edit the text, ``make notebooks``, commit both. One line of progress is
printed per notebook; the exit status is 1 if any of them fails.
"""

import argparse
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from circtools.experiments import data

FOLDER = Path(__file__).resolve().parent


def main() -> int:
    """Execute every notebook; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for the executed notebooks")
    parser.add_argument("--update", action="store_true",
                        help="make the notebooks from their texts and save them executed")
    parser.add_argument("--only", default="", metavar="START",
                        help="only the notebooks whose name starts with this")
    options = parser.parse_args()
    if options.update:
        for task in ("mnist", "multi30k"):
            data.locate(task)  # raises without it: the committed notebooks show the real data
    options.output.mkdir(parents=True, exist_ok=True)
    paths = sorted((FOLDER / "text").glob(f"{options.only}*.py"))
    failures = 0
    for number, path in enumerate(paths, start=1):
        print(f"[{number}/{len(paths)}] {path.stem} ... ", end="", flush=True)
        started = time.monotonic()
        committed = FOLDER / f"{path.stem}.ipynb"
        notebook = from_text(path) if options.update else nbformat.read(committed, as_version=4)
        problem = execute(notebook)
        print(f"{'FAILED' if problem else 'ok'}, {time.monotonic() - started:.0f} s", flush=True)
        nbformat.write(notebook, options.output / committed.name)
        if problem:
            failures += 1
            print(problem, file=sys.stderr)
        elif options.update:
            nbformat.write(notebook, committed)
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


if __name__ == "__main__":
    sys.exit(main())
