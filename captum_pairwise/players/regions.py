"""Which parts of an image play: integer masks, and the ready-made ways to make one."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int
from skimage.segmentation import slic
from torch import Tensor

NEVER_LEAVES = -1
Layout = Callable[[Tensor], Tensor]  # tokens [B, T, C] laid out as a map [B, C, H, W]


@dataclass(frozen=True)
class Players:
    """The players of one side of a batch of pairs.

    Attributes:
        ids: integer mask, broadcastable to the tensor that is masked: the player that owns each element, or -1 for an element that
            never leaves.
        shape: how a value per player is laid out: `(n,)` for a mask, `(H, W)` for the cells of a map.
    """

    ids: Int[Tensor, "batch ..."]
    shape: tuple[int, ...]

    @property
    def n_players(self) -> int:
        """How many ids there are; one that an image does not use is a player with no part, whose credit is 0."""
        return prod(self.shape)


def parse_mask(mask: object, masked: Tensor, name: str) -> Players:
    """Check a user's mask against the tensor that it masks.

    Raises:
        ValueError: the mask is not of integers, has an id below -1 or no player, or does not fit.
    """
    if not isinstance(mask, Tensor):
        raise ValueError(f"Expected {name} to be a tensor of integer ids, got {type(mask).__name__}.")
    if mask.is_floating_point() or mask.dtype == torch.bool or mask.is_complex():
        raise ValueError(f"Expected {name} to hold integer ids, got {mask.dtype}. Convert it with `.long()`.")
    ids = mask.long().to(masked.device)
    ids = ids.reshape((1,) * (masked.dim() - ids.dim()) + ids.shape)
    if ids.dim() != masked.dim() or any(have not in (1, want) for have, want in zip(ids.shape, masked.shape, strict=True)):
        raise ValueError(
            f"Expected {name} to be broadcastable to {tuple(masked.shape)}, got {tuple(mask.shape)}. Give each element of the input "
            "the id of its player, with 1 for a dimension that is shared."
        )
    if ids.min() < NEVER_LEAVES or ids.flatten(1).max(1).values.min() < 0:
        raise ValueError(f"Expected {name} to hold ids from 0 up, and -1 for what never leaves, got ids from {ids.min()} to {ids.max()}.")
    return Players(ids.expand(len(masked), *ids.shape[1:]), (int(ids.max()) + 1,))


def cells(output: Tensor) -> Players:
    """Every cell of a layer's output: `[B, C, H, W]` positions, `[B, T, C]` tokens, `[B, C]` single units."""
    shape = {2: output.shape[1:], 3: output.shape[1:2], 4: output.shape[2:]}[output.dim()]
    ids = torch.arange(prod(shape), device=output.device)
    layout = {2: (1, *shape), 3: (1, *shape, 1), 4: (1, 1, *shape)}[output.dim()]
    return Players(ids.reshape(layout).expand(len(output), *layout[1:]), tuple(shape))


def map_cells(players: Players) -> Players:
    """The players of tokens laid out `(H, W)` as the cells of a map `[B, 1, H, W]`, which is where they lie in an image."""
    ids = torch.arange(players.n_players, device=players.ids.device)
    return Players(ids.reshape(1, 1, *players.shape).expand(len(players.ids), 1, *players.shape), players.shape)


def apply_layout(output: Tensor, layout: Layout, name: str) -> Players:
    """The players that a function makes of a layer's positions; those that it drops never leave.

    Args:
        output: tokens `[B, T, C]`, or a map with the channels last `[B, H, W, C]`.
        layout: gets the positions `[1, T, 1]` or `[1, H, W, 1]`, numbered from 0, and returns some of them as a map `[1, 1, H, W]`, or as a
            row `[1, n, 1]`.
        name: what errors call the function.

    Raises:
        ValueError: the function fails, or returns anything else.
    """
    sizes = tuple(output.shape[1:-1])
    positions = torch.arange(prod(sizes), device=output.device).reshape(1, *sizes, 1)
    try:
        chosen = layout(positions)
    except (RuntimeError, IndexError) as error:  # what a reshape to another size raises
        raise ValueError(
            f"Expected {name} to lay out the positions {tuple(positions.shape)} of the layer's output, but: {error}"
        ) from error
    shape = _validate_layout(chosen, positions, name)
    ids = torch.full_like(positions, NEVER_LEAVES).flatten()
    ids[chosen.flatten()] = torch.arange(chosen.numel(), device=output.device)
    return Players(ids.reshape(positions.shape).expand(len(output), *sizes, 1), shape)


