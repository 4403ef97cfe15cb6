"""The metrics of the tables, and the numbers of every method for the same pairs of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise import metrics
from captum_pairwise.evaluation.tables.study import TableRow

SIGNIFICANT = 0.05  # largest p of a sign test that counts


@dataclass(frozen=True)
class Quantity:
    """A metric of the tables.

    Attributes:
        title: its name in the table.
        order: `"first"` for single parts, `"second"` for pairs.
        name: its name in `TableRow`.
        is_more_better: True if the largest value is the best.
    """

    title: str
    order: str
    name: str
    is_more_better: bool = True


QUANTITIES = (
    Quantity("Faithfulness", "first", "faithfulness"),
    Quantity("Area of insertion", "first", "insertion"),
    Quantity("Area of deletion", "first", "deletion", is_more_better=False),
    Quantity("AID", "first", "aid"),
    Quantity("Localisation", "first", "localisation"),
    Quantity("Pointing game", "first", "pointing"),
    Quantity("Faithfulness", "second", "pair_faithfulness"),
    Quantity("AID", "second", "pair_aid"),
    Quantity("R²", "second", "pair_r2"),
    Quantity("R² of Banzhaf indices", "second", "banzhaf_r2"),
    *(Quantity(f"R² at p = .{p}", "second", f"r2_{p}0") for p in (3, 5, 7)),
    *(Quantity(f"Spearman at p = .{p}", "second", f"spearman_{p}0") for p in (3, 5, 7)),
    *(Quantity(f"Kendall at p = .{p}", "second", f"kendall_{p}0") for p in (3, 5, 7)),
    Quantity("Inefficiency", "first", "inefficiency", is_more_better=False),
    Quantity("Inefficiency", "second", "pair_inefficiency", is_more_better=False),
    Quantity("mIoU", "second", "mean_iou"),
    Quantity("IoU of the object", "second", "foreground_iou"),
    Quantity("Pointing game", "second", "pair_pointing"),
    Quantity("PCK@.1", "second", "pck_10"),
    Quantity("PCK@.2", "second", "pck_20"),
    Quantity("AUC of planted pairs", "second", "planted_auc"),
    Quantity("Share of planted pairs", "second", "planted_share"),
)


def align_values(rows: Sequence[TableRow], name: str, methods: Sequence[str]) -> dict[str, Float[Tensor, " pairs"]]:
    """The numbers of each method for the same pairs of images in the same order; NaN where there is none."""
    places = {pair: number for number, pair in enumerate(dict.fromkeys(map(identify_pair, rows)))}
    values = {method: torch.full((len(places),), torch.nan, dtype=torch.float64, device="cpu") for method in methods}
    for row in rows:
        if row.method in values:
            values[row.method][places[identify_pair(row)]] = getattr(row, name)
    return values


def identify_pair(row: TableRow) -> tuple[str, ...]:
    """The pair of images of a row, for one model."""
    return row.model, row.query, row.retrieved, row.category, row.label, row.truth


def compare_methods(values: Float[Tensor, " pairs"], reference: Float[Tensor, " pairs"], quantity: Quantity) -> metrics.PairedDifference:
    """The paired difference of two methods; a win is a pair with a better number."""
    difference = metrics.compare_pairs(values, reference)
    if quantity.is_more_better:
        return difference
    return metrics.PairedDifference(difference.mean, difference.error, difference.losses, difference.wins, difference.p_value)


def is_better(difference: metrics.PairedDifference) -> bool:
    """True if a method wins so often against another one that the sign test excludes chance."""
    return difference.wins > difference.losses and difference.p_value < SIGNIFICANT
