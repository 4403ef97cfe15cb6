"""The objective of a ranked list, by linearity from the explanations of its results."""

from collections.abc import Sequence
from math import isfinite, log2
from textwrap import shorten

import torch
from torch import Tensor

from captum_pairwise.explanations.amount_words import FEW, format_difference, tell_half
from captum_pairwise.explanations.contents import Sentence
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.objective import Objective

MARGIN, TOP_1, DCG, WEIGHTS = "margin", "top-1", "dcg", "weights"
PURPOSES = {MARGIN: "what favours 1 over 2", TOP_1: "what favours 1 over the others", DCG: "what favours this order"}
OTHER_PURPOSE = "what raises the objective"
LONGEST_NAME = 60  # characters
ObjectiveName = str | Sequence[float]


def choose_weights(objective: ObjectiveName, n_results: int) -> tuple[str, list[float]]:
    r"""The name of an objective and its weights $\lambda_k$.

    * `"margin"`: 1 for the first result, -1 for the second.
    * `"top-1"`: 1 for the first, and `-1 / (n - 1)` for each other.
    * `"dcg"`: $d_k - \bar d$ with $d_k = 1 / \log_2(k + 1)$, the derivative of the discounted cumulative gain $\sum_k d_k v(x, y_k)$,
      without what raises all results alike. Of all orders of the list, that by similarity has the largest value.

    Args:
        objective: one of these names, or the weights.
        n_results: the number of results.

    Raises:
        ValueError: the name is unknown, the weights do not fit, or there are fewer than two results.
    """
    if isinstance(objective, str):
        if objective not in PURPOSES:
            raise ValueError(f"Expected objective to be one of {list(PURPOSES)} or a weight for each result, got {objective!r}.")
        if n_results < 2:
            raise ValueError(f"Expected two results or more, because objective={objective!r} compares them, got {n_results}. Leave it out.")
        discounts = [1 / log2(place + 1) for place in range(1, n_results + 1)]
        weights = {
            MARGIN: [1.0, -1.0, *[0.0] * (n_results - 2)],
            TOP_1: [1.0, *[-1 / (n_results - 1)] * (n_results - 1)],
            DCG: [discount - sum(discounts) / n_results for discount in discounts],
        }
        return objective, weights[objective]
    try:
        weights = [float(weight) for weight in objective]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected objective to be one of {list(PURPOSES)} or a weight for each result, got {objective!r}. Pass a list of numbers."
        ) from error
    if len(weights) != n_results or not all(map(isfinite, weights)) or not any(weights):
        raise ValueError(f"Expected {n_results} finite weights, one for each result and not all 0, got {weights}. Give others.")
    return WEIGHTS, weights


def make_objective(explanations: Sequence[Explanation], names: Sequence[str], objective: ObjectiveName) -> Objective:
    """The objective of a ranked list.

    Args:
        explanations: of the query and each result.
        names: of the results.
        objective: as for `choose_weights`.

    Raises:
        ValueError: the objective does not fit, or the query has other parts beside other results.
    """
    name, weights = choose_weights(objective, len(explanations))
    results = [explanation.interactions for explanation in explanations]
    n_query = results[0].n_query
    if any(result.n_query != n_query for result in results):
        raise ValueError("Expected the same parts of the query for all results, got other numbers of them. Explain all with one method.")
    errors, sizes = [result.standard_error for result in results], [abs(weight) for weight in weights]
    maps, map_errors = _weigh_blocks(results, "given_other", weights), _weigh_blocks(errors, "given_other", sizes)
    value = sum(weight * result.full.item() for weight, result in zip(weights, results, strict=True))
    query_map = None if maps is None else torch.stack([values[:n_query] for values in maps]).sum(0)
    return Objective(
        name=name,
        weights=tuple(weights),
        value=value,
        query_map=query_map,
        pairs=_weigh_blocks(results, "between", weights),
        query_error=None if map_errors is None else torch.stack([values[:n_query] for values in map_errors]).sum(0),
        pair_errors=_weigh_blocks(errors, "between", sizes),
        purpose=PURPOSES.get(name, OTHER_PURPOSE),
        sentence=" ".join([_tell_value(name, value, explanations, names), *_tell_parts(name, value, query_map, explanations[0])]),
    )


def _weigh_blocks(results: Sequence[Credits | None], name: str, weights: Sequence[float]) -> tuple[Tensor, ...] | None:
    """A block of each result times its weight; None if one has no such block."""
    blocks = [None if result is None else getattr(result, name) for result in results]
    weighed = [weight * block[0] for weight, block in zip(weights, blocks, strict=True) if block is not None]
    return tuple(weighed) if len(weighed) == len(blocks) else None


def _tell_value(name: str, value: float, explanations: Sequence[Explanation], names: Sequence[str]) -> str:
    """The value of the objective in a sentence."""
    if name in (MARGIN, TOP_1):
        first, second = (name_result(*result) for result in zip(explanations[:2], names[:2], strict=True))
        other = second if name == MARGIN else "the other results on average"
        return f"{first} is {format_difference(abs(value))} {'more' if value >= 0 else 'less'} similar to the query than {other}."
    what = "The objective “dcg”, the similarities weighted by rank," if name == DCG else "The weighted sum of the similarities"
    return f"{what} is {format_difference(value)}."


def _tell_parts(name: str, value: float, query_map: Tensor | None, explanation: Explanation) -> list[str]:
    """The value without the query, and the parts of the query that raise or lower the objective; nothing without a map."""
    if query_map is None:
        return []
    places, gain = explanation.places[0], query_map.sum().item()
    what = "The difference" if name in (MARGIN, TOP_1) else "It"
    ends = format_difference(value - gain), format_difference(gain)
    sentences = [f"{what} would be {ends[0]} without the {places.noun}s of the query, which add {ends[1]}."]
    for verb, weights in (("raises", query_map.clamp(min=0)), ("lowers", (-query_map).clamp(min=0))):
        if weights.sum() > FEW * query_map.abs().sum():
            sentences.append(f"{tell_half(weights, places, f'of what {verb} it')}.")
    return sentences


def name_result(explanation: Explanation, name: object) -> str:
    """The name of a result in a sentence; a sentence is quoted, and cut if it is long."""
    quoted = isinstance(explanation.retrieved, Sentence)
    return f"“{shorten(str(name), LONGEST_NAME, placeholder='…')}”" if quoted else str(name)
