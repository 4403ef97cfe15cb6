"""The result of a method on a pair of images, as a map of the retrieved image."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from captum_pairwise.players.regions import Players, cells, paint
from captum_pairwise.results.index import BANZHAF
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.window_pairs import WindowPairs

PairResult = Interactions | WindowPairs


@dataclass(frozen=True)
class RetrievedMap:
    """An explanation of the retrieved image.

    Attributes:
        heat_map: a number for each of its pixels, or for each cell of its feature map: the credit, or (second order) the projection of the
            query's object.
        credit: of every player and pair, whose sum should be `v(N) - v(∅)`; None if the method promises no sum.
        r2: the share of the similarity's variance that the credits predict (`Interactions.r2`); NaN if it was not measured.
        banzhaf_r2: the same for Banzhaf indices from the same sample; NaN if it was not kept.
        players: the parts of the retrieved image that `credit` belongs to; None if they are the cells of the map, or pairs.
    """

    heat_map: Float[Tensor, "1 rows columns"]
    credit: Float[Tensor, " credits"] | None = None
    r2: float = torch.nan
    banzhaf_r2: float = torch.nan
    players: Players | None = None

    @property
    def shown(self) -> tuple[Float[Tensor, " players"], Players]:
        """The credit of each player that the map shows, and the players; without players each of its pixels or cells is one."""
        if self.players is None or self.credit is None:
            return self.heat_map.flatten(), cells(self.heat_map[:, None], 1)
        return self.credit, self.players


def paint_retrieved(interactions: Interactions | tuple[Interactions, Interactions]) -> RetrievedMap:
    """The credits of the retrieved image's players with the query whole.

    Args:
        interactions: of first order, one for each image; or of the pair, with its heat maps.
    """
    if isinstance(interactions, tuple):
        return _paint_credit(interactions[1]["marginal"], interactions[1])
    return _paint_credit(interactions.retrieved_map, interactions)


def project_object(result: PairResult, query_mask: Bool[Tensor, "1 height width"]) -> RetrievedMap:
    """The query's object projected to the retrieved image's players, with the credit of all players and pairs if the method has it."""
    heat_map = project_signal(result, query_mask)
    if isinstance(result, WindowPairs) or result.marginal is None:
        return RetrievedMap(heat_map)
    is_banzhaf = result.index is not None and result.index.name == BANZHAF
    banzhaf = result if is_banzhaf else None if result.sources is None else result.as_index(BANZHAF)
    shares = [torch.nan if one is None or one.r2 is None else one.r2.item() for one in (result, banzhaf)]
    return RetrievedMap(heat_map, result.marginal[0], shares[0], shares[1])


def project_signal(result: PairResult, signal: Shaped[Tensor, "1 height width"]) -> Float[Tensor, "1 rows columns"]:
    """A signal over the query, carried to the retrieved image."""
    if isinstance(result, WindowPairs):
        return result.project(signal)
    return _paint_credit(result.project(signal), result).heat_map


def drop_unit(result: Interactions) -> Interactions:
    """The pairs of a result whose numbers are no shares of a similarity: their sum and their size mean nothing."""
    return replace(result, marginal=None)


def _paint_credit(credit: Float[Tensor, "1 players"], interactions: Interactions) -> RetrievedMap:
    players = interactions.retrieved_players
    if players is None:
        raise ValueError("Expected interactions with players of the retrieved image, got none. Explain both images.")
    return RetrievedMap(paint(credit, players.ids)[:, 0], credit[0], players=players)
