"""Every tutorial page is a script and a notebook with the same cells. The notebook has no outputs."""

import ast
import re

import pytest
from tutorial_pages import PAGES, TUTORIALS

jupytext = pytest.importorskip("jupytext", reason="pip install 'captum-pairwise[test]'")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebook_has_the_cells_of_its_page_and_no_outputs(page):
    script, notebook = jupytext.read(page), jupytext.read(page.with_suffix(".ipynb"))
    cells = [[(cell.cell_type, cell.source) for cell in pages.cells] for pages in (script, notebook)]
    assert cells[0] == cells[1], f"run: jupytext --to notebook {page}"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_every_notebook_has_a_page():
    assert sorted(TUTORIALS.glob("*.ipynb")) == [page.with_suffix(".ipynb") for page in PAGES]


TEXTS = [*PAGES, TUTORIALS / "your_model_in_five_lines.md", TUTORIALS.parent / "README.md"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_code_blocks_are_valid_python(text):
    lines = [line.removeprefix("# ") if text.suffix == ".py" else line for line in text.read_text().splitlines()]
    for block in re.findall(r"^```python\n(.*?)^```", "\n".join(lines), re.MULTILINE | re.DOTALL):
        ast.parse(block)


@pytest.mark.parametrize("text", [*TEXTS, TUTORIALS / "measurements" / "README.md"], ids=lambda text: str(text.name))
def test_linked_files_and_scripts_exist(text):
    words = text.read_text()
    links = [text.parent / link for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", words)]
    scripts = [TUTORIALS.parent / command for command in re.findall(r"python (tutorials/\S+?\.py)", words)]
    assert not [path for path in (*links, *scripts) if not path.exists()]
