"""Predictions of an explanation: the similarity of a pair whose parts are partly absent, as its credits have it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.results.credits import Credits


def predict_coalitions(
    constant: Float[Tensor, " batch"], credits: Credits, coalitions: Bool[Tensor, "rows players"], n_query: int
) -> Float[Tensor, "batch rows"]:
    r"""$\hat v(S) = a_\emptyset + \sum_{i \in S} a_i + \sum_{ij \subseteq S} a_{ij}$ of each row, from the pairs that are known.

    Raises:
        ValueError: the credit of single players or of the pairs between the images is unknown, or the coalitions have other
            players or are no booleans.
    """
    first, between = credits["first_order"], credits["between"]
    if not isinstance(coalitions, Tensor) or coalitions.dtype != torch.bool or coalitions.shape[1:] != first.shape[1:]:
        got = f"{coalitions.dtype} {list(coalitions.shape)}" if isinstance(coalitions, Tensor) else type(coalitions).__name__
        raise ValueError(
            f"Expected coalitions [rows, {first.shape[1]}] of booleans, True for each of the query's and the retrieved players that is "
            f"present, got {got}. Give a tensor with one row for each coalition."
        )
    present = coalitions.to(first)
    query, retrieved = present[:, :n_query], present[:, n_query:]
    total = constant[:, None] + first @ present.T + ((query @ between) * retrieved).sum(2)
    for pairs, side in ((credits.within_query, query), (credits.within_retrieved, retrieved)):
        if pairs is not None:
            total = total + ((side @ pairs) * side).sum(2) / 2
    return total
