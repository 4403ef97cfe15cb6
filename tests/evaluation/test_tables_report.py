from dataclasses import replace
from math import nan

import pytest
from table_cases import ROW

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.report import collect_panels, format_caption, format_latex, format_markdown


def make_rows(values, method):
    return [replace(ROW, method=method, query=f"{number}.png", faithfulness=value) for number, value in enumerate(values)]


def test_tables_have_means_and_errors():
    rows = [
        *make_rows([0.1, 0.2, 0.3], "sam"),
        *make_rows([0.2, 0.2, nan], "vesm"),
        *make_rows([0.05], "kshap"),
        *make_rows([9.0], "random"),
    ]
    text = format_markdown(rows, ["kshap", "vesm", "sam", "random"])
    error = (0.01 / 3) ** 0.5  # of the mean of 0.1, 0.2, 0.3: the variance 0.01 over three
    assert f"| Faithfulness | first | net | 0.050 | 0.200 ± 0.000 | 0.200 ± {error:.3f} | 9.000 |" in text  # no number wins often enough
    assert "| Inefficiency | first | net |" in text and "mIoU" not in text


def test_bold_needs_a_sign_test_against_the_second_best_of_the_family():
    wins = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # six wins of six have p = 2 / 64, five of five 2 / 32
    for n, is_bold in ((6, True), (5, False)):
        rows = [*make_rows(wins[:n], "sam"), *make_rows([0.0] * n, "vesm"), *make_rows([-1.0] * n, "gcam"), *make_rows([9.0] * n, "random")]
        line = next(line for line in format_markdown(rows, ["vesm", "gcam", "sam", "random"]).splitlines() if "Faith" in line)
        assert ("| **0.350** ±" in line) is is_bold and line.count("**") == 2 * is_bold


def test_less_inefficiency_is_better():
    rows = [
        replace(ROW, method=method, query=f"{number}.png", inefficiency=value + number / 100)
        for method, value in (("sam", 0.2), ("igsam", 0.1))
        for number in range(6)
    ]
    assert "| Inefficiency | first | net | 0.225 ± 0.008 | **0.125** ± 0.008 |" in format_markdown(rows, ["sam", "igsam"])


def test_names_stay_text_in_tables():
    rows = [replace(ROW, model=r"a|b_<i>\&%$#^~{}")]
    (line,) = [line for line in format_markdown(rows, ["sam"]).splitlines() if "Faith" in line]
    assert r"a\|b\_\<i\>\\\&%\$#^\~\{\}" in line
    latex = r"a\textbar{}b\_\textless{}i\textgreater{}\textbackslash{}\&\%\$\#\textasciicircum{}\textasciitilde{}\{\}"
    assert latex in format_latex(rows, ["sam"])


def test_the_picture_has_every_mean():
    rows = [*make_rows([0.1, 0.3], "sam"), *make_rows([0.5, 0.5], "vesm")]
    figure = cp.visualization.table_figure(collect_panels(rows, ["vesm", "sam"]))
    drawn = [y for axes in figure.axes for line in axes.lines for y in line.get_ydata()]
    assert any(abs(y - 0.2) < 1e-6 for y in drawn) and 0.5 in drawn
    with pytest.raises(ValueError, match="at least one panel"):
        cp.visualization.table_figure({})


def test_the_predicted_share_has_a_line_and_its_meaning():
    rows = [replace(ROW, method="kshap", pair_r2=-2.0), replace(ROW, method="factorised", pair_r2=-3.0, banzhaf_r2=0.9)]
    text = format_markdown(rows, ["kshap", "factorised"])
    assert "| R² | second | net | -2.000 | -3.000 |" in text
    assert "| R² of Banzhaf indices | second | net | – | 0.900 |" in text
    assert text.index("R²") < text.index("Inefficiency")
    assert "R$^2$ of Banzhaf indices & second & net" in format_latex(rows, ["kshap", "factorised"])
    assert "worse than a constant" in format_caption(rows, "quick")
    assert "R²" not in format_markdown([ROW], ["sam"]) + format_caption([ROW], "quick")
