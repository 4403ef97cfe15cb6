"""The report of an audit in a browser."""

import numpy as np
import pytest
from audit_cases import make_tiny
from PIL import Image
from viewer_browser import NARROW, WIDE

from captum_pairwise.audits.audit_run import audit

pytest_plugins = ["viewer_browser"]
pytest.importorskip("pyarrow", reason="pip install 'captum-pairwise[audit]'")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (folder / "photos" / f"<b>{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / f"<b>{number % 2}" / f"{number}.png")
    return audit(make_tiny(), folder / "photos", folder / "out", top=2, remove=["border"])


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_tabs_tables_and_pairs(result, visit, viewport, scheme):
    page = visit(result.page.read_text(encoding="utf-8"), viewport, color_scheme=scheme)
    page.get_by_role("tab", name="Where credit goes").click()
    assert page.locator(".tags tr").count() == 1 + 12  # the head, and as many tags
    page.get_by_role("tab", name="Search without parts").click()
    assert "the tag border" in page.locator(".removals").inner_text()
    assert page.evaluate("document.querySelector('.removals').scrollWidth <= document.querySelector('#panel2').clientWidth")
    page.get_by_role("tab", name="Pairs").click()
    assert page.locator(".pairs li").count() == 12
    page.locator(".pairs button").first.click()
    assert page.locator(".pair canvas").count() == 2 and "similarity" in page.locator(".pair h2").first.inner_text()
    page.get_by_label("Find pairs").fill("5.png")
    expected = sum("5.png" in query + hit for query, hit in zip(result.rows.get("query"), result.rows.get("hit"), strict=True))
    assert page.locator(".pairs li").count() == expected
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
