"""Untrusted names of files, labels, models and words are shown as text everywhere."""

import html
import re
from dataclasses import replace

import pytest
import torch
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from table_cases import ROW
from test_convergence import ROW as STUDY_ROW
from viewer_cases import Elements, build_interactions, cell_players, photo, read_data, word_players

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.evaluation.convergence import report
from captum_pairwise.evaluation.escaping import escape_latex, escape_markdown
from captum_pairwise.evaluation.tables import report as table_report
from captum_pairwise.evaluation.tables.study import MAX_ERROR_LENGTH
from captum_pairwise.visualization.viewer import SCRIPTS

NAMES = [
    "</script><script>window.hacked = 1</script>",
    "<!-- <script>",
    "\"double\" & 'single' quotes",
    "a|b||c",
    r"C:\new\table\\",
    "$x_i$ costs $5 and \\$6",
    "$\\frac{1$",
    "line\nbreak\r\nand\ttab",
    "{{ 7 * 7 }} {% raw %} {# no #}",
    "_underlined_ *bold* `code` ~~gone~~ # [link](javascript:alert(1)) ![image](x)",
    "100 % of ^ and #",
    "<img src=x onerror=alert(1)>",
    "猫 \u2028 \u202e héé",
    "\x1b[31mred\x1b[0m",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_in_the_viewer(name):
    known = build_interactions(word_players(2), cell_players())
    page = cp.viewer({name: known}, ([name, "b"], photo()), title=name)
    elements, data = Elements(page.html), read_data(page)
    assert data["sides"][0]["tokens"] == [name, "b"] and data["methods"][0]["name"] == name
    assert html.unescape(re.search("<title>(.*?)</title>", page.html, re.S).group(1)) == name
    assert len(elements.find("script")) == 1 + len(SCRIPTS) and not elements.find("iframe") and len(elements.find("img")) == 1
    assert not [key for _, attributes, _ in elements.tags for key in attributes if key.startswith("on")]


def render_markdown(text):
    """The cells of a row, as a reader of GitHub's Markdown sees them: a backslash before punctuation is not shown."""
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", text)[1:-1]
    return [re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", cell).strip() for cell in cells]


def one_line(name):
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(name.split()))


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_in_markdown(name):
    (row,) = [line for line in table_report.format_markdown([replace(ROW, model=name)], ["sam"]).splitlines() if "Faith" in line]
    assert "\x1b" not in row and len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) == 5
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", row).startswith(f"| Faithfulness | first | {one_line(name)} | ")
    assert not re.search(r"(?<!\\)[<>\[\]`*_~$]", escape_markdown(name).replace("\\\\", ""))
    failed = replace(ROW, retrieved=name, error=f"ValueError: {name}"[:MAX_ERROR_LENGTH])
    assert escape_markdown(name) in table_report.format_caption([failed], "here")
    table = report.format_errors([replace(STUDY_ROW, estimator=name)])
    assert [line for line in table.splitlines() if line.startswith(f"| {escape_markdown(name)} |")]


LATEX = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textbar{}": "|",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
}
LATEX |= {f"\\{sign}": sign for sign in "&%$#_{}"}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_in_latex(name):
    """The LaTeX has only known commands, and no other special characters."""
    known = re.compile("|".join(map(re.escape, LATEX)))
    assert known.sub(lambda found: LATEX[found.group()], escape_latex(name)) == one_line(name)
    assert not re.search(r"[\\&%$#_{}~^|<>\x00-\x1f]", known.sub("", escape_latex(name)))
    assert escape_latex(name) in table_report.format_latex([replace(ROW, model=name)], ["sam"])


SMALL = photo(8, 9), photo(7, 6, seed=1)
EVERY = [*NAMES, "_net"]  # a legend leaves out names that start with _
TITLE = " and ".join(EVERY)


def figures():
    """Every figure, with all names in each argument that takes a name."""
    grids, words = build_interactions(cell_players(), cell_players(2, 2)), word_players(len(EVERY))
    maps = torch.rand(1, 3, 4), torch.rand(1, 2, 2)
    means = {model: {method: (0.1, 0.01) for method in EVERY} for model in EVERY}
    ends = {name: {300: [1e-2], 600: [1e-3]} for name in EVERY}
    return {
        "caption_figure": lambda: visualization.caption_figure(build_interactions(cell_players(), words), SMALL[0], EVERY, title=TITLE),
        "convergence_figure": lambda: visualization.convergence_figure({TITLE: ends}, {TITLE: TITLE}, title=TITLE),
        "counterfactual_figure": lambda: visualization.counterfactual_figure((SMALL[0],) * 3, maps[:1] * 3, [TITLE] * 3, TITLE),
        "heatmap_figure": lambda: visualization.heatmap_figure(SMALL, dict.fromkeys(EVERY, maps), TITLE, units={EVERY[0]: TITLE}),
        "joint_figure": lambda: visualization.joint_figure(grids, SMALL, title=TITLE),
        "matches_figure": lambda: visualization.matches_figure(grids, SMALL, title=TITLE),
        "matrix_figure": lambda: visualization.matrix_figure(grids, title=TITLE),
        "pair_figure": lambda: visualization.pair_figure(grids, SMALL, title=TITLE),
        "projection_figure": lambda: visualization.projection_figure(SMALL, *maps, title=TITLE),
        "ranking_figure": lambda: visualization.ranking_figure([grids], SMALL[0], SMALL[1:], [TITLE], [0.5], title=TITLE),
        "table_figure": lambda: visualization.table_figure({TITLE: means}, TITLE),
        "token_figure": lambda: visualization.token_figure(build_interactions(words, words), EVERY, EVERY, title=TITLE),
    }


def test_every_figure_is_tested():
    assert list(figures()) == [name for name in visualization.__all__ if name.endswith("_figure")]


HAS_NAMES = {"caption_figure": 1, "convergence_figure": 1, "heatmap_figure": 1, "table_figure": 2, "token_figure": 2}  # on its axes
HAS_TITLES = {"convergence_figure": 3, "counterfactual_figure": 4, "heatmap_figure": 2, "ranking_figure": 2, "table_figure": 2}
WRAPPED = {"caption_figure", "joint_figure", "pair_figure", "ranking_figure", "token_figure"}  # titles in several lines


@pytest.mark.filterwarnings("ignore:Glyph")  # glyphs that the font does not have
@pytest.mark.filterwarnings("ignore:.*layout not applied")  # a title of all names does not fit
@pytest.mark.parametrize("figure", figures())
def test_names_are_text_in_figures(figure):
    drawn = figures()[figure]()
    drawn.canvas.draw()
    texts = [text.get_text() for text in drawn.findobj(Text) if text.get_visible() and "mathdefault" not in text.get_text()]
    assert not [text for text in texts if is_math_text(text)]
    shown = [text.replace(r"\$", "$") for text in texts]
    if figure in WRAPPED:
        assert "".join("".join(shown).split()).count("".join(TITLE.split())) == HAS_TITLES.get(figure, 1)
        on_axes = [text.get_text().replace(r"\$", "$") for panel in drawn.axes for text in panel.findobj(Text) if text.get_visible()]
        shown = [text for text in on_axes if "".join(TITLE.split()) not in "".join(text.split())]
    else:
        assert sum(TITLE in text for text in shown) == HAS_TITLES.get(figure, 1)
    for name in EVERY:
        assert sum(name in text and TITLE not in text for text in shown) == HAS_NAMES.get(figure, 0)
