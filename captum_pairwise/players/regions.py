"""Parts of an image as players: integer masks, and functions that make them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from skimage import segmentation
from torch import Tensor

NEVER_LEAVES = -1
LIGHTNESS = 100.0  # of white in the colour space in which SLIC compares colours
Layout = Callable[[Tensor], Tensor]  # from tokens [B, T, C] to a map [B, C, H, W]


@dataclass(frozen=True)
class Players:
    """The players of one side of a batch of pairs.

    Attributes:
        ids: integer mask, broadcastable to the masked tensor: the player of each element, or -1 for an element that is always present.
        shape: shape of an array with one value for each player: `(n,)` for a mask, `(H, W)` for the cells of a map.
    """

    ids: Int[Tensor, "batch ..."]
    shape: tuple[int, ...]

    @property
    def n_players(self) -> int:
        """The number of ids. An id that an image does not use is a player without elements; its credit is 0."""
        return prod(self.shape)


def parse_mask(mask: object, masked: Tensor, name: str) -> Players:
    """The players of a user's mask, after validation against the masked tensor.

    Raises:
        ValueError: the mask has no integers, an id below -1 or no player, or it does not fit.
    """
    if not isinstance(mask, Tensor):
        raise ValueError(f"Expected {name} to be a tensor of integer ids, got {type(mask).__name__}. Convert it to a tensor.")
    if mask.is_floating_point() or mask.dtype == torch.bool or mask.is_complex():
        raise ValueError(f"Expected {name} to hold integer ids, got {mask.dtype}. Convert it with `.long()`.")
    ids = mask.long().to(masked.device)
    ids = ids.reshape((1,) * (masked.dim() - ids.dim()) + ids.shape)
    if ids.dim() != masked.dim() or any(size not in (1, full) for size, full in zip(ids.shape, masked.shape, strict=True)):
        advice = "Pass `image[None]`, a batch of one." if mask.dim() == masked.dim() + 1 == 4 else "Give each element an id."
        raise ValueError(f"Expected {name} to be broadcastable to {tuple(masked.shape)}, got shape {tuple(mask.shape)}. {advice}")
    if ids.min() < NEVER_LEAVES or ids.reshape(len(ids), -1).max(1).values.min() < 0:
        raise ValueError(
            f"Expected {name} to hold ids from 0 up (-1: always present), got ids from {ids.min()} to {ids.max()}. Each example needs one."
        )
    return Players(ids.expand(len(masked), *ids.shape[1:]), (int(ids.max()) + 1,))


def cells(output: Tensor, channel_axis: int) -> Players:
    """One player for each position of a map, a volume or a sequence, or for each unit of `[B, C]`.

    Args:
        output: the output of a layer.
        channel_axis: the axis of its channels.

    >>> cells(torch.zeros(1, 2, 3, 8), channel_axis=3).ids[0, :, :, 0].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    if output.dim() == 2:
        return _number_elements(output, output.shape[1:], output.shape[1:])
    sizes = [1 if axis == channel_axis else size for axis, size in enumerate(output.shape)][1:]
    return _number_elements(output, list_positions(output, channel_axis), sizes)


def list_positions(output: Tensor, channel_axis: int) -> tuple[int, ...]:
    """The sizes of the axes of the positions."""
    return tuple(size for axis, size in enumerate(output.shape) if axis not in (0, channel_axis))


def map_cells(players: Players) -> Players:
    """The players of tokens with the shape `(H, W)` as the cells of a map `[B, 1, H, W]`: their positions in an image."""
    return _number_elements(players.ids, players.shape, (1, *players.shape))


def _number_elements(batch: Tensor, shape: Sequence[int], layout: Sequence[int]) -> Players:
    """Players with the ids 0, 1, … in a mask of this layout, the same for each example of the batch."""
    ids = torch.arange(prod(shape), device=batch.device).reshape(1, *layout)
    return Players(ids.expand(len(batch), *layout), tuple(shape))


def scalars(inputs: Tensor) -> Players:
    """One player for each pixel of images `[B, C, H, W]`, or for each scalar of other inputs."""
    return cells(inputs, 1) if inputs.dim() == 4 else _number_elements(inputs, inputs.shape[1:], inputs.shape[1:])


def whole_image(inputs: Tensor) -> Players:
    """A single player, the whole image."""
    return _number_elements(inputs, (1,), (1,) * (inputs.dim() - 1))


