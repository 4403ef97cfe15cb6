from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import VOID, labels, save_mask
from PIL import Image

from captum_pairwise.datasets import open_mask
from captum_pairwise.datasets.masks import label_shares

SIZES = [(20, 24), (10, 12), (28, 40), (44, 8)]  # no new centre lies on the border of two old pixels
CLASSES = [0, 3, 7, VOID, 15]


def nearest(mask: np.ndarray, size: tuple[int, int]) -> list[list[int]]:
    """The pixel of the mask at the centre of each new pixel."""
    height, width = mask.shape
    return [
        [int(mask[int((row + 0.5) * height / size[0]), int((column + 0.5) * width / size[1])]) for column in range(size[1])]
        for row in range(size[0])
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("has_palette", [True, False])
def test_the_label_is_the_object_and_255_is_void(tmp_path, size, has_palette):
    mask = labels(0, CLASSES)
    save_mask(tmp_path / "mask.png", mask, has_palette)
    truth = torch.tensor(nearest(mask, size))[None]
    for label in (0, 3, 7, 15, 200):
        mask_of_label, void = open_mask(tmp_path / "mask.png", label, size)
        assert torch.equal(mask_of_label, truth == label) and torch.equal(void, truth == VOID)
        assert mask_of_label.dtype == void.dtype == torch.bool and mask_of_label.shape == (1, *size)
    assert void.any()


@pytest.mark.parametrize("size", SIZES)
def test_without_a_label_every_number_except_0_is_the_object(tmp_path, size):
    mask = labels(0, CLASSES)
    save_mask(tmp_path / "mask.png", mask)
    objects, void = open_mask(str(tmp_path / "mask.png"), None, size)
    assert torch.equal(objects, torch.tensor(nearest(mask, size))[None] != 0) and not void.any()


@pytest.mark.parametrize("picture", [mask := labels(0, [0, 1]) > 0, mask.astype(np.uint16) * 256, mask.astype(np.int32) * 70000])
def test_without_a_label_every_bit_depth_is_read(tmp_path, picture):
    file = tmp_path / ("mask.tif" if picture.dtype == np.int32 else "mask.png")
    Image.fromarray(picture).save(file)
    assert torch.equal(open_mask(file, None, picture.shape)[0][0], torch.from_numpy(picture != 0))
    with pytest.raises(ValueError, match="mode L or P"):
        open_mask(file, 1)


def test_the_default_size_is_that_of_the_encoders(tmp_path):
    save_mask(tmp_path / "mask.png", labels(0, CLASSES))
    assert open_mask(tmp_path / "mask.png", 3)[0].shape == (1, 224, 224)


def test_shares_do_not_count_void_pixels(tmp_path):
    mask = labels(1, CLASSES)
    save_mask(tmp_path / "mask.png", mask)
    pixels = [int(value) for value in mask.flat if value != VOID]
    assert label_shares(tmp_path / "mask.png") == {value: pixels.count(value) / len(pixels) for value in sorted(set(pixels))}
    save_mask(tmp_path / "void.png", np.full((4, 4), VOID, np.uint8))
    assert label_shares(tmp_path / "void.png") == {}


@pytest.mark.parametrize("read", [label_shares, lambda file: open_mask(file, None), lambda file: open_mask(file, 1)])
def test_a_colour_image_is_refused(tmp_path: Path, read):
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    with pytest.raises(ValueError, match=r"colours.png.*mode RGB. Save label numbers"):
        read(tmp_path / "colours.png")


@pytest.mark.parametrize("label", [-1, VOID])
def test_a_label_below_0_or_of_void_is_refused(tmp_path, label):
    save_mask(tmp_path / "mask.png", labels(0, CLASSES))
    with pytest.raises(ValueError, match="label from 0 to 254, as 255 is void"):
        open_mask(tmp_path / "mask.png", label)


@pytest.mark.parametrize("label", [None, 1])
@pytest.mark.parametrize(("name", "options"), [("JPEG", {}), ("JPEG2000", {"irreversible": True})])
def test_a_format_that_changes_numbers_is_refused(tmp_path, label, name, options):
    """A JPEG of an object in black and white has other numbers than 0 all around it."""
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[13:27, 9:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask", format=name, **options)
    with pytest.raises(ValueError, match=rf"exact numbers in .*mask, got {name}, which changes them. Save the mask as PNG\."):
        open_mask(tmp_path / "mask", label)
    with pytest.raises(ValueError, match=f"got {name}"):
        label_shares(tmp_path / "mask")
