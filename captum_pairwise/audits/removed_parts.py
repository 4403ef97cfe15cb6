"""Photos without some of their parts: edges are cut off, and other parts show mirrored pixels of the same photo."""

import numpy as np
import scipy
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

MOSTLY = 2 / 3  # of the parts of an edge: it is cut off if so many are chosen
FEWEST_LEFT = 2  # rows and columns of parts that stay
PartGrid = Bool[np.ndarray, "rows columns"]


def remove_parts(inputs: Float[Tensor, "1 channels height width"], chosen: Bool[Tensor, "rows columns"]) -> Tensor:
    """The input of the network without the chosen parts, as large as before.

    A blur or one colour would look the same in all photos that lose a part, and be a new shortcut. Pixels of the photo itself do not.

    Args:
        inputs: the input of one photo.
        chosen: the parts, a grid over the input.
    """
    size = inputs.shape[2], inputs.shape[3]
    mask = interpolate(chosen[None, None].float().cpu(), size, mode="nearest-exact")[0, 0].numpy() > 0
    if mask.all() or not mask.any():
        return inputs
    rest = zip(find_rest(chosen.cpu().numpy()), chosen.shape, size, strict=True)
    box = tuple(slice(round(part.start / n_parts * pixels), round(part.stop / n_parts * pixels)) for part, n_parts, pixels in rest)
    rows, columns = (torch.from_numpy(places[box]).to(inputs.device) for places in mirror_places(mask))
    return interpolate(inputs[:, :, rows, columns], size, mode="bilinear")


def find_rest(chosen: PartGrid) -> tuple[slice, slice]:
    """The rows and columns that stay. An edge is cut off while most of its parts are chosen, the fullest edge first."""
    starts, stops = [0, 0], list(chosen.shape)
    while True:
        inner = chosen[starts[0] : stops[0], starts[1] : stops[1]]
        shares = {(axis, end): inner.take(-end, axis).mean() for axis in (0, 1) for end in (0, 1) if inner.shape[axis] > FEWEST_LEFT}
        axis, end = max(shares, key=lambda edge: shares[edge], default=(0, 0))
        if shares.get((axis, end), 0) < MOSTLY:
            return slice(starts[0], stops[0]), slice(starts[1], stops[1])
        starts[axis] += 1 - end
        stops[axis] -= end


def mirror_places(mask: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "2 height width"]:
    """The pixel that each pixel shows: a masked one shows its mirror image behind the nearest other pixel.

    If the mirror image is masked too, or outside, it shows the nearest other pixel.

    >>> mirror_places(np.array([[True, True, False, False, False]]))[1]
    array([[4, 3, 2, 3, 4]])
    """
    nearest = scipy.ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    mirrored = 2 * nearest - np.indices(mask.shape)
    limits = np.array(mask.shape)[:, None, None]
    is_inside = ((mirrored >= 0) & (mirrored < limits)).all(0)
    rows, columns = np.clip(mirrored, 0, limits - 1)
    return np.where(is_inside & ~mask[rows, columns], mirrored, nearest)
