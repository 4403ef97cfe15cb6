"""Pair figure: maps, numbered parts, and the text below."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import MAP, PHOTOS, QUERY, build_interactions, render, to_array
from matplotlib.text import Text

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, parse_mask
from captum_pairwise.results.interactions import Credits

MASK = parse_mask(cp.grid(20, 30, 2, 3), QUERY, "mask")


@pytest.mark.parametrize(("query", "retrieved"), [(MAP, MAP), (MASK, MASK), (MAP, MASK)])
@pytest.mark.parametrize("sign", [1, 0, -1])
def test_both_photos_have_the_same_numbers_and_colours(query, retrieved, sign):
    between = sign * random_tensor(2, query.n_players, retrieved.n_players).abs()
    figure = visualization.pair_figure(build_interactions(between, query, retrieved), (QUERY, QUERY), n_parts=3, example=1, title="a title")
    render(figure)
    shown = [panel for panel in figure.axes if panel.images]
    parts = visualization.strongest_parts(between[1], 3)
    assert len(shown) == 4 + len(parts)
    n_matches = len(parts) if sign > 0 else 0
    marks = [[(mark.get_text(), mark.get_bbox_patch().get_facecolor()) for mark in shown[k].texts] for k in (0, 3)]
    assert [text for text, _ in marks[0]] == [str(number + 1) for number in range(len(parts))]
    assert marks[1] == marks[0][:n_matches]  # the same numbers and colours for the parts that are found
    assert np.array_equal(shown[0].images[0].get_array(), to_array(QUERY, 1))
    assert figure.get_suptitle() == "a title"


def test_the_number_of_a_part_is_at_its_middle():
    between = torch.zeros(1, 6, 6)
    between[0, 4, 2] = 1.0  # lower middle of the query, upper right of the retrieved photo
    players = Players(MASK.ids[:1], MASK.shape)
    figure = visualization.pair_figure(build_interactions(between, players, players), (QUERY[:1], QUERY[:1]), n_parts=1)
    query, retrieved = (figure.axes[k].texts[0].get_position() for k in (0, 3))
    assert query == pytest.approx((14.5, 14.5)) and retrieved == pytest.approx((24.5, 4.5))


def test_a_part_without_positive_pairs_is_found_nowhere():
    between = torch.full((2, 15, 6), -1.0)
    between[0, 4, 3] = 1.0
    figure = visualization.pair_figure(build_interactions(between), PHOTOS, n_parts=2)
    titles = [panel.get_title() for panel in figure.axes if "part 1" in panel.get_title() or "part 2" in panel.get_title()]
    assert titles == ["where part 1 is found", "part 2 is found nowhere"]
    marks = [[mark.get_text() for mark in figure.axes[k].texts] for k in (0, 3)]
    assert marks == [["1", "2"], ["1"]]  # no number on the retrieved photo


@pytest.mark.parametrize("figure", [visualization.pair_figure, visualization.matches_figure])
def test_all_text_is_inside_the_figure(figure):
    errors = Credits(between=1.1e-6 * random_tensor(2, 15, 6), marginal=1.1e-4 * random_tensor(2, 21))
    between = random_tensor(2, 15, 6)
    rendered = render(figure(build_interactions(between, first_order=random_tensor(2, 21), standard_error=errors), PHOTOS, title="a title"))
    texts = [text for text in rendered.findobj(Text) if text.get_visible() and text.get_text()]
    assert any("standard error of a pair" in text.get_text() for text in texts)
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= rendered.bbox.x1 and box.y1 <= rendered.bbox.y1, text.get_text()
