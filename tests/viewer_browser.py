"""Fixtures that open the viewer's page in Chromium. Test modules load them with `pytest_plugins`."""

import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def skip_or_fail(reason):
    if os.environ.get("CAPTUM_PAIRWISE_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    if find_spec("playwright") is None:
        skip_or_fail("a browser's driver: pip install 'captum-pairwise[test]'")
    playwright = import_module("playwright.sync_api")
    installed = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with playwright.sync_playwright() as driver:
        path = next(installed, driver.chromium.executable_path)  # the default is the browser of `playwright install chromium`
        if not Path(path).exists():
            skip_or_fail("Chromium is not installed: playwright install --with-deps chromium")
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page; at the end, assert that it logged nothing and requested only itself."""
    messages, requests, contexts = [], [], []

    def open_page(content, viewport=WIDE, **options):
        html = content if isinstance(content, str) else content.html
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} <= {(tmp_path / "page.html").as_uri(), "about:srcdoc"}
