"""Write the API reference as HTML, every formula as MathML: `python .ci/reference/write.py [folder]`.

A warning of pdoc's, and a formula that is no LaTeX, is an error. The pages need no network.
"""

import inspect
import sys
import warnings
from pathlib import Path

import pdoc
from pdoc import render, render_helpers

MODULES = ("captum_pairwise", "captum_pairwise.attr.base")  # the second holds the arguments that all methods share
FOLDER = "reference"


def write_reference(folder: Path) -> None:
    """Write a page for each public module, an index and a search."""
    render_helpers.markdown_extensions["latex"] = None
    render.env.filters["getdoc"] = inspect.getdoc
    render.configure(docformat="google", include_undocumented=False, template_directory=Path(__file__).parent)
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    warnings.simplefilter("error")
    write_reference(Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER))
