"""The result of a method on a pair of images, and its metrics."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise import metrics
from captum_pairwise.evaluation.tables.image_pair import ImagePair
from captum_pairwise.players.regions import paint
from captum_pairwise.results.index import BANZHAF
from captum_pairwise.results.interactions import Interactions


@dataclass(frozen=True)
class RetrievedMap:
    """An explanation of the retrieved image.

    Attributes:
        heat_map: a number for each of its pixels, or for each cell of its feature map: the credit, or (second order) the projection of the
            query's object.
        credit: of every player and pair, whose sum should be `v(N) - v(∅)`; None if the method promises no sum.
        r2: the share of the similarity's variance that the credits predict (`Interactions.r2`); NaN if it was not measured.
        banzhaf_r2: the same for Banzhaf indices from the same sample; NaN if it was not kept.
    """

    heat_map: Float[Tensor, "1 rows columns"]
    credit: Float[Tensor, " credits"] | None = None
    r2: float = torch.nan
    banzhaf_r2: float = torch.nan


def paint_retrieved(interactions: Interactions | tuple[Interactions, Interactions]) -> RetrievedMap:
    """The credits of the retrieved image's players with the query whole.

    Args:
        interactions: of first order, one for each image; or of the pair, with its heat maps.
    """
    if isinstance(interactions, tuple):
        return _paint_credit(interactions[1]["marginal"], interactions[1])
    return _paint_credit(interactions.retrieved_map, interactions)


def project_object(interactions: Interactions, query_mask: Bool[Tensor, "1 height width"]) -> RetrievedMap:
    """The query's object projected to the retrieved image's players, with the credit of all players and pairs."""
    projected = _paint_credit(interactions.project(query_mask), interactions)
    banzhaf = None if interactions.sources is None else interactions.as_index(BANZHAF)
    shares = [torch.nan if result is None or result.r2 is None else result.r2.item() for result in (interactions, banzhaf)]
    return RetrievedMap(projected.heat_map, interactions["marginal"][0], *shares)


def _paint_credit(credit: Float[Tensor, "1 players"], interactions: Interactions) -> RetrievedMap:
    players = interactions.retrieved_players
    if players is None:
        raise ValueError("Expected interactions with players of the retrieved image, got none. Explain both images.")
    return RetrievedMap(paint(credit, players.ids)[:, 0], credit[0])


@dataclass(frozen=True)
class Measures:
    """The metrics of the paper (§6, §A.2) for one method on one pair; NaN where a metric is not defined.

    Attributes:
        faithfulness: how much the similarity falls when the upper 30 % of the retrieved image's pixels are blurred.
        inefficiency: the distance of the sum of all credit from `v(N) - v(∅)`, where `v(∅)` has the retrieved image blurred.
        pair_faithfulness: the similarity when everything is blurred except the query's object and its projection.
        pair_r2: the share of the similarity's variance, over coalitions of both images, that the credits of parts and pairs predict.
        banzhaf_r2: the same for Banzhaf indices from the same sample.
        pair_inefficiency: the distance of the sum of all credit from `v(N) - v(∅)`, where `v(∅)` has both images blurred.
        mean_iou: the mean, over object and background, of the intersection over union of the retrieved image's true mask and of as many
            pixels of the projection.
        foreground_iou: the same for the object alone.
    """

    faithfulness: float = torch.nan
    inefficiency: float = torch.nan
    pair_faithfulness: float = torch.nan
    pair_r2: float = torch.nan
    banzhaf_r2: float = torch.nan
    pair_inefficiency: float = torch.nan
    mean_iou: float = torch.nan
    foreground_iou: float = torch.nan


def measure_explanation(first: RetrievedMap, second: RetrievedMap | None, pair: ImagePair) -> Measures:
    """The metrics of both orders of a method; second order needs the masks of the pair."""
    similarity = pair.model.wrapper
    drop = metrics.faithfulness(similarity, pair.images, first.heat_map)
    values = {"faithfulness": drop.item(), "inefficiency": _measure_inefficiency(first, pair, 1)}
    if second is not None and pair.masks is not None:
        projected = metrics.to_pixels(second.heat_map, (pair.images[1].shape[2], pair.images[1].shape[3]))
        overlap = metrics.label_propagation(projected, pair.masks[1], pair.void)
        remaining = metrics.second_order_faithfulness(similarity, pair.images, projected, pair.masks, void=pair.void)
        values |= {
            "pair_faithfulness": remaining.item(),
            "pair_r2": second.r2,
            "banzhaf_r2": second.banzhaf_r2,
            "pair_inefficiency": _measure_inefficiency(second, pair, 2),
        }
        values |= {"mean_iou": overlap.mean_iou.item(), "foreground_iou": overlap.foreground_iou.item()}
    return Measures(**values)


def _measure_inefficiency(explanation: RetrievedMap, pair: ImagePair, order: int) -> float:
    if explanation.credit is None:
        return torch.nan
    return metrics.inefficiency(explanation.credit[None], pair.full, pair.empty[order - 1]).item()
