"""The rows of the tables as Markdown, LaTeX and data for a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

from torch import Tensor

from captum_pairwise import metrics
from captum_pairwise.evaluation.escaping import escape_latex, escape_markdown, format_markdown_table
from captum_pairwise.evaluation.tables.quantities import (
    QUANTITIES,
    SIGNIFICANT,
    Quantity,
    align_values,
    compare_methods,
    identify_pair,
    is_better,
)
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.evaluation.tables.table_methods import CONTROL, TABLE_METHODS

DIGITS = 3
BOLD = f"Bold: the best of its family, which beats the second best on so many pairs that a sign test has p < {SIGNIFICANT}."
R2_MEANING = (
    " R²: the share of the variance of the similarity that the credits of parts and pairs predict when each part is present with "
    "probability 0.5; below 0 is worse than a constant. Of Banzhaf indices: the same for the index that predicts best, from the same "
    "sample."
)


@dataclass(frozen=True)
class Cell:
    """The mean over pairs, its standard error, and whether it is significantly the best of its family."""

    mean: float = nan
    error: float = nan
    is_best: bool = False

    def format(self, bold: Callable[[str], str], plus_minus: str, missing: str = "–") -> str:
        """The text of the cell."""
        if isnan(self.mean):
            return missing
        mean = f"{self.mean:.{DIGITS}f}"
        error = "" if isnan(self.error) else f" {plus_minus} {self.error:.{DIGITS}f}"
        return f"{bold(mean) if self.is_best else mean}{error}"


def make_lines(rows: Sequence[TableRow], methods: Sequence[str]) -> list[tuple[Quantity, str, list[Cell]]]:
    """The lines of the table, a quantity of a model for all methods; a line without any number is left out."""
    models = dict.fromkeys(row.model for row in rows)
    lines = [
        (quantity, model, _make_cells([row for row in rows if row.model == model], quantity, methods))
        for quantity in QUANTITIES
        for model in models
    ]
    return [line for line in lines if not all(isnan(cell.mean) for cell in line[2])]


def _make_cells(rows: Sequence[TableRow], quantity: Quantity, methods: Sequence[str]) -> list[Cell]:
    values = align_values(rows, quantity.name, methods)
    best = find_significant_bests(values, quantity)
    return [Cell(*metrics.mean_and_error(values[method]), method in best) for method in methods]


def find_significant_bests(values: Mapping[str, Tensor], quantity: Quantity) -> set[str]:
    """The best method of each family, if the sign test against the second best excludes chance; controls are never best."""
    families: dict[str, list[tuple[float, str]]] = {}
    for method, numbers in values.items():
        mean = metrics.mean_and_error(numbers)[0]
        if TABLE_METHODS[method].family != CONTROL and not isnan(mean):
            families.setdefault(TABLE_METHODS[method].family, []).append((mean, method))
    ranked = [[name for _, name in sorted(means, reverse=quantity.is_more_better)] for means in families.values()]
    return {names[0] for names in ranked if len(names) > 1 and is_better(compare_methods(values[names[0]], values[names[1]], quantity))}


def format_markdown(rows: Sequence[TableRow], methods: Sequence[str]) -> str:
    """The table in Markdown."""
    header = ["metric", "order", "model", *(TABLE_METHODS[name].title for name in methods)]
    body = [
        [quantity.title, quantity.order, escape_markdown(model), *(cell.format("**{}**".format, "±") for cell in cells)]
        for quantity, model, cells in make_lines(rows, methods)
    ]
    return format_markdown_table(header, body)


def format_latex(rows: Sequence[TableRow], methods: Sequence[str]) -> str:
    """The table in LaTeX, for the packages `booktabs` and `graphicx`."""
    header = ["Metric", "Order", "Model", *(escape_latex(TABLE_METHODS[name].title) for name in methods)]
    groups: dict[Quantity, list[str]] = {}
    for quantity, model, cells in make_lines(rows, methods):
        numbers = [cell.format(r"\textbf{{{}}}".format, r"$\pm$", "--") for cell in cells]
        texts = [escape_latex(quantity.title), quantity.order, escape_latex(model), *numbers]
        groups.setdefault(quantity, []).append(" & ".join(texts) + r" \\")
    body = "\n\\midrule\n".join("\n".join(lines) for lines in groups.values())
    begin = rf"\resizebox{{\linewidth}}{{!}}{{\begin{{tabular}}{{lll{'c' * len(methods)}}}"
    return "\n".join([begin, r"\toprule", " & ".join(header) + r" \\", r"\midrule", body, r"\bottomrule", r"\end{tabular}}", ""])


def format_caption(rows: Sequence[TableRow], setup: str) -> str:
    """The number of pairs, the setup, and the failures."""
    n_pairs = len({identify_pair(row)[1:] for row in rows})
    failures, has_r2 = [row for row in rows if row.error], not all(isnan(row.pair_r2) for row in rows)
    noun = "pair" if n_pairs == 1 else "pairs"
    text = f"{n_pairs} {noun} of images, {setup}; mean ± standard error of the mean over pairs. {BOLD}"
    text += R2_MEANING if has_r2 else ""
    if failures:
        first = failures[0]
        example = f"{TABLE_METHODS[first.method].title} on {escape_markdown(first.retrieved)}: {escape_markdown(first.error)}"
        text += f" {len(failures)} of {len(rows)} runs failed and are left out; the first, {example}"
    return text


def collect_panels(rows: Sequence[TableRow], methods: Sequence[str]) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """Means and standard errors for a picture: by quantity, by model, by method."""
    panels: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for quantity, model, cells in make_lines(rows, methods):
        by_method = {TABLE_METHODS[name].title: (cell.mean, cell.error) for name, cell in zip(methods, cells, strict=True)}
        better = "more" if quantity.is_more_better else "less"
        panels.setdefault(f"{quantity.title}, {quantity.order} order ({better} is better)", {})[model] = by_method
    return panels
