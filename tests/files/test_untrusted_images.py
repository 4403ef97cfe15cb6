"""Untrusted images: unusual modes keep their colours, damaged and huge images are refused before they are decoded."""

import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import assert_refused
from data_sets import tiny_image_encoder
from PIL import Image
from torch import nn

from captum_pairwise.datasets import open_mask
from captum_pairwise.datasets.embeddings import embed
from captum_pairwise.datasets.masks import label_shares
from captum_pairwise.models.backbones import ImageEncoder

SIZE = (20, 24)
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
ENCODER = ImageEncoder(nn.Identity(), size=SIZE)
READERS = {"preprocess": ENCODER.preprocess, "open_mask": open_mask, "label_shares": label_shares}


def pixels(image):
    """The preprocessed image as bytes `[H, W, 3]`."""
    found = ENCODER.preprocess(image)
    assert found.shape == (1, 3, *SIZE) and found.dtype == torch.float32
    return (found[0] * 255).permute(1, 2, 0).numpy()


def colours(image):
    return np.asarray(image.convert("RGB"), dtype=np.float32)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_of_pillow_is_converted_to_its_colours(mode):
    image = PHOTO.convert("P").convert(mode) if mode == "PA" else PHOTO.convert("RGBA").convert(mode) if mode != "LAB" else lab()
    assert np.abs(pixels(image) - colours(image)).max() < 1e-3


def lab():
    return Image.merge("LAB", PHOTO.split())


def test_a_cmyk_jpeg_has_its_colours(tmp_path):
    red = Image.new("RGB", SIZE[::-1], (200, 30, 40))
    red.convert("CMYK").save(tmp_path / "red.jpg", quality=100)
    assert Image.open(tmp_path / "red.jpg").mode == "CMYK"
    assert np.abs(pixels(tmp_path / "red.jpg") - (200, 30, 40)).max() < 6  # the error of JPEG and of two conversions


