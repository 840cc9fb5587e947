"""Execute the notebooks in order: ``python notebooks/build.py build`` writes them there.

With ``--update`` they are made afresh from their texts and saved executed in their place, which is
how they are changed: edit the text, ``make notebooks``, commit both. One line of progress is
printed per notebook; the exit status is 1 if any of them fails. With ``--blank`` they are made from
their texts and not executed. Neither writes over a notebook that holds answers.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from circtools.experiments import corpus, mnist

FOLDER = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute every notebook; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for the executed notebooks")
    parser.add_argument("--update", action="store_true",
                        help="make the notebooks from their texts and save them executed")
    parser.add_argument("--blank", action="store_true",
                        help="make the notebooks from their texts, without outputs")
    parser.add_argument("--only", default="", metavar="START",
                        help="only the notebooks whose name starts with this")
    options = parser.parse_args(arguments)
    paths = sorted((FOLDER / "text").glob(f"{options.only}*.py"))
    if options.update or options.blank:
        target = FOLDER if options.update else options.output
        keep_answers(target / f"{path.stem}.ipynb" for path in paths)
    options.output.mkdir(parents=True, exist_ok=True)
    if options.blank:
        for path in paths:
            nbformat.write(from_text(path), options.output / f"{path.stem}.ipynb")
        return 0
    for load in (mnist.load, corpus.load):  # raises without the real data, which is committed
        load("real" if options.update else "auto")  # here: no notebook keeps the bars of a download
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
    """Return the notebook of a text, in which the id of each cell tells whether it was changed."""
    notebook = jupytext.read(path)
    for cell in notebook.cells:
        cell.id = identity(cell)
        if "hide-input" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}  # the same in JupyterLab
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def identity(cell: nbformat.NotebookNode) -> str:
    """Return the id of a cell as it is built: a digest of what is in it."""
    return hashlib.sha256(cell.source.encode()).hexdigest()[:12]


def holds_answers(path: Path) -> bool:
    """Return whether somebody wrote in a notebook: a cell is neither as built nor in its text."""
    if not path.exists():
        return False
    text = FOLDER / "text" / f"{path.stem}.py"
    if not text.exists():  # a copy, or a notebook of one's own
        return True
    written = {cell.source for cell in jupytext.read(text).cells}
    return any(cell.get("id") != identity(cell) and cell.source not in written
               for cell in nbformat.read(path, as_version=4).cells)


def keep_answers(paths: Iterable[Path]) -> None:
    """Exit, naming the notebooks that hold answers, if there are any."""
    if held := [str(path) for path in paths if holds_answers(path)]:
        sys.exit(f"these notebooks hold your answers: {', '.join(held)}. Nothing was written: "
                 "move them elsewhere first")


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
