"""The pages of the site: complete, short where it was promised, with links that lead somewhere."""

import ast
import re
from pathlib import Path

import pytest
from code_blocks import read_code_blocks

import captum_pairwise as cp

REPOSITORY = Path(__file__).parents[2]
TUTORIALS = REPOSITORY / "tutorials"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(TUTORIALS.rglob("*.md"))]
WRITTEN_BY_TESTS = {"bad_input.md", "battery.md"}
MODULES = ("backbones", "clip", "datasets", "interop", "metrics", "models", "testing", "text", "visualization")
README_WORDS = range(700, 901)


def read_lists():
    """The names in the lists of the reference, below `captum_pairwise`."""
    return re.findall(r"^   ([\w.]+)$", (TUTORIALS / "reference" / "index.md").read_text(), re.MULTILINE)


def test_the_reference_has_every_public_name_once():
    listed = read_lists()
    assert len(listed) == len(set(listed))
    assert set(listed) >= set(cp.__all__) - set(MODULES)
    for name in ("datasets", "metrics", "visualization"):
        assert {entry.rpartition(".")[2] for entry in listed if entry.startswith(f"{name}.")} == set(getattr(cp, name).__all__)


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().split()) in README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_headings_and_scripts_exist(page):
    words = page.read_text()
    for link, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", words):
        target = (page.parent / link) if link else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            assert anchor in list_anchors(target.read_text()), f"{page.name} links to {link}#{anchor}"
    for script in re.findall(r"python (tutorials/\S+?\.py|tests/\S+?\.py)", words):
        assert (REPOSITORY / script).exists(), f"{page.name} runs {script}"


def list_anchors(words):
    headings = re.findall(r"^#+ (.+)$", words, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in WRITTEN_BY_TESTS], ids=lambda page: page.name)
def test_code_blocks_are_valid_python(page):
    for block in read_code_blocks(page.read_text()):
        ast.parse(block)
