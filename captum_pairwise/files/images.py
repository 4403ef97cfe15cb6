"""Images from files: the pixels are counted before they are decoded, and each error is one clear sentence."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

EXTERNAL_FORMATS = {"EPS", "WMF"}  # Pillow runs Ghostscript or Windows for these
PATH = re.compile(r"(\.{0,2}/|~|\w:\\|\w+://)\S+|\S+/\S*\w\.\w+")  # absolute or relative, an address, or a folder and a name with an ending
MAX_GREY_16, GREY_STEP = 65535, 257  # the largest 16-bit value, and the 16-bit values in one 8-bit step


def read_rgb(source: object) -> Image.Image:
    """An upright image as RGB of 8 bits; 16-bit grey is scaled, transparency is dropped.

    Args:
        source: a file, a Pillow image, or an array of bytes `[H, W, 3]`, grey `[H, W]` or with transparency `[H, W, 4]`.

    Raises:
        ValueError: it is no image, is damaged, or has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    if isinstance(source, (str, Path)):
        return _check_image(source, "an image", lambda: _convert_to_rgb(ImageOps.exif_transpose(_decode(source))))
    if isinstance(source, Image.Image):
        return _check_image(getattr(source, "filename", "") or "it", "an image", lambda: _convert_to_rgb(ImageOps.exif_transpose(source)))
    if isinstance(source, np.ndarray):
        name = f"an array of {source.dtype} {list(source.shape)}"
        return _check_image(name, "an image, bytes [H, W, 3]", lambda: _convert_to_rgb(Image.fromarray(source)))
    raise ValueError(f"Expected a file, a Pillow image or bytes [H, W, 3], got {type(source).__name__}. Resize a tensor to `encoder.size`.")


def list_images(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders whose names end like those of images, in order; hidden ones are left out.

    Raises:
        ValueError: it is no folder.
    """
    if not folder.is_dir():
        raise ValueError(f"Expected a folder of images, got {str(folder)!r}, which is none. Check the path.")
    endings = _list_endings()
    files = (file for file in folder.rglob("*") if file.suffix.lower() in endings and file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def names_image(text: str) -> bool:
    """True for the path of a file, and for a text that ends like the name of an image or reads like a path or an address.

    >>> names_image("missing.jpg"), names_image("photos/missing.jpgg"), names_image("AC/DC"), names_image("a red bicycle.")
    (True, True, False, False)
    """
    if Path(text).suffix.lower() in _list_endings() or PATH.fullmatch(text):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return False


def _list_endings() -> set[str]:
    """The endings of the names of images."""
    Image.init()
    return {ending for ending, name in Image.registered_extensions().items() if name in Image.OPEN and name not in EXTERNAL_FORMATS}


def read_image(file: Path, what: str) -> Image.Image:
    """The image in a file, neither turned nor converted.

    Args:
        file: its path.
        what: the expected content in words, for error messages.

    Raises:
        ValueError: as for `read_rgb`.
    """
    return _check_image(file, what, lambda: _decode(file))


def _decode(file: str | Path) -> Image.Image:
    Image.init()
    image = Image.open(file, formats=[name for name in Image.OPEN if name not in EXTERNAL_FORMATS])
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels are more than {limit}")
    image.load()
    return image


def _check_image(name: object, what: str, read: Callable[[], Image.Image]) -> Image.Image:
    """The image that `read` returns; each of its errors becomes one clear `ValueError`."""
    try:
        image = read()
        if 0 in image.size:
            raise ValueError("it has no pixels")
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        is_too_large = isinstance(error, Image.DecompressionBombError)
        remedy = "Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS." if is_too_large else "Check the path, or save it as PNG or JPEG."
        raise ValueError(f"Expected {name} to be {what}, got content that cannot be read: {str(error).rstrip('.')}. {remedy}") from error
    return image


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; values that Pillow would clip are scaled or refused."""
    if image.mode == "F":
        raise ValueError("its pixels are real numbers, whose value for white is unknown")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.size and not 0 <= grey.min() <= grey.max() <= MAX_GREY_16:
            raise ValueError(f"its grey values, {grey.min()} to {grey.max()}, are not of 16 bits")
        image = Image.fromarray((grey / GREY_STEP).round().astype(np.uint8))
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # Pillow warns otherwise
    return image.convert("RGB")
