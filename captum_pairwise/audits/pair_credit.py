"""The credit of the parts of one pair, from the summaries of its two images."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.towers.image_tower import ImageTower


@dataclass(frozen=True)
class PairCredit:
    """What the parts of two images do for their similarity.

    Attributes:
        similarity: of the whole images.
        query_map: Shapley values of the query's parts while the hit is whole.
        hit_map: Shapley values of the hit's parts while the query is whole.
        between: Banzhaf indices of the pairs of parts.
        r2: the share of the variance of the similarity that the credits predict when parts are missing at random.
        error: the standard error of the pairs of parts relative to the pairs, both as root mean squares; NaN if it is unknown.
    """

    similarity: float
    query_map: Float[Tensor, " query"]
    hit_map: Float[Tensor, " hit"]
    between: Float[Tensor, "query hit"]
    r2: float
    error: float


def combine_towers(query: ImageTower, hit: ImageTower) -> PairCredit:
    r"""The credit of a pair from what both images contribute: $\phi_{ij} = \langle \Delta_i, \Delta_j \rangle$.

    Args:
        query: the summary of the query, with its lift.
        hit: the summary of the hit, with its lift.
    """
    turn = query.basis @ hit.basis.mT
    turned = query.slopes @ turn
    halves = turned @ hit.slopes.mT
    between = turned.mean(0) @ hit.slopes.mean(0).mT
    values, predicted = query.held_out @ turn @ hit.held_out.mT, query.predicted @ turn @ hit.predicted.mT
    error = 0.0 if query.is_exact and hit.is_exact else ((halves[0] - halves[1]).norm() / 2 / between.norm()).item()
    return PairCredit(
        similarity=(query.full @ turn @ hit.full).item(),
        query_map=query.shapley.mean(0) @ turn @ hit.full,
        hit_map=hit.shapley.mean(0) @ turn.mT @ query.full,
        between=between,
        r2=(1 - (values - predicted).square().sum() / (values - values.mean()).square().sum()).item(),
        error=error,
    )
