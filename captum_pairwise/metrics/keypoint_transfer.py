"""Keypoint transfer: the distance between the strongest place of a map and the true point."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value


@torch.no_grad()
def correct_keypoints(
    maps: Float[Tensor, "points height width"], targets: Float[Tensor, "points 2"], alpha: float = 0.1
) -> Bool[Tensor, " points"]:
    r"""The keypoints that an explanation carries to the right place; their share is PCK@α (Yang and Ramanan 2013).

    Map `k` is the credit of all pixels of the retrieved image with the query's part at keypoint `k`. The answer is its largest value; of
    several equal ones, as in a superpixel, their mean position. It is right if its distance to the target is at most
    $\alpha \max(H, W)$.

    Args:
        maps: one for each keypoint, `[points, H, W]`.
        targets: row and column of the true points, `[points, 2]` in pixels; the centre of the first pixel is (0, 0).
        alpha: the largest distance, as a share of the larger side of the image.

    Raises:
        ValueError: an argument does not fit.

    >>> maps = torch.zeros(2, 1, 10)
    >>> maps[0, 0, 2], maps[1, 0, 9] = 1.0, 1.0
    >>> correct_keypoints(maps, torch.tensor([[0.0, 3.0], [0.0, 3.0]]), alpha=0.1)
    tensor([ True, False])

    See also `cp.datasets.spair` and `cp.datasets.exact_pairs`.
    """
    if not isinstance(maps, Tensor) or maps.dim() != 3 or not maps.is_floating_point() or 0 in maps.shape:
        raise ValueError(f"Expected floating-point maps [K, H, W], one for each point, got {describe_value(maps)}. Stack the projections.")
    check_finite(maps, "the maps")
    if not isinstance(targets, Tensor) or targets.shape != (len(maps), 2) or not targets.is_floating_point():
        raise ValueError(f"Expected targets [{len(maps)}, 2], row and column of each point, got {describe_value(targets)}.")
    check_finite(targets, "the targets")
    if not alpha > 0:
        raise ValueError(f"Expected alpha above 0, got {alpha!r}. It is a share of the larger side; the field uses 0.05 to 0.2.")
    distances = (locate_peaks(maps) - targets.to(maps.device).double()).norm(dim=1)
    return distances <= alpha * max(maps.shape[1:])


def locate_peaks(maps: Float[Tensor, "points height width"]) -> Float[Tensor, "points 2"]:
    """Row and column of the largest value of each map; of several equal ones their mean position."""
    is_peak = (maps == maps.amax((1, 2), keepdim=True)).double()
    rows, columns = (torch.arange(size, dtype=torch.float64, device=maps.device) for size in maps.shape[1:])
    sums = torch.stack([torch.einsum("khw,h->k", is_peak, rows), torch.einsum("khw,w->k", is_peak, columns)], 1)
    return sums / is_peak.sum((1, 2))[:, None]
