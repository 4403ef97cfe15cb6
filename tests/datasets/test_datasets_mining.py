import math
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import VOID, labels, make_coco, make_products, make_voc, save_mask, save_photo, tiny_image_encoder
from PIL import Image

from captum_pairwise.datasets import (
    LabelledImage,
    LabelledImages,
    Pair,
    coco,
    conditional_nearest_neighbours,
    mining,
    open_mask,
    stanford_online_products,
    voc,
)

READERS = {"voc": (make_voc, voc), "coco": (make_coco, coco)}


def mined(train, val, **options):
    return conditional_nearest_neighbours(train, val, tiny_image_encoder(), show_progress=False, **options)


def splits(folder: Path, name: str = "voc", *sizes: int) -> tuple[LabelledImages, LabelledImages]:
    make, read = READERS[name]
    make(folder, *sizes)
    return read(folder, "train"), read(folder, "val")


def share(image: LabelledImage, label: int) -> float:
    """Pixel by pixel."""
    if image.mask is None:
        return float(image.label == label)
    pixels = [int(value) for row in np.asarray(Image.open(image.mask)) for value in row if value != VOID]
    return sum(value == label for value in pixels) / len(pixels)


def embedding(image: LabelledImage) -> list[float]:
    encoder = tiny_image_encoder()
    with torch.no_grad():
        return encoder(encoder.preprocess(image.image))[0].mean((1, 2)).tolist()


def cosine(one: LabelledImage, other: LabelledImage) -> float:
    u, w = embedding(one), embedding(other)
    return sum(a * b for a, b in zip(u, w, strict=True)) / math.hypot(*u) / math.hypot(*w)


def classes(image: LabelledImage, min_share: float, background: frozenset[int]) -> list[int]:
    return [label for label in range(VOID) if label not in background and share(image, label) > min_share]


def neighbour(train: LabelledImages, image: LabelledImage, label: int, min_share: float) -> LabelledImage:
    """The paper's rule, one image after the other."""
    best = None
    for candidate in train.images:
        is_allowed = candidate.image != image.image and share(candidate, label) > min_share
        if is_allowed and (best is None or cosine(candidate, image) > cosine(best, image)):
            best = candidate
    assert best is not None
    return best


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("min_share", [0.05, 0.3])
@pytest.mark.filterwarnings("ignore:.*left out")
def test_queries_are_nearest_neighbours_with_the_class(tmp_path, name, min_share):
    train, val = splits(tmp_path, name)
    pairs = mined(train, val, min_share=min_share, batch_size=3)
    possible = {image.image: classes(image, min_share, val.background) for image in val.images}
    held = {label for image in train.images for label in classes(image, min_share, train.background)}
    assert [pair.retrieved for pair in pairs] == [image.image for image in val.images if possible[image.image]]
    for pair in pairs:
        assert pair.label in possible[pair.retrieved] and pair.label in held and pair.category == val.name(pair.label)
        query = neighbour(train, LabelledImage(pair.retrieved, pair.retrieved_mask), pair.label, min_share)
        assert (pair.query, pair.query_mask) == (query.image, query.mask)
        assert open_mask(pair.query_mask, pair.label)[0].any() and open_mask(pair.retrieved_mask, pair.label)[0].any()
    assert len({pair.query for pair in pairs}) > 1


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (100, 100)])
def test_blocks_change_nothing(tmp_path, monkeypatch, sizes):
    train, val = splits(tmp_path)
    pairs = mined(train, val)
    monkeypatch.setattr(mining, "QUERIES", sizes[0])
    monkeypatch.setattr(mining, "CANDIDATES", sizes[1])
    assert mined(train, val, batch_size=1) == pairs


def test_other_processes_change_nothing(tmp_path):
    train, val = splits(tmp_path)
    assert mined(train, val, n_workers=2) == mined(train, val)


def test_products_share_their_kind_across_splits(tmp_path):
    make_products(tmp_path)
    train, test = (stanford_online_products(tmp_path, split) for split in ("train", "test"))
    pairs = mined(train, test)
    assert [pair.retrieved for pair in pairs] == [image.image for image in test.images]
    for pair, image in zip(pairs, test.images, strict=True):
        assert image.label is not None
        assert pair == Pair(neighbour(train, image, image.label, 0.05).image, image.image, test.name(image.label))