def _validate_layout(chosen: object, positions: Tensor, name: str) -> tuple[int, ...]:
    """The shape of a map, or a row, of different positions."""
    what = f"{name} to return positions of the layer's output, as it got them {tuple(positions.shape)},"
    if not isinstance(chosen, Tensor) or chosen.dtype != positions.dtype:
        came = chosen.dtype if isinstance(chosen, Tensor) else type(chosen).__name__
        raise ValueError(f"Expected {what} got {came}. Slice, reshape and permute them, and nothing else.")
    is_map = chosen.dim() == 4 and chosen.shape[:2] == (1, 1)
    if not is_map and not (chosen.dim() == 3 and chosen.shape[::2] == (1, 1)):
        raise ValueError(f"Expected {what} as a map (1, 1, H, W) or a row (1, n, 1), got shape {tuple(chosen.shape)}.")
    found = chosen.flatten().tolist()
    if not found or len(set(found)) < len(found) or not set(found) <= set(range(positions.numel())):
        raise ValueError(f"Expected {what} each at most once and at least one of them, got {found[:8]}{'…' if len(found) > 8 else ''}.")
    return tuple(chosen.shape[2:] if is_map else chosen.shape[1:2])


def token_grid(height: int, width: int, n_prefix: int = 1) -> Layout:
    """A `layer_mask` for a vision transformer: its tokens as a map of patches, without the first ones (class token, registers).

    >>> token_grid(2, 3)(torch.arange(7).reshape(1, 7, 1))
    tensor([[[[1, 2, 3],
              [4, 5, 6]]]])

    Args:
        height: rows of patches.
        width: columns of patches.
        n_prefix: how many tokens come before the patches; they never leave.
    """

    def layout(tokens: Tensor) -> Tensor:
        if tokens.dim() != 3 or tokens.shape[1] != n_prefix + height * width:
            raise ValueError(
                f"Expected {n_prefix} + {height} × {width} tokens [B, T, C] for this token_grid, got shape {tuple(tokens.shape)}. Give the "
                "rows and columns of patches, the image size over the patch size, and how many tokens precede them."
            )
        return tokens[:, n_prefix:].unflatten(1, (height, width)).permute(0, 3, 1, 2)

    return layout


def default_players(inputs: Tensor) -> Players:
    """Superpixels for images `[B, C, H, W]`; every scalar of anything else."""
    if inputs.dim() == 4:
        return parse_mask(superpixels(inputs), inputs, "feature_mask")
    return scalars(inputs)


def scalars(inputs: Tensor) -> Players:
    """Every pixel of images `[B, C, H, W]`, its channels together; every scalar of anything else."""
    if inputs.dim() == 4:
        return cells(inputs)
    shape = tuple(inputs.shape[1:])
    ids = torch.arange(prod(shape), device=inputs.device).reshape(1, *shape)
    return Players(ids.expand(len(inputs), *shape), shape)


def whole_image(inputs: Tensor) -> Players:
    """One player, the whole image."""
    ids = inputs.new_zeros(len(inputs), *(1,) * (inputs.dim() - 1), dtype=torch.long)
    return Players(ids, (1,))


