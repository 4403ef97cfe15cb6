"""From a photo to the pixels of an encoder: resizing by the user's own library, and the normalisation that follows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from captum_pairwise.models.backbones import make_pixels

Pixels = Float[Tensor, "3 height width"]
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
LARGEST_DIFFERENCE = 1e-3  # of normalised pixels, between two ways to compute them
PROBE_SIZE = (40, 30)


@dataclass(frozen=True)
class PhotoProcessing:
    """The steps from a photo to normalised pixels.

    Attributes:
        transform: maps an RGB photo to pixels `[3, H, W]`, in [0, 1] if the normalisation follows.
        mean: subtracted from each channel after `transform`.
        std: each channel is divided by it.
        words: the steps in words.
    """

    transform: Callable[[Image.Image], Pixels]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    words: str


def describe_steps(steps: str, mean: Sequence[float]) -> str:
    """The steps of a library and the normalisation in words."""
    return f"photos are {steps} and normalised (mean {', '.join(f'{value:.3g}' for value in mean)})"


def resize_photos(size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]) -> PhotoProcessing:
    """Resize the whole photo to a height and a width."""
    return PhotoProcessing(partial(_resize, size), mean, std, describe_steps(f"resized to {size[0]} × {size[1]}", mean))


def _resize(size: tuple[int, int], photo: Image.Image) -> Pixels:
    return make_pixels(photo.convert("RGB"), size)[0]


def split_processor(processor: Any, patch_size: int | None = None) -> PhotoProcessing:
    """The steps of an image processor of transformers, with its normalisation apart, so that masks and blur act on plain colours.

    A processor whose normalisation cannot be left out, or is not the only step after scaling to [0, 1], is used whole.

    Args:
        processor: the image processor.
        patch_size: the side of a patch, if the processor returns patches, as for SigLIP 2 with photos of any shape.
    """
    read, name = partial(_process, processor, patch_size), type(processor).__name__
    whole = PhotoProcessing(partial(read, {}), NO_MEAN, NO_STD, f"photos are prepared by {name}")
    mean, std = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    if not getattr(processor, "do_normalize", False) or mean is None or std is None:
        return whole
    mean, std = (tuple(map(float, np.broadcast_to(values, 3))) for values in (mean, std))
    split = PhotoProcessing(partial(read, {"do_normalize": False}), mean, std, describe_steps(f"resized by {name}", mean))
    return split if _gives_same_pixels(split, whole) else whole


def _process(processor: Any, patch_size: int | None, options: dict[str, bool], photo: Image.Image) -> Pixels:
    """The pixels by a processor; patches are put together."""
    features = processor(images=photo.convert("RGB"), return_tensors="pt", **options)
    pixels = features["pixel_values"][0]
    if patch_size is None:
        return pixels.float()
    rows, columns = features["spatial_shapes"][0].tolist()
    patches = pixels[: rows * columns].reshape(rows, columns, patch_size, patch_size, 3)
    return patches.permute(4, 0, 2, 1, 3).reshape(3, rows * patch_size, columns * patch_size).float()


def _gives_same_pixels(split: PhotoProcessing, whole: PhotoProcessing) -> bool:
    """True if the split steps return the same normalised pixels, for a photo of random colours."""
    colours = np.random.default_rng(0).integers(0, 256, (PROBE_SIZE[1], PROBE_SIZE[0], 3), np.uint8)
    photo = Image.fromarray(colours)
    pixels, expected = split.transform(photo), whole.transform(photo)
    mean, std = (torch.tensor(values, dtype=pixels.dtype, device=pixels.device)[:, None, None] for values in (split.mean, split.std))
    if pixels.shape != expected.shape:
        return False
    is_plain = pixels.min() >= -LARGEST_DIFFERENCE and pixels.max() <= 1 + LARGEST_DIFFERENCE
    return bool(is_plain) and bool((((pixels - mean) / std) - expected).abs().max() < LARGEST_DIFFERENCE)


def split_steps(preprocess: Any) -> PhotoProcessing:
    """The steps of a `torchvision.transforms.Compose`, with the normalisation at its end apart; another function is used whole."""
    steps = getattr(preprocess, "transforms", ())
    last: Any = steps[-1] if steps else None
    if not hasattr(last, "mean") or not hasattr(last, "std"):
        return PhotoProcessing(preprocess, NO_MEAN, NO_STD, "photos are prepared by your transform")
    mean, std = (tuple(torch.as_tensor(values, device="cpu").flatten().tolist()) for values in (last.mean, last.std))
    names = ", ".join(type(step).__name__ for step in steps[:-1] if hasattr(step, "size"))
    return PhotoProcessing(type(preprocess)(steps[:-1]), mean, std, describe_steps(f"resized ({names})", mean))
