"""Pairs of images with some pixels replaced by a background, and their similarity."""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.checks import check_images, check_values, describe_value, refuse_training, unpack_pair
from captum_pairwise.games.context import Images
from captum_pairwise.metrics.pixels import check_maps, check_mask, rank_pixels
from captum_pairwise.players.baselines import Baseline, background_members
from captum_pairwise.results.interactions import SIDES

ForwardFunc = Callable[..., Tensor]
Baselines = tuple[Baseline, Baseline] | None
Versions = Callable[[Tensor], list[Tensor]]  # from absent pixels to versions of an image


@torch.no_grad()
def censor(
    images: Float[Tensor, "batch channels height width"],
    gone: Bool[Tensor, "batch height width"],
    background: Float[Tensor, "batch channels height width"],
) -> Float[Tensor, "batch channels height width"]:
    """The images, with the pixels of a mask taken from the background.

    Args:
        images: a batch of images `[B, C, H, W]`.
        gone: the pixels to replace, boolean `[B, H, W]`.
        background: images of the same shape.

    Raises:
        ValueError: the three do not fit.

    >>> censor(torch.ones(1, 1, 1, 2), torch.tensor([[[True, False]]]), torch.zeros(1, 1, 1, 2))
    tensor([[[[0., 1.]]]])

    See also `faithfulness` and `cp.blur_baseline`.
    """
    _refuse_no_images(images, "images")
    if not isinstance(background, Tensor) or background.shape != images.shape:
        raise ValueError(f"Expected a background of shape {tuple(images.shape)}, got {describe_value(background)}. Call `expand_as`.")
    mask = check_mask(gone, images[:, 0].shape, "gone", images.device)
    return torch.where(mask[:, None], background.to(images), images)


def _refuse_no_images(images: object, name: str) -> None:
    if not isinstance(images, Tensor) or images.dim() != 4 or 0 in images.shape:
        raise ValueError(f"Expected {name} [B, C, H, W], got {describe_value(images)}. Choose the image of the pair that has pixels.")


def check_pairs(forward_func: ForwardFunc, inputs: object) -> Images:
    """The images, for a function of one pair.

    Raises:
        ValueError: the network is in training mode, or the inputs are not pairs.
    """
    refuse_training(forward_func)
    return check_images(inputs, takes_ids=True)


def prepare_versions(images: Images, k: int, baselines: object) -> Versions:
    """A function from absent pixels to versions of the query images (`k` is 0) or the retrieved ones (1).

    There is one version for each member of the background; without absent pixels only the images themselves.

    Raises:
        ValueError: they are not images, or the baselines do not fit.
    """
    baseline = unpack_pair(baselines, "baselines")[k]
    _refuse_no_images(images[k], f"{SIDES[k]} images")
    members = background_members(baseline, images[k], f"the {SIDES[k]} baseline")
    return lambda gone: [censor(images[k], gone, member) for member in members] if gone.any() else [images[k]]


def mean_similarity(forward_func: ForwardFunc, queries: Sequence[Tensor], retrieved: Sequence[Tensor]) -> Float[Tensor, " batch"]:
    """The similarity of each pair, the mean over all versions of its query and of its retrieved image; a forward pass for each two.

    Raises:
        ValueError: the forward function does not return a finite number per pair.
    """
    values = [check_values(forward_func(*versions), len(versions[0])) for versions in product(queries, retrieved)]
    return torch.stack(values).mean(0)


def rank_image(
    forward_func: ForwardFunc, inputs: object, attributions: object, image: str, baselines: object
) -> tuple[Int[Tensor, "batch height width"], Callable[[Tensor], Tensor]]:
    """The ranks of the pixels of the `"query"` or the `"retrieved"` image, and the similarity as a function of absent pixels.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.
    """
    if image not in SIDES:
        raise ValueError(f"Expected image to be one of {SIDES}, got {image!r}. Name the image of the attributions.")
    images, k = check_pairs(forward_func, inputs), SIDES.index(image)
    versions = prepare_versions(images, k, baselines)
    maps = check_maps(attributions, (images[k].shape[2], images[k].shape[3]), "attributions", len(images[k])).to(images[k].device)

    def evaluate(gone: Tensor) -> Tensor:
        return mean_similarity(forward_func, *((versions(gone), images[1:]) if k == 0 else (images[:1], versions(gone))))

    return rank_pixels(maps), evaluate
