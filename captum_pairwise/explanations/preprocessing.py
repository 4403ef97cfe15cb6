"""From a photo to the input of an encoder, and the part of the photo that the encoder sees."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from captum_pairwise.explanations.contents import Box
from captum_pairwise.models.adapters import name_adapter
from captum_pairwise.models.backbones import IMAGENET_MEAN, IMAGENET_STD, ImageEncoder, make_pixels
from captum_pairwise.models.libraries.from_timm import find_image_size

Transform = Callable[[Image.Image], Any]
IMAGENET_SIZE = (224, 224)
PROBE_SIZE = 256  # pixels of a side of the pictures that measure a transform
LARGEST_MISFIT = 0.02  # of the photo's side


@dataclass(frozen=True)
class Preprocessing:
    """The steps from a photo to the input of an encoder.

    Attributes:
        transform: maps a photo to the input `[3, H, W]`.
        description: the steps in words.
        sees_all: True if they only resize the photo and change its colours.
    """

    transform: Transform
    description: str
    sees_all: bool = True

    def make_input(self, photo: Image.Image) -> Float[Tensor, "1 channels height width"]:
        """The input of the encoder for one photo.

        Raises:
            ValueError: the transform draws at random, or does not return the input of one image, or not with finite numbers.
        """
        pixels = _check_pixels(self.transform(photo))
        if not torch.equal(pixels, _check_pixels(self.transform(photo))):
            raise ValueError("Expected a transform without randomness, but two calls differ. Take the transform of the validation set.")
        return pixels.reshape(1, *pixels.shape[-3:])

    def find_view(self, photo: Image.Image) -> Box | None:
        """The part of a photo that the encoder sees, to the pixel; None if it is not an upright rectangle."""
        if self.sees_all:
            return 0, 0, photo.width, photo.height
        return _measure_view(self.make_input, photo.size)


def _check_pixels(pixels: object) -> Tensor:
    """The result of a transform, if it is the input of one image.

    Raises:
        ValueError: it is not.
    """
    is_image = isinstance(pixels, Tensor) and pixels.is_floating_point() and pixels.dim() in (3, 4) and pixels.shape[:-3] in ((), (1,))
    if not isinstance(pixels, Tensor) or not is_image:
        actual = f"{pixels.dtype} {tuple(pixels.shape)}" if isinstance(pixels, Tensor) else type(pixels).__name__
        is_processor = isinstance(pixels, Mapping) and "pixel_values" in pixels  # an image processor of transformers
        remedy = "lambda photo: processor(photo, return_tensors='pt')['pixel_values']" if is_processor else "another function"
        raise ValueError(f"Expected transform to return a floating-point tensor [3, H, W], got {actual}. Pass {remedy}.")
    if not pixels.isfinite().all():
        raise ValueError("Expected transform to return finite numbers, got NaN or infinity. Check what it divides by.")
    return pixels


def find_preprocessing(encoder: nn.Module | None, transform: Transform | None) -> Preprocessing:
    """The user's transform, or the one that the encoder names or was trained with.

    Raises:
        ValueError: there is none, or it is no function.
    """
    own = getattr(encoder, "transform", None)
    words = "photos go through your transform" if transform is not None and transform != own else getattr(encoder, "preprocessing", "")
    transform = own if transform is None else transform
    if transform is not None and not callable(transform):
        raise ValueError(f"Expected transform to be a function from a PIL image, got {type(transform).__name__}. Pass a function.")
    if transform is not None:
        return Preprocessing(transform, words or "photos go through the encoder's transform", sees_all=False)
    if isinstance(encoder, ImageEncoder):
        return Preprocessing(encoder.preprocess, f"photos are resized to {encoder.size[0]} × {encoder.size[1]}")
    modules = [] if encoder is None else encoder.modules()
    settings: Any = next((module.pretrained_cfg for module in modules if hasattr(module, "pretrained_cfg")), None)  # of a network by timm
    if encoder is not None and isinstance(settings, dict) and {"input_size", "mean", "std"} <= set(settings):
        return _resize_and_normalise(find_image_size(encoder) or tuple(settings["input_size"][1:]), settings["mean"], settings["std"])
    if encoder is not None and any(type(module).__module__.startswith("torchvision.models.") for module in encoder.modules()):
        size = getattr(encoder, "image_size", None)
        return _resize_and_normalise((size, size) if isinstance(size, int) else IMAGENET_SIZE, IMAGENET_MEAN, IMAGENET_STD)
    adapter = name_adapter(encoder)
    raise ValueError(
        "Expected transform=, a function from a PIL image to the encoder's input [3, H, W], because nothing in the model says how it wants "
        f"its photos. {f'Pass {adapter}' if adapter else 'Pass it, or pass tensors'}."
    )


def _resize_and_normalise(size: tuple[int, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    height, width = size
    offset, scale = (torch.tensor(values, dtype=torch.float32, device="cpu")[:, None, None] for values in (mean, std))

    def transform(photo: Image.Image) -> Tensor:
        return ((make_pixels(photo, (height, width)) - offset) / scale)[0]

    rounded = ", ".join(f"{value:.3g}" for value in mean)
    return Preprocessing(transform, f"photos are resized to {height} × {width} and normalised (mean {rounded})")


def _measure_view(make_input: Callable[[Image.Image], Tensor], size: tuple[int, int]) -> Box | None:
    """The part of a photo of this size that a transform keeps, from its effect on pictures whose colours are coordinates."""
    width, height = size
    ramp = np.zeros((PROBE_SIZE, PROBE_SIZE, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(PROBE_SIZE), np.arange(PROBE_SIZE)[:, None]
    scale = Image.Resampling.BILINEAR
    probes = [Image.fromarray(ramp).resize(size, scale), *(Image.new("RGB", size, (value,) * 3) for value in (0, PROBE_SIZE - 1))]
    coordinates, zero, one = (make_input(probe)[0].double() for probe in probes)
    if coordinates.shape[0] != 3 or ((one - zero).abs() < torch.finfo(torch.float32).eps).any():
        return None
    share = ((coordinates - zero) / (one - zero) * (PROBE_SIZE - 1) + 0.5) / PROBE_SIZE  # of the photo's sides, from edge to edge
    ends = [_fit_line(share[0], 1), _fit_line(share[1], 0)]
    if ends[0] is None or ends[1] is None:
        return None
    (left, right), (top, bottom) = ends[0], ends[1]
    return max(0, round(left * width)), max(0, round(top * height)), min(width, round(right * width)), min(height, round(bottom * height))


def _fit_line(share: Float[Tensor, "height width"], axis: int) -> tuple[float, float] | None:
    """The coordinates at both ends of an axis, if they grow evenly along it and are the same along the other axis; or None."""
    means = share.mean(1 - axis)
    places = torch.arange(len(means), dtype=torch.float64, device="cpu") + 0.5
    design = torch.stack([torch.ones_like(places), places], 1)
    start, slope = torch.linalg.lstsq(design, means[:, None]).solution[:, 0].tolist()
    expected = (start + slope * places).unsqueeze(1 - axis)
    inside = slice(len(means) // 10, -(len(means) // 10) or None)  # the edges of a ramp are flat after a resize
    misfit = (share - expected).narrow(axis, inside.start, len(places[inside])).abs().max()
    return (start, start + slope * len(places)) if slope > 0 and misfit < LARGEST_MISFIT else None
