"""Label propagation: the overlap of an object's projected mask with its true mask."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.games.checks import describe_value
from captum_pairwise.metrics.pixels import check_maps, check_mask, check_object, most_important


@dataclass(frozen=True)
class LabelPropagation:
    """The pixels that are taken for the object in each image, and intersections over unions (IoU) with the true mask.

    Attributes:
        mean_iou: the mean of the two IoUs below: the mean IoU of a segmentation into two classes.
        foreground_iou: of the object.
        background_iou: of all other pixels; 1 if there are none.
        kept: the pixels that are taken for the object.

    >>> projected, mask = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[[True, False, False, False]]])
    >>> overlap = label_propagation(projected, mask)
    >>> overlap.kept[0, 0].tolist(), overlap.foreground_iou, overlap.background_iou
    ([True, False, False, False], tensor([1.]), tensor([1.]))

    See also `label_propagation`.
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
    """The overlap of the true object with the most important pixels of a projection, as many as the object has (paper §6).

    Args:
        projected: the query's mask projected to the retrieved image (`cp.Interactions.project`), as a map `[B, H, W]` or `[B, C, H, W]` of
            any size.
        mask: the true object in the retrieved image, boolean `[B, H, W]`.
        void: pixels without a label, boolean `[B, H, W]`: they are not taken and not counted.

    Raises:
        ValueError: an argument does not fit, or an image has no object.

    >>> projected = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]])
    >>> overlap = label_propagation(projected, torch.tensor([[[True, False, True, False]]]))
    >>> overlap.kept, overlap.mean_iou
    (tensor([[[ True,  True, False, False]]]), tensor([0.3333]))

    See also `cp.project_attention`, `second_order_faithfulness` and `cp.visualization.projection_figure`.
    """
    if not isinstance(mask, Tensor) or mask.dim() != 3:
        raise ValueError(f"Expected mask to be a boolean mask [B, H, W], got {describe_value(mask)}. For one image pass `mask[None]`.")
    maps = check_maps(projected, (mask.shape[1], mask.shape[2]), "projected", len(mask))
    void = torch.zeros_like(mask, dtype=torch.bool) if void is None else void
    void = check_mask(void, mask.shape, "void", maps.device)
    true = check_object(mask, mask.shape, "mask", maps.device, void)
    pixels = most_important(maps, true.sum((1, 2)), void)
    foreground, background = _compute_iou(pixels, true).to(maps), _compute_iou(~pixels & ~void, ~true & ~void).to(maps)
    return LabelPropagation((foreground + background) / 2, foreground, background, pixels)


def _compute_iou(pixels: Bool[Tensor, "batch height width"], true: Bool[Tensor, "batch height width"]) -> Float[Tensor, " batch"]:
    """The intersection over the union; 1 if both are empty."""
    common, either = (pixels & true).sum((1, 2)).double(), (pixels | true).sum((1, 2))
    return torch.where(either == 0, 1.0, common / either.clamp(min=1))
