"""Credits as maps over the pixels of a photo."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.colors import Colormap
from torch import Tensor

from captum_pairwise.players.regions import Players, paint
from captum_pairwise.visualization.scales import SIGNED, coloured, largest


def to_pixels(values: Float[Tensor, "batch players"], players: Players, size: tuple[int, int]) -> Float[Tensor, "batch height width"]:
    """Spread credits over the pixels of images.

    The cells of a layer's map are interpolated bilinearly; every pixel of a superpixel shows the superpixel's whole credit.

    Args:
        values: one per player.
        players: the cells of a map, or a mask over images.
        size: height and width of the images.

    Raises:
        ValueError: the players are neither parts of images nor cells of a map.
    """
    refuse_placeless(players)
    maps = paint(values, players.ids).mean(1, keepdim=True)
    return F.interpolate(maps, size, mode="bilinear" if len(players.shape) == 2 else "nearest")[:, 0]


def refuse_placeless(players: Players) -> None:
    """Refuse players that cannot be seen in an image.

    Raises:
        ValueError: they are neither parts of images nor cells of a map.
    """
    if players.ids.dim() != 4:
        raise ValueError(
            f"Expected players that lie in an image or in a map [B, C, H, W], got ids of shape {tuple(players.ids.shape)}. Draw these "
            "credits as a matrix."
        )


def overlay(
    photo: Float[np.ndarray, "height width 3"],
    heat: Float[np.ndarray, "height width"],
    scale: float | None = None,
    colours: str | Colormap = SIGNED,
) -> Float[np.ndarray, "height width 3"]:
    """A signed map over a grey photo: the stronger the credit, the less of the photo shows.

    Args:
        photo: RGB in [0, 1].
        heat: the map.
        scale: the credit that has the full colour; None is the largest of this map.
        colours: a matplotlib colour map, its middle meaning 0.
    """
    scale = scale or largest([heat])
    opacity = np.clip(np.abs(heat) / (scale or 1.0), 0, 1)[..., None] ** 0.7 * 0.9
    return (1 - opacity) * greyed(photo) + opacity * coloured(heat, scale, colours)


def greyed(photo: Float[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width 3"]:
    """A photo without colours, and lighter, as a ground to draw on."""
    return np.repeat(photo.mean(2, keepdims=True), 3, 2) * 0.8 + 0.2
