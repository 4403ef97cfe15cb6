"""Figures of the pairs of parts, read back: the ends of lines, and the matrix."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import MASK, PHOTOS, RETRIEVED, bar_panels, bars, drawn, interactions, picture, shown
from matplotlib.patches import ConnectionPatch
from matplotlib.text import Text

from captum_pairwise import visualization
from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import Credits, Interactions
from captum_pairwise.visualization.parts import PhotoParts


def test_the_middle_of_a_part_is_that_of_its_pixels():
    centres = PhotoParts(picture(RETRIEVED, 0), Players(MASK.ids[:1], MASK.shape)).centres()
    for player in range(6):
        pixels = [(column, row) for row in range(24) for column in range(16) if MASK.ids[0, 0, row, column] == player]
        expected = np.mean(pixels, 0) if pixels else [np.nan, np.nan]
        np.testing.assert_allclose(centres[player], expected)
    larger = PhotoParts(np.zeros((48, 64, 3)), Players(MASK.ids[1:], MASK.shape)).centres()
    np.testing.assert_allclose(larger[3], (47.5, 23.5))  # of the second row on the right, twice as high and four times as wide


def test_lines_join_the_middles_of_the_strongest_pairs():
    between = random_tensor(2, 15, 6)
    figure = drawn(visualization.matches_figure(interactions(between), PHOTOS, n_matches=4, example=1, title="a title"))
    lines = [artist for artist in figure.artists if isinstance(artist, ConnectionPatch)]
    best = sorted(((between[1, i].max().item(), i, int(between[1, i].argmax())) for i in range(15)), reverse=True)
    pairs = []
    for credit, query, found in best:
        if found not in [pair[2] for pair in pairs]:
            pairs.append((credit, query, found))
    assert len(lines) == min(4, len(pairs))
    for line, (credit, query, found) in zip(lines, pairs, strict=False):
        assert line.xy1 == pytest.approx((query % 5 * 6 + 2.5, query // 5 * 20 / 3 + 10 / 3 - 0.5))
        assert line.xy2 == pytest.approx((found % 2 * 8 + 3.5, found // 2 * 8 + 3.5))
        assert line.get_linewidth() == pytest.approx(1 + 4 * credit / pairs[0][0])
    numbers = [text.get_text() for text in figure.texts if text.get_text().isdigit()]
    assert sorted(numbers) == sorted(2 * [str(k + 1) for k in range(len(lines))])
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == [f"{k + 1}:  {credit:+.1f}" for k, (credit, _, _) in enumerate(pairs[:4])]


@pytest.mark.parametrize("between", [torch.zeros(2, 15, 6), -torch.ones(2, 15, 6)])
def test_no_line_is_drawn_where_no_pair_adds_similarity(between):
    figure = drawn(visualization.matches_figure(interactions(between), PHOTOS))
    assert not figure.artists and "none" in figure.legends[0].get_texts()[0].get_text()


def bars_of(panel):
    return [(patch.get_width(), patch.get_height()) for patch in panel.patches]


@pytest.mark.parametrize("whole", [False, True])
def test_the_matrix_is_drawn_with_the_credit_of_its_parts(whole):
    between, credit = random_tensor(2, 15, 6), random_tensor(2, 21, seed=1)
    halves = [random_tensor(2, n, n, seed=n) for n in (15, 6)]
    blocks = {name: half + half.mT for name, half in zip(("within_query", "within_retrieved"), halves, strict=True)} if whole else {}
    found = interactions(between, credit=credit, **blocks)
    figure = drawn(visualization.matrix_figure(found, example=1, title="a title"))
    corner, top, left, middle = figure.axes[:4]
    matrix = (found.second_order if whole else between)[1]
    np.testing.assert_allclose(shown(middle), matrix)
    scale = matrix.abs().max().item()
    assert middle.images[0].get_clim() == pytest.approx((-scale, scale))
    assert bars(figure) == {"similarity that\na pair of parts adds": [pytest.approx((-scale, scale))]}
    rows, columns = (credit[1], credit[1]) if whole else (credit[1, :15], credit[1, 15:])
    assert [width for width, _ in bars_of(left)] == pytest.approx(rows.tolist())
    assert [height for _, height in bars_of(top)] == pytest.approx(columns.tolist())
    for patch, value in zip(top.patches, columns.tolist(), strict=True):
        red, _, blue, _ = patch.get_facecolor()
        assert (red > blue) == (value > 0)
    rows_of_map = [("row 0", 0), ("row 1", 5), ("row 2", 10)]  # counted as parts are
    numbers = [(str(k), 15 * whole + k) for k in range(6)]
    assert [(label.get_text(), label.get_position()[1]) for label in left.get_yticklabels()] == rows_of_map + numbers * whole
    assert [(label.get_text(), label.get_position()[0]) for label in middle.get_xticklabels()] == rows_of_map * whole + numbers
    assert not corner.axison and figure.get_suptitle().startswith("a title")


def test_a_matrix_needs_neither_places_nor_credit_of_single_parts():
    found = Interactions(
        n_query=2,
        empty=torch.full((1,), torch.nan),
        full=torch.ones(1),
        n_evaluations=torch.ones(1, dtype=torch.long),
        between=torch.ones(1, 2, 3),
    )
    figure = drawn(visualization.matrix_figure(found))
    assert not figure.axes[1].patches and shown(figure.axes[3]).shape == (2, 3)
    assert figure.get_suptitle() == "similarity 1.0000"  # nothing is said of what is not known


@pytest.mark.parametrize("n_players", [49, 98])
def test_ticks_of_large_matrices_do_not_touch(n_players):
    figure = drawn(visualization.matrix_figure(interactions(random_tensor(1, n_players, n_players), None, None)))
    for labels in (figure.axes[2].get_yticklabels(), figure.axes[3].get_xticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) > 5 and not any(one.overlaps(other) for one, other in pairwise(boxes))


@pytest.mark.parametrize("sizes", [(98, 1), (49, 2), (1, 49), (12, 4), (1, 1)])
def test_matrices_of_all_shapes_can_be_read(sizes):
    errors = Credits(between=random_tensor(1, *sizes), marginal=random_tensor(1, sum(sizes)))
    figure = drawn(visualization.matrix_figure(interactions(random_tensor(1, *sizes), None, None, standard_error=errors), title="a title"))
    (bar,) = bar_panels(figure)
    numbers = [label.get_window_extent() for label in bar.get_yticklabels()]
    assert len(numbers) == 3 and not any(one.overlaps(other) for one, other in pairwise(numbers))
    (title,) = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() == figure.get_suptitle()]
    panels = [panel.get_tightbbox() for panel in figure.axes]  # with ticks and names
    for box in [title, *panels]:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert not any(title.overlaps(box) for box in panels)


@pytest.mark.parametrize("figure", [visualization.pair_figure, visualization.matches_figure])
def test_all_that_is_said_of_a_pair_is_on_the_figure(figure):
    errors = Credits(between=1.1e-6 * random_tensor(2, 15, 6), marginal=1.1e-4 * random_tensor(2, 21))
    between = random_tensor(2, 15, 6)
    drew = drawn(figure(interactions(between, first_order=random_tensor(2, 21), standard_error=errors), PHOTOS, title="a title"))
    texts = [text for text in drew.findobj(Text) if text.get_visible() and text.get_text()]
    assert any("standard error of a pair" in text.get_text() for text in texts)
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drew.bbox.x1 and box.y1 <= drew.bbox.y1, text.get_text()
