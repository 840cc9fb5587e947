"""The course's exercises: a check that says what is wrong, a hint, a solution.

In a notebook::

    from exercises import check, hint, solution

    check("1.1", my_function)   # prints; it never raises
    hint("1.1")
    solution("1.1")

Each notebook's exercises are in a module of their own, ``nb01.py`` for notebook 01, as a list
``EXERCISES``. A ``verify`` function gets the reader's answer and returns None if it is right, or
one sentence that says where it goes wrong. Where the answer returns a number, the cases to try it
with will do. If a wrong answer gave in each call what one of the exercise's typical mistakes gives,
the reader is told that mistake instead.
"""

import importlib.util
import inspect
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from IPython.display import display


class WrongPython(ImportError):
    """Of which a notebook shows the message, and no traceback."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [str(self)]


if importlib.util.find_spec("circtools") is None:
    raise WrongPython(f"this notebook runs in {sys.executable}, where circtools is not installed; "
                      "start it with make lab")

# Torch's threads spin while they wait for each other. Where another program had one of two cores, a
# training took more than 20 times as long. They sleep sooner now: twice as long, and a quarter
# longer on an idle machine. It is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from exercises import answers  # noqa: E402 - which needs circtools, and imports torch


@dataclass(frozen=True)
class Exercise:
    """One exercise: ``solution`` is an answer (a function) that ``verify`` accepts."""

    name: str  # "1.2": the second exercise of notebook 01
    verify: Callable[[Any], str | None] | list[tuple[Any, ...]]
    solution: Callable[..., Any]
    hint: str
    praise: str = ""  # what the reader has just shown, printed when the answer is right
    without: tuple[str, ...] = ()  # functions that would do all of it; the answer may not call them
    # Typical wrong answers, each with what is wrong in it, in words.
    mistakes: tuple[tuple[Callable[..., Any], str], ...] = ()
    # A caption, and how an answer makes a matrix or a curve: of a wrong one beside the right one.
    picture: tuple[str, Callable[[Callable[..., Any]], Any]] | None = None


def find(name: str) -> Exercise:
    """Return an exercise by its name; KeyError names those there are."""
    module = importlib.import_module(f"exercises.nb{int(name.split('.')[0]):02d}")
    exercises = {exercise.name: exercise for exercise in module.EXERCISES}
    if name not in exercises:
        raise KeyError(f"no exercise {name!r}; this notebook has {', '.join(exercises)}")
    return exercises[name]


def problem_with(name: str, answer: Any) -> str | None:
    """Return what is wrong with an answer, or None if it is right; never raises for it."""
    if answer is None or answer is ...:
        return "there is no answer yet: replace the dots with yours"
    exercise = find(name)
    if forbidden := sorted(set(exercise.without) & _names(getattr(answer, "__code__", None))):
        return f"it uses {forbidden[0]}, which does all the work: write it without"
    calls, verify = answers.Calls(answer), exercise.verify
    try:
        problem = verify(calls) if callable(verify) else answers.number_problem(
            calls, exercise.solution, verify)
    except Exception as error:  # the reader's code may do anything
        return f"it stopped with {type(error).__name__}: {error}{_place(error, answer)}"
    if problem is None:
        return None
    return next((named for wrong, named in exercise.mistakes if calls.agree_with(wrong)), problem)


def _place(error: Exception, answer: Any) -> str:
    """Say which line of the cell an exception comes from, if it comes from the answer."""
    cell = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [line for line in traceback.extract_tb(error.__traceback__) if line.filename == cell]
    return f', in line {lines[-1].lineno}, "{lines[-1].line}"' if lines else ""


def _names(code: CodeType | None) -> set[str]:
    """Return the names that a function uses, those inside its comprehensions among them."""
    if code is None:
        return set()
    inner = (_names(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


def check(name: str, answer: Any) -> None:
    """Print whether the answer is right, and if not what is wrong."""
    exercise = find(name)
    if problem := problem_with(name, answer):
        _print(f"Exercise {name}: not yet - {problem}.")
        if exercise.picture:
            answers.show_beside(*exercise.picture, answer, exercise.solution)
        print(f'Stuck? hint("{name}"), solution("{name}")')
    else:
        _print(f"Exercise {name}: correct! {exercise.praise}")


def hint(name: str) -> None:
    """Print the hint."""
    _print(find(name).hint)


def _print(text: str) -> None:
    """Print a text in lines that fit beside the browser of files."""
    print(textwrap.fill(text, 96, break_long_words=False, break_on_hyphens=False))


@dataclass(frozen=True, repr=False)
class Code:
    """Code, which a notebook highlights in the colours of its theme."""

    text: str

    def __repr__(self) -> str:  # where there is no notebook
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}\n```"


def solution(name: str) -> None:
    """Show the solution."""
    display(Code(source(name)))


def source(name: str) -> str:
    """Return a solution as code: a function's source with the imports that it needs."""
    answer = find(name).solution
    code = inspect.getsource(answer).rstrip()
    module = inspect.getsource(sys.modules[answer.__module__])
    imports = [line for line in module.splitlines() if re.match("(import|from) ", line)
               and re.search(rf"\b{line.split()[-1]}\b", code)]
    return "\n".join([*imports, *[""] * (2 * bool(imports)), code])
