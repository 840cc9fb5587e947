"""The course site: Sphinx reads this file (``make site``)."""

import os
import sys
from pathlib import Path

from sphinx.application import Sphinx

FOLDER = Path(__file__).resolve().parent
MATHJAX = tuple(f"mathjax/{part}" for part in ("tex-chtml.js", "output/chtml/", "input/tex/"))
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]  # exercises and boxes; circtools

project = "Compressing neural networks"
author = copyright = "The circtools authors, MIT licence"
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design", "sphinx_copybutton",
    "sphinx-mathjax-offline", "boxes",
]
exclude_patterns = ["**.ipynb_checkpoints", *(  # and a reader's own copies
    path.name for path in FOLDER.glob("*.ipynb") if not (FOLDER / f"text/{path.stem}.py").exists())]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"  # the notebooks come executed
nb_number_source_lines = False
nb_render_markdown_format = "myst"  # the tables that cells make as Markdown
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has the search
    "use_fullscreen_button": False,
    "use_download_button": False,
    "show_toc_level": 2,
}

if repository := os.environ.get("GITHUB_REPOSITORY"):  # published from there: buttons that open it
    html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": os.environ.get("GITHUB_REF_NAME", "main"),
        "path_to_docs": "notebooks",
        "use_repository_button": True,
        "launch_buttons": {"binderhub_url": "https://mybinder.org",
                           "colab_url": "https://colab.research.google.com"},
    }


def read_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Show the notebooks that ``make course`` has just executed instead of the committed ones."""
    executed = FOLDER.parent / app.config.executed / f"{docname}.ipynb"
    if app.config.executed and executed.is_file():
        source[0] = executed.read_text(encoding="utf-8")


def drop_unused(app: Sphinx, error: Exception | None) -> None:
    """Drop what no page loads: of MathJax most of its 24 MB, and the maps for debuggers."""
    static = Path(app.outdir, "_static")
    for path in [path for path in static.rglob("*") if path.is_file()]:
        name = path.relative_to(static).as_posix()
        if path.suffix == ".map" or (name.startswith("mathjax/") and not name.startswith(MATHJAX)):
            path.unlink()


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.add_config_value("executed", "", "env", str)
    app.connect("source-read", read_executed)
    app.connect("build-finished", drop_unused, priority=900)  # once they are copied
