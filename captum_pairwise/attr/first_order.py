"""What the first-order attribution classes share: each image is explained on its own, the other one being whole (paper eq. 2)."""

import abc

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.attr.base import Explanation, InputExplanation, LayerExplanation
from captum_pairwise.players.regions import Players, paint
from captum_pairwise.results.interactions import Interactions

OfBoth = tuple[Interactions, Interactions]
Maps = tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]


class OneImage(Explanation[OfBoth, Maps], abc.ABC):
    """A method that credits the parts of each image; what it finds are two `Interactions`, with the credits as `marginal`."""

    order = 1

    def _delta(self, found: OfBoth) -> Float[Tensor, "batch 2"]:
        return deltas(found)


class InputFirstOrder(InputExplanation[OfBoth, Maps], OneImage, abc.ABC):
    """A first-order method whose players are parts of the images; `cls(forward_func)`."""

    def _view(self, found: OfBoth, inputs: tuple[Tensor, Tensor]) -> Maps:
        query, retrieved = (_painted(of_image, images) for of_image, images in zip(found, inputs, strict=True))
        return query, retrieved


class LayerFirstOrder(LayerExplanation[OfBoth, Maps], OneImage, abc.ABC):
    """A first-order method whose players are cells of a layer's output; `cls(forward_func, layer)`."""

    def _view(self, found: OfBoth, inputs: tuple[Tensor, Tensor]) -> Maps:
        return maps(found)


def maps(found: OfBoth) -> Maps:
    """The credits of each image laid out as its cells are, `[B, 1, H, W]`."""
    query, retrieved = (of_image["marginal"].reshape(-1, 1, *_players(of_image).shape) for of_image in found)
    return query, retrieved


def deltas(found: OfBoth) -> Float[Tensor, "batch 2"]:
    """Of each image all credit, less what the image adds to the similarity over its baseline."""
    return torch.stack([-of_image.completeness_gap for of_image in found], 1)


def _players(credits: Interactions) -> Players:
    return next(players for players in (credits.query_players, credits.retrieved_players) if players is not None)


def _painted(credits: Interactions, images: Tensor) -> Float[Tensor, "batch ..."]:
    """Every scalar of the images with the credit of its player."""
    return paint(credits["marginal"], _players(credits).ids).expand_as(images).contiguous()
