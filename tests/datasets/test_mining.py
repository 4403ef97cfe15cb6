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


def mine(train, val, **options):
    return conditional_nearest_neighbours(train, val, tiny_image_encoder(), show_progress=False, **options)


def splits(folder: Path, name: str = "voc", *sizes: int) -> tuple[LabelledImages, LabelledImages]:
    make, read = READERS[name]
    make(folder, *sizes)
    return read(folder, "train"), read(folder, "val")


def share(image: LabelledImage, label: int) -> float:
    """The share of a label, counted pixel by pixel."""
    if image.mask is None:
        return float(image.label == label)
    pixels = [int(value) for row in np.asarray(Image.open(image.mask)) for value in row if value != VOID]
    return sum(value == label for value in pixels) / len(pixels)


def embedding(image: LabelledImage) -> list[float]:
    encoder = tiny_image_encoder()
    with torch.no_grad():
        return encoder(encoder.preprocess(image.image))[0].mean((1, 2)).tolist()


def cosine(image: LabelledImage, other: LabelledImage) -> float:
    u, w = embedding(image), embedding(other)
    return sum(a * b for a, b in zip(u, w, strict=True)) / math.hypot(*u) / math.hypot(*w)


def classes(image: LabelledImage, min_share: float, background: frozenset[int]) -> list[int]:
    return [label for label in range(VOID) if label not in background and share(image, label) > min_share]


def neighbour(train: LabelledImages, image: LabelledImage, label: int, min_share: float) -> LabelledImage:
    """The paper's rule for one image."""
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
def test_each_query_is_the_nearest_neighbour_with_the_class(tmp_path, name, min_share):
    train, val = splits(tmp_path, name)
    pairs = mine(train, val, min_share=min_share, batch_size=3)
    possible = {image.image: classes(image, min_share, val.background) for image in val.images}
    train_labels = {label for image in train.images for label in classes(image, min_share, train.background)}
    assert [pair.retrieved for pair in pairs] == [image.image for image in val.images if possible[image.image]]
    for pair in pairs:
        assert pair.label in possible[pair.retrieved] and pair.label in train_labels and pair.category == val.name(pair.label)
        query = neighbour(train, LabelledImage(pair.retrieved, pair.retrieved_mask), pair.label, min_share)
        assert (pair.query, pair.query_mask) == (query.image, query.mask)
        assert open_mask(pair.query_mask, pair.label)[0].any() and open_mask(pair.retrieved_mask, pair.label)[0].any()
    assert len({pair.query for pair in pairs}) > 1


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (100, 100)])
def test_block_sizes_do_not_change_the_pairs(tmp_path, monkeypatch, sizes):
    train, val = splits(tmp_path)
    pairs = mine(train, val)
    monkeypatch.setattr(mining, "QUERIES", sizes[0])
    monkeypatch.setattr(mining, "CANDIDATES", sizes[1])
    assert mine(train, val, batch_size=1) == pairs


def test_worker_processes_do_not_change_the_pairs(tmp_path):
    train, val = splits(tmp_path)
    assert mine(train, val, n_workers=2) == mine(train, val)


def test_products_of_a_kind_are_paired_across_splits(tmp_path):
    make_products(tmp_path)
    train, test = (stanford_online_products(tmp_path, split) for split in ("train", "test"))
    pairs = mine(train, test)
    assert [pair.retrieved for pair in pairs] == [image.image for image in test.images]
    for pair, image in zip(pairs, test.images, strict=True):
        assert image.label is not None
        assert pair == Pair(neighbour(train, image, image.label, 0.05).image, image.image, test.name(image.label))


def test_a_product_is_paired_with_its_other_photo(tmp_path):
    test = stanford_online_products(make_products(tmp_path), "test", "class")
    pairs = mine(test, test)
    assert [(pair.query, pair.category) for pair in pairs] == [
        (image.image.with_stem(image.image.stem[:-1] + str(1 - int(image.image.stem[-1]))), test.name(image.label)) for image in test.images
    ]
    with pytest.warns(UserWarning, match="1 of 5 images are left out: 0 have no class on enough pixels, and for 1 no other image"):
        assert mine(replace(test, images=test.images[1:]), replace(test, images=test.images[1:])) == pairs[2:]


