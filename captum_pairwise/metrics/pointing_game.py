"""Pointing game: the credit of each part of the query in the region of the retrieved image that shows the same thing."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value

OUTSIDE = -1  # the label of pixels that no map points to


@torch.no_grad()
def pointing_recognition(maps: Float[Tensor, "regions height width"], labels: Int[Tensor, "height width"]) -> Float[Tensor, ""]:
    r"""The share of right credit in a mosaic, from 0 to 1 (pointing game recognition of FIxLIP, Baniecki et al. 2025).

    Map $t$ is the credit that the pixels of the retrieved image have with part $t$ of the query, whose right place is the region $Q_t$:

    $$\frac{C}{C + W}, \quad C = \sum_t \Big( \sum_{Q_t} \phi_t^+ + \sum_{\text{outside } Q_t} \phi_t^- \Big), \quad
    W = \sum_t \Big( \sum_{\text{outside } Q_t} \phi_t^+ + \sum_{Q_t} \phi_t^- \Big)$$

    with the positive part $\phi^+$ and the size of the negative part $\phi^-$. One map for all parts of a query that shows all `n`
    quadrants of a mosaic has about `1 / n`.

    Args:
        maps: one for each part of the query, `[parts, H, W]`: the projection of a region of an image, or the credit with a word.
        labels: the number of the map that is right at each pixel, `[H, W]`, -1 for none.

    Returns:
        The share; NaN if all credit is 0.

    Raises:
        ValueError: an argument does not fit.

    >>> maps = torch.tensor([[[3.0, -1.0]], [[1.0, 3.0]]])
    >>> pointing_recognition(maps, torch.tensor([[0, 1]]))  # wrong is only the credit 1 of the second map at the left
    tensor(0.8750)

    See also `cp.datasets.exact_pairs` and `planted_evidence`.
    """
    if not isinstance(maps, Tensor) or maps.dim() != 3 or not maps.is_floating_point() or 0 in maps.shape:
        raise ValueError(f"Expected floating-point maps [T, H, W], one for each part, got {describe_value(maps)}. Stack the projections.")
    check_finite(maps, "the maps")
    is_integer = isinstance(labels, Tensor) and not labels.is_floating_point() and labels.dtype != torch.bool
    if not is_integer or labels.shape != maps.shape[1:]:
        shape = list(maps.shape[1:])
        raise ValueError(f"Expected labels {shape} of integers, the number of a map, got {describe_value(labels)}. Write -1 for no map.")
    if labels.min() < OUTSIDE or labels.max() >= len(maps):
        raise ValueError(f"Expected labels from -1 to {len(maps) - 1}, got {labels.min()} to {labels.max()}. Number the maps from 0.")
    inside = labels.to(maps.device) == torch.arange(len(maps), device=maps.device)[:, None, None]
    credit = maps.double()
    right = torch.where(inside, credit, -credit).clamp(min=0).sum()
    return (right / credit.abs().sum()).to(maps.dtype)
