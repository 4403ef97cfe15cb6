"""The page on audits: the frame is found, its removal helps, and the mended gallery has no shortcut."""

import pytest
from tutorial_pages import run_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page():
    for package in ("efficientnet_lite_pytorch", "pyarrow", "sklearn"):
        pytest.importorskip(package, reason="pip install 'captum-pairwise[audit,tutorials]'")
    return run_page("09_audit")


def test_the_first_clusters_show_framed_photos_and_are_the_only_suspects(page):
    suspects = page["audit"].suspects
    assert suspects and [cluster.number for cluster in suspects] == list(range(1, len(suspects) + 1))
    assert {int(file[-6:-4]) for cluster in suspects for file, _ in cluster.examples} <= page["FRAMED"]


def test_the_search_without_it_finds_more_correct_hits(page):
    before, after = page["removal"].accuracy
    assert after > before and page["removal"].n_changed > 0


def test_the_mended_gallery_has_no_shortcut(page):
    assert not page["mended"].suspects
