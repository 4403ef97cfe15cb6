"""Parts of volumes, videos and signals as players, and the players of inputs without a mask."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.players.layouts import find_input_channels
from captum_pairwise.players.regions import Players, divide_by_slic, parse_mask, scalars, superpixels


def boxes(sizes: Sequence[int], counts: Sequence[int]) -> Int[Tensor, "1 1 ..."]:
    """Ids `[1, 1, ...]` of equal boxes with any number of axes, in reading order: intervals of a signal, or blocks of a volume.

    >>> boxes([6], [3]).tolist(), boxes([2, 2, 2], [2, 1, 2])[0, 0].tolist()
    ([[[0, 0, 1, 1, 2, 2]]], [[[0, 1], [0, 1]], [[2, 3], [2, 3]]])

    Args:
        sizes: elements along each axis, such as depth, height and width.
        counts: boxes along each axis.

    Raises:
        ValueError: the numbers of axes differ, or there are more boxes than elements.

    See also `grid` and `supervoxels`.
    """
    if len(sizes) != len(counts) or not sizes or not all(1 <= count <= size for size, count in zip(sizes, counts, strict=True)):
        raise ValueError(f"Expected one number of boxes for each axis of {tuple(sizes)}, from 1 to its size, got {tuple(counts)}.")
    ids = torch.zeros((), dtype=torch.int64, device="cpu")
    for size, count in zip(sizes, counts, strict=True):
        ids = ids[..., None] * count + torch.arange(size, device="cpu") * count // size
    return ids[None, None]


def supervoxels(
    volume: Float[Tensor, "batch axis1 axis2 height width"], n_segments: int = 50, compactness: float = 10.0, sigma: float = 1.0
) -> Int[Tensor, "batch ..."]:
    """SLIC supervoxels of volumes or videos, with ids from 0: parts of one brightness or colour over neighbouring slices or frames.

    Args:
        volume: a batch `[B, C, D, H, W]`, or of videos `[B, T, 3, H, W]`. An example with values outside [0, 1] is first scaled to [0, 1].
        n_segments: target number of supervoxels; SLIC often finds a few less.
        compactness: weight of position relative to colour.
        sigma: width in voxels of the Gaussian that first smooths the volume.

    Returns:
        The ids, with one entry for all channels.

    >>> halves = torch.arange(16).ge(8).float().expand(1, 1, 8, 8, 16)  # dark and light
    >>> supervoxels(halves, n_segments=2)[0, 0, 0, 0].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]

    See also `boxes` and `superpixels`.
    """
    axis = find_input_channels(volume)
    examples = volume.detach().movedim(axis, 1).float().cpu().numpy()
    ids = [divide_by_slic(example, n_segments, compactness, sigma) for example in examples]
    return torch.from_numpy(np.stack(ids)).unsqueeze(axis).to(volume.device)


def divide_input(inputs: Tensor, n_segments: int = 50) -> Int[Tensor, "..."] | None:
    """Superpixels of images `[B, C, H, W]`, or supervoxels of volumes and videos; None for other inputs."""
    if inputs.dim() == 4:
        return superpixels(inputs, n_segments)
    return supervoxels(inputs, n_segments) if inputs.dim() == 5 else None


def default_players(inputs: Tensor) -> Players:
    """Superpixels of images `[B, C, H, W]`, supervoxels of volumes and videos; one player for each scalar of other inputs."""
    ids = divide_input(inputs)
    return scalars(inputs) if ids is None else parse_mask(ids, inputs, "feature_mask")


def divide_signal(signal: Float[Tensor, "batch *channels samples"], n_intervals: int) -> Int[Tensor, "1 *ones samples"]:
    """Ids of equal intervals of signals, all channels together."""
    n_samples = signal.shape[-1]
    ids = boxes([n_samples], [min(n_intervals, n_samples)])
    return ids.reshape(*(1,) * (signal.dim() - 1), n_samples).to(signal.device)
