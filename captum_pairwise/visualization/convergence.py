"""How fast estimators converge: error over budget, a panel for each game."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Curves = Mapping[str, Mapping[int, Sequence[float]]]  # estimator -> budget -> errors over seeds
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]  # Okabe and Ito, for the colour-blind
MARKERS = "osD^vPX"
FLOOR = 1e-12  # relative errors below it are rounding
PANEL = 3.6  # inches


def convergence_figure(panels: Mapping[str, Curves], budgets: Mapping[str, str], title: str = "") -> Figure:
    """Draw the median error over seeds, with a band from quartile to quartile, both axes logarithmic.

    An estimator has one look in all panels: a line of its own colour and marker; the names that start with one word in common with
    others' packages, `"shapiq …"`, are dashed and hollow. Errors below 1e-12 are drawn there, and are rounding.

    Args:
        panels: by the title of the panel, by estimator, by budget: the relative errors of all seeds.
        budgets: what a panel's budget counts, by its title.
        title: a line above.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("Expected at least one panel, got none. Measure something first.")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    columns = min(3, len(panels))
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL * 1.25 * columns, PANEL * n_rows + 1.1), layout="constrained", dpi=80)
    figure.suptitle(title)
    axes = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for panel, (name, curves) in zip(axes, panels.items(), strict=False):
        _draw_panel(panel, curves, looks(names))
        panel.set(title=name, xlabel=budgets[name], ylabel="relative MSE")
        panel.title.set_fontsize("small")
    handles = {label: line for panel in axes for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    figure.legend([handles[name] for name in names], names, loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def looks(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """A line style for each estimator: ours solid and filled, shapiq's dashed and hollow."""
    groups = [name for name in names if not name.startswith("shapiq")], [name for name in names if name.startswith("shapiq")]
    styles = {}
    for group, (line, face) in zip(groups, (("-", ""), ("--", "white")), strict=True):
        for place, name in enumerate(group):
            colour = COLOURS[place % len(COLOURS)]
            marker = MARKERS[place % len(MARKERS)]
            styles[name] = {"color": colour, "marker": marker, "linestyle": line, "markerfacecolor": face or colour}
    return styles


def _draw_panel(panel: Axes, curves: Curves, styles: Mapping[str, Mapping[str, str]]) -> None:
    for name, by_budget in curves.items():
        drawn = {budget: np.maximum(errors, FLOOR) for budget, errors in sorted(by_budget.items()) if np.isfinite(errors).all()}
        low, middle, high = (([np.quantile(errors, q) for errors in drawn.values()]) for q in (0.25, 0.5, 0.75))
        panel.plot(list(drawn), middle, label=name, linewidth=1.3, markersize=4.5, **styles[name])
        panel.fill_between(list(drawn), low, high, color=styles[name]["color"], alpha=0.12, linewidth=0)
    ticks = sorted({budget for by_budget in curves.values() for budget in by_budget})
    panel.set(xscale="log", yscale="log")
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.25)
