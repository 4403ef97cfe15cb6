"""The grid of the tokens of a vision transformer: rows and columns, and the depth of videos and volumes."""

from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor, nn

from captum_pairwise.network.attention_mask import MOST_PREFIX
from captum_pairwise.network.layers import record_calls
from captum_pairwise.players.layouts import find_input_channels

LEAST_RATIO = 1.1  # of the changes of tokens at a changed corner and at the opposite corner


def find_grid(encoder: nn.Module, layer: nn.Module, image: Tensor, n_tokens: int) -> tuple[int, ...] | None:
    """Rows and columns of the tokens that a layer returns for an image, after the depth of those of a video or volume; None if unknown.

    The encoder's own `token_grid_size(height, width)` says it, or the patch embedding. Without one that fits, a square grid is assumed and
    tested: a change of a corner of the image must change the tokens at this corner more than those at the opposite corner. Latent tokens,
    which stand for no place, fail.

    Args:
        encoder: the network.
        layer: a module of it.
        image: one image `[1, C, H, W]`, or one video or volume.
        n_tokens: the number of tokens with those before the patches.
    """
    if image.dim() == 5:
        return _divide_by_patches(encoder, image, n_tokens)
    measure: Any = getattr(encoder, "token_grid_size", None)
    named = None if measure is None else measure(*image.shape[2:])
    if named is not None and 0 <= n_tokens - prod(named) <= MOST_PREFIX:
        return named
    by_patches = _divide_by_patches(encoder, image, n_tokens)
    if by_patches is not None:
        return by_patches
    side = isqrt(n_tokens)
    is_square = image.shape[2] == image.shape[3] and side > 1 and n_tokens - side**2 <= MOST_PREFIX
    return (side, side) if is_square and _follows_corners(encoder, layer, image, side) else None


def _divide_by_patches(encoder: nn.Module, image: Tensor, n_tokens: int) -> tuple[int, ...] | None:
    """The numbers of patches along the axes of an input, from the convolution that embeds them; None if none fits."""
    channel_axis = find_input_channels(image)
    _, n_channels, *sizes = image.movedim(channel_axis, 1).shape
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.kernel_size == module.stride and module.in_channels == n_channels:
            if len(module.stride) == len(sizes):
                counts = tuple(size // step for size, step in zip(sizes, module.stride, strict=True))
                if 0 <= n_tokens - prod(counts) <= MOST_PREFIX:
                    return counts
    return None


@torch.no_grad()
def _follows_corners(encoder: nn.Module, layer: nn.Module, image: Tensor, side: int) -> bool:
    """True if each of two changed corners changes the tokens that would lie there more than those at the other corner."""
    half, half_image = side // 2, image.shape[2] // 2
    images = image.detach().repeat(3, 1, 1, 1)
    images[1, :, :half_image, :half_image] = images[1, :, :half_image, :half_image].flip(-1, -2).neg()
    images[2, :, -half_image:, -half_image:] = images[2, :, -half_image:, -half_image:].flip(-1, -2).neg()
    with record_calls([layer]) as calls:
        encoder(images)
    outputs = calls[0][-1]
    if not isinstance(outputs, Tensor) or len(outputs) != len(images):
        return False
    changes = (outputs[1:] - outputs[:1]).double().square().sum(-1)[:, -(side**2) :].unflatten(1, (side, side))
    first, last = changes[:, :half, :half].mean((1, 2)), changes[:, -half:, -half:].mean((1, 2))
    return bool(first[0] > LEAST_RATIO * last[0]) and bool(last[1] > LEAST_RATIO * first[1])