def test_a_product_is_paired_with_its_other_photo(tmp_path):
    test = stanford_online_products(make_products(tmp_path), "test", "class")
    pairs = mined(test, test)
    assert [(pair.query, pair.category) for pair in pairs] == [
        (image.image.with_stem(image.image.stem[:-1] + str(1 - int(image.image.stem[-1]))), test.name(image.label)) for image in test.images
    ]
    with pytest.warns(UserWarning, match="1 of 5 images are left out: 0 have no class on enough pixels, and for 1 no other image"):
        assert mined(replace(test, images=test.images[1:]), replace(test, images=test.images[1:])) == pairs[2:]


def test_a_draw_depends_on_the_image_and_the_seed_alone(tmp_path):
    train, val = splits(tmp_path, "voc", 8, 40)
    pairs = mined(train, val)
    assert mined(train, val) == pairs
    assert mined(train, replace(val, images=val.images[7:])) == pairs[7:]
    assert mined(train, replace(val, images=val.images[::-1])) == pairs[::-1]
    others = [pair.label for pair in mined(train, val, seed=1)]
    assert 0 < sum(one != pair.label for one, pair in zip(others, pairs, strict=True)) < len(pairs)
    fewer = [pair.label for pair in mined(replace(train, images=train.images[:6]), val)]
    assert fewer == [pair.label for pair in pairs]


def test_classes_are_drawn_evenly_and_leave_the_global_generator(tmp_path):
    train, val = splits(tmp_path, "voc", 8, 1)
    possible, encoder = classes(val.images[0], 0.05, val.background), tiny_image_encoder()
    state = torch.random.get_rng_state()
    drawn = [conditional_nearest_neighbours(train, val, encoder, seed=seed, show_progress=False)[0].label for seed in range(64)]
    assert torch.equal(torch.random.get_rng_state(), state)
    counts = [drawn.count(label) for label in possible]
    assert len(possible) == 2 and sum(counts) == 64 and min(counts) > 32 - 4 * 4  # four standard deviations


def test_of_equal_training_images_the_first_is_taken(tmp_path, monkeypatch):
    train, val = splits(tmp_path)
    pairs = mined(train, val)
    for image in train.images:
        for file in (image.image, image.mask):
            shutil.copy(file, file.with_stem(f"{file.stem}_again"))
    again = tuple(LabelledImage(*(file.with_stem(f"{file.stem}_again") for file in (image.image, image.mask))) for image in train.images)
    for size in (1, 3, 100):
        monkeypatch.setattr(mining, "CANDIDATES", size)
        assert mined(replace(train, images=train.images + again), val) == pairs
        found = mined(replace(train, images=again + train.images), val)
        assert [pair.query.stem.removesuffix("_again") for pair in found] == [pair.query.stem for pair in pairs]
        assert all("_again" in pair.query.stem for pair in found)


def test_what_has_no_class_or_no_partner_is_left_out_and_counted(tmp_path):
    train, val = splits(tmp_path)
    pairs = mined(train, val)
    masks = {"all_void": np.full((20, 24), VOID, np.uint8), "all_background": np.zeros((20, 24), np.uint8), "nobody": labels(0, [20])}
    masks["few"] = np.where(np.arange(480).reshape(20, 24) < 24, 3, 0).astype(np.uint8)  # 5 %, not more
    for name, mask in masks.items():
        save_photo(tmp_path / f"{name}.jpg", 1)
        save_mask(tmp_path / f"{name}.png", mask)
    more = tuple(LabelledImage(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png") for name in masks)
    with pytest.warns(UserWarning, match="4 of 9 images are left out: 3 have no class on enough pixels, and for 1 no other"):
        assert mined(train, replace(val, images=val.images + more)) == pairs
    with pytest.warns(UserWarning, match="4 of 4 images"):
        assert mined(train, replace(val, images=more)) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mined(train, val)


def test_void_counts_for_nothing(tmp_path):
    train, val = splits(tmp_path)
    mask = np.full((20, 24), VOID, np.uint8)
    mask[0, :20], mask[0, 20:22] = 0, 3  # 2 of 22 pixels that are known, of 480 in all
    save_photo(tmp_path / "known.jpg", 1)
    save_mask(tmp_path / "known.png", mask)
    (pair,) = mined(train, replace(val, images=(LabelledImage(tmp_path / "known.jpg", tmp_path / "known.png"),)))
    assert pair.label == 3


@pytest.mark.parametrize("min_share", [-0.1, 1.0, 5.0])
def test_a_share_is_refused_that_is_none(tmp_path, min_share):
    with pytest.raises(ValueError, match="min_share to be a share"):
        mined(*splits(tmp_path), min_share=min_share)
