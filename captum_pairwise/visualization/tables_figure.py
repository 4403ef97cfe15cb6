"""Tables of methods as pictures: a mean with its standard error for each, a panel for each quantity."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_pairwise.visualization.convergence_figure import looks
from captum_pairwise.visualization.wording import plain

Means = Mapping[str, Mapping[str, tuple[float, float]]]  # by model, by method, the mean and its error


def table_figure(panels: Mapping[str, Means], title: str = "") -> Figure:
    """Draw means with bars of one standard error, methods side by side, models in colours.

    Args:
        panels: by the title of the panel, by model, by method: mean and standard error; a NaN is left out.
        title: a line above.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not panels:
        raise ValueError("Expected at least one panel, got none. Measure something first.")
    columns = min(2, len(panels))
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6.5 * columns, 2.9 * n_rows + 0.8), layout="constrained", dpi=90)
    figure.suptitle(plain(title), fontsize="medium")
    axes = figure.subplots(n_rows, columns, squeeze=False).ravel()
    styles = looks(list(dict.fromkeys(model for means in panels.values() for model in means)), ())
    for panel, (name, means) in zip(axes, panels.items(), strict=False):
        panel.set_title(plain(name), fontsize="small")
        _draw(panel, means, styles)
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def _draw(panel: Axes, means: Means, styles: Mapping[str, dict]) -> None:
    methods = list(dict.fromkeys(method for by_method in means.values() for method in by_method))
    for number, (model, by_method) in enumerate(means.items()):
        shift = 0.5 * ((number + 0.5) / len(means) - 0.5)
        known = [(place + shift, *by_method[name]) for place, name in enumerate(methods) if not isnan(by_method[name][0])]
        if not known:
            continue
        places, values, errors = zip(*known, strict=True)
        bars = [0.0 if isnan(error) else error for error in errors]
        look: dict[str, Any] = styles[model] | {"linestyle": "none"}
        panel.errorbar(places, values, bars, label=plain(model), capsize=2, **look)
    panel.set_xticks(range(len(methods)), list(map(plain, methods)), rotation=35, ha="right", fontsize="small")
    panel.set_xlim(-0.6, len(methods) - 0.4)
    panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    panel.grid(axis="y", alpha=0.25)
