"""Pictures with a mask of what they show, which every change carries along."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

Pixels = UInt8[np.ndarray, "height width 3"]
Mask = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Picture:
    """A photo or drawing, and where its object is."""

    pixels: Pixels
    mask: Mask

    @property
    def share(self) -> float:
        """How much of the picture is object."""
        return float(self.mask.mean())


def crop(picture: Picture, top: int, bottom: int, left: int, right: int) -> Picture:
    """The rows from `top` to `bottom` and the columns from `left` to `right`, ends left out."""
    return Picture(picture.pixels[top:bottom, left:right], picture.mask[top:bottom, left:right])


def flipped(picture: Picture) -> Picture:
    """Left and right exchanged."""
    return Picture(np.ascontiguousarray(picture.pixels[:, ::-1]), np.ascontiguousarray(picture.mask[:, ::-1]))


def recoloured(picture: Picture, red: float, green: float, blue: float) -> Picture:
    """In light of another colour: every channel times a number."""
    light = picture.pixels * np.array([red, green, blue])
    return replace(picture, pixels=light.clip(0, 255).round().astype(np.uint8))


def resized(picture: Picture, shorter_side: int) -> Picture:
    """As large as wanted, in its own proportions; a pixel is object where at least half of it is."""
    factor = shorter_side / min(picture.mask.shape)
    height, width = (round(side * factor) for side in picture.mask.shape)
    return Picture(_scaled(picture.pixels, height, width), _scaled(_as_bytes(picture.mask), height, width) >= 128)


def pasted(cut: Picture, onto: Pixels, height: int, bottom: int, left: int) -> Picture:
    """The object of one picture, alone, over another photo; what would stick out is cut off.

    Args:
        cut: has the object.
        onto: the photo.
        height: of the object, in pixels of the photo.
        bottom: the row of the photo on which the object stands.
        left: the column where the object begins; may be negative.
    """
    rows, columns = (slice(places.min(), places.max() + 1) for places in cut.mask.nonzero())
    width = round(height * (columns.stop - columns.start) / (rows.stop - rows.start))
    alpha, colours = _premultiplied(Picture(cut.pixels[rows, columns], cut.mask[rows, columns]), height, width)
    pixels, opacity = onto.astype(float), np.zeros(onto.shape[:2])
    top, first = max(bottom - height, 0), max(left, 0)
    last_row, last_column = min(bottom, len(onto)), min(left + width, onto.shape[1])
    part = np.s_[top - bottom + height : last_row - bottom + height, first - left : last_column - left]
    place = np.s_[top:last_row, first:last_column]
    opacity[place] = alpha[part]
    pixels[place] = pixels[place] * (1 - alpha[part][..., None]) + colours[part]
    return Picture(pixels.clip(0, 255).round().astype(np.uint8), opacity >= 0.5)


def _premultiplied(cut: Picture, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The object's opacity and its colours times that, so that colours around the object do not leak in."""
    masked = np.where(cut.mask[..., None], cut.pixels, 0).astype(np.uint8)
    return _scaled(_as_bytes(cut.mask), height, width) / 255, _scaled(masked, height, width).astype(float)


def _as_bytes(mask: Mask) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def _scaled(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
