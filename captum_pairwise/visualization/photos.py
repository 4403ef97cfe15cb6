"""Photos as arrays, and panels that show them."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

LEAST_WIDTH = 1.9  # inches of a column
LARGEST_PHOTO = 1024  # pixels of the longer side, in figures and on pages
Array = Tensor | np.ndarray
Photo = Float[np.ndarray, "height width 3"]  # RGB in [0, 1]


def detach_to_cpu(values: Array) -> Tensor:
    """The values as a tensor on the CPU, without gradient history."""
    return torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else values.detach().cpu()


def check_photos(images: object, name: str = "the photos") -> Float[np.ndarray, "batch height width 3"]:
    """A batch of images `[B, 3, H, W]`, or of grey images `[B, 1, H, W]`, as an array `[B, H, W, 3]`.

    Raises:
        ValueError: the shape is different, or the values are not in [0, 1].
    """
    if not isinstance(images, Array) or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        actual = f"shape {tuple(images.shape)}" if isinstance(images, Array) else type(images).__name__
        raise ValueError(f"Expected {name} to be a batch [B, 3, H, W], got {actual}. Give one image a batch dimension: `image[None]`.")
    batch = detach_to_cpu(images)
    if not batch.is_floating_point():
        raise ValueError(f"Expected photos in [0, 1], got {batch.dtype} for {name}. Divide bytes by 255, and 16-bit numbers by 65535.")
    low, high = batch.min().item(), batch.max().item()
    if not (low >= -0.01 and high <= 1.01):  # also true for NaN
        raise ValueError(f"Expected photos in [0, 1], got {name} from {low:.2f} to {high:.2f}. Pass the photos before normalisation.")
    return batch.double().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def check_photo_batches(images: object, names: Sequence[str]) -> list[Float[np.ndarray, "batch height width 3"]]:
    """Several batches of photos of the same length. A batch of one photo is repeated.

    Raises:
        ValueError: the number of batches is not the number of names, a batch is not a batch of photos, or the lengths differ.
    """
    if not isinstance(images, tuple) or len(images) != len(names):
        actual = f"{len(images)} of them" if isinstance(images, tuple) else type(images).__name__
        raise ValueError(f"Expected a tuple of images ({', '.join(names)}), got {actual}. Pass one batch for each name.")
    photos = [check_photos(batch, f"the {name} photos") for batch, name in zip(images, names, strict=True)]
    counts = [len(batch) for batch in photos]
    if set(counts) - {1, max(counts)}:
        raise ValueError(f"Expected as many photos of each ({', '.join(names)}), got {counts}. Repeat photos that several pairs share.")
    return [np.broadcast_to(batch, (max(counts), *batch.shape[1:])) for batch in photos]


def reduce_photo(photo: Photo) -> Float[np.ndarray, "rows columns 3"]:
    """The photo with at most `LARGEST_PHOTO` pixels on its longer side. A smaller photo stays as it is."""
    height, width, _ = photo.shape
    scale = LARGEST_PHOTO / max(height, width)
    if scale >= 1:
        return photo
    sizes = [max(1, round(scale * size)) for size in (height, width)]
    pixels = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None]
    return F.interpolate(pixels, sizes, mode="bilinear", antialias=True)[0].permute(1, 2, 0).clamp(0, 1).numpy()


def fit_height(sizes: Sequence[tuple[int, ...]], width: float, tallest: float) -> float:
    """Inches of the height of photos of these sizes (height, width) that stand side by side in a row of some width."""
    return min(tallest, width / sum(size[1] / size[0] for size in sizes))


def fit_widths(sizes: Sequence[tuple[int, ...]], height: float) -> list[float]:
    """Widths in inches of columns for photos of these sizes (height, width), drawn at one height. Titles need at least `LEAST_WIDTH`."""
    return [max(height * size[1] / size[0], LEAST_WIDTH) for size in sizes]


def hide_frames(axes: np.ndarray) -> None:
    """Remove ticks and borders of panels that show photos. Labels stay."""
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)


def draw_photo(panel: Axes, photo: np.ndarray, title: str = "") -> None:
    """Draw a photo `[H, W, 3]` below a title."""
    panel.imshow(photo)
    panel.set_title(title, size="medium")
