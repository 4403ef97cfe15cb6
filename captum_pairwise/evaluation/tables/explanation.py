"""The result of a method on a pair of images, in the form that the metrics take."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.players.regions import paint
from captum_pairwise.results.interactions import Interactions


@dataclass(frozen=True)
class Explanation:
    """An explanation of the retrieved image.

    Attributes:
        heat_map: a number for each of its pixels, or for each cell of its feature map: the credit, or (second order) the projection of the
            query's object.
        credit: of every player and pair, whose sum should be `v(N) - v(∅)`; None if the method promises no sum.
    """

    heat_map: Float[Tensor, "1 rows columns"]
    credit: Float[Tensor, " credits"] | None = None


def paint_retrieved(interactions: Interactions | tuple[Interactions, Interactions]) -> Explanation:
    """The credits of the retrieved image's players with the query whole.

    Args:
        interactions: of first order, one for each image; or jagged ones of the pair, where a player's Shapley value with the query whole is
            its own credit and the credit of its pairs.
    """
    if isinstance(interactions, tuple):
        return _paint_credit(interactions[1]["marginal"], interactions[1])
    return _paint_credit(interactions["first_order"][:, interactions.n_query :] + interactions["between"].sum(1), interactions)


def project_object(interactions: Interactions, query_mask: Bool[Tensor, "1 height width"]) -> Explanation:
    """The query's object projected to the retrieved image's players, with the credit of all players and pairs."""
    projected = _paint_credit(interactions.project(query_mask), interactions)
    return Explanation(projected.heat_map, interactions["marginal"][0])


def _paint_credit(credit: Float[Tensor, "1 players"], interactions: Interactions) -> Explanation:
    players = interactions.retrieved_players
    if players is None:
        raise ValueError("Expected interactions with players of the retrieved image, got none. Explain both images.")
    return Explanation(paint(credit, players.ids)[:, 0], credit[0])
