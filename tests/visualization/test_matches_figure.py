"""Matches figure: the middles of parts, the ends of lines, and their legend."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import MASK, PHOTOS, RETRIEVED, build_interactions, render, to_array
from matplotlib.patches import ConnectionPatch

from captum_pairwise import visualization
from captum_pairwise.players.regions import Players
from captum_pairwise.results.credits import Credits
from captum_pairwise.visualization.parts import PhotoParts


def test_the_middle_of_a_part_is_the_mean_of_its_pixels():
    centres = PhotoParts(to_array(RETRIEVED, 0), Players(MASK.ids[:1], MASK.shape)).centres()
    for player in range(6):
        pixels = [(column, row) for row in range(24) for column in range(16) if MASK.ids[0, 0, row, column] == player]
        expected = np.mean(pixels, 0) if pixels else [np.nan, np.nan]
        np.testing.assert_allclose(centres[player], expected)
    larger = PhotoParts(np.zeros((48, 64, 3)), Players(MASK.ids[1:], MASK.shape))  # twice as high, four times as wide as the mask
    np.testing.assert_allclose(larger.centres()[3], (47.5, 23.5))  # the second row on the right


def test_lines_connect_the_middles_of_the_strongest_pairs():
    between = random_tensor(2, 15, 6)
    figure = render(visualization.matches_figure(build_interactions(between), PHOTOS, n_matches=4, example=1, title="a title"))
    lines = [artist for artist in figure.artists if isinstance(artist, ConnectionPatch)]
    best = sorted(((between[1, i].max().item(), i, int(between[1, i].argmax())) for i in range(15)), reverse=True)
    pairs = []
    for credit, query, match in best:
        if match not in [pair[2] for pair in pairs]:
            pairs.append((credit, query, match))
    assert len(lines) == min(4, len(pairs))
    for line, (credit, query, match) in zip(lines, pairs, strict=False):
        assert line.xy1 == pytest.approx((query % 5 * 6 + 2.5, query // 5 * 20 / 3 + 10 / 3 - 0.5))
        assert line.xy2 == pytest.approx((match % 2 * 8 + 3.5, match // 2 * 8 + 3.5))
        assert line.get_linewidth() == pytest.approx(1 + 4 * credit / pairs[0][0])
    numbers = [text.get_text() for text in figure.texts if text.get_text().isdigit()]
    assert sorted(numbers) == sorted(2 * [str(k + 1) for k in range(len(lines))])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"{k + 1}:  {credit:+.1f}" for k, (credit, _, _) in enumerate(pairs[:4])]


@pytest.mark.parametrize("between", [torch.zeros(2, 15, 6), -torch.ones(2, 15, 6)])
def test_pairs_without_positive_credit_have_no_lines(between):
    figure = render(visualization.matches_figure(build_interactions(between), PHOTOS))
    assert not figure.artists and "none" in figure.legends[0].get_texts()[0].get_text()


def test_numbers_have_no_digits_below_their_error():
    between, errors = random_tensor(2, 15, 6), torch.full((2, 15, 6), 0.4)
    sure = render(visualization.matches_figure(build_interactions(between), PHOTOS, n_matches=2))
    unsure = render(
        visualization.matches_figure(build_interactions(between, standard_error=Credits(between=100 * errors)), PHOTOS, n_matches=2)
    )
    (first, _), (rounded, _) = ([text.get_text() for text in figure.legends[0].get_texts()] for figure in (sure, unsure))
    assert float(rounded.split()[1]) == round(float(first.split()[1])) and "." in first and "." not in rounded
