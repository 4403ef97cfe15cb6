"""Results of studies: error over budget, and tables of means with standard errors."""

from collections.abc import Collection, Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from captum_pairwise.visualization.style import escape_text

Curves = Mapping[str, Mapping[int, Sequence[float]]]  # by estimator, by budget: the errors of all seeds
Means = Mapping[str, Mapping[str, tuple[float, float]]]  # by model, by method: mean and standard error
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]  # Okabe and Ito, for colour-blind readers
MARKERS = "osD^vPX"
SIZES = {"linewidth": 1.4, "markersize": 5}
FLOOR = 1e-12  # smaller relative errors are rounding errors
CURVES, TABLE = (4.5, 3.6), (6.5, 2.9)  # inches, width and height of a panel


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

    >>> errors = {"kernel": {64: [0.1, 0.2], 128: [0.05, 0.08]}, "process": {64: [0.01, 0.02], 128: [0.001, 0.003]}}
    >>> figure = convergence_figure({"4 + 4 parts": errors}, {"4 + 4 parts": "coalitions"})
    >>> [(panel.get_title(), panel.get_xlabel()) for panel in figure.axes]
    [('4 + 4 parts', 'coalitions')]

    See also `table_figure`.
    """
    names = sorted(dict.fromkeys(name for curves in panels.values() for name in curves), key=lambda name: name in dashed)
    columns = min(3, len(panels))
    figure, axes = build_panels(len(panels), columns, CURVES, margin=1.2)
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
            inside = colour if line == "-" else "white"
            styles[name] = {"color": colour, "marker": marker, "linestyle": line, "markerfacecolor": inside, **SIZES}
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


def table_figure(panels: Mapping[str, Means], title: str = "") -> Figure:
    """Draw means with bars of one standard error. Methods stand side by side, each model has a colour.

    Args:
        panels: by the title of the panel, by model, by method: mean and standard error; a NaN is left out.
        title: the title of the figure.

    Raises:
        ValueError: there is no panel.

    >>> means = {"ResNet50": {"SAM": (0.20, 0.01), "KSAM": (0.30, 0.02)}, "VGG11": {"SAM": (0.10, 0.01), "KSAM": (0.15, 0.01)}}
    >>> [panel.get_title() for panel in table_figure({"faithfulness": means}).axes]
    ['faithfulness']

    See also `convergence_figure` and `cp.metrics.mean_and_error`.
    """
    figure, axes = build_panels(len(panels), min(2, len(panels)), TABLE, margin=0.8)
    figure.suptitle(escape_text(title), fontsize="medium")
    styles = choose_styles(list(dict.fromkeys(model for means in panels.values() for model in means)), ())
    for panel, (name, means) in zip(axes, panels.items(), strict=False):
        panel.set_title(escape_text(name), fontsize="small")
        _draw_means(panel, means, styles)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def _draw_means(panel: Axes, means: Means, styles: Mapping[str, dict[str, Any]]) -> None:
    methods = list(dict.fromkeys(method for by_method in means.values() for method in by_method))
    for number, (model, by_method) in enumerate(means.items()):
        shift = 0.5 * ((number + 0.5) / len(means) - 0.5)
        points = [(place + shift, *by_method[name]) for place, name in enumerate(methods) if not isnan(by_method[name][0])]
        if not points:
            continue
        places, values, errors = zip(*points, strict=True)
        bars = [0.0 if isnan(error) else error for error in errors]
        style: dict[str, Any] = styles[model] | {"linestyle": "none"}
        panel.errorbar(places, values, bars, label=escape_text(model), capsize=2, **style)
    panel.set_xticks(range(len(methods)), list(map(escape_text, methods)), rotation=35, ha="right", fontsize="small")
    panel.set_xlim(-0.6, len(methods) - 0.4)
    panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.grid(axis="y", alpha=0.25)
