"""How fast estimators converge: error over budget, a panel for each game."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_pairwise.visualization.wording import plain

Curves = Mapping[str, Mapping[int, Sequence[float]]]  # by estimator, by budget, the errors of all seeds
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]  # Okabe and Ito, for the colour-blind
MARKERS = "osD^vPX"
FLOOR = 1e-12  # relative errors below it are rounding
SIDE = 3.6  # of a panel, in inches


def convergence_figure(panels: Mapping[str, Curves], units: Mapping[str, str], dashed: Collection[str] = (), title: str = "") -> Figure:
    """Draw the median error over seeds with a band from quartile to quartile, both axes logarithmic.

    An estimator looks the same in all panels. Errors below 1e-12 are rounding, and drawn there. A budget with an error that is not finite
    is left out.

    Args:
        panels: by the title of the panel, by estimator, by budget: the relative errors of all seeds.
        units: what the budgets of a panel count, by its title.
        dashed: estimators to be drawn dashed and hollow.
        title: a line above.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not panels:
        raise ValueError("Expected at least one panel, got none. Measure something first.")
    names = sorted(dict.fromkeys(name for curves in panels.values() for name in curves), key=lambda name: name in dashed)
    columns = min(3, len(panels))
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(SIDE * 1.25 * columns, SIDE * n_rows + 1.2), layout="constrained", dpi=90)
    figure.suptitle(plain(title))
    axes, styles = figure.subplots(n_rows, columns, squeeze=False).ravel(), looks(names, dashed)
    for panel, (name, curves) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, curves, styles)
        panel.set_title(plain(name), fontsize="small")
        panel.set_xlabel(plain(units[name]))
    for panel in axes[::columns]:
        panel.set_ylabel("relative MSE")
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    handles = [Line2D([], [], label=plain(name), **styles[name]) for name in names]
    if len(axes) > len(panels):
        axes[-1].legend(handles=handles, loc="center", frameon=False)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 2 * columns), fontsize="small", frameon=False)
    return figure


def looks(names: Sequence[str], dashed: Collection[str]) -> dict[str, dict[str, Any]]:
    """A line style for each estimator: solid ones differ in colour and marker, and so do dashed ones."""
    styles: dict[str, dict[str, Any]] = {}
    for group, line in (([name for name in names if name not in dashed], "-"), ([name for name in names if name in dashed], "--")):
        for place, name in enumerate(group):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            face = colour if line == "-" else "white"
            styles[name] = {
                "color": colour,
                "marker": marker,
                "linestyle": line,
                "markerfacecolor": face,
                "linewidth": 1.4,
                "markersize": 5,
            }
    return styles


def _draw_panel(panel: Axes, curves: Curves, styles: Mapping[str, dict[str, Any]]) -> None:
    for name, by_budget in curves.items():
        drawn = {budget: np.maximum(errors, FLOOR) for budget, errors in sorted(by_budget.items()) if np.isfinite(errors).all()}
        low, middle, high = ([np.quantile(errors, q) for errors in drawn.values()] for q in (0.25, 0.5, 0.75))
        panel.plot(list(drawn), middle, **styles[name])
        panel.fill_between(list(drawn), low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
    ticks = sorted({budget for by_budget in curves.values() for budget in by_budget})
    if panel.dataLim.y0 <= FLOOR:
        panel.text(0.02, FLOOR, "exact up to rounding", transform=panel.get_yaxis_transform(), va="center", fontsize="small")
    if not any(np.size(line.get_xdata()) for line in panel.lines):  # a logarithmic axis finds no limits of its own
        panel.set(xlim=(ticks[0] / 2, 2 * ticks[-1]) if ticks else (1, 10), ylim=(FLOOR, 1))
    panel.set(xscale="log", yscale="log")
    panel.minorticks_off()
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.grid(alpha=0.25)
