"""Settings of the site: `sphinx-build -W -c tutorials/site tutorials site`."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import captum_pairwise

project = "captum_pairwise"
author = copyright = "The captum_pairwise authors"
version = release = captum_pairwise.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinx_design"]
root_doc = "index"
exclude_patterns = ["site"]

templates_path = [str(Path(__file__).parent / "templates")]  # autosummary would look in the folder of the pages

html_theme = "furo"
html_title = "captum_pairwise"
html_math_renderer = "mathml"  # of the browser: formulas need no script and no network
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks carry their outputs
nb_merge_streams = True

default_role = "py:obj"  # single backquotes of docstrings: a link where an object has that name, code elsewhere
autodoc_typehints = "none"  # arguments say their types in words
autodoc_member_order = "groupwise"
autosummary_generate = True
autosummary_ignore_module_all = False
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
toc_object_entries = False
linkcheck_ignore = [r"https://openreview\.net/"]  # answers scripts with an error


PAGES = {"README": "index.md", "CHANGELOG": "changelog.md", "CONTRIBUTING": "contributing.md"}


def link_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Links to the files at the top of the repository as links to the pages that show them."""
    source[0] = re.sub(rf"\]\(((?:\.\./)*)\.\./({'|'.join(PAGES)})\.md", lambda found: f"]({found[1]}{PAGES[found[2]]}", source[0])


def translate_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Formulas, links and code of Markdown as reStructuredText, before the sections of Google's style are read."""
    text = "\n".join(lines)
    text = re.sub(r"^( *)\$\$(.+?)\$\$", lambda found: indent_formula(found[1], found[2]), text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"(?<![`\\$])\$([^$\n]+(?:\n[^$\n]+)?)\$", r":math:`\1`", text)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)]+)\)", r"`\1 <\2>`__", text)
    text = re.sub(r"`cp\.([\w.]+)`", r"`~captum_pairwise.\1`", text)
    lines[:] = text.split("\n")


def indent_formula(margin: str, formula: str) -> str:
    rows = [f"{margin}    {row.strip()}" for row in formula.strip().splitlines()]
    return "\n".join([f"{margin}.. math::", "", *rows, ""])


def write_mathml(translator: Any, node: nodes.Element) -> None:
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the translation of docstrings and the formulas."""
    app.connect("source-read", link_pages)
    app.connect("autodoc-process-docstring", translate_docstring, priority=100)
    app.add_html_math_renderer("mathml", inline_renderers=(write_mathml, None), block_renderers=(write_mathml, None))