def grid(height: int, width: int, rows: int, columns: int) -> Int[Tensor, "1 1 height width"]:
    """Ids of a `rows × columns` grid of equal parts, in reading order.

    >>> grid(2, 4, 1, 2)[0, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    row = torch.arange(height) * rows // height
    column = torch.arange(width) * columns // width
    return (row[:, None] * columns + column)[None, None]


def patches(height: int, width: int, size: int) -> Int[Tensor, "1 1 height width"]:
    """Ids of square patches of `size` pixels, as a vision transformer cuts them; border patches may be smaller."""
    columns = -(-width // size)
    return (torch.arange(height)[:, None] // size * columns + torch.arange(width) // size)[None, None]


def superpixels(
    image: Float[Tensor, "*batch channels height width"],
    n_segments: int = 50,
    compactness: float = 10.0,
    sigma: float = 3.0,
) -> Int[Tensor, "batch 1 height width"]:
    """SLIC superpixels of RGB images, ids from 0; the defaults are the paper's (§A.2).

    Args:
        image: one image or a batch; values outside [0, 1] are first scaled to it, image by image.
        n_segments: how many to aim for; SLIC often finds a few less.
        compactness: weight of position against colour.
        sigma: width in pixels of the Gaussian that smooths the image first.
    """
    images = image.detach().reshape(-1, *image.shape[-3:]).float().cpu().numpy()
    ids = [_slic(one, n_segments, compactness, sigma) for one in images]
    return torch.from_numpy(np.stack(ids))[:, None].to(image.device)


def _slic(image: np.ndarray, n_segments: int, compactness: float, sigma: float) -> np.ndarray:
    low, high = image.min(), image.max()
    if low < 0 or high > 1:
        image = (image - low) / max(high - low, np.finfo(image.dtype).tiny)
    # start_label=0: skimage's default of 1 would leave player 0 without a part
    labels = slic(image, n_segments=n_segments, compactness=compactness, sigma=sigma, start_label=0, channel_axis=0)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int64)


def paint(values: Float[Tensor, "*batch players"], ids: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Give every element the value of its player, and 0 where none owns it.

    Args:
        values: `[n]`, or `[B, n]` for a mask whose first dimension is the batch.
        ids: the mask.
    """
    padded = torch.nn.functional.pad(values, (0, 1))  # id -1 finds the 0 at the end
    if values.dim() == 1:
        return padded[ids]
    return torch.stack([row[mask] for row, mask in zip(padded, ids, strict=True)])


def average(signal: Float[Tensor, "batch ..."], players: Players) -> Float[Tensor, "batch players"]:
    """The mean of a signal over each player's elements (0 for a player without any).

    Args:
        signal: `[B, H, W]` or `[B, 1, H, W]` over an image, of any size; it is area-averaged to the size of the mask.
        players: of an image, or of the cells of a map.
    """
    ids, n_players = players.ids, players.n_players
    signal = signal.expand(len(ids), *signal.shape[1:])
    images = signal.reshape(len(signal), -1, *signal.shape[-2:])
    values = torch.nn.functional.adaptive_avg_pool2d(images, (ids.shape[-2], ids.shape[-1])).expand(ids.shape).flatten(1)
    owners = torch.where(ids == NEVER_LEAVES, n_players, ids).flatten(1)
    total = signal.new_zeros(len(signal), n_players + 1)
    sums, counts = total.scatter_add(1, owners, values), total.scatter_add(1, owners, torch.ones_like(values))
    return (sums / counts.clamp(min=1))[:, :n_players]


def player_centres(players: Players, example: int) -> Float[Tensor, "players axes"]:
    """Of each player with a part in one image the mean row and column of its elements; of what is no image its number."""
    ids = players.ids[example].cpu()
    owners, owner = ids.flatten().unique(return_inverse=True)
    if players.ids.dim() == 4:
        axes = torch.cartesian_prod(*(torch.arange(size) for size in ids.shape)).T[1:].double()
        sums = axes.new_zeros(2, len(owners)).index_add_(1, owner, axes)
        found = (sums / owner.bincount()).T
    else:
        found = owners[:, None].double()
    return found[owners != NEVER_LEAVES]


def pixel_shares(players: Players, example: int, size: tuple[int, int], dtype: torch.dtype) -> Float[Tensor, "players height width"]:
    """Each player's elements of one image spread over its pixels, summing to 1 (0 for a player without any)."""
    ids = players.ids[example]
    owners = torch.where(ids == NEVER_LEAVES, players.n_players, ids).expand(len(ids), *size).flatten(1)
    counts = torch.zeros(players.n_players + 1, owners.shape[1], dtype=dtype, device=ids.device)
    counts = counts.scatter_add_(0, owners, torch.ones_like(owners, dtype=dtype))[: players.n_players]
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).unflatten(1, size)
