"""Tutorials: a script and a notebook with the same cells, and outputs that a page can show. CI compares them with a fresh run."""

import ast
import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from code_blocks import read_code_blocks
from PIL import Image

jupytext = pytest.importorskip("jupytext", reason="pip install 'captum-pairwise[test]'")
TUTORIALS = Path(__file__).parents[2] / "tutorials"
PAGES = sorted(TUTORIALS.glob("0*.py"))
MOST_WORDS, MOST_BYTES = 700, 120_000
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def read_notebook(page):
    return jupytext.read(page.with_suffix(".ipynb"))


def list_outputs(page):
    return [output for cell in read_notebook(page).cells for output in cell.get("outputs", [])]


def read_pictures(page):
    return [base64.b64decode(output.data["image/png"]) for output in list_outputs(page) if "image/png" in output.get("data", {})]


@EACH
def test_notebook_has_the_cells_of_its_page(page):
    script, notebook = jupytext.read(page), read_notebook(page)
    cells = [[(cell.cell_type, cell.source) for cell in pages.cells] for pages in (script, notebook)]
    assert cells[0] == cells[1], f"run: python tutorials/site/execute.py {page}"


def test_every_notebook_has_a_page_and_a_thumbnail():
    assert sorted(TUTORIALS.glob("*.ipynb")) == [page.with_suffix(".ipynb") for page in PAGES]
    assert sorted(file.stem for file in (TUTORIALS / "thumbnails").glob("*.png")) == [page.stem for page in PAGES]


@EACH
def test_a_page_is_short_and_says_what_the_reader_will_be_able_to_do(page):
    prose = [cell.source for cell in jupytext.read(page).cells if cell.cell_type == "markdown"]
    assert sum(len(text.split()) for text in prose) <= MOST_WORDS
    assert "you can" in prose[0]


@EACH
def test_pictures_are_small_and_not_blank(page):
    pictures = read_pictures(page)
    assert pictures
    for picture in pictures:
        assert len(picture) <= MOST_BYTES
        assert np.asarray(Image.open(io.BytesIO(picture)).convert("L")).std() > 10  # of 255


@EACH
def test_outputs_have_no_warnings_errors_and_paths(page):
    for output in list_outputs(page):
        assert output.output_type in ("stream", "display_data", "execute_result")
        assert output.get("name") != "stderr", output.text
        words = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"(?<!\w)/(home|root|tmp|work|usr|Users)/", words), words


@EACH
def test_code_blocks_in_prose_are_valid_python(page):
    for cell in jupytext.read(page).cells:
        for block in read_code_blocks(cell.source if cell.cell_type == "markdown" else ""):
            ast.parse(block)
