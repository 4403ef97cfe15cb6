"""Maps over the pixels of photos, and their colours over the photo."""

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.colors import Colormap
from torch import Tensor

from captum_pairwise.metrics.pixels import check_maps
from captum_pairwise.players.regions import Players, paint
from captum_pairwise.visualization.photos import Array, Photo, detach_to_cpu
from captum_pairwise.visualization.style import SIGNED, colour_values, find_scale

OPACITY = 0.75  # of the strongest credit: the photo stays visible below it


def paint_pixels(values: Float[Tensor, "batch players"], players: Players, size: tuple[int, int]) -> Float[Tensor, "batch height width"]:
    """Map `[B, H, W]` over the pixels of images from one value per player.

    The cells of a layer's map are interpolated bilinearly. Each pixel of a superpixel has the superpixel's whole value.

    Args:
        values: one per player, `[B, n]`.
        players: the cells of a map, or a mask over images.
        size: height and width of the images.

    Raises:
        ValueError: the players are neither parts of images nor cells of a map.

    >>> import torch
    >>> from captum_pairwise.visualization import to_pixels
    >>> halves = Players(torch.tensor([[[[0, 1]]]]), (2,))
    >>> to_pixels(torch.tensor([[0.5, -1.0]]), halves, size=(1, 4))
    tensor([[[ 0.5000,  0.5000, -1.0000, -1.0000]]])

    See also `overlay`, and `cp.paint` for a mask.
    """
    check_image_players(players)
    maps = paint(values, players.ids).mean(1, keepdim=True)
    return F.interpolate(maps, size, mode="bilinear" if len(players.shape) == 2 else "nearest")[:, 0]


def check_image_players(players: Players) -> None:
    """Check that the players are parts of images or cells of a map.

    Raises:
        ValueError: they are not.
    """
    if players.ids.dim() != 4:
        raise ValueError(
            f"Expected players that lie in an image [B, C, H, W], got shape {tuple(players.ids.shape)}. Give the tokens of a vision "
            "transformer a place with `layer_mask=cp.token_grid(...)`, or use `matrix_figure`."
        )


def resize_maps(maps: object, photos: np.ndarray, name: str) -> Float[np.ndarray, "batch height width"]:
    """Maps over the pixels of photos `[B, H, W, 3]`, interpolated bilinearly if their size differs.

    Channels are summed. If all channels are equal, as for the credit of a part painted on all channels, only one of them counts.

    Args:
        maps: `[B, C, h, w]` or `[B, h, w]`.
        photos: the photos below the maps.
        name: the name of the maps in error messages.

    Raises:
        ValueError: the maps do not fit the photos.
    """
    values = detach_to_cpu(maps) if isinstance(maps, Array) else maps
    if isinstance(values, Tensor) and values.dim() == 4 and 0 not in values.shape and bool((values == values[:, :1]).all()):
        values = values[:, :1]
    return check_maps(values, (photos.shape[1], photos.shape[2]), name, len(photos)).double().numpy()


def overlay(photo: Photo, heat: Float[np.ndarray, "height width"], scale: float | None = None, colours: str | Colormap = SIGNED) -> Photo:
    """Signed map in colours over a grey photo. Stronger credit is more opaque.

    Args:
        photo: RGB in [0, 1], an array `[H, W, 3]`.
        heat: the map, an array `[H, W]`.
        scale: the credit that has the full colour; None for the largest absolute value of this map.
        colours: a Matplotlib colour map; its middle colour means 0.

    >>> grey, heat = np.full((1, 2, 3), 0.5), np.array([[0.0, 1.0]])
    >>> picture = overlay(grey, heat)  # grey where the credit is 0, red where it is positive
    >>> bool(np.ptp(picture[0, 0]) == 0), bool(picture[0, 1, 0] > picture[0, 1, 2])
    (True, True)

    See also `to_pixels`, which makes a map of the pixels, and `heatmap_figure`.
    """
    scale = scale or find_scale([heat])
    opacity = np.clip(np.abs(heat) / (scale or 1.0), 0, 1)[..., None] ** 0.7 * OPACITY
    return (1 - opacity) * fade_to_grey(photo) + opacity * colour_values(heat, scale, colours)


def fade_to_grey(photo: Photo) -> Photo:
    """The photo in grey and lighter, as a background for colours."""
    return np.repeat(photo.mean(2, keepdims=True), 3, 2) * 0.8 + 0.2
