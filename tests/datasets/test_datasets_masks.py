from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import VOID, labels, save_mask
from PIL import Image

from captum_pairwise.datasets import open_mask
from captum_pairwise.datasets.masks import label_shares

SIZES = [(20, 24), (10, 12), (28, 40), (44, 8)]  # no centre falls between two pixels but where half of them is left out
CLASSES = [0, 3, 7, VOID, 15]


def nearest(mask: np.ndarray, size: tuple[int, int]) -> list[list[int]]:
    """At each new pixel's centre the pixel of the mask."""
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
        found, void = open_mask(tmp_path / "mask.png", label, size)
        assert torch.equal(found, truth == label) and torch.equal(void, truth == VOID)
        assert found.dtype == void.dtype == torch.bool and found.shape == (1, *size)
    assert void.any()


@pytest.mark.parametrize("size", SIZES)
def test_without_a_label_all_but_0_is_the_object(tmp_path, size):
    mask = labels(0, CLASSES)
    save_mask(tmp_path / "mask.png", mask)
    found, void = open_mask(str(tmp_path / "mask.png"), None, size)
    assert torch.equal(found, torch.tensor(nearest(mask, size))[None] != 0) and not void.any()


@pytest.mark.parametrize("picture", [mask := labels(0, [0, 1]) > 0, mask.astype(np.uint16) * 256, mask.astype(np.int32) * 70000])
def test_any_depth_will_do_without_a_label(tmp_path, picture):
    file = tmp_path / ("mask.tif" if picture.dtype == np.int32 else "mask.png")
    Image.fromarray(picture).save(file)
    assert torch.equal(open_mask(file, None, picture.shape)[0][0], torch.from_numpy(picture != 0))
    with pytest.raises(ValueError, match="mode L or P"):
        open_mask(file, 1)


def test_masks_have_the_size_of_the_encoders_by_default(tmp_path):
    save_mask(tmp_path / "mask.png", labels(0, CLASSES))
    assert open_mask(tmp_path / "mask.png", 3)[0].shape == (1, 224, 224)


def test_shares_are_those_of_the_pixels_that_are_not_void(tmp_path):
    mask = labels(1, CLASSES)
    save_mask(tmp_path / "mask.png", mask)
    known = [int(value) for value in mask.flat if value != VOID]
    assert label_shares(tmp_path / "mask.png") == {value: known.count(value) / len(known) for value in sorted(set(known))}
    save_mask(tmp_path / "void.png", np.full((4, 4), VOID, np.uint8))
    assert label_shares(tmp_path / "void.png") == {}


@pytest.mark.parametrize("read", [label_shares, lambda file: open_mask(file, None), lambda file: open_mask(file, 1)])
def test_what_is_no_mask_is_refused(tmp_path: Path, read):
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    with pytest.raises(ValueError, match=r"colours.png.*mode RGB. Save label numbers"):
        read(tmp_path / "colours.png")
    save_mask(tmp_path / "mask.png", labels(0, CLASSES, (200, 200)))
    (tmp_path / "torn.png").write_bytes((tmp_path / "mask.png").read_bytes()[:-80])
    (tmp_path / "text.png").write_text("no image")
    for name in ("torn.png", "text.png", "none.png"):
        with pytest.raises(ValueError, match=f"{name} to be a mask, got content that cannot be read"):
            read(tmp_path / name)


@pytest.mark.parametrize("label", [-1, VOID])
def test_void_is_no_label(tmp_path, label):
    save_mask(tmp_path / "mask.png", labels(0, CLASSES))
    with pytest.raises(ValueError, match="label from 0 to 254, as 255 is void"):
        open_mask(tmp_path / "mask.png", label)
