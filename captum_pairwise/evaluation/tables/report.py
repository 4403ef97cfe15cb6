"""The rows of the tables as tables and as a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from operator import attrgetter

import torch

from captum_pairwise import metrics
from captum_pairwise.evaluation.escaping import in_latex, in_markdown
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.evaluation.tables.table_methods import CONTROL, ENTRANTS

DIGITS = 3
MISSING = "–"


@dataclass(frozen=True)
class Quantity:
    """A group of lines of a table.

    Attributes:
        title: what is measured,
        order: of single parts or of pairs,
        name: and how rows call it.
        is_more_better: else less is.
    """

    title: str
    order: str
    name: str
    is_more_better: bool = True


QUANTITIES = (
    Quantity("Faithfulness", "first", "faithfulness"),
    Quantity("Faithfulness", "second", "pair_faithfulness"),
    Quantity("Inefficiency", "first", "inefficiency", is_more_better=False),
    Quantity("Inefficiency", "second", "pair_inefficiency", is_more_better=False),
    Quantity("mIoU", "second", "mean_iou"),
    Quantity("IoU of the object", "second", "foreground_iou"),
)


@dataclass(frozen=True)
class Cell:
    """The mean over pairs, with its standard error, and whether it is the best of its family."""

    mean: float = float("nan")
    error: float = float("nan")
    is_best: bool = False

    def text(self, bold: Callable[[str], str], plus_minus: str) -> str:
        """What stands in the table."""
        if isnan(self.mean):
            return MISSING
        mean = f"{self.mean:.{DIGITS}f}"
        error = "" if isnan(self.error) else f" {plus_minus} {self.error:.{DIGITS}f}"
        return f"{bold(mean) if self.is_best else mean}{error}"


@dataclass(frozen=True)
class Line:
    """One quantity of one model by all methods."""

    quantity: Quantity
    model: str
    cells: tuple[Cell, ...]


def lines_of(rows: Sequence[TableRow], methods: Sequence[str]) -> list[Line]:
    """All lines in which anything is known."""
    models = dict.fromkeys(row.model for row in rows)
    lines = [
        Line(quantity, model, _cells([row for row in rows if row.model == model], quantity, methods))
        for quantity in QUANTITIES
        for model in models
    ]
    return [line for line in lines if not all(isnan(cell.mean) for cell in line.cells)]


def _cells(rows: Sequence[TableRow], quantity: Quantity, methods: Sequence[str]) -> tuple[Cell, ...]:
    value = attrgetter(quantity.name)
    found = [
        metrics.mean_and_error(torch.tensor([value(row) for row in rows if row.method == method], dtype=torch.float64))
        for method in methods
    ]
    return tuple(Cell(*one, is_best=_is_best(number, found, quantity, methods)) for number, one in enumerate(found))


def _is_best(number: int, found: Sequence[tuple[float, float]], quantity: Quantity, methods: Sequence[str]) -> bool:
    """Whether no other method of the family is better by the digits that are shown."""
    family = ENTRANTS[methods[number]].family
    sign = 1 if quantity.is_more_better else -1
    rivals = [
        sign * round(mean, DIGITS)
        for (mean, _), name in zip(found, methods, strict=True)
        if ENTRANTS[name].family == family and not isnan(mean)
    ]
    return family != CONTROL and bool(rivals) and sign * round(found[number][0], DIGITS) == max(rivals)


def markdown(rows: Sequence[TableRow], methods: Sequence[str]) -> str:
    """The table in Markdown."""
    header = ["metric", "order", "model", *(ENTRANTS[name].title for name in methods)]
    body = [
        [line.quantity.title, line.quantity.order, in_markdown(line.model), *(cell.text("**{}**".format, "±") for cell in line.cells)]
        for line in lines_of(rows, methods)
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *body))


def latex(rows: Sequence[TableRow], methods: Sequence[str]) -> str:
    """The table in LaTeX, for the packages `booktabs` and `graphicx`."""
    header = ["Metric", "Order", "Model", *(in_latex(ENTRANTS[name].title) for name in methods)]
    groups: dict[Quantity, list[str]] = {}
    for line in lines_of(rows, methods):
        cells = [cell.text(r"\textbf{{{}}}".format, r"$\pm$").replace(MISSING, "--") for cell in line.cells]
        groups.setdefault(line.quantity, []).append(
            " & ".join([line.quantity.title, line.quantity.order, in_latex(line.model), *cells]) + r" \\"
        )
    body = "\n\\midrule\n".join("\n".join(lines) for lines in groups.values())
    columns = "lll" + "c" * len(methods)
    return "\n".join(
        [
            rf"\resizebox{{\linewidth}}{{!}}{{\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}}",
            "",
        ]
    )


def caption(rows: Sequence[TableRow], about: str) -> str:
    """What the table is of, and what is missing from it."""
    n_pairs = len({(row.query, row.retrieved, row.category, row.label) for row in rows})
    failures = [row for row in rows if row.error]
    what = "pair" if n_pairs == 1 else "pairs"
    text = f"{n_pairs} {what} of images, {about}; mean ± standard error of the mean over pairs. Bold: the best of its family."
    if failures:
        first = failures[0]
        example = f"{ENTRANTS[first.method].title} on {in_markdown(first.retrieved)}: {in_markdown(first.error)}"
        text += f" {len(failures)} of {len(rows)} runs failed and are left out; the first, {example}"
    return text


def panels(rows: Sequence[TableRow], methods: Sequence[str]) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """Means and errors for a picture: by quantity, by model, by method."""
    found: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    for line in lines_of(rows, methods):
        by_method = {ENTRANTS[name].title: (cell.mean, cell.error) for name, cell in zip(methods, line.cells, strict=True)}
        better = "more" if line.quantity.is_more_better else "less"
        found.setdefault(f"{line.quantity.title}, {line.quantity.order} order ({better} is better)", {})[line.model] = by_method
    return found
