"""Data sets of a few tiny images, in the layouts that the real ones have."""

from pathlib import Path

import numpy as np
import torch
from conftest import seeded
from PIL import Image
from torch import nn

from captum_pairwise.models.backbones import ImageEncoder

VOID = 255
COLOURS = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)


def tiny_image_encoder(seed: int = 0, size: tuple[int, int] = (16, 16)) -> ImageEncoder:
    """A random convolution to a map, float64."""
    features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3)).double()
    with torch.no_grad():
        for parameter in features.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(seed), dtype=torch.float64))
    return ImageEncoder(features, size=size).double().eval()


def labels(seed: int, classes: list[int], shape: tuple[int, int] = (20, 24)) -> np.ndarray:
    """Blocks of 4×4 pixels, each of one of the classes; the last is rare: two pixels."""
    generator = np.random.default_rng(seed)
    blocks = generator.choice(classes[:-1] or classes, size=(shape[0] // 4, shape[1] // 4))
    mask = blocks.repeat(4, 0).repeat(4, 1).astype(np.uint8)
    mask[0, :2] = classes[-1]
    return mask


def save_photo(file: Path, seed: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file)


def save_mask(file: Path, mask: np.ndarray, has_palette: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if has_palette:
        image.putpalette(COLOURS.tobytes())
    image.save(file)


def make_voc(root: Path, n_train: int = 8, n_val: int = 5) -> Path:
    """Images with background, two of the classes 3, 7 and 12, void, and a rare 15."""
    home = root / "VOCdevkit/VOC2012"
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    for split, first, count in (("train", 0, n_train), ("val", 100, n_val)):
        names = [f"2007_{number:06}" for number in range(first, first + count)]
        (home / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(names) + "\n")
        for number, name in enumerate(names, first):
            save_photo(home / f"JPEGImages/{name}.jpg", number)
            two = [one for one in (3, 7, 12) if one != (3, 7, 12)[number % 3]]
            save_mask(home / f"SegmentationClass/{name}.png", labels(number, [0, *two, VOID, 15]))
    return root


def make_coco(root: Path, images: str = "images", maps: str = "annotations") -> Path:
    """Images with a person (0 in the maps), grass (123) and void, and a rare book (83)."""
    for split, first in (("train", 1), ("val", 101)):
        for number in range(first, first + 4):
            save_photo(root / images / f"{split}2017/{number:012}.jpg", number)
            save_mask(root / maps / f"{split}2017/{number:012}.png", labels(number, [0, 123, VOID, 83]), has_palette=False)
    return root


def make_products(root: Path) -> Path:
    """Two kinds of products; three products to train, three to test, with two photos each."""
    number = 0
    for split, products in (("train", (1, 2, 3)), ("test", (4, 5, 6))):
        lines = ["image_id class_id super_class_id path"]
        for product in products:
            kind = product % 2
            for view in range(2):
                number += 1
                path = f"{('chair', 'coffee_maker')[kind]}_final/{product:012}_{view}.JPG"
                save_photo(root / path, number)
                lines.append(f"{number} {product} {kind + 1} {path}")
        (root / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")
    return root
