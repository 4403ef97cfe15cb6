"""How well an explanation carries an object's mask from one image to the other."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.metrics.pixels import checked_mask, checked_object, maps_of, most_important


@dataclass(frozen=True)
class LabelPropagation:
    """The object that was found in each image, and how far it is the true one, by intersections over unions (IoU).

    Attributes:
        mean_iou: the mean of the two that follow: the mean IoU of a segmentation into two classes.
        foreground_iou: of the object.
        background_iou: of all else; 1 where there is nothing else.
        kept: the object that was found.
    """

    mean_iou: Float[Tensor, " batch"]
    foreground_iou: Float[Tensor, " batch"]
    background_iou: Float[Tensor, " batch"]
    kept: Bool[Tensor, "batch height width"]


@torch.no_grad()
def label_propagation(
    projected: Float[Tensor, "batch ..."],
    mask: Bool[Tensor, "batch height width"],
    void: Bool[Tensor, "batch height width"] | None = None,
) -> LabelPropagation:
    """How well the most important pixels of a projection, as many as the true object has, cover it (paper §6).

    Args:
        projected: the query's mask carried to the retrieved image (`Interactions.project`), as a map `[B, H, W]` or `[B, C, H, W]` of any
            size.
        mask: the true object in the retrieved image.
        void: pixels without a label: neither found, nor counted in anything.

    Raises:
        ValueError: an argument does not fit, or an image has no object.

    >>> projected = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]])
    >>> found = label_propagation(projected, torch.tensor([[[True, False, True, False]]]))
    >>> found.kept, found.mean_iou
    (tensor([[[ True,  True, False, False]]]), tensor([0.3333]))
    """
    if not isinstance(mask, Tensor) or mask.dim() != 3:
        came = f"shape {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise ValueError(f"Expected mask to be a boolean mask [B, H, W], got {came}. Give one image a batch of one: `mask[None]`.")
    maps = maps_of(projected, (mask.shape[1], mask.shape[2]), "projected", len(mask))
    void = (
        torch.zeros_like(mask, dtype=torch.bool, device=maps.device)
        if void is None
        else checked_mask(void, mask.shape, "void", maps.device)
    )
    true = checked_object(mask, mask.shape, "mask", maps.device, void)
    kept = most_important(maps, true.sum((1, 2)), void)
    foreground, background = _iou(kept, true).to(maps), _iou(~kept & ~void, ~true & ~void).to(maps)
    return LabelPropagation((foreground + background) / 2, foreground, background, kept)


def _iou(found: Bool[Tensor, "batch height width"], true: Bool[Tensor, "batch height width"]) -> Float[Tensor, " batch"]:
    """The intersection over the union; nothing found where there is nothing is all that there is."""
    common, either = (found & true).sum((1, 2)).double(), (found | true).sum((1, 2))
    return torch.where(either == 0, 1.0, common / either.clamp(min=1))
