"""Arrange estimated credits as the tensors that `attribute` returns."""

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.players.regions import Players, paint
from captum_pairwise.results.interactions import Interactions

ImageInteractions = tuple[Interactions, Interactions]  # of the query's players, and of the retrieved image's
Result = TypeVar("Result", Interactions, ImageInteractions)
View = TypeVar("View")  # what `attribute` returns: `Matrix`, or `Maps`
Maps = tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]
Matrix = Float[Tensor, "batch ..."]
Delta = Float[Tensor, "batch ..."]


def arrange_pairs(interactions: Interactions) -> Matrix:
    """The pairs between the images in the layout of their players, `[B, *query_players, *retrieved_players]`."""
    pairs, query, retrieved = interactions["between"], interactions.query_players, interactions.retrieved_players
    if query is not None and retrieved is not None:
        pairs = pairs.reshape(len(pairs), *query.shape, *retrieved.shape)
    return pairs.contiguous()


def arrange_maps(result: ImageInteractions) -> Maps:
    """The credits of each image in the layout of its cells, `[B, 1, H, W]`."""
    query, retrieved = (credits["marginal"].reshape(-1, 1, *_get_players(credits).shape) for credits in result)
    return query, retrieved


def paint_images(result: ImageInteractions, inputs: tuple[Tensor, Tensor]) -> Maps:
    """For each image, every scalar with the credit of its player."""
    query, retrieved = (
        paint(credits["marginal"], _get_players(credits).ids).expand_as(images).contiguous()
        for credits, images in zip(result, inputs, strict=True)
    )
    return query, retrieved


def compute_delta(result: Interactions | ImageInteractions) -> Delta:
    """Sum of the attributions minus `v(N)`, plus the constant of the index, `[B]`; for first order one for each image, `[B, 2]`."""
    if isinstance(result, Interactions):
        return -result.completeness_gap
    return torch.stack([-credits.completeness_gap for credits in result], 1)


def _get_players(credits: Interactions) -> Players:
    return next(players for players in (credits.query_players, credits.retrieved_players) if players is not None)