def grid(height: int, width: int, rows: int, columns: int) -> Int[Tensor, "1 1 height width"]:
    """Ids `[1, 1, H, W]` of a `rows × columns` grid of equal parts, in reading order.

    >>> grid(2, 4, 1, 2)[0, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    row = torch.arange(height, device="cpu") * rows // height
    column = torch.arange(width, device="cpu") * columns // width
    return (row[:, None] * columns + column)[None, None]


def patches(height: int, width: int, size: int) -> Int[Tensor, "1 1 height width"]:
    """Ids `[1, 1, H, W]` of square patches of `size` pixels, as in a vision transformer. Patches at the border may be smaller.

    >>> patches(2, 4, 2)[0, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    columns = -(-width // size)
    return (torch.arange(height, device="cpu")[:, None] // size * columns + torch.arange(width, device="cpu") // size)[None, None]


def superpixels(
    image: Float[Tensor, "*batch channels height width"], n_segments: int = 50, compactness: float = 10.0, sigma: float = 3.0
) -> Int[Tensor, "batch 1 height width"]:
    """SLIC superpixels `[B, 1, H, W]` of images, with ids from 0. The defaults are the paper's (§A.2). See also `grid` and `supervoxels`.

    Args:
        image: `[C, H, W]` or `[B, C, H, W]`, with any number of channels. An image with values outside [0, 1] is first scaled to [0, 1].
        n_segments: target number of superpixels; SLIC often finds a few less.
        compactness: weight of position relative to colour.
        sigma: width in pixels of the Gaussian that first smooths the image.

    >>> superpixels(torch.arange(16).ge(8).float().expand(3, 8, 16), n_segments=2)[0, 0, 0].tolist()  # a dark and a light half
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    images = image.detach().reshape(-1, *image.shape[-3:]).float().cpu().numpy()
    ids = [divide_by_slic(pixels, n_segments, compactness, sigma) for pixels in images]
    return torch.from_numpy(np.stack(ids))[:, None].to(image.device)


def divide_by_slic(image: np.ndarray, n_segments: int, compactness: float, sigma: float) -> np.ndarray:
    """SLIC segments of one image `[C, H, W]` or volume `[C, D, H, W]`, numbered from 0.

    Three channels are RGB, whose lightness is from 0 to 100. Others are from 0 to 1, so the compactness is reduced to mean the same.
    """
    low, high = image.min(), image.max()
    if low < 0 or high > 1:
        image = (image - low) / max(high - low, np.finfo(image.dtype).tiny)
    if len(image) != 3:
        compactness *= len(image) ** 0.5 / LIGHTNESS
    # start_label=0: skimage's default of 1 would leave player 0 without elements
    labels = segmentation.slic(image, n_segments=n_segments, compactness=compactness, sigma=sigma, start_label=0, channel_axis=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int64)


def paint(values: Float[Tensor, "*batch players"], ids: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Give every element the value of its player, and 0 to elements without a player.

    Args:
        values: `[n]`, or `[B, n]` for a mask whose first dimension is the batch.
        ids: the mask.

    >>> paint(torch.tensor([0.5, -1.0]), torch.tensor([[0, 0, 1, -1]])).tolist()
    [[0.5, 0.5, -1.0, 0.0]]
    """
    padded = F.pad(values, (0, 1))  # id -1 is the last index, with value 0
    if values.dim() == 1:
        return padded[ids]
    return torch.stack([row[mask] for row, mask in zip(padded, ids, strict=True)])


def average(signal: Float[Tensor, "batch ..."], players: Players) -> Float[Tensor, "batch players"]:
    """The mean of a signal over each player's elements (0 for a player without elements).

    Args:
        signal: `[B, H, W]` or `[B, 1, H, W]` over an image, of any size. It is area-averaged to the size of the mask.
        players: players of an image, or the cells of a map.
    """
    ids, n_players = players.ids, players.n_players
    signal = signal.expand(len(ids), *signal.shape[1:])
    images = signal.reshape(len(signal), -1, *signal.shape[-2:])
    values = F.adaptive_avg_pool2d(images, (ids.shape[-2], ids.shape[-1])).expand(ids.shape).flatten(1)
    owners = torch.where(ids == NEVER_LEAVES, n_players, ids).flatten(1)
    total = signal.new_zeros(len(signal), n_players + 1)
    sums, counts = total.scatter_add(1, owners, values), total.scatter_add(1, owners, torch.ones_like(values))
    return (sums / counts.clamp(min=1))[:, :n_players]


def player_centres(players: Players, example: int) -> Float[Tensor, "players axes"]:
    """The mean row and column of each player's elements in one image; for inputs that are no images, the player's id.

    Players without elements are left out.
    """
    ids = players.ids[example].cpu()
    owners, owner = ids.flatten().unique(return_inverse=True)
    centres = owners[:, None].double()
    if players.ids.dim() == 4:
        axes = torch.cartesian_prod(*(torch.arange(size, device="cpu") for size in ids.shape)).T[1:].double()
        centres = (axes.new_zeros(2, len(owners)).index_add_(1, owner, axes) / owner.bincount()).T
    return centres[owners != NEVER_LEAVES]


def pixel_shares(players: Players, example: int, size: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "players height width"]:
    """The share of each pixel of one image in each player. They sum to 1 for each player, or to 0 if it has no elements."""
    ids = players.ids[example]
    owners = torch.where(ids == NEVER_LEAVES, players.n_players, ids).expand(len(ids), *size).flatten(1)
    counts = torch.zeros(players.n_players + 1, owners.shape[1], dtype=dtype, device=ids.device)
    counts = counts.scatter_add_(0, owners, torch.ones_like(owners, dtype=dtype))[: players.n_players]
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).unflatten(1, size)
