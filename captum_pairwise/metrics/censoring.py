"""Pairs of images of which some pixels are replaced by their background, and how similar the pairs then are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.checks import check_images, promote_half, refuse_not_finite, refuse_training, unpack_pair
from captum_pairwise.games.context import Images
from captum_pairwise.metrics.pixels import checked_mask, maps_of, ranks
from captum_pairwise.players.baselines import Baseline, background_members
from captum_pairwise.results.interactions import SIDES

ForwardFunc = Callable[..., Tensor]
Baselines = tuple[Baseline, Baseline] | None


@torch.no_grad()
def censor(
    images: Float[Tensor, "batch channels height width"],
    gone: Bool[Tensor, "batch height width"],
    background: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """The images, with every pixel that is gone taken from the background.

    Args:
        images: a batch of images.
        gone: the pixels to replace.
        background: what they show instead.

    Raises:
        ValueError: the three do not fit.

    >>> censor(torch.ones(1, 1, 1, 2), torch.tensor([[[True, False]]]), torch.zeros(1, 1, 1, 2))
    tensor([[[[0., 1.]]]])
    """
    refuse_no_images(images, "images")
    if not isinstance(background, Tensor) or background.shape != images.shape:
        came = tuple(background.shape) if isinstance(background, Tensor) else type(background).__name__
        raise ValueError(
            f"Expected a background of shape {tuple(images.shape)}, got {came}. Expand one that images share: "
            "`background.expand_as(images)`."
        )
    mask = checked_mask(gone, images[:, 0].shape, "gone", images.device)
    return torch.where(mask[:, None], background.to(images), images)


def refuse_no_images(images: object, name: str) -> None:
    """Refuse what has no pixels.

    Raises:
        ValueError: it has none.
    """
    if not isinstance(images, Tensor) or images.dim() != 4 or 0 in images.shape:
        came = f"shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(
            f"Expected {name} [B, C, H, W], because their pixels are replaced, got {came}. Censor the other image of the pair."
        )


def checked_pairs(forward_func: ForwardFunc, inputs: object) -> Images:
    """The images, for a function of one pair.

    Raises:
        ValueError: the network is in training mode, or the inputs are no pairs.
    """
    refuse_training(forward_func)
    return check_images(inputs, takes_ids=True)


@dataclass(frozen=True)
class Censorable:
    """The images of one side of a batch of pairs, and what stands in for their pixels.

    Attributes:
        images: as they are.
        members: of the background distribution, each shaped like the images.
    """

    images: Float[Tensor, "batch channels height width"]
    members: Sequence[Float[Tensor, "batch channels height width"]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[2], self.images.shape[3]

    def without(self, gone: Bool[Tensor, "batch height width"]) -> list[Tensor]:
        """The images with these pixels replaced by each member of the background; as they are, once, where none is gone."""
        return [censor(self.images, gone, member) for member in self.members] if gone.any() else [self.images]


def censorable(images: Images, k: int, baselines: object) -> Censorable:
    """The query images (`k` is 0) or the retrieved ones (1), with their backgrounds.

    Raises:
        ValueError: they are no images, or the baselines do not fit.
    """
    baseline = unpack_pair(baselines, "baselines")[k]
    refuse_no_images(images[k], f"{SIDES[k]} images")
    return Censorable(images[k], background_members(baseline, images[k], f"the {SIDES[k]} baseline"))


def similarity(forward_func: ForwardFunc, queries: Sequence[Tensor], retrieved: Sequence[Tensor]) -> Float[Tensor, " batch"]:
    """How similar each pair is, the mean over all versions of its query and of its retrieved image; a forward pass for each two.

    Raises:
        ValueError: the forward function returns something else than a finite number per pair.
    """
    return torch.stack([_checked(forward_func(*versions), len(versions[0])) for versions in product(queries, retrieved)]).mean(0)


def _checked(values: object, n_pairs: int) -> Float[Tensor, " batch"]:
    """One finite similarity per pair."""
    if not isinstance(values, Tensor) or values.shape != (n_pairs,):
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(
            f"Expected one similarity per pair, shape ({n_pairs},), from the forward function, got {came}. Wrap it in a function that "
            "returns a vector."
        )
    refuse_not_finite(values[:, None], "what the forward function returned, one similarity a pair")
    return promote_half(values)


@dataclass(frozen=True)
class RankedImage:
    """A batch of pairs of which one image has a map that ranks its pixels.

    Attributes:
        ranks: the place of each pixel, 0 for the most important.
        similarity: of the pairs, with these pixels of that image gone.
    """

    ranks: Int[Tensor, "batch height width"]
    similarity: Callable[[Tensor], Tensor]

    @property
    def n_pixels(self) -> int:
        """Of each image."""
        return self.ranks[0].numel()


def ranked_image(forward_func: ForwardFunc, inputs: object, attributions: object, image: str, baselines: object) -> RankedImage:
    """The pairs, whose `"query"` or `"retrieved"` image has these attributions.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    if image not in SIDES:
        raise ValueError(f"Expected image to be one of {SIDES}, got {image!r}. Name the image that the attributions are about.")
    images, k = checked_pairs(forward_func, inputs), SIDES.index(image)
    side = censorable(images, k, baselines)
    maps = maps_of(attributions, side.size, "attributions", len(side.images)).to(side.images.device)

    def value(gone: Tensor) -> Tensor:
        versions = side.without(gone)
        return similarity(forward_func, *((versions, images[1:]) if k == 0 else (images[:1], versions)))

    return RankedImage(ranks(maps), value)
