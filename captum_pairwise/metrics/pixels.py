"""Maps over pixels: any explanation as one, and its most important pixels."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value, promote_half


@torch.no_grad()
def to_pixels(attributions: Float[Tensor, "batch ..."], size: tuple[int, int]) -> Float[Tensor, "batch height width"]:
    """One number per pixel: channels are summed, and a map of another size is interpolated bilinearly (`align_corners=False`).

    Args:
        attributions: `[B, C, H, W]` or `[B, H, W]`, over the pixels or over a layer's grid.
        size: height and width of the images.

    Raises:
        ValueError: the attributions are not maps, or hold NaN or infinity.

    >>> to_pixels(torch.tensor([[[[0.0, 4.0]], [[1.0, 1.0]]]]), (1, 4))
    tensor([[[1., 2., 4., 5.]]])

    See also `cp.visualization.to_pixels`, which paints values of players.
    """
    return check_maps(attributions, size, "attributions")


def check_maps(attributions: object, size: tuple[int, int], name: str, n_maps: int | None = None) -> Float[Tensor, "batch height width"]:
    """The result of `to_pixels` for an argument of this name, with this number of maps if it is known."""
    if not isinstance(attributions, Tensor) or attributions.dim() not in (3, 4) or 0 in attributions.shape:
        raise ValueError(
            f"Expected {name} to be maps over one image, [B, C, H, W] or [B, H, W], got {describe_value(attributions)}. Of two images pass "
            "the tensor for one; for credits of players call `visualization.to_pixels` first."
        )
    if not attributions.is_floating_point():
        raise ValueError(f"Expected floating-point {name}, got {attributions.dtype}. Convert them with `.float()`.")
    if n_maps is not None and len(attributions) != n_maps:
        raise ValueError(f"Expected {name} to hold {n_maps} maps, one per pair, got {len(attributions)}. Repeat a map that pairs share.")
    check_finite(attributions, name)
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
    """A mask of the `n` largest values of each map: exactly that many pixels; of equal ones the first in reading order.

    Args:
        maps: a number per pixel, `[B, H, W]`.
        n: the number of pixels, for all maps or for each.
        void: pixels that are never taken, boolean `[B, H, W]`.

    Raises:
        ValueError: a map holds NaN, or has fewer pixels that are not void; or an argument does not fit.

    >>> most_important(torch.tensor([[[1.0, 3.0], [3.0, 3.0]]]), 2)
    tensor([[[False,  True],
             [ True, False]]])

    See also `label_propagation`.
    """
    if not isinstance(maps, Tensor) or maps.dim() != 3 or not maps.is_floating_point():
        raise ValueError(f"Expected floating-point maps [B, H, W], got {describe_value(maps)}. Convert others with `metrics.to_pixels`.")
    if maps.isnan().any():
        raise ValueError("Expected maps of numbers, got NaN, which has no rank. Replace NaN, or exclude such pixels with `void`.")
    if void is not None:
        void = check_mask(void, maps.shape, "void", maps.device)
    return rank_pixels(maps, void) < _check_counts(n, maps, void)[:, None, None]


def rank_pixels(
    maps: Float[Tensor, "batch height width"], void: Bool[Tensor, "batch height width"] | None = None
) -> Int[Tensor, "batch height width"]:
    """The rank of each pixel in its map, 0 for the largest value; equal ones in reading order, void ones after all others."""
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    if void is not None:
        order = order.gather(1, void.flatten(1).gather(1, order).byte().argsort(dim=1, stable=True))
    return order.argsort(dim=1).reshape(maps.shape)  # the inverse permutation


def _check_counts(n: object, maps: Tensor, void: Tensor | None) -> Int[Tensor, " batch"]:
    """The number of pixels to take from each map."""
    is_int = isinstance(n, int) and not isinstance(n, bool)
    is_tensor = isinstance(n, Tensor) and n.shape == maps.shape[:1] and not (n.is_floating_point() or n.dtype == torch.bool)
    if not is_int and not is_tensor:
        value = describe_value(n) if isinstance(n, Tensor) else repr(n)
        raise ValueError(f"Expected n to be an integer, or a tensor of {len(maps)} integers, one per map, got {value}. Round shares.")
    counts = torch.as_tensor(n, device=maps.device).expand(len(maps))
    available = counts.new_full((len(maps),), maps[0].numel()) if void is None else (~void).sum((1, 2))
    for row, (count, limit) in enumerate(zip(counts.tolist(), available.tolist(), strict=True)):
        if not 0 <= count <= limit:
            raise ValueError(f"Expected n between 0 and the {limit} pixels that are not void in map {row}, got {count}. Take fewer.")
    return counts


def check_mask(mask: object, shape: torch.Size, name: str, device: torch.device) -> Bool[Tensor, "batch height width"]:
    """A mask of pixels of images of this shape `[B, H, W]`.

    Raises:
        ValueError: the mask has another type or shape.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(
            f"Expected {name} to be a boolean mask of shape {tuple(shape)}, got {describe_value(mask)}. Compare labels with the class's "
            "label, and resize masks with mode='nearest'."
        )
    return mask.to(device)


def check_object(
    mask: object, shape: torch.Size, name: str, device: torch.device, void: Tensor | None = None
) -> Bool[Tensor, "batch height width"]:
    """A mask of pixels without void ones; every image has some.

    Raises:
        ValueError: the mask does not fit, or is empty in an image.
    """
    pixels = check_mask(mask, shape, name, device)
    pixels = pixels if void is None else pixels & ~void
    empty = (~pixels.flatten(1).any(1)).nonzero()
    if len(empty):
        raise ValueError(f"Expected {name} with at least one pixel that is not void, got none in image {empty[0, 0]}. Leave it out.")
    return pixels
