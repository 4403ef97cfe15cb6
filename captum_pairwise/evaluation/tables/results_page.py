"""A page of the results: every protocol with a ranking and tests, the paper's orders, and where the protocols disagree."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isnan

import torch
from torch import Tensor

from captum_pairwise import metrics
from captum_pairwise.evaluation.escaping import escape_markdown, format_markdown_table
from captum_pairwise.evaluation.tables.quantities import (
    QUANTITIES,
    SIGNIFICANT,
    Quantity,
    align_values,
    compare_methods,
    is_better,
)
from captum_pairwise.evaluation.tables.study import TableRow
from captum_pairwise.evaluation.tables.table_methods import CONTROL, TABLE_METHODS

FEWEST = 5  # methods that two protocols must share for a comparison of their orders
PAPER_ORDERS = (  # better and worse on every network of the paper's Tables 1 and 4, or equal
    ("faithfulness", "pshap", "lime"),
    ("faithfulness", "pshap", "kshap"),
    ("faithfulness", "kshap", "sbsm"),
    ("faithfulness", "pshap", "igsam"),
    ("faithfulness", "igsam", "sam"),
    ("faithfulness", "ksam", "sam"),
    ("faithfulness", "ksam", "gcam"),
    ("faithfulness", "sam", "vesm"),
    ("faithfulness", "gcam", "vesm"),
    ("pair_faithfulness", "lime", "sbsm"),
    ("pair_faithfulness", "kshap", "sbsm"),
    ("pair_faithfulness", "lime", "sam"),
    ("pair_faithfulness", "kshap", "ksam"),
    ("inefficiency", "kshap", "lime"),
    ("inefficiency", "igsam", "sam"),
    ("pair_inefficiency", "kshap", "lime"),
    ("pair_inefficiency", "igsam", "sam"),
    ("mean_iou", "lime", "sbsm"),
    ("mean_iou", "sam", "sbsm"),
    ("mean_iou", "lime", "kshap"),
)


def format_page(rows: Sequence[TableRow], methods: Sequence[str], caption: str, reference: str) -> str:
    """The page of all protocols in Markdown, model by model.

    Args:
        rows: the results.
        methods: names of the columns.
        caption: the setup in words.
        reference: the method that all others are compared with.
    """
    parts = ["# Explanations of similarity, compared", caption, *_introduce(reference)]
    for model in dict.fromkeys(row.model for row in rows):
        of_model = [row for row in rows if row.model == model]
        parts += [f"## {escape_markdown(model)}", *_format_model(of_model, methods, reference)]
    return "\n\n".join(parts) + "\n"


def _introduce(reference: str) -> list[str]:
    title = TABLE_METHODS[reference].title
    return [
        f"Each table ranks the methods by their paired difference to “{title}”: on the same pairs of images, with its standard error. "
        "Slow methods explain fewer pairs, so their means do not compare. Wins and losses count pairs; p is the two-sided sign test of "
        f"them, bold below {SIGNIFICANT}. Nothing corrects for the number of tests: of twenty rows without a difference, one is bold by "
        "chance. Controls know nothing, or everything."
    ]


def _format_model(rows: Sequence[TableRow], methods: Sequence[str], reference: str) -> list[str]:
    """The sections of one model."""
    values = {quantity: align_values(rows, quantity.name, methods) for quantity in QUANTITIES}
    ranks = {quantity: rank_methods(by_method, quantity, reference) for quantity, by_method in values.items()}
    parts = []
    for quantity, ranked in ranks.items():
        if ranked:
            parts += [f"### {quantity.title}, {quantity.order} order", _format_ranking(values[quantity], ranked, quantity, reference)]
    orders = list_paper_orders(rows)
    if orders:
        parts += [
            "### The paper's orders",
            format_markdown_table(["metric", "better in the paper", "worse", "difference", "wins : losses", "p", "here"], orders),
        ]
    return [*parts, "### Where the protocols disagree", describe_disagreement(ranks)]


def rank_methods(values: Mapping[str, Tensor], quantity: Quantity, reference: str) -> list[tuple[str, float]]:
    """The methods with a number, the best first, with the paired difference to the reference, or with their mean without one.

    A mean of other pairs of images has no place in a ranking: some methods explain fewer pairs.
    """
    has_reference = reference in values and not values[reference].isnan().all()
    scores = [
        (method, compare_methods(numbers, values[reference], quantity).mean if has_reference else metrics.mean_and_error(numbers)[0])
        for method, numbers in values.items()
    ]
    return sorted((pair for pair in scores if not isnan(pair[1])), key=lambda pair: pair[1], reverse=quantity.is_more_better)


def _format_ranking(values: Mapping[str, Tensor], ranked: Sequence[tuple[str, float]], quantity: Quantity, reference: str) -> str:
    """The table of one protocol."""
    body = []
    for method, _ in ranked:
        mean, n_pairs = metrics.mean_and_error(values[method]), int((~values[method].isnan()).sum())
        cells = [TABLE_METHODS[method].title, TABLE_METHODS[method].family, _format_mean(*mean), str(n_pairs)]
        has_reference = reference in values and method != reference
        difference = compare_methods(values[method], values[reference], quantity) if has_reference else None
        body.append(cells + (["–"] * 3 if difference is None else _format_difference(difference)))
    better = "more is better" if quantity.is_more_better else "less is better"
    return format_markdown_table(["method", "family", f"mean ({better})", "pairs", "difference", "wins : losses", "p"], body)


def _format_mean(mean: float, error: float, sign: str = "") -> str:
    """A mean and its error, if it is known."""
    return f"{mean:{sign}.3f}" if isnan(error) else f"{mean:{sign}.3f} ± {error:.3f}"


def _format_difference(difference: metrics.PairedDifference) -> list[str]:
    """The difference, its wins and losses, and p."""
    if isnan(difference.mean):
        return ["–"] * 3
    p_value = f"{difference.p_value:.2g}"
    cells = [_format_mean(difference.mean, difference.error, "+"), f"{difference.wins} : {difference.losses}"]
    return [*cells, f"**{p_value}**" if difference.p_value < SIGNIFICANT else p_value]


def list_paper_orders(rows: Sequence[TableRow]) -> list[list[str]]:
    """For each order of methods in the paper, the paired difference here, and whether the order holds."""
    quantities = {quantity.name: quantity for quantity in QUANTITIES}
    lines = []
    for name, better, worse in PAPER_ORDERS:
        values = align_values(rows, name, (better, worse))
        difference = compare_methods(values[better], values[worse], quantities[name])
        if isnan(difference.mean):
            continue
        reverse = metrics.PairedDifference(-difference.mean, difference.error, difference.losses, difference.wins, difference.p_value)
        verdict = "holds" if is_better(difference) else "reversed" if is_better(reverse) else "not settled"
        titles = [f"{quantities[name].title}, {quantities[name].order}", TABLE_METHODS[better].title, TABLE_METHODS[worse].title]
        lines.append([*titles, *_format_difference(difference), verdict])
    return lines


def describe_disagreement(means: Mapping[Quantity, Sequence[tuple[str, float]]]) -> str:
    """A paragraph on the protocols whose orders of the methods agree most and least, by Kendall's tau of the means."""
    ranks = {
        quantity: {method: rank for rank, (method, _) in enumerate(ranked, 1) if TABLE_METHODS[method].family != CONTROL}
        for quantity, ranked in means.items()
    }
    compared = []
    for left, right in combinations(ranks, 2):
        common = [method for method in ranks[left] if method in ranks[right]]
        if len(common) >= FEWEST and left.order == right.order:
            places = (torch.tensor([[float(ranks[one][method]) for method in common]], device="cpu") for one in (left, right))
            tau = metrics.surrogate_faithfulness(*places).kendall.item()
            compared.append((tau, left, right, common))
    if not compared:
        return f"No two protocols share {FEWEST} methods."
    compared.sort(key=lambda entry: entry[0])
    least, most = compared[0], compared[-1]
    n_against = sum(tau < 0 for tau, *_ in compared)
    return (
        f"Of {len(compared)} pairs of protocols of the same order, {n_against} rank the methods against each other (Kendall's tau below "
        "0). "
        f"{_describe_pair_of_protocols(least)} {_describe_pair_of_protocols(most)} So no protocol speaks for all: "
        "the best method for one question need not be the best for another."
    )


def _describe_pair_of_protocols(entry: tuple[float, Quantity, Quantity, list[str]]) -> str:
    tau, left, right, common = entry
    return f"{left.title} and {right.title} ({left.order} order) have a tau of {tau:+.2f} over {len(common)} methods."
