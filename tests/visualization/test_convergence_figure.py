"""Convergence and table figures."""

import pytest
from figure_cases import render

from captum_pairwise import visualization


def test_curves_have_the_same_style_in_every_panel():
    errors = {100: [1.0, 4.0, 9.0], 1000: [1e-20, 1e-20, 1e-20], 2000: [float("nan"), 1.0, 1.0]}
    panels = {"one": {"ours": errors, "theirs": errors}, "other": {"theirs": errors}}
    figure = render(visualization.convergence_figure(panels, {"one": "passes", "other": "evaluations"}, dashed=["theirs"]))
    (ours, theirs), (again,) = (panel.lines for panel in figure.axes[:2])
    assert list(ours.get_xdata()) == [100, 1000]  # a budget with a NaN is left out
    assert list(ours.get_ydata()) == [4.0, 1e-12]  # the median; rounding errors are drawn at the floor
    styles = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in (ours, theirs, again)]
    assert styles[1] == styles[2] != styles[0] and [line for _, line, _ in styles] == ["-", "--", "--"]
    assert [panel.get_xlabel() for panel in figure.axes[:2]] == ["passes", "evaluations"]
    assert {panel.get_xscale() for panel in figure.axes[:2]} == {panel.get_yscale() for panel in figure.axes[:2]} == {"log"}
    with pytest.raises(ValueError, match="at least one panel"):
        visualization.convergence_figure({}, {})


def test_studies_without_finite_numbers_have_empty_panels():
    nothing = {10: [float("nan")]}
    figure = render(visualization.convergence_figure({"a": {"ours": nothing}}, {"a": "passes"}))
    assert not len(figure.axes[0].lines[0].get_xdata())
    figure = render(visualization.table_figure({"a": {"model": {"ours": (float("nan"), float("nan"))}}}))
    assert not figure.axes[0].containers


def test_errors_of_zero_are_drawn_at_the_floor():
    figure = render(visualization.convergence_figure({"a": {"ours": {10: [0.0], 20: [0.0]}}}, {"a": "passes"}))
    assert list(figure.axes[0].lines[0].get_ydata()) == [1e-12, 1e-12]
