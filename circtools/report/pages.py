"""README.md, RESULTS.md, the quiz: sentences by hand in ``templates/``, numbers from the results.

A template names facts of :mod:`circtools.report.facts`; one that is not there is an error. Where a
sentence would become false if a number changed, the template says so with ``expect``, and then that
is an error, too, until somebody has rewritten the sentence.
"""

from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError
from jinja2.environment import TemplateModule

from circtools.experiments.files import ROOT, replacing
from circtools.report.claims import Claim

PAGES = ("README.md", "RESULTS.md", "notebooks/teaching/quiz.md")


def expect(condition: bool, sentence: str) -> None:
    """Raise a ValueError unless a sentence of a template still holds."""
    if not condition:
        raise ValueError(f"the results do not say any more that {sentence}; rewrite the sentence "
                         "in circtools/report/templates")


TEMPLATES = Environment(loader=PackageLoader("circtools.report"), undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
                        extensions=["jinja2.ext.do"])
TEMPLATES.globals |= {"expect": expect, "zip": zip}
# Digits: a factor has two figures that count, all others as many decimals as the name says.
TEMPLATES.filters |= {
    "whole": lambda value: f"{float(value):,.0f}", "one": lambda value: f"{float(value):.1f}",
    "two": lambda value: f"{float(value):.2f}",
    "times": lambda value: f"{value:.2g}x" if value < 99.5 else f"{value:.0f}x"}


def _made(template: str, values: dict[str, Any]) -> TemplateModule:
    try:
        return TEMPLATES.get_template(f"{template}.j2").make_module(values | {"values": values})
    except UndefinedError as error:
        raise ValueError(
            f"{error}, which a page quotes: it needs all results of 'circtools run mnist', and of "
            "'circtools run multi30k' with the presets small, slight and base") from error


def render(template: str, values: dict[str, Any]) -> str:
    """Return a template, named without ``.j2``, with facts put in.

    A ValueError says which fact is missing, or which sentence is not true any more.
    """
    return str(_made(template, values))


def titles(values: dict[str, Any]) -> dict[str, str]:
    """Return the titles of the figures; it raises as :func:`render` does."""
    return {name: title for name, title in vars(_made("titles", values)).items()
            if not name.startswith("_")}


def claims_table(claims: Iterable[Claim]) -> str:
    """Return claims in words, with what was measured and the verdict, as a Markdown table."""
    return render("claims.md", {"claims": list(claims)})


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
