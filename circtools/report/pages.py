"""README.md, RESULTS.md, the quiz: sentences by hand in ``templates/``, numbers from the results.

A template names facts of :mod:`circtools.report.facts`; one that is not there is an error. Where a
sentence would become false if a number changed, the template says so with ``expect``, and then that
is an error, too, until somebody has rewritten the sentence.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from circtools.experiments.files import ROOT, replacing
from circtools.report import facts
from circtools.report.claims import Claim

PAGES = ("README.md", "RESULTS.md", "notebooks/teaching/quiz.md")


class Stale(ValueError):
    """A sentence of a template is not true any more."""


class NoFact(UndefinedError, ValueError):
    """A template names a fact that the results do not give."""

    def __str__(self) -> str:
        return (f"{self.message}, which a page quotes: it needs all results of 'circtools run "
                "mnist', and of 'circtools run multi30k' with the presets small, slight and base")


class Fact(StrictUndefined):
    """What stands in a template for a name that is no fact; its use raises :class:`NoFact`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("exc", NoFact)
        super().__init__(*args, **options)

    def __format__(self, _: str) -> str:
        return str(self)


def expect(condition: bool, sentence: str) -> None:
    """Raise :class:`Stale` unless a sentence of a template still holds."""
    if not condition:
        raise Stale(f"the results do not say any more that {sentence}; rewrite the sentence in "
                    "circtools/report/templates")


def _environment() -> Environment:
    environment = Environment(loader=PackageLoader("circtools.report"), undefined=Fact,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                              extensions=["jinja2.ext.do"])
    environment.globals |= {"expect": expect, "zip": zip}
    # Digits: a factor has two figures that count, all others as many decimals as the name says.
    environment.filters |= {
        "whole": lambda value: f"{value:,.0f}", "one": lambda value: f"{value:.1f}",
        "two": lambda value: f"{value:.2f}",
        "times": lambda value: f"{value:.2g}x" if value < 99.5 else f"{value:.0f}x"}
    return environment


def render(template: str, values: dict[str, Any]) -> str:
    """Return a template, named without ``.j2``, with facts put in, or raise Stale or NoFact."""
    return _environment().get_template(f"{template}.j2").render(values, values=values)


def titles(values: dict[str, Any]) -> dict[str, Callable[[], str]]:
    """Return functions that give the titles of the figures; they raise as :func:`render` does."""
    template = _environment().get_template("titles.j2")
    return vars(template.make_module(values | {"values": values}))


def claims_table(claims: Iterable[Claim]) -> str:
    """Return claims in words, with what was measured and the verdict, as a Markdown table."""
    return render("claims.md", {"claims": list(claims)})


def advice(table: pd.DataFrame) -> str:
    """Return which method serves when, with the numbers that say so, as Markdown."""
    return render("advice.md", facts.facts(table))


def write(values: dict[str, Any], check: bool = False) -> list[str]:
    """Write the pages, or only check them; return the names of those that were stale."""
    stale = []
    for name in PAGES:
        path = ROOT / name
        text = render(path.name, values)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                with replacing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
    return stale
