"""Tables of methods as figures: means with standard errors, one panel for each metric."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_pairwise.visualization.convergence_figure import build_panels, choose_styles
from captum_pairwise.visualization.labels import escape_text

Means = Mapping[str, Mapping[str, tuple[float, float]]]  # by model, by method: mean and standard error
SIZE = (6.5, 2.9)  # inches, width and height of a panel


def table_figure(panels: Mapping[str, Means], title: str = "") -> Figure:
    """Draw means with bars of one standard error. Methods stand side by side, each model has a colour.

    Args:
        panels: by the title of the panel, by model, by method: mean and standard error; a NaN is left out.
        title: the title of the figure.

    Raises:
        ValueError: there is no panel.
    """
    figure, axes = build_panels(len(panels), min(2, len(panels)), SIZE, margin=0.8)
    figure.suptitle(escape_text(title), fontsize="medium")
    styles = choose_styles(list(dict.fromkeys(model for means in panels.values() for model in means)), ())
    for panel, (name, means) in zip(axes, panels.items(), strict=False):
        panel.set_title(escape_text(name), fontsize="small")
        _draw_means(panel, means, styles)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    return figure


def _draw_means(panel: Axes, means: Means, styles: Mapping[str, dict]) -> None:
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
