"""An installed Chromium or Chrome, which reaches nothing but this machine."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright import sync_api

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync")
PATIENCE = int(os.environ.get("PATIENCE", 240))  # seconds: beside other programs a page is slow
DESK: sync_api.ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture(scope="session")
def browser() -> Iterator[sync_api.Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome found; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(OPTIONS),
                                              ignore_default_args=["--hide-scrollbars"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page whose ``problems`` are errors on the console and requests to other machines.

    Its system hides scroll bars, as a phone and many a laptop do: those that show, the page drew.
    """
    context = browser.new_context(is_mobile=True, viewport=DESK)
    context.set_default_timeout(1000 * PATIENCE)
    sync_api.expect.set_options(timeout=1000 * PATIENCE)
    page = context.new_page()
    page.problems = []

    def answer(route: sync_api.Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            page.problems.append(f"asks for {route.request.url}")
            route.abort()

    context.route("**/*", answer)
    page.on("console", lambda message: message.type == "error" and page.problems.append(
        f"console: {message.text} {message.location['url']}"))
    page.on("pageerror", lambda error: page.problems.append(f"error: {error}"))
    yield page
    context.close()