@pytest.mark.parametrize("transparency", [0, bytes(range(256))])
def test_a_palette_with_transparency_is_read_without_it_and_without_a_warning(tmp_path, transparency):
    PHOTO.convert("P").save(tmp_path / "palette.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(pixels(tmp_path / "palette.png") - colours(PHOTO.convert("P"))).max() < 1e-3


TURNS = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("opened", [Path, Image.open], ids=["path", "image"])
def test_a_rotated_photo_is_turned_upright(tmp_path, opened, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    PHOTO.save(tmp_path / "photo.png", exif=exif)
    upright = TURNS[orientation](np.asarray(PHOTO))
    encoder = ImageEncoder(nn.Identity(), size=upright.shape[:2])
    assert np.array_equal((encoder.preprocess(opened(tmp_path / "photo.png"))[0] * 255).round().permute(1, 2, 0), upright)


@pytest.mark.parametrize("name", ["scan.png", "scan.tif", "scan.pgm"])
def test_16_bits_keep_their_range(tmp_path, name):
    grey = np.random.default_rng(1).integers(0, 65536, SIZE, dtype=np.uint16)
    Image.fromarray(grey if name != "scan.pgm" else grey.astype(np.int32)).save(
        tmp_path / name
    )  # before version 11, Pillow writes no uint16 there
    assert np.abs(pixels(tmp_path / name) - (grey / 257)[..., None]).max() <= 0.5 + 1e-3


def test_one_pixel_fills_the_image(tmp_path):
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "one.png")
    assert np.abs(pixels(tmp_path / "one.png") - (10, 20, 30)).max() < 1e-3


# what is refused


def real_numbers(folder):
    Image.fromarray(np.random.default_rng(0).random(SIZE).astype(np.float32)).save(folder / "bad.tif")


def whole_numbers(folder):
    Image.fromarray(np.full(SIZE, 70_000, np.int32)).save(folder / "bad.tif")


@pytest.mark.parametrize(("write", "sentence"), [(real_numbers, "real numbers"), (whole_numbers, "70000 to 70000, are not of 16 bits")])
def test_numbers_of_unknown_range_are_refused(tmp_path, write, sentence):
    write(tmp_path)
    assert_refused(lambda: ENCODER.preprocess(tmp_path / "bad.tif"), f"bad.tif to be an image, got .*{sentence}.*PNG or JPEG")


def save_image(file_format, **options):
    content = io.BytesIO()
    PHOTO.save(content, file_format, **options)
    return content.getvalue()


WHOLE = {name: save_image(name) for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF")}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"no image", WHOLE["PNG"][:20], *(whole[: len(whole) // 2] for whole in WHOLE.values())])
def test_damaged_files_are_refused(tmp_path, reader, content):
    (tmp_path / "bad.img").write_bytes(content)
    assert_refused(lambda: READERS[reader](tmp_path / "bad.img"), "bad.img to be an? (image|mask), got content that cannot be read")


@pytest.mark.parametrize("name", WHOLE)
def test_random_bytes_in_a_file_give_a_clear_message(tmp_path, name):
    """Random changes of bytes: the photo is read or refused, with no other result."""
    draws = np.random.default_rng(0)
    for _ in range(60):
        spoilt = np.frombuffer(WHOLE[name], np.uint8).copy()
        spoilt[draws.integers(0, len(spoilt), 3)] = draws.integers(0, 256, 3)
        (tmp_path / "spoilt").write_bytes(spoilt.tobytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert ENCODER.preprocess(tmp_path / "spoilt").isfinite().all()
            except ValueError as refused:
                assert str(refused).startswith("Expected ") and "spoilt" in str(refused)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png_header(file, width, height):
    """A PNG of a few bytes whose header claims `width` × `height` grey pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return file


@pytest.mark.filterwarnings("ignore:Image size")  # Pillow warns before it refuses
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, reader, size):
    file = write_png_header(tmp_path / "huge.png", *size)
    tracemalloc.start()
    assert_refused(lambda: READERS[reader](file), "huge.png .*pixels.* raise PIL.Image.MAX_IMAGE_PIXELS")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_the_pixel_limit_of_pillow_is_used(tmp_path, monkeypatch):
    PHOTO.save(tmp_path / "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 24 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        assert_refused(
            lambda: ENCODER.preprocess(tmp_path / "photo.png"), "24×20 pixels are more than 479.*raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert np.array_equal(pixels(tmp_path / "photo.png").round(), colours(PHOTO))


def test_postscript_does_not_run_a_program(tmp_path, monkeypatch):
    PHOTO.save(tmp_path / "photo.eps")
    Image.init()
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_: pytest.fail("a program was started"))
    assert Image.open(tmp_path / "photo.eps").format == "EPS"
    assert_refused(lambda: ENCODER.preprocess(tmp_path / "photo.eps"), "photo.eps to be an image, got content that cannot be read")


ODD = {
    "real numbers": (
        np.zeros((4, 4, 3)),
        r"an array of float64 \[4, 4, 3\] to be an image, bytes \[H, W, 3\], got content that cannot be read",
    ),
    "a batch": (np.zeros((2, 4, 4, 3), np.uint8), r"uint8 \[2, 4, 4, 3\]"),
    "no pixel": (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    "a tensor": (torch.zeros(3, 4, 4), "got Tensor.*Resize"),
    "bytes": (b"", "got bytes"),
    "nothing": (None, r"a file, a Pillow image or bytes .* got NoneType"),
}


@pytest.mark.parametrize("odd", ODD)
def test_other_objects_are_refused_as_images(odd, without_type_checks):
    assert_refused(lambda: ENCODER.preprocess(ODD[odd][0]), ODD[odd][1])


def test_the_message_names_the_file_of_a_damaged_pillow_image(tmp_path):
    (tmp_path / "torn.png").write_bytes(WHOLE["PNG"][:-50])
    assert_refused(
        lambda: ENCODER.preprocess(Image.open(tmp_path / "torn.png")), "torn.png to be an image, got content that cannot be read"
    )


def test_a_worker_process_names_the_damaged_file(tmp_path):
    PHOTO.save(tmp_path / "good.png")
    (tmp_path / "torn.png").write_bytes(WHOLE["PNG"][:-50])
    files = [tmp_path / "good.png", tmp_path / "torn.png"]
    with pytest.raises(ValueError, match=r"torn\.png to be an image, got content that cannot be read"):
        embed(files, tiny_image_encoder(), batch_size=1, n_workers=1, show_progress=False)
