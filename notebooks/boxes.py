"""What the site adds to the notebooks, so that their Markdown can stay plain.

Boxes around *Predict*, *What to notice*, *What we found* and exercises; a folded hint and solution
below each exercise; the alternative text of a cell's picture, from the cell's metadata; links to
the glossary and to files of the repository that are not pages.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import exercises

FOLDER = Path(__file__).resolve().parent
PAGES = {"README.md": "index", "RESULTS.md": "results", "data/README.md": "data"}
BOXES = {"Predict": "predict", "What to notice": "notice", "What we found": "notice"}
TERMS = re.findall(r"^## (.+)$", (FOLDER / "glossary.md").read_text("utf-8"), re.MULTILINE)


def finish(app: Sphinx, doctree: nodes.document) -> None:
    """Make a page that has just been read what the site shows."""
    link_to_files(app, doctree)
    if not re.match(r"\d\d_", app.env.docname):
        return
    link_to_glossary(doctree)
    for strong in list(doctree.findall(nodes.strong)):
        put_into_a_box(strong)
    for section in list(doctree.findall(nodes.section)):
        if section[0].astext().startswith("Exercise "):
            put_task_into_a_box(section)
    for cell in list(doctree.findall(is_cell)):
        for image in cell.findall(nodes.image):
            image["alt"] = cell["cell_metadata"].get("alt", "")
        for name in re.findall(r'^check\("([\d.]+)"', cell.astext(), re.MULTILINE):
            place = cell.parent.index(cell) + 1
            cell.parent[place:place] = list(help_with(name))


def is_cell(node: nodes.Node) -> bool:
    """Return whether a node is a cell of code."""
    return isinstance(node, nodes.Element) and node.get("nb_element") == "cell_code"


def put_into_a_box(strong: nodes.strong) -> None:
    """Box the part of a paragraph that begins with these bold words, if they call for a box."""
    kinds = [kind for words, kind in BOXES.items() if strong.astext().startswith(words)]
    paragraph = strong.parent
    if not kinds or not isinstance(paragraph, nodes.paragraph):
        return
    start = paragraph.index(strong)
    before, boxed = (nodes.paragraph("", "", *part)
                     for part in (paragraph[:start], paragraph[start:]))
    parent, place = paragraph.parent, paragraph.parent.index(paragraph)
    following = parent[place + 1:place + 2]
    if boxed.astext() != strong.astext() or not isinstance(following[0], nodes.bullet_list):
        following = []  # else what is noticed is a list
    box = nodes.container("", boxed, *following, classes=["box", *kinds])
    parent[place:place + 1 + len(following)] = [before, box] if before.astext() else [box]


def put_task_into_a_box(section: nodes.section) -> None:
    """Box what an exercise asks for: all between its heading and its cell."""
    end = next((place for place, node in enumerate(section) if is_cell(node)), len(section))
    section[1:end] = [nodes.container("", *section[1:end], classes=["box", "exercise"])]


def help_with(name: str) -> Iterator[nodes.Node]:
    """Yield the folded hint and solution of an exercise."""
    source = exercises.source(name)
    code = nodes.literal_block(source, source, language="python")  # once would leave it uncoloured
    for label, content in (("Hint", nodes.paragraph("", exercises.find(name).hint)),
                           ("Solution", code)):
        summary = f"<details class='help'><summary>{label} for exercise {name}</summary>"
        yield nodes.raw("", summary, format="html")
        yield content
        yield nodes.raw("", "</details>", format="html")


def link_to_glossary(doctree: nodes.document) -> None:
    """Link the first mention of each term in running text."""
    for term in TERMS:
        words = re.escape(term).replace("'", "['’]")  # Sphinx has curled a page's apostrophes
        pattern = re.compile(rf"\b{words}s?\b", re.IGNORECASE)
        for text in doctree.findall(nodes.Text):
            found = pattern.search(text)
            if not found or not isinstance(text.parent, nodes.paragraph | nodes.emphasis):
                continue
            link = nodes.reference("", found[0], internal=True, classes=["term"],
                                   refuri=f"glossary.html#{nodes.make_id(term)}")
            text.parent.replace(text, [nodes.Text(text[:found.start()]), link,
                                       nodes.Text(text[found.end():])])
            break


def link_to_files(app: Sphinx, doctree: nodes.document) -> None:
    """Resolve links to files outside this folder: to a page that shows the file, or to a copy."""
    for link in list(doctree.findall(lambda node: isinstance(
            node, addnodes.pending_xref | addnodes.download_reference))):
        target = link.get("reftarget", "").split("#")[0]
        if link.get("refdomain") == "doc":  # then the parser has dropped the suffix
            target += ".md"
        path = next((path for base in (FOLDER, FOLDER.parent)
                     if (path := (base / target).resolve()).is_file()), None)
        if not target or path is None or FOLDER in path.parents:
            continue
        name = path.relative_to(FOLDER.parent).as_posix()
        if name in PAGES:
            uri = f"{PAGES[name]}.html"
        else:
            uri = f"files/{name}"
            copy = Path(app.outdir, uri)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=uri))


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("doctree-read", finish, priority=400)  # before Sphinx collects what to copy
    return {"parallel_read_safe": True}
