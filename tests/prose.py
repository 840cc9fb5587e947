"""Print how easily the notebooks read, against targets; name one to see where: ``prose.py 05``.

Read are the markdown cells of ``notebooks/text``, without headings, code, formulas, tables and
references, and the outputs of the committed notebooks.
"""

import re
import statistics
import sys
from itertools import pairwise, takewhile
from pathlib import Path

import jupytext
import nbformat
import spacy
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

TEXTS = Path(__file__).resolve().parents[1] / "notebooks" / "text"
MEAN = 15  # words in a sentence, at most
TARGETS = {"words in a sentence": 25, "parentheses in a paragraph": 1,
           "words between two pictures or cells of code": 200, "rows of a table": 8,
           "columns of a table": 5, "numbers in a sentence": 3, "numbers printed": 200}  # at most
Found = dict[str, list[tuple[int, str]]]  # for each of TARGETS the sizes, with what has that size
MARKDOWN = MarkdownIt().enable("table").use(dollarmath_plugin)
ASIDE = re.compile(r"(?<!\w)\(")  # not that of a call, f(x)
NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")
NAME = re.compile(  # of a level, notebook, exercise, interval or year; a size or a vector is one
    r"\b[bdn] = \S+|\b\d+x\b|\b0\d\b|xercise \S+|\d+ %(?= interval)|\b(?:19|20)\d\d\b"
    r"|\d+(?= x \d)|\([\d, ]+\)")
ENGLISH = spacy.blank("en")
ENGLISH.add_pipe("sentencizer")
ENGLISH.tokenizer.rules = {  # a single letter ends a sentence: "blocks of size b."
    word: parts for word, parts in ENGLISH.tokenizer.rules.items() if word[1:] != "."}


def words(text: str) -> int:
    return sum(bool(re.search(r"\w", piece)) for piece in text.split())


def plain(paragraph: Token) -> str:
    """Return a paragraph as it is read: code, and a formula, is one word and no number."""
    return "".join("_" + re.sub(r"\W+", "_", part.content).strip("_").lower()
                   if part.type in ("code_inline", "math_inline")
                   else part.content or " " * part.type.endswith("break")
                   for part in paragraph.children or [])


def paragraphs(markdown: str) -> list[str]:
    """Return the paragraphs and the items of lists, up to the references."""
    found = (plain(token) for before, token in pairwise(MARKDOWN.parse(markdown))
             if before.type == "paragraph_open")
    return list(takewhile(lambda text: text[:10] != "References", filter(words, found)))


def tables(html: str) -> list[tuple[int, int]]:
    """Return the rows below the header, and the columns, of each table."""
    return [(sum(bool(row("td")) for row in table("tr")),
             max(len(row(["td", "th"])) for row in table("tr")))
            for table in BeautifulSoup(html, "lxml")("table")]


def read(path: Path) -> Found:
    """Measure a notebook, given its text."""
    stretches: list[list[str]] = [[]]
    html = printed = ""
    for cell in jupytext.read(path).cells:
        stretches += [[]] * (cell.cell_type == "code" or "![" in cell.source)
        if cell.cell_type == "markdown":
            stretches[-1] += paragraphs(cell.source)
            html += MARKDOWN.render(cell.source)
    notebook = nbformat.read(path.parents[1] / f"{path.stem}.ipynb", as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        html += data.get("text/html", "") + MARKDOWN.render(data.get("text/markdown", ""))
        text = output.get("text") or data.get("text/markdown") or data.get("text/plain", "")
        printed += f"{text}\n" * ("image/png" not in data)
    whole = [paragraph for stretch in stretches for paragraph in stretch]
    sentences = [s for p in whole for s in map(str, ENGLISH(p).sents) if words(s)]
    sizes = [(f"{r} x {c}", r, c) for r, c in tables(html) or [(0, 0)]]
    return dict(zip(TARGETS, (
        [(words(s), s) for s in sentences], [(len(ASIDE.findall(p)), p) for p in whole],
        [(words(s), f"{s[:60]} ... {s[-60:]}") for s in map(" ".join, stretches)],
        [(rows, size) for size, rows, _ in sizes], [(columns, size) for size, _, columns in sizes],
        [(len(NUMBER.findall(NAME.sub("_", s))), s) for s in sentences],
        [(len(NUMBER.findall(printed)), "")]), strict=True))


def mean(found: Found) -> float:
    return statistics.mean(size for size, _ in found["words in a sentence"])


if __name__ == "__main__":
    prose = {p.stem[:2]: read(p) for p in sorted(TEXTS.glob(f"{''.join(sys.argv[1:])}*.py"))}
    print(f"{'at most':>50}", *(f"{number:>5}" for number in prose))
    print(f"{'words in a sentence, mean':42}{MEAN:8}", *(f"{mean(f):5.1f}" for f in prose.values()))
    for name, target in TARGETS.items():
        print(f"{name:42}{target:8}", *(f"{max(f[name])[0]:5}" for f in prose.values()))
        for size, text in next(iter(prose.values()))[name] * (len(prose) == 1):
            if size > target:
                print(f"  {size}: {text}")
