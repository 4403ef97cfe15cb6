"""Pictures from outside: counted before they are decoded, and refused in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

RUNS_A_PROGRAM = {"EPS", "WMF"}  # formats that Pillow leaves to Ghostscript and to Windows
LARGEST_GREY, STEP = 65535, 257  # of 16 bits, and how many of these are one of 8 bits


def read_rgb(source: object) -> Image.Image:
    """A picture upright, as RGB of 8 bits: 16-bit grey scaled, transparency left out.

    Args:
        source: a file, a Pillow image, or an array of bytes `[H, W, 3]`, grey `[H, W]` or with transparency `[H, W, 4]`.

    Raises:
        ValueError: it is no picture, is damaged, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    if isinstance(source, (str, Path)):
        return _readable(source, "an image", lambda: _colours(ImageOps.exif_transpose(_decoded(source))))
    if isinstance(source, Image.Image):
        return _readable(getattr(source, "filename", "") or "it", "an image", lambda: _colours(ImageOps.exif_transpose(source)))
    if isinstance(source, np.ndarray):
        what = f"an array of {source.dtype} {list(source.shape)}"
        return _readable(what, "an image, bytes [H, W, 3]", lambda: _colours(Image.fromarray(source)))
    raise ValueError(
        f"Expected a file, a Pillow image or an array of bytes [H, W, 3], got {type(source).__name__}. A tensor [3, H, W] in [0, 1] needs "
        "no reading: resize it to the encoder's `size`."
    )


def read_image(file: Path, what: str) -> Image.Image:
    """The picture in a file, neither turned nor converted.

    Args:
        file: where it is.
        what: it should be, in words.

    Raises:
        ValueError: as `read_rgb`.
    """
    return _readable(file, what, lambda: _decoded(file))


def _decoded(file: str | Path) -> Image.Image:
    Image.init()
    image = Image.open(file, formats=[name for name in Image.OPEN if name not in RUNS_A_PROGRAM])
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels are more than {limit}")
    image.load()
    return image


def _readable(name: object, what: str, read: Callable[[], Image.Image]) -> Image.Image:
    """What `read` returns, or one sentence whatever it raises."""
    try:
        image = read()
        if 0 in image.size:
            raise ValueError("it has no pixels")
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"Expected {name} to be {what} of at most {Image.MAX_IMAGE_PIXELS} pixels, got more, of which none was decoded "
            f"({str(error).rstrip('.')}). Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS if you know where it comes from."
        ) from error
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"Expected {name} to be {what}, got what cannot be read: {str(error).rstrip('.')}. Look at the path, save it anew as PNG or "
            "JPEG, or leave it out."
        ) from error
    return image


def _colours(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; what Pillow would clip is scaled, or refused."""
    if image.mode == "F":
        raise ValueError("its pixels are real numbers, of which nobody knows what is white")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.size and not 0 <= grey.min() <= grey.max() <= LARGEST_GREY:
            raise ValueError(f"its grey values, {grey.min()} to {grey.max()}, are not of 16 bits")
        image = Image.fromarray((grey / STEP).round().astype(np.uint8))
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # or Pillow warns
    return image.convert("RGB")
