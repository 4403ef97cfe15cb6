"""Masks: images with one number a pixel, which says what it shows."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from PIL import Image
from torch import Tensor

from captum_pairwise.files.images import read_image

VOID = 255
ONE_NUMBER = ("1", "L", "P", "I", "I;16")
ONE_BYTE = ("L", "P")


def open_mask(
    path: str | Path, label: int | None = None, size: tuple[int, int] = (224, 224)
) -> tuple[Bool[Tensor, "1 height width"], Bool[Tensor, "1 height width"]]:
    """Where the object is, and where nobody knows what is shown.

    The whole mask is resized, as `ImageEncoder.preprocess` resizes the whole image; each pixel becomes one that was there (nearest).

    Args:
        path: an image with one number a pixel; of a palette, the index counts.
        label: the object's number; 255 is then void. None: whatever is not 0 is the object, and nothing is void.
        size: height and width of what is returned.

    Raises:
        ValueError: the label is void's, or the file is no such image.
    """
    refuse_label(label)
    with _opened(Path(path), ONE_NUMBER if label is None else ONE_BYTE) as image:
        numbers = torch.from_numpy(np.array(image.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(np.int32))[None]
    if label is None:
        return numbers != 0, torch.zeros_like(numbers, dtype=torch.bool)
    return numbers == label, numbers == VOID


def refuse_label(label: int | None) -> None:
    """Refuse what no pixel can have.

    Raises:
        ValueError: the label is no byte, or void's.
    """
    if label is not None and not 0 <= label < VOID:
        raise ValueError(f"Expected a label from 0 to 254, as 255 is void, or None, got {label}.")


def label_shares(path: Path) -> dict[int, float]:
    """Each label of a mask and its share of the pixels that are not void.

    Raises:
        ValueError: the file is no image with one byte a pixel.
    """
    with _opened(path, ONE_BYTE) as image:
        counts = image.histogram()[:VOID]
    return {label: count / sum(counts) for label, count in enumerate(counts) if count}


def _opened(path: Path, modes: tuple[str, ...]) -> Image.Image:
    """The image, read."""
    image = read_image(path, "a mask")
    if image.mode not in modes:
        raise ValueError(
            f"Expected one number a pixel in {path}, Pillow's mode {' or '.join(modes)}, got mode {image.mode}. Save the labels "
            "themselves, not colours that stand for them."
        )
    return image
