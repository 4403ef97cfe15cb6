"""Masks: images whose pixels are label numbers."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from PIL import Image
from torch import Tensor

from captum_pairwise.files.images import read_image

VOID = 255
ONE_NUMBER = ("1", "L", "P", "I", "I;16")
ONE_BYTE = ("L", "P")
LOSSY = ("JPEG", "MPO", "JPEG2000")  # formats of Pillow with grey images


def open_mask(
    path: str | Path, label: int | None = None, size: tuple[int, int] = (224, 224)
) -> tuple[Bool[Tensor, "1 height width"], Bool[Tensor, "1 height width"]]:
    """The pixels of the object, and the void pixels, which are not annotated, each boolean `[1, H, W]`.

    The whole mask is resized, as `ImageEncoder.preprocess` resizes the whole image; each new pixel takes the label of the nearest old one.

    Args:
        path: an image with one number a pixel, no JPEG; in an image with a palette, the palette index.
        label: the object's number; 255 is then void. None: every number except 0 is the object, and nothing is void.
        size: height and width of the result.

    Raises:
        ValueError: the label is that of void, or the file is no such image.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Image.fromarray(np.array([[0, 7], [255, 7]], dtype=np.uint8)).save(f"{folder}/mask.png")
    ...     inside, void = open_mask(f"{folder}/mask.png", label=7, size=(2, 2))
    >>> inside[0].tolist(), void[0].tolist()
    ([[False, True], [False, True]], [[False, False], [True, False]])

    See also `Pair`, which has the masks of both images.
    """
    refuse_label(label)
    with _read_labels(Path(path), ONE_NUMBER if label is None else ONE_BYTE) as image:
        numbers = _resize_numbers(image, size)
    if label is None:
        return numbers != 0, torch.zeros_like(numbers, dtype=torch.bool)
    return numbers == label, numbers == VOID


def open_regions(path: str | Path, size: tuple[int, int] = (224, 224)) -> Int[Tensor, "1 height width"]:
    """The numbers of a mask, resized as by `open_mask`.

    Raises:
        ValueError: the file is no image with one number a pixel.
    """
    with _read_labels(Path(path), ONE_NUMBER) as image:
        return _resize_numbers(image, size)


def refuse_label(label: int | None) -> None:
    """Refuse labels that a mask cannot have.

    Raises:
        ValueError: the label is not a byte, or is that of void.
    """
    if label is not None and not 0 <= label < VOID:
        raise ValueError(f"Expected a label from 0 to 254, as 255 is void, or None, got {label}.")


def label_shares(path: Path) -> dict[int, float]:
    """Share of the pixels that are not void, by label.

    Raises:
        ValueError: the file is not an image with one byte a pixel.
    """
    with _read_labels(path, ONE_BYTE) as image:
        counts = image.histogram()[:VOID]
    return {label: count / sum(counts) for label, count in enumerate(counts) if count}


def _resize_numbers(image: Image.Image, size: tuple[int, int]) -> Int[Tensor, "1 height width"]:
    return torch.from_numpy(np.array(image.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(np.int32))[None]


def _read_labels(path: Path, modes: tuple[str, ...]) -> Image.Image:
    image = read_image(path, "a mask")
    if image.format in LOSSY:
        raise ValueError(f"Expected a mask with exact numbers in {path}, got {image.format}, which changes them. Save the mask as PNG.")
    if image.mode not in modes:
        allowed = " or ".join(modes)
        raise ValueError(
            f"Expected one number a pixel in {path}, Pillow's mode {allowed}, got mode {image.mode}. Save label numbers, not colours."
        )
    return image
