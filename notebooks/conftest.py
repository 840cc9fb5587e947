"""Tests of the notebooks themselves leave out those that somebody has written in."""

from pathlib import Path

import pytest

import build

FOLDER = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.suffix == ".ipynb" and build.holds_answers(collection_path):
        return True
    return None  # others may have a reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if held := [path.name for path in sorted(FOLDER.glob("*.ipynb")) if build.holds_answers(path)]:
        terminalreporter.line(f"left out, as they hold your answers: {', '.join(held)}")
