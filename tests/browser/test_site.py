"""The site that ``make site`` built, read without a network, on a desk and on a phone."""

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from legible import cut, touching_cells, unmarked_links
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
PAGES = sorted(path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
               for path in (ROOT / "notebooks").rglob("*.*")
               if path.suffix in (".md", ".ipynb") and ".ipynb_checkpoints" not in path.parts)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    assert (SITE / "index.html").is_file(), "there is no site to test: run make site"
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_function(
        "document.querySelectorAll('.math').length ="
        "= document.querySelectorAll('.math mjx-container').length")


@pytest.mark.parametrize("name", [*PAGES, "genindex"])
def test_page(page: Page, address: str, name: str) -> None:
    open_page(page, f"{address}/{name}.html")
    assert not page.locator("mjx-merror").count(), "a formula has an error"
    tables = page.locator(".bd-article p").filter(has_text=re.compile(r"^\s*\|"))
    assert not tables.count(), "a table is shown as text"
    alts = page.locator(".bd-article img").evaluate_all("all => all.map(i => i.alt)")
    assert not [alt for alt in alts if len(alt.split()) < 6], "an alternative text says nothing"
    assert len(alts) == len(set(alts)), "two pictures are said to be the same"
    assert page.problems == []
    still = "transition: none !important; animation: none !important"  # no half-faded colours
    page.add_style_tag(content=f"* {{ {still} }}")
    page.locator("details").evaluate_all("all => all.forEach(folded => folded.open = true)")
    assert unmarked_links(page) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.locator(f"html[data-theme={scheme}]").wait_for()
        found = Axe().run(page).response["violations"]
        assert not [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found
                    if rule["impact"] in ("serious", "critical")], scheme
    assert touching_cells(page) == []
    for width in (800, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert cut(page, ".bd-article") == []
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 717, "height": 1047})  # A4 within Chromium's margins
    assert cut(page, ".bd-article", scrolls=False) == []


def test_links_lead_somewhere(page: Page, address: str) -> None:
    ids, links = {}, []
    for name in [f"{stem}.html" for stem in PAGES]:
        page.goto(f"{address}/{name}", wait_until="domcontentloaded")
        ids[name] = set(page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)"))
        hrefs = page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        links += [(name, href) for href in hrefs if href.startswith(address)]
    for source, href in links:
        url, fragment = urldefrag(href)
        target = url.removeprefix(f"{address}/") or "index.html"
        assert (SITE / unquote(target)).is_file(), f"{source}: {href}"
        assert not target.endswith(".ipynb"), f"{source}: {href} is raw JSON"
        assert not fragment or target not in ids or unquote(fragment) in ids[target], href
    assert len(links) > 500


def test_search_finds(page: Page, address: str) -> None:
    page.goto(f"{address}/search.html?q=eigenvectors")
    page.locator("#search-results li a", has_text="Circulant matrices").first.wait_for()
    assert page.problems == []


def test_it_opens_from_the_disk(browser: Browser) -> None:
    """A copy on a stick needs no server."""
    page = browser.new_page()
    open_page(page, (SITE / "01_circulant_matrices.html").as_uri())
    page.locator(".prev-next-area a.right-next").click()
    page.wait_for_url("**/02_block_circulant_layers.html")
    page.close()


def test_boxes_hints_and_folded_imports(page: Page, address: str) -> None:
    open_page(page, f"{address}/01_circulant_matrices.html")
    for kind in ("predict", "notice", "exercise"):
        assert page.locator(f".box.{kind}").count() >= 3
    assert page.locator(".box.notice li").count() >= 3  # a list that is noticed
    solution = page.locator("details.help", has_text="Solution for exercise 1.2")
    code = solution.locator("pre")
    assert not code.is_visible()
    solution.locator("summary").click()
    assert "def product_row" in code.inner_text()
    assert code.locator(".k").count(), "it is not highlighted"
    assert page.locator(".bd-sidebar-secondary", has_text="Exercise 1.2 ★ 3 minutes").count()
    assert not page.get_by_text("import matplotlib.pyplot").is_visible()


def test_the_gallery_shows_every_figure_and_the_site_is_small() -> None:
    gallery = (SITE / "gallery.html").read_text(encoding="utf-8")
    for path in (ROOT / "figures").glob("*.svg"):
        assert f"_images/{path.name}" in gallery, f"{path.name} is not in gallery.md"
    assert sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file()) < 25e6
