"""Layouts of a layer's positions: which of them are players, and as which map they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Int
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Layout, Players, list_positions


def apply_layout(output: Tensor, layout: Layout, name: str, channel_axis: int | None = None) -> Players:
    """The players that a user's function selects from a layer's positions. All other positions are always present.

    Args:
        output: the output of a layer.
        layout: receives the positions `[1, T, 1]` or `[1, H, W, 1]`, numbered from 0, and returns some of them as a map `[1, 1, H, W]` or
            as a row `[1, n, 1]`.
        name: name of the function in error messages.
        channel_axis: the axis of the channels; None is the last.

    Raises:
        ValueError: the function fails, or returns anything else.
    """
    channel_axis = output.dim() - 1 if channel_axis is None or output.dim() == 2 else channel_axis
    sizes = list_positions(output, channel_axis)
    positions = torch.arange(prod(sizes), device=output.device).reshape(1, *sizes, 1)
    try:
        chosen = layout(positions)
    except (RuntimeError, IndexError) as error:  # a reshape to another size raises these
        raise ValueError(f"Expected {name} to lay out positions {tuple(positions.shape)} of the layer's output, but: {error}") from error
    shape = _validate_layout(chosen, positions, name)
    ids = torch.full_like(positions, NEVER_LEAVES).flatten()
    numbers = torch.arange(chosen.numel(), device=output.device)
    if isinstance(layout, (TokenGrid, MapBlocks)) and layout.block > 1:
        numbers, shape = _number_blocks(shape, layout.block, output.device)
    ids[chosen.flatten()] = numbers
    ids = ids.reshape(1, *sizes).unsqueeze(channel_axis)
    return Players(ids.expand(len(output), *ids.shape[1:]), shape)


def _number_blocks(shape: Sequence[int], block: int, device: torch.device) -> tuple[Int[Tensor, " cells"], tuple[int, ...]]:
    """The block of each cell of a map in reading order, and the number of blocks along each axis."""
    counts = tuple(-(-size // block) for size in shape)
    numbers = torch.zeros((), dtype=torch.int64, device=device)
    for size, count in zip(shape, counts, strict=True):
        numbers = numbers[..., None] * count + torch.arange(size, device=device) // block
    return numbers.flatten(), counts


def _validate_layout(chosen: object, positions: Tensor, name: str) -> tuple[int, ...]:
    """The shape of a map, or of a row, of distinct positions."""
    expected = f"Expected {name} to return positions of the layer's output, as it received them {tuple(positions.shape)},"
    if not isinstance(chosen, Tensor) or chosen.dtype != positions.dtype:
        actual = chosen.dtype if isinstance(chosen, Tensor) else type(chosen).__name__
        raise ValueError(f"{expected} got {actual}. Only slice, reshape and permute them.")
    is_map = chosen.dim() in (4, 5) and chosen.shape[:2] == (1, 1)
    if not is_map and not (chosen.dim() == 3 and chosen.shape[::2] == (1, 1)):
        raise ValueError(f"{expected} as a map (1, 1, H, W) or a row (1, n, 1), got shape {tuple(chosen.shape)}. Permute the dimensions.")
    numbers = chosen.flatten().tolist()
    if not numbers or len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(positions.numel())):
        listed = f"{numbers[:8]}{'…' if len(numbers) > 8 else ''}"
        raise ValueError(f"{expected} each at most once and at least one of them, got {listed}. Only slice, reshape and permute them.")
    return tuple(chosen.shape[2:] if is_map else chosen.shape[1:2])


@dataclass(frozen=True)
class TokenGrid:
    """The layout of `token_grid`."""

    sizes: tuple[int, ...]
    n_prefix: int
    block: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """The patch tokens as a map."""
        if tokens.dim() != 3 or tokens.shape[1] != self.n_prefix + prod(self.sizes):
            raise ValueError(
                f"Expected {self.n_prefix} + {' × '.join(map(str, self.sizes))} tokens [B, T, C] for this token_grid, got shape "
                f"{tuple(tokens.shape)}. Pass the rows and columns of patches (image size / patch size) and the number of tokens before "
                "them."
            )
        return tokens[:, self.n_prefix :].unflatten(1, self.sizes).movedim(-1, 1)


@dataclass(frozen=True)
class MapBlocks:
    """The layout of a map or volume whose players are blocks of `block` neighbours along each axis."""

    block: int

    def __call__(self, positions: Tensor) -> Tensor:
        """All positions as a map."""
        return positions.movedim(-1, 1)


def token_grid(height: int, width: int, n_prefix: int = 1, block: int = 1, depth: int | None = None) -> Layout:
    """A `layer_mask` for a vision transformer: the patch tokens as a map, without the first tokens (class token, registers).

    >>> token_grid(2, 3)(torch.arange(7).reshape(1, 7, 1))
    tensor([[[[1, 2, 3],
              [4, 5, 6]]]])

    Args:
        height: rows of patches.
        width: columns of patches.
        n_prefix: number of tokens before the patches. They are always present.
        block: `block × block` patches are one player; the last blocks of a row or a column may have fewer.
        depth: patches along the time of a video or the depth of a volume, the slowest axis; None for an image.
    """
    return TokenGrid((height, width) if depth is None else (depth, height, width), n_prefix, block)
