"""Every page of the tutorials is a script and a notebook of the same cells, the notebook without outputs."""

import pytest
from tutorial_pages import PAGES, TUTORIALS

jupytext = pytest.importorskip("jupytext", reason="pip install 'captum-pairwise[test]'")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_has_the_cells_of_its_page_and_no_outputs(page):
    script, notebook = jupytext.read(page), jupytext.read(page.with_suffix(".ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in pages.cells] for pages in (script, notebook)]
    assert cells[0] == cells[1], f"write it anew: jupytext --to notebook {page}"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_no_notebook_is_without_its_page():
    assert sorted(TUTORIALS.glob("*.ipynb")) == [page.with_suffix(".ipynb") for page in PAGES]
