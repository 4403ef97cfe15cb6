"""Maps over pixels: any explanation as one, and its most important pixels."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.checks import promote_half, refuse_not_finite


@torch.no_grad()
def to_pixels(attributions: Float[Tensor, "batch ..."], size: tuple[int, int]) -> Float[Tensor, "batch height width"]:
    """One number per pixel: channels are summed, and a map of another size is interpolated bilinearly (`align_corners=False`).

    Args:
        attributions: `[B, C, H, W]` or `[B, H, W]`, of the pixels or of a layer's grid.
        size: height and width of the images.

    Raises:
        ValueError: the attributions are no maps, or hold NaN or infinity.

    >>> to_pixels(torch.tensor([[[[0.0, 4.0]], [[1.0, 1.0]]]]), (1, 4))
    tensor([[[1., 2., 4., 5.]]])
    """
    return maps_of(attributions, size, "attributions")


def maps_of(attributions: object, size: tuple[int, int], name: str, n_examples: int | None = None) -> Float[Tensor, "batch height width"]:
    """`to_pixels` of an argument of this name, for this many images."""
    if not isinstance(attributions, Tensor) or attributions.dim() not in (3, 4) or 0 in attributions.shape:
        came = f"shape {tuple(attributions.shape)}" if isinstance(attributions, Tensor) else type(attributions).__name__
        raise ValueError(
            f"Expected {name} to be maps over one image, [B, C, H, W] or [B, H, W], got {came}. Of two images pass the tensor of the one "
            "asked about; lay credits of players out first (`visualization.to_pixels`)."
        )
    if not attributions.is_floating_point():
        raise ValueError(f"Expected floating-point {name}, got {attributions.dtype}. Convert them with `.float()`.")
    if n_examples is not None and len(attributions) != n_examples:
        raise ValueError(
            f"Expected {name} with a map per pair, {n_examples} of them, got {len(attributions)}. Repeat one that pairs share."
        )
    refuse_not_finite(attributions, name)
    maps = promote_half(attributions.detach())
    maps = maps.sum(1) if maps.dim() == 4 else maps
    if maps.shape[1:] == tuple(size):
        return maps
    return F.interpolate(maps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]


@torch.no_grad()
def most_important(
    maps: Float[Tensor, "batch height width"],
    n: int | Int[Tensor, " batch"],
    void: Bool[Tensor, "batch height width"] | None = None,
) -> Bool[Tensor, "batch height width"]:
    """Where the `n` largest values of each map are: exactly that many pixels; of equal ones those that come first in reading order.

    Args:
        maps: a number per pixel.
        n: how many pixels, of all maps or of each.
        void: pixels that are never taken.

    Raises:
        ValueError: a map holds NaN, or has fewer pixels to take; or an argument does not fit.

    >>> most_important(torch.tensor([[[1.0, 3.0], [3.0, 3.0]]]), 2)
    tensor([[[False,  True],
             [ True, False]]])
    """
    if not isinstance(maps, Tensor) or maps.dim() != 3 or not maps.is_floating_point():
        came = f"{maps.dtype} of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"Expected maps [B, H, W] of floating-point numbers, got {came}. Lay others out with `metrics.to_pixels`.")
    if maps.isnan().any():
        raise ValueError("Expected maps of numbers, got NaN, which has no rank. Give such pixels a value, or leave them out with `void`.")
    if void is not None:
        void = checked_mask(void, maps.shape, "void", maps.device)
    return ranks(maps, void) < _checked_counts(n, maps, void)[:, None, None]


def ranks(
    maps: Float[Tensor, "batch height width"], void: Bool[Tensor, "batch height width"] | None = None
) -> Int[Tensor, "batch height width"]:
    """The place of each pixel in its map, 0 for the largest value; equal ones in reading order, void ones behind all others."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    if void is not None:
        order = order.gather(1, void.flatten(1).gather(1, order).byte().argsort(dim=1, stable=True))
    place = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place).reshape(maps.shape)


def _checked_counts(n: object, maps: Tensor, void: Tensor | None) -> Int[Tensor, " batch"]:
    """How many pixels of each map are wanted; there are as many."""
    is_one = isinstance(n, int) and not isinstance(n, bool)
    is_each = isinstance(n, Tensor) and n.shape == maps.shape[:1] and not (n.is_floating_point() or n.dtype == torch.bool)
    if not is_one and not is_each:
        came = f"{n.dtype} of shape {tuple(n.shape)}" if isinstance(n, Tensor) else repr(n)
        raise ValueError(f"Expected n to be a whole number, or a tensor of {len(maps)} of them, one per map, got {came}. Round a share.")
    counts = torch.as_tensor(n, device=maps.device).expand(len(maps))
    there = counts.new_full((len(maps),), maps[0].numel()) if void is None else (~void).sum((1, 2))
    bad = ((counts < 0) | (counts > there)).nonzero()
    if len(bad):
        row = bad[0, 0]
        raise ValueError(f"Expected n between 0 and the {there[row]} pixels that are not void in map {row}, got {counts[row]}. Take fewer.")
    return counts


def checked_mask(mask: object, shape: torch.Size, name: str, device: torch.device) -> Bool[Tensor, "batch height width"]:
    """A mask of pixels of images of this shape `[B, H, W]`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        came = f"{mask.dtype} of shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(
            f"Expected {name} to be a boolean mask of shape {tuple(shape)}, got {came}. Compare the labels with the class's, and resize "
            "masks with mode='nearest'."
        )
    return mask.to(device)


def checked_object(
    mask: object, shape: torch.Size, name: str, device: torch.device, void: Tensor | None = None
) -> Bool[Tensor, "batch height width"]:
    """A mask of pixels, without void ones, of which each image has some.

    Raises:
        ValueError: it is none.
    """
    shown = checked_mask(mask, shape, name, device)
    shown = shown if void is None else shown & ~void
    missing = (~shown.flatten(1).any(1)).nonzero()
    if len(missing):
        raise ValueError(
            f"Expected {name} with at least one pixel that is not void in every image, got none in image {missing[0, 0]}. Leave such pairs "
            "out."
        )
    return shown
