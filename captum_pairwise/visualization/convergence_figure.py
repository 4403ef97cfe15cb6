"""Convergence of estimators: error over budget, one panel for each game."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_pairwise.visualization.labels import escape_text

Curves = Mapping[str, Mapping[int, Sequence[float]]]  # by estimator, by budget: the errors of all seeds
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]  # Okabe and Ito, for colour-blind readers
MARKERS = "osD^vPX"
SIZES = {"linewidth": 1.4, "markersize": 5}
FLOOR = 1e-12  # smaller relative errors are rounding errors
SIZE = (4.5, 3.6)  # inches, width and height of a panel


def convergence_figure(panels: Mapping[str, Curves], units: Mapping[str, str], dashed: Collection[str] = (), title: str = "") -> Figure:
    """Draw the median error over seeds, with a band between the quartiles, on logarithmic axes.

    An estimator has the same style in all panels. Errors below 1e-12 are rounding errors, and are drawn at 1e-12. A budget is left out if
    one of its errors is not finite.

    Args:
        panels: by the title of the panel, by estimator, by budget: the relative errors of all seeds.
        units: by the title of the panel: the unit of its budgets.
        dashed: estimators with dashed lines and hollow markers.
        title: the title of the figure.

    Raises:
        ValueError: there is no panel.
    """
    names = sorted(dict.fromkeys(name for curves in panels.values() for name in curves), key=lambda name: name in dashed)
    columns = min(3, len(panels))
    figure, axes = build_panels(len(panels), columns, SIZE, margin=1.2)
    figure.suptitle(escape_text(title))
    styles = choose_styles(names, dashed)
    for panel, (name, curves) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, curves, styles)
        panel.set_title(escape_text(name), fontsize="small")
        panel.set_xlabel(escape_text(units[name]))
    for panel in axes[::columns]:
        panel.set_ylabel("relative MSE")
    handles = [Line2D([], [], label=escape_text(name), **styles[name]) for name in names]
    if len(axes) > len(panels):
        axes[-1].legend(handles=handles, loc="center", frameon=False)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 2 * columns), fontsize="small", frameon=False)
    return figure


def build_panels(n_panels: int, n_columns: int, size: tuple[float, float], margin: float) -> tuple[Figure, np.ndarray]:
    """Figure with a grid of panels of a size in inches, and a margin below. Places without a panel are empty.

    Raises:
        ValueError: there is no panel.
    """
    if not n_panels:
        raise ValueError("Expected at least one panel, got none. Measure something first.")
    n_rows = -(-n_panels // n_columns)
    figure = Figure(figsize=(size[0] * n_columns, size[1] * n_rows + margin), layout="constrained", dpi=90)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for panel in axes[n_panels:]:
        panel.set_axis_off()
    return figure, axes


def choose_styles(names: Sequence[str], dashed: Collection[str]) -> dict[str, dict[str, Any]]:
    """Line style of each estimator. Solid lines differ from each other in colour and marker, and so do dashed lines."""
    styles: dict[str, dict[str, Any]] = {}
    for line in ("-", "--"):
        for place, name in enumerate(name for name in names if (name in dashed) == (line == "--")):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            styles[name] = {"color": colour, "marker": marker, "linestyle": line, **SIZES}
            styles[name]["markerfacecolor"] = colour if line == "-" else "white"
    return styles


def _draw_panel(panel: Axes, curves: Curves, styles: Mapping[str, dict[str, Any]]) -> None:
    for name, by_budget in curves.items():
        errors_by_budget = {budget: np.maximum(errors, FLOOR) for budget, errors in sorted(by_budget.items()) if np.isfinite(errors).all()}
        low, middle, high = ([np.quantile(errors, q) for errors in errors_by_budget.values()] for q in (0.25, 0.5, 0.75))
        panel.plot(list(errors_by_budget), middle, **styles[name])
        panel.fill_between(list(errors_by_budget), low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
    ticks = sorted({budget for by_budget in curves.values() for budget in by_budget})
    if panel.dataLim.y0 <= FLOOR:
        panel.text(0.02, FLOOR, "exact up to rounding", transform=panel.get_yaxis_transform(), va="center", fontsize="small")
    if not any(np.size(line.get_xdata()) for line in panel.lines):  # Matplotlib finds no limits of an empty logarithmic axis
        panel.set(xlim=(ticks[0] / 2, 2 * ticks[-1]) if ticks else (1, 10), ylim=(FLOOR, 1))
    panel.set(xscale="log", yscale="log")
    panel.minorticks_off()
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.grid(alpha=0.25)
