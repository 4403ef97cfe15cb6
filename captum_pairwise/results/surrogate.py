"""Predictions of an explanation: the similarity of a pair whose parts are partly absent, as its credits have it."""

from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.results.credits import Credits


def predict_coalitions(
    constant: Float[Tensor, " batch"], credits: Credits, coalitions: Bool[Tensor, "rows players"], n_query: int
) -> Float[Tensor, "batch rows"]:
    r"""$\hat v(S) = a_\emptyset + \sum_{i \in S} a_i + \sum_{ij \subseteq S} a_{ij}$ of each row, from the pairs that are known.

    Raises:
        ValueError: the credit of single players or of the pairs between the images is unknown, or the coalitions have other players.
    """
    first, between = credits["first_order"], credits["between"]
    if coalitions.dim() != 2 or coalitions.shape[1] != first.shape[1]:
        raise ValueError(
            f"Expected coalitions [rows, {first.shape[1]}] of the query's and the retrieved players, got {list(coalitions.shape)}. Give "
            "one row for each coalition."
        )
    present = coalitions.to(first)
    query, retrieved = present[:, :n_query], present[:, n_query:]
    total = constant[:, None] + first @ present.T + ((query @ between) * retrieved).sum(2)
    for pairs, side in ((credits.within_query, query), (credits.within_retrieved, retrieved)):
        if pairs is not None:
            total = total + ((side @ pairs) * side).sum(2) / 2
    return total
