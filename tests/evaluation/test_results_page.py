"""The page of the results: rankings with tests, the paper's orders, and the agreement of protocols."""

from dataclasses import replace

import pytest
from scipy.stats import binomtest, kendalltau
from table_cases import ROW

from captum_pairwise.evaluation.tables.quantities import QUANTITIES, align_values
from captum_pairwise.evaluation.tables.results_page import describe_disagreement, format_page, list_paper_orders


def make_rows(method, **columns):
    """A row for each pair of images."""
    n_pairs = len(next(iter(columns.values())))
    return [
        replace(ROW, method=method, query=f"{k}.png", inefficiency=float("nan"), **{name: values[k] for name, values in columns.items()})
        for k in range(n_pairs)
    ]


ROWS = [
    *make_rows("sam", faithfulness=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    *make_rows("igsam", faithfulness=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
    *make_rows("vesm", faithfulness=[0.2, 0.1, 0.4, 0.3, 0.6, 0.5]),
    *make_rows("random", faithfulness=[0.0] * 5),
]


def test_methods_are_ranked_and_compared_with_the_reference():
    page = format_page(ROWS, ["vesm", "sam", "igsam", "random"], "Six pairs.", "sam")
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    ranked = [line.split(" | ")[0][2:] for line in lines[2:6]]
    assert ranked == ["IG-SAM", "VESM", "SAM", "random"]
    assert "| IG-SAM | architecture dependent | 0.450 ± 0.076 | 6 | +0.100 ± 0.000 | 6 : 0 | **0.031** |" in page
    assert "| VESM | architecture dependent | 0.350 ± 0.076 | 6 | +0.000 ± 0.045 | 3 : 3 | 1 |" in page
    assert "| random | control | 0.000 ± 0.000 | 5 | -0.300 ± 0.071 | 0 : 5 | 0.062 |" in page  # five pairs
    assert binomtest(6, 6).pvalue == pytest.approx(0.03125) and binomtest(5, 5).pvalue == 0.0625


def test_the_orders_of_the_paper_hold_are_reversed_or_are_not_settled():
    verdicts = {(line[1], line[2]): line[-1] for line in list_paper_orders(ROWS)}
    assert verdicts == {("IG-SAM", "SAM"): "holds", ("SAM", "VESM"): "not settled"}
    swapped = [replace(row, method={"sam": "igsam", "igsam": "sam"}.get(row.method, row.method)) for row in ROWS]
    assert {(line[1], line[2]): line[-1] for line in list_paper_orders(swapped)}["IG-SAM", "SAM"] == "reversed"


def test_less_inefficiency_is_a_win():
    rows = [replace(row, inefficiency=row.faithfulness, faithfulness=0.0) for row in ROWS]
    lines = [line for line in list_paper_orders(rows) if line[0] == "Inefficiency, first"]
    assert lines == [["Inefficiency, first", "IG-SAM", "SAM", "+0.100 ± 0.000", "0 : 6", "**0.031**", "reversed"]]


def test_disagreement_is_kendalls_tau_of_the_ranks():
    names = ["sam", "igsam", "vesm", "gcam", "ksam"]
    faithfulness, localisation = [5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 5.0, 4.0]
    by_name = {quantity.name: quantity for quantity in QUANTITIES}
    means = {
        by_name[name]: sorted(zip(names, values, strict=True), key=lambda pair: -pair[1])
        for name, values in (("faithfulness", faithfulness), ("localisation", localisation))
    }
    tau = kendalltau(faithfulness, localisation).statistic
    text = describe_disagreement(means)
    assert f"a tau of {tau:+.2f} over 5 methods" in text and "Of 1 pairs of protocols of the same order, 1 rank" in text
    assert "No two protocols" in describe_disagreement({})


def test_numbers_of_the_same_pair_stand_in_the_same_place():
    values = align_values(ROWS[::-1], "faithfulness", ["sam", "igsam", "random", "kshap"])
    assert (values["igsam"] - values["sam"]).tolist() == pytest.approx([0.1] * 6)
    assert values["random"].isnan().sum() == 1 and values["kshap"].isnan().all()
