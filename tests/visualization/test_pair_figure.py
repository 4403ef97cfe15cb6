"""Pair figure and joint figure: maps, numbered parts, and the words around them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import (
    MAP,
    PHOTOS,
    QUERY,
    RETRIEVED,
    build_interactions,
    read_bars,
    read_image,
    read_texts,
    render,
    slow_overlay,
    to_array,
)
from matplotlib.text import Text

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, parse_mask
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.verdict import Trust, Verdict

MASK = parse_mask(cp.grid(20, 30, 2, 3), QUERY, "mask")
TRUST = Trust("reliable", ("Gap 0.1 %.", "Error 0.2 %."))
UNREADABLE = Trust("do not read this", ("R² 0.1.",))


def build_verdict(**changes):
    return replace(Verdict("Why so alike?", ("They are alike.", "Cats are."), TRUST), **changes)


def slow_paint(values, players, size):
    """The value of the owner of each pixel of a photo."""
    ids, (height, width) = players.ids[0, 0], size
    heat = np.zeros(size)
    for row, column in np.ndindex(size):
        heat[row, column] = values[ids[row * ids.shape[0] // height, column * ids.shape[1] // width]]
    return heat


def find_panels(figure):
    return [panel for panel in figure.axes if panel.images and panel.get_label() != "<colorbar>"]


@pytest.mark.parametrize(("query", "retrieved"), [(MAP, MAP), (MASK, MASK), (MAP, MASK)])
@pytest.mark.parametrize("sign", [1, 0, -1])
def test_both_photos_have_the_same_numbers_and_colours(query, retrieved, sign):
    between = sign * random_tensor(2, query.n_players, retrieved.n_players).abs()
    figure = visualization.pair_figure(build_interactions(between, query, retrieved), (QUERY, QUERY), n_parts=3, example=1, title="a title")
    render(figure)
    shown = find_panels(figure)
    parts = visualization.strongest_parts(between[1], 3)
    assert len(shown) == 4 + len(parts)
    n_matches = len(parts) if sign > 0 else 0
    marks = [[(mark.get_text(), mark.get_bbox_patch().get_facecolor()) for mark in shown[k].texts] for k in (0, 3)]
    assert [text for text, _ in marks[0]] == [str(number + 1) for number in range(len(parts))]
    assert marks[1] == marks[0][:n_matches]  # the same numbers and colours for the parts that are found
    assert np.array_equal(shown[0].images[0].get_array(), to_array(QUERY, 1))
    assert "a title" in read_texts(figure)


def test_the_maps_show_each_part_while_the_other_photo_is_whole():
    known = build_interactions(random_tensor(2, 15, 15), MAP, MAP)
    larger = torch.rand(2, 3, 60, 100, generator=torch.Generator().manual_seed(5)), QUERY  # of other sizes than the layer
    figure = render(visualization.pair_figure(known, larger, example=1))
    maps = [
        slow_paint(values[1], MAP, photo.shape[2:]) for values, photo in zip((known.query_map, known.retrieved_map), larger, strict=True)
    ]
    scale = max(np.abs(heat).max() for heat in maps)
    for panel, photo, heat in zip(find_panels(figure)[1:3], larger, maps, strict=True):
        np.testing.assert_allclose(read_image(panel), slow_overlay(to_array(photo, 1), heat, scale), atol=1e-6)
    assert read_bars(figure)["similarity"][0] == pytest.approx((-scale, scale))
    titles = [panel.get_title().replace("\n", " ") for panel in find_panels(figure)[:4]]
    assert titles == ["query", "query: what each part adds", "retrieved: what each part adds", "retrieved"]
    labels = [panel.get_xlabel().replace("\n", " ") for panel in find_panels(figure)[1:3]]
    assert labels == [f"similarity 1.00 with this photo, {without} without it" for without in ("0.25", "0.50")]


def test_each_map_of_pairs_has_its_own_scale_and_bar():
    known = build_interactions(random_tensor(2, 15, 6), MAP, MASK)
    figure = render(visualization.pair_figure(known, (QUERY, QUERY), n_parts=3))
    parts = visualization.strongest_parts(known.between[0], 3)
    largest = [known.between[0, part].max().item() for part, _ in parts]
    assert read_bars(figure)["similarity"][1:] == [pytest.approx((0, scale)) for scale in largest]
    for panel, (part, _), scale in zip(find_panels(figure)[4:], parts, largest, strict=True):
        heat = slow_paint(known.between[0, part].clamp(min=0), MASK, (20, 30))
        np.testing.assert_allclose(read_image(panel), slow_overlay(to_array(QUERY, 0), heat, scale), atol=1e-6)


def test_photos_that_are_not_similar_show_the_pairs_that_lower_the_similarity():
    known = build_interactions(random_tensor(2, 15, 6), MAP, MASK)
    figure = render(visualization.pair_figure(known, (QUERY, QUERY), n_parts=2, verdict=build_verdict(is_similar=False)))
    lowering = -known.between[0]
    first = lowering.max(1).values.argmax().item()
    panel = find_panels(figure)[4]
    heat = -slow_paint(lowering[first].clamp(min=0), MASK, (20, 30))
    np.testing.assert_allclose(read_image(panel), slow_overlay(to_array(QUERY, 0), heat, -heat.min()), atol=1e-6)
    assert panel.get_title() == "what part 1 differs from"
    assert read_bars(figure)["similarity"][1] == pytest.approx((heat.min(), 0))
    sums = [f"{block[0].sum():+.0f}" for block in (known.between.clamp(max=0), known.between.clamp(min=0))]
    sentence = f"All that lower it sum to {sums[0]}, all that raise it to {sums[1]}."
    assert f"The lower row shows pairs that lower it. {sentence}" in " ".join(read_texts(figure))


@pytest.mark.parametrize(
    ("share", "title"), [(0.0, "what part 1 resembles most"), (0.09, "what part 1 resembles most"), (0.11, "what part 1 differs from")]
)
def test_pairs_that_hardly_lower_the_similarity_are_not_shown(share, title):
    """Of photos that are not similar, the pairs below 0 sum to this share of those above."""
    between = random_tensor(2, 15, 6).abs()
    between[:, 0, 0] = 0
    between[:, 0, 0] = -share * between[0].sum()
    figure = visualization.pair_figure(build_interactions(between, MAP, MASK), (QUERY, QUERY), verdict=build_verdict(is_similar=False))
    assert find_panels(figure)[4].get_title() == title


def test_the_verdict_is_above_the_photos():
    known = build_interactions(random_tensor(2, 15, 6))
    texts = read_texts(render(visualization.pair_figure(known, PHOTOS, verdict=build_verdict(warnings=("random weights", "no head")))))
    assert texts[:5] == [
        "Warning: random weights · no head",
        "Why so alike?",
        "They are alike.",
        "Cats are.",
        "These numbers are reliable.",
    ]
    assert "Gap 0.1 %. Error 0.2 %." in texts
    assert read_texts(visualization.pair_figure(known, PHOTOS, title="Mine", verdict=build_verdict()))[0] == "Mine"


def test_numbers_that_nobody_should_read_are_grey():
    known = build_interactions(random_tensor(2, 15, 6))
    figure = render(visualization.pair_figure(known, PHOTOS, verdict=build_verdict(trust=UNREADABLE)))
    for panel in (*find_panels(figure)[1:3], *find_panels(figure)[4:]):
        assert np.ptp(read_image(panel), axis=2).max() < 1e-9
    assert "Do not read this as an explanation." in read_texts(figure) and "The maps are grey" in " ".join(read_texts(figure))


def test_a_method_without_maps_says_so_and_shows_its_pairs():
    known = replace(build_interactions(random_tensor(2, 15, 6)), given_other=None)
    figure = render(visualization.pair_figure(known, PHOTOS))
    assert read_texts(figure).count("This method gives pairs of parts, but no map of single parts.") == 2
    assert len(read_bars(figure)["similarity"]) == 4  # of the pairs only


def test_the_number_of_a_part_is_beside_it():
    for part in (0, 4, 5):
        between = torch.zeros(1, 6, 6)
        between[0, part, part] = 1.0
        players = Players(MASK.ids[:1], MASK.shape)
        figure = render(visualization.pair_figure(build_interactions(between, players, players), (QUERY[:1], QUERY[:1]), n_parts=1))
        for panel in (figure.axes[0], figure.axes[3]):
            (number,), (line,) = panel.texts, panel.lines
            column, row = number.get_position()
            assert 0 <= column < 30 and 0 <= row < 20 and MASK.ids[0, 0, int(row), int(column)] != part
            inside = np.argwhere(MASK.ids[0, 0].numpy() == part)
            assert line.get_xdata().min() < inside[:, 1].min() - 0.5 and line.get_xdata().max() > inside[:, 1].max() + 0.5
            assert line.get_ydata().min() < inside[:, 0].min() - 0.5 and line.get_ydata().max() > inside[:, 0].max() + 0.5


def test_a_part_without_positive_pairs_is_found_nowhere():
    between = torch.full((2, 15, 6), -1.0)
    between[0, 4, 3] = 1.0
    figure = visualization.pair_figure(build_interactions(between), PHOTOS, n_parts=2)
    titles = [panel.get_title() for panel in figure.axes if "part 1" in panel.get_title() or "part 2" in panel.get_title()]
    assert titles == ["where part 1 is found", "part 2 is found nowhere"]
    marks = [[mark.get_text() for mark in figure.axes[k].texts] for k in (0, 3)]
    assert marks == [["1", "2"], ["1"]]  # no number on the retrieved photo


def test_the_joint_credit_has_a_figure_of_its_own():
    known = build_interactions(random_tensor(2, 15, 15), MAP, MAP)
    figure = render(visualization.joint_figure(known, (QUERY, QUERY), example=1))
    assert read_texts(figure)[0] == "What does each part add when both photos start as blurs?"
    scale = known.marginal[1].abs().max().item()
    for panel, values in zip(find_panels(figure)[1::2], (known.query_marginal[1], known.retrieved_marginal[1]), strict=True):
        np.testing.assert_allclose(read_image(panel), slow_overlay(to_array(QUERY, 1), slow_paint(values, MAP, (20, 30)), scale), atol=1e-6)
    assert "The credit of all parts sums from 0.00 (both photos replaced) to 1.00 (both photos whole)." in read_texts(figure)
    with pytest.raises(ValueError, match="marginal to have been computed"):
        visualization.joint_figure(replace(known, marginal=None), (QUERY, QUERY))


def test_photos_are_drawn_in_their_own_shape_and_large_photos_are_reduced():
    tall, wide = torch.rand(1, 1, 3000, 400), torch.rand(1, 3, 30, 900)
    players = Players(MAP.ids[:1], MAP.shape)
    figure = render(visualization.pair_figure(build_interactions(random_tensor(1, 15, 15), players, players), (tall, wide)))
    sizes = [read_image(panel).shape for panel in find_panels(figure)[:4]]
    assert sizes == [(1024, 137, 3)] * 2 + [(30, 900, 3)] * 2


LONG = "Cheetahs and " + 40 * "very " + "long sentences about cats."


@pytest.mark.parametrize("photos", [PHOTOS, (QUERY[..., :2], RETRIEVED), (QUERY, RETRIEVED[:, :, :3])], ids=["photos", "narrow", "flat"])
@pytest.mark.parametrize("draw", [visualization.pair_figure, visualization.matches_figure, visualization.joint_figure])
def test_all_text_is_inside_the_figure(draw, photos):
    errors = Credits(between=1.1e-6 * random_tensor(2, 15, 6), given_other=1.1e-4 * random_tensor(2, 21))
    known = build_interactions(random_tensor(2, 15, 6), first_order=random_tensor(2, 21), standard_error=errors)
    words = {"verdict": build_verdict(question=LONG, sentences=(LONG, LONG), warnings=(LONG,))} if draw is visualization.pair_figure else {}
    rendered = render(draw(known, photos, **words))
    for text in rendered.findobj(Text):
        box = text.get_window_extent()
        if text.get_visible() and text.get_text() and not text.get_text().isdigit():
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= rendered.bbox.x1 and box.y1 <= rendered.bbox.y1, text.get_text()
