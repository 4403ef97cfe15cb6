"""Words around a figure: lines that fit, the verdict, and the page of rows."""

import pytest
from figure_cases import read_texts, render
from matplotlib.patches import Rectangle

from captum_pairwise.results.verdict import Trust, Verdict
from captum_pairwise.visualization.headline import MARGIN, build_page, measure_text, wrap_text, write_headline, write_small_print

LONG = "Cheetahs are cats with spots, WWWWWWWWWW and iiiiiiiiii, " * 5


@pytest.mark.parametrize("weight", ["normal", "bold"])
@pytest.mark.parametrize("width", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("text", [LONG, 300 * "W", "short", "$x_i$ costs $5"])
def test_lines_keep_the_text_and_the_width(text, width, weight):
    lines = wrap_text(text, width, 11.0, weight)
    assert "".join("".join(lines).replace(r"\$", "$").split()) == "".join(text.split())
    assert all(measure_text(line.replace(r"\$", "$"), 11.0, weight) <= width for line in lines)
    if " " in text.strip() and width > 1:
        assert len(lines) <= 2 + 1.7 * measure_text(text, 11.0, weight) / width  # the lines are not much shorter than they could be


def test_empty_text_has_no_lines():
    assert wrap_text("  ", 3.0, 11.0) == write_small_print(["", " "], 3.0) == []


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("reliable", ["These numbers are reliable."]),
        ("rough", ["These numbers are rough."]),
        ("do not read this", ["Do not read this as an explanation."]),
        ("", []),
    ],
)
def test_the_headline_says_how_far_to_trust_the_numbers(label, sentence):
    lines = write_headline("Why?", Verdict("ignored", ("So.",), Trust(label, ("R²",)), ("no weights.", "no head")), 9.0)
    assert [line.text for line in lines] == ["Warning: no weights · no head", "Why?", "So.", *sentence]
    assert [bool(line.band) for line in lines] == [True] + [False] * (len(lines) - 1)
    assert [line.text for line in write_headline("Why?", None, 9.0)] == ["Why?"]


def test_a_page_has_rows_of_their_heights_between_its_words():
    above = write_headline("Why?", Verdict("", (LONG,), Trust("rough", ()), ("bad",)), 4.0)
    figure, rows = build_page(4.0, [1.0, 2.5], above, write_small_print(["Small."], 4.0))
    render(figure)
    assert [row.bbox.height / figure.dpi for row in rows] == pytest.approx([1.0, 2.5])
    assert read_texts(figure) == [line.text for line in above] + ["Small."]
    (band,) = [patch for patch in figure.subfigs[0].findobj(Rectangle) if patch.get_facecolor()[0] > 0.6 and patch.get_facecolor()[1] < 0.2]
    (warning,) = [text for text in figure.subfigs[0].texts if text.get_text() == "Warning: bad"]
    box, extent = band.get_window_extent(), warning.get_window_extent()
    assert box.y0 <= extent.y0 and extent.y1 <= box.y1 and extent.x0 == pytest.approx(MARGIN * figure.dpi, abs=3)
