"""An objective of a ranked list: a weighted sum of the similarities of its results, and what parts add to it."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    r"""The game $\sum_k \lambda_k v(x, y_k)$ of a query and all its results.

    The players are the parts of the query and of every result. Every index is linear in the game, and a result has no effect on the
    similarity of another one. So the credit of a part of the query and a part of result `k` is that of their own game times `λ_k`, and the
    map of the query is the weighted sum of its maps.

    Attributes:
        name: "margin", "top-1", "dcg" or "weights".
        weights: `λ_k`, one for each result.
        value: of the objective.
        query_map: what each part of the query adds to the objective while all results are whole; None if a method has no maps.
        pairs: of the parts of the query and the parts of each result; None without pairs.
        query_error: an upper bound of the standard error of the map, `Σ |λ_k| σ_k`: the query's coalitions are often the same for all
            results, so their errors are correlated, and no correlation makes a sum worse than this. None without standard errors.
        pair_errors: the standard errors of the pairs of each result; None without standard errors.
        purpose: what a red part of the query raises, in a few words.
        sentence: the value, and the parts of the query that it rests on, in words.
    """

    name: str
    weights: tuple[float, ...]
    value: float
    query_map: Float[Tensor, " query"] | None = field(repr=False)
    pairs: tuple[Tensor, ...] | None = field(repr=False)
    query_error: Float[Tensor, " query"] | None = field(repr=False)
    pair_errors: tuple[Tensor, ...] | None = field(repr=False)
    purpose: str
    sentence: str
