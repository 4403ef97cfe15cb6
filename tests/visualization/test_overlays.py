"""Maps over pixels, and their colours over a photo."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import MAP, QUERY

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, parse_mask


def test_superpixels_are_constant_and_cells_are_interpolated():
    mask, values = parse_mask(cp.grid(20, 30, 2, 3), QUERY, "mask"), random_tensor(2, 6)
    assert torch.equal(visualization.to_pixels(values, mask, (20, 30)), cp.paint(values, mask.ids)[:, 0])
    values = random_tensor(2, 15)
    smooth = torch.nn.functional.interpolate(values.reshape(2, 1, 3, 5), (20, 30), mode="bilinear")[:, 0]
    torch.testing.assert_close(visualization.to_pixels(values, MAP, (20, 30)), smooth)


def test_players_outside_an_image_are_refused():
    with pytest.raises(ValueError, match="lie in an image"):
        visualization.to_pixels(torch.zeros(1, 3), Players(torch.arange(3)[None], (3,)), (4, 4))


@pytest.mark.parametrize("heat", [np.zeros((4, 5)), -np.ones((4, 5)), np.full((4, 5), 1e-30)])
def test_an_overlay_of_a_constant_map_has_valid_colours(heat):
    picture = visualization.overlay(np.full((4, 5, 3), 0.5), heat)
    assert picture.shape == (4, 5, 3) and (picture >= 0).all() and (picture <= 1).all()


def test_red_means_similar_and_blue_dissimilar():
    heat = np.array([[1.0, -1.0, 0.0]])
    red, blue, none = visualization.overlay(np.full((1, 3, 3), 0.5), heat)[0]
    assert red[0] > red[2] and blue[2] > blue[0] and np.allclose(none, none[0])