def test_a_draw_depends_only_on_the_image_and_the_seed(tmp_path):
    train, val = splits(tmp_path, "voc", 8, 40)
    pairs = mine(train, val)
    assert mine(train, val) == pairs
    assert mine(train, replace(val, images=val.images[7:])) == pairs[7:]
    assert mine(train, replace(val, images=val.images[::-1])) == pairs[::-1]
    others = [pair.label for pair in mine(train, val, seed=1)]
    assert 0 < sum(label != pair.label for label, pair in zip(others, pairs, strict=True)) < len(pairs)
    fewer = [pair.label for pair in mine(replace(train, images=train.images[:6]), val)]
    assert fewer == [pair.label for pair in pairs]


def test_draws_are_uniform_and_do_not_use_the_global_generator(tmp_path):
    train, val = splits(tmp_path, "voc", 8, 1)
    possible, encoder = classes(val.images[0], 0.05, val.background), tiny_image_encoder()
    state = torch.random.get_rng_state()
    drawn = [conditional_nearest_neighbours(train, val, encoder, seed=seed, show_progress=False)[0].label for seed in range(64)]
    assert torch.equal(torch.random.get_rng_state(), state)
    counts = [drawn.count(label) for label in possible]
    assert len(possible) == 2 and sum(counts) == 64 and min(counts) > 32 - 4 * 4  # four standard deviations


def test_the_first_of_equal_training_images_is_taken(tmp_path, monkeypatch):
    train, val = splits(tmp_path)
    pairs = mine(train, val)
    for image in train.images:
        for file in (image.image, image.mask):
            shutil.copy(file, file.with_stem(f"{file.stem}_again"))
    again = tuple(LabelledImage(*(file.with_stem(f"{file.stem}_again") for file in (image.image, image.mask))) for image in train.images)
    for size in (1, 3, 100):
        monkeypatch.setattr(mining, "CANDIDATES", size)
        assert mine(replace(train, images=train.images + again), val) == pairs
        copies_first = mine(replace(train, images=again + train.images), val)
        assert [pair.query.stem for pair in copies_first] == [f"{pair.query.stem}_again" for pair in pairs]


def test_images_without_class_or_partner_are_left_out_and_counted(tmp_path):
    train, val = splits(tmp_path)
    pairs = mine(train, val)
    masks = {"all_void": np.full((20, 24), VOID, np.uint8), "all_background": np.zeros((20, 24), np.uint8), "no_partner": labels(0, [20])}
    masks["few"] = np.where(np.arange(480).reshape(20, 24) < 24, 3, 0).astype(np.uint8)  # 5 %, not more
    for name, mask in masks.items():
        save_photo(tmp_path / f"{name}.jpg", 1)
        save_mask(tmp_path / f"{name}.png", mask)
    more = tuple(LabelledImage(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png") for name in masks)
    with pytest.warns(UserWarning, match="4 of 9 images are left out: 3 have no class on enough pixels, and for 1 no other"):
        assert mine(train, replace(val, images=val.images + more)) == pairs
    with pytest.warns(UserWarning, match="4 of 4 images"):
        assert mine(train, replace(val, images=more)) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine(train, val)


def test_void_pixels_do_not_count(tmp_path):
    train, val = splits(tmp_path)
    mask = np.full((20, 24), VOID, np.uint8)
    mask[0, :20], mask[0, 20:22] = 0, 3  # 2 of 22 annotated pixels, of 480 pixels
    save_photo(tmp_path / "sparse.jpg", 1)
    save_mask(tmp_path / "sparse.png", mask)
    (pair,) = mine(train, replace(val, images=(LabelledImage(tmp_path / "sparse.jpg", tmp_path / "sparse.png"),)))
    assert pair.label == 3


@pytest.mark.parametrize("min_share", [-0.1, 1.0, 5.0])
def test_a_min_share_outside_0_to_1_is_refused(tmp_path, min_share):
    with pytest.raises(ValueError, match="min_share to be a share"):
        mine(*splits(tmp_path), min_share=min_share)
