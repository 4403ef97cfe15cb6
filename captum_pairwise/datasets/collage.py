"""Pictures with the mask of an object: every change of the picture changes the mask, too."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Cutout:
    """A photo or drawing, and the mask of its object."""

    pixels: Pixels
    mask: Mask


def crop(picture: Cutout, top: int, bottom: int, left: int, right: int) -> Cutout:
    """Rows from `top` to `bottom` and columns from `left` to `right`, ends excluded."""
    return Cutout(picture.pixels[top:bottom, left:right], picture.mask[top:bottom, left:right])


def mirror(picture: Cutout) -> Cutout:
    """The picture with left and right exchanged."""
    return Cutout(np.ascontiguousarray(picture.pixels[:, ::-1]), np.ascontiguousarray(picture.mask[:, ::-1]))


def recolour(picture: Cutout, red: float, green: float, blue: float) -> Cutout:
    """The picture in light of another colour: each channel is multiplied by a number."""
    light = picture.pixels * np.array([red, green, blue])
    return replace(picture, pixels=light.clip(0, 255).round().astype(np.uint8))


def resize(picture: Cutout, shorter_side: int) -> Cutout:
    """The picture with another size and the same proportions; a pixel is object if the object covers at least half of it."""
    factor = shorter_side / min(picture.mask.shape)
    height, width = (round(side * factor) for side in picture.mask.shape)
    return Cutout(np.asarray(_scale_layer(picture.pixels, height, width)), np.asarray(_scale_layer(picture.mask, height, width)) >= 128)


def paste(picture: Cutout, photo: Pixels, height: int, bottom: int, left: int) -> Cutout:
    """The photo with the object of a picture over it; parts outside the photo are cut off.

    Args:
        picture: has the object.
        photo: the background.
        height: of the object, in pixels of the photo.
        bottom: row of the photo on which the object stands.
        left: column of the photo where the object begins; may be negative.
    """
    rows, columns = (slice(places.min(), places.max() + 1) for places in picture.mask.nonzero())
    mask = picture.mask[rows, columns]
    # the background of the object is black before resizing: its colours would mix into the object's border
    colours = np.where(mask[..., None], picture.pixels[rows, columns], np.uint8(0))
    width = round(height * mask.shape[1] / mask.shape[0])
    layers = []
    for layer in (mask, colours):
        scaled = _scale_layer(layer, height, width)
        canvas = Image.new(scaled.mode, (photo.shape[1], photo.shape[0]))
        canvas.paste(scaled, (left, bottom - height))
        layers.append(np.asarray(canvas).astype(float))
    opacity, pixels = layers[0] / 255, layers[1]
    return Cutout((photo * (1 - opacity[..., None]) + pixels).clip(0, 255).round().astype(np.uint8), opacity >= 0.5)


def _scale_layer(layer: Pixels | Mask, height: int, width: int) -> Image.Image:
    levels = layer.astype(np.uint8) * 255 if layer.dtype == bool else layer
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR)
