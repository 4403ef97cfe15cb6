"""Photos as arrays to draw on."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

LEAST_WIDTH = 1.9  # inches of a column
Array = Tensor | np.ndarray


def as_tensor(values: Array) -> Tensor:
    """The same numbers as a tensor of the CPU, without a history."""
    return torch.from_numpy(values.copy()) if isinstance(values, np.ndarray) else values.detach().cpu()


def to_photos(images: object, name: str = "the photos") -> Float[np.ndarray, "batch height width 3"]:
    """A batch of images `[B, 3, H, W]`, or of grey ones `[B, 1, H, W]`, as arrays `[B, H, W, 3]`.

    Raises:
        ValueError: it is none, or not in [0, 1].
    """
    if not isinstance(images, Array) or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
        came = f"shape {tuple(images.shape)}" if isinstance(images, Array) else type(images).__name__
        raise ValueError(f"Expected {name} to be a batch [B, 3, H, W], got {came}. Give one image a batch of one: `image[None]`.")
    batch = as_tensor(images)
    if not batch.is_floating_point():
        raise ValueError(f"Expected photos in [0, 1], got {batch.dtype} for {name}. Divide bytes by 255.")
    low, high = batch.min().item(), batch.max().item()
    if not (low >= -0.01 and high <= 1.01):  # also where one is NaN
        raise ValueError(
            f"Expected photos in [0, 1], got {name} from {low:.2f} to {high:.2f}. Undo the normalisation, or let the encoder do it."
        )
    return batch.double().clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def together(images: object, names: Sequence[str]) -> list[Float[np.ndarray, "batch height width 3"]]:
    """Batches of photos that belong to each other, one by one; a batch of one is for all.

    Raises:
        ValueError: they are not as many batches as names, are no photos, or differ in number.
    """
    if not isinstance(images, tuple) or len(images) != len(names):
        came = f"{len(images)} of them" if isinstance(images, tuple) else type(images).__name__
        raise ValueError(f"Expected a tuple of images ({', '.join(names)}), got {came}. Pass one batch for each name.")
    photos = [to_photos(batch, f"the {name} photos") for batch, name in zip(images, names, strict=True)]
    counts = [len(batch) for batch in photos]
    if set(counts) - {1, max(counts)}:
        raise ValueError(f"Expected as many photos of each ({', '.join(names)}), got {counts}. Repeat those that several share.")
    return [np.broadcast_to(batch, (max(counts), *batch.shape[1:])) for batch in photos]


def widths(sizes: Sequence[tuple[int, ...]], height: float) -> list[float]:
    """How wide the columns of photos of these sizes (height, width) are, in inches, when all photos are as high; titles need some room."""
    return [max(height * size[1] / size[0], LEAST_WIDTH) for size in sizes]


def frame(axes: np.ndarray) -> None:
    """Take ticks and borders from panels that show photos; their labels stay."""
    for panel in axes.flat:
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)


def show(panel: Axes, picture: np.ndarray, title: str = "") -> None:
    """Draw a picture `[H, W, 3]` under a title."""
    panel.imshow(picture)
    panel.set_title(title, size="medium")
