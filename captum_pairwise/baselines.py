"""What a player is replaced by when it leaves."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Backgrounds:
    """A background distribution: the game is averaged over its members.

    Both images may have one; they are then independent, and the game is the average over all combinations.

    Attributes:
        images: `[K, ...]`, each member shaped like one input.
    """

    images: Tensor


Baseline = Backgrounds | Tensor | int | float | None


def blur_baseline(
    image: Float[Tensor, "batch channels height width"], kernel_size: int = 25
) -> Float[Tensor, "batch channels height width"]:
    """The box blur of each image with mirrored borders (the paper's background, §A.2).

    Args:
        image: a batch of images.
        kernel_size: odd width of the box in pixels; shrunk where an image is too small to be mirrored that far.

    Raises:
        ValueError: `kernel_size` is even or below 1.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"Expected an odd kernel_size of at least 1, got {kernel_size}.")
    reach = [min(kernel_size // 2, size - 1) for size in image.shape[-2:]]
    padded = F.pad(image, (reach[1], reach[1], reach[0], reach[0]), mode="reflect")
    rows_averaged = F.avg_pool2d(padded, (2 * reach[0] + 1, 1), stride=1)  # a box is separable: 25 + 25 terms, not 25 · 25
    return F.avg_pool2d(rows_averaged, (1, 2 * reach[1] + 1), stride=1)


def mean_colour(image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
    """Each image's own mean colour, everywhere."""
    return image.mean((2, 3), keepdim=True).expand_as(image)


def default_baseline(inputs: Tensor) -> Tensor:
    """The blur of images `[B, C, H, W]`, and 0 for anything else: our one departure from Captum, whose default is 0 throughout."""
    return blur_baseline(inputs) if inputs.dim() == 4 else inputs.new_zeros(inputs.shape)


def background_members(baseline: Baseline, masked: Tensor, name: str) -> list[Tensor]:
    """A user's baseline as the members of a distribution, each expanded to the batch that is masked.

    Raises:
        ValueError: the baseline does not fit.
    """
    if baseline is None:
        return [default_baseline(masked)]
    if isinstance(baseline, (int, float)):
        return [masked.new_full(masked.shape, baseline)]
    if isinstance(baseline, Backgrounds):
        members = baseline.images
        if len(members) == 0 or members.shape[1:] != masked.shape[1:]:
            raise ValueError(f"Expected {name} to hold images [K, {', '.join(map(str, masked.shape[1:]))}], got {tuple(members.shape)}.")
        return [member[None].expand_as(masked) for member in members.to(masked)]
    if not isinstance(baseline, Tensor):
        raise ValueError(f"Expected {name} to be None, a number, a tensor or Backgrounds, got {type(baseline).__name__}.")
    fits = baseline.shape[1:] == masked.shape[1:] and len(baseline) in (1, len(masked))
    if not fits:
        raise ValueError(
            f"Expected {name} to be a number, a tensor of shape {tuple(masked.shape)} (or with one example), or Backgrounds, got a "
            f"tensor of shape {tuple(baseline.shape)}."
        )
    return [baseline.to(masked).expand_as(masked)]
