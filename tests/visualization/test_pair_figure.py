from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from conftest import random_tensor

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, cells, parse_mask
from captum_pairwise.results.interactions import Interactions

matplotlib.use("Agg")
PHOTO = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))


def interactions(between, query, retrieved):
    n_players = sum(between.shape[1:])
    credit = torch.linspace(-1, 1, n_players).expand(len(between), -1)
    return Interactions(
        n_query=between.shape[1],
        empty=torch.zeros(len(between)),
        full=torch.ones(len(between)),
        n_evaluations=torch.zeros(len(between), dtype=torch.long),
        first_order=credit,
        marginal=credit,
        between=between,
        query_players=query,
        retrieved_players=retrieved,
    )


MAP = cells(torch.zeros(2, 1, 4, 5))
MASK = parse_mask(cp.grid(20, 30, 2, 3), PHOTO, "mask")


def test_superpixels_are_painted_and_cells_interpolated():
    values = random_tensor(2, 6)
    painted = visualization.to_pixels(values, MASK, (20, 30))
    assert torch.equal(painted, cp.paint(values, MASK.ids)[:, 0])
    values = random_tensor(2, 20)
    smooth = torch.nn.functional.interpolate(values.reshape(2, 1, 4, 5), (20, 30), mode="bilinear")[:, 0]
    torch.testing.assert_close(visualization.to_pixels(values, MAP, (20, 30)), smooth)


def test_players_without_a_place_are_refused():
    with pytest.raises(ValueError, match="lie in an image"):
        visualization.to_pixels(torch.zeros(1, 3), Players(torch.arange(3)[None], (3,)), (4, 4))


@pytest.mark.parametrize("heat", [np.zeros((4, 5)), -np.ones((4, 5)), np.full((4, 5), 1e-30)])
def test_an_overlay_is_a_picture_also_of_degenerate_maps(heat):
    picture = visualization.overlay(np.full((4, 5, 3), 0.5), heat)
    assert picture.shape == (4, 5, 3) and (picture >= 0).all() and (picture <= 1).all()


def test_red_means_similar_and_blue_dissimilar():
    heat = np.array([[1.0, -1.0, 0.0]])
    red, blue, none = visualization.overlay(np.full((1, 3, 3), 0.5), heat)[0]
    assert red[0] > red[2] and blue[2] > blue[0] and np.allclose(none, none[0])


def test_parts_are_the_strongest_rows_with_different_matches():
    between = torch.tensor([[0.0, 5.0], [0.0, 4.0], [3.0, 0.0]])
    assert visualization.strongest_parts(between, 5) == [(0, 1), (2, 0)]


@pytest.mark.parametrize(("query", "retrieved"), [(MAP, MAP), (MASK, MASK), (MAP, MASK)])
@pytest.mark.parametrize("sign", [1, 0, -1])
def test_a_pair_is_drawn_with_its_parts(query, retrieved, sign):
    between = sign * random_tensor(2, query.n_players, retrieved.n_players).abs()
    figure = visualization.pair_figure(interactions(between, query, retrieved), (PHOTO, PHOTO), n_parts=3, example=1, title="a title")
    figure.draw_without_rendering()
    shown = [panel for panel in figure.axes if panel.images]
    parts = visualization.strongest_parts(between[1], 3)
    assert len(shown) == 4 + len(parts)
    n_found = len(parts) if sign > 0 else 0
    marks = [[(mark.get_text(), mark.get_bbox_patch().get_facecolor()) for mark in shown[k].texts] for k in (0, 3)]
    assert [text for text, _ in marks[0]] == [str(number + 1) for number in range(len(parts))]
    assert marks[1] == marks[0][:n_found]  # the same numbers in the same colours, of what is found
    assert np.array_equal(shown[0].images[0].get_array(), PHOTO[1].permute(1, 2, 0).double().numpy())
    assert figure.get_suptitle() == "a title"


def test_a_mark_sits_on_its_part():
    between = torch.zeros(1, 6, 6)
    between[0, 4, 2] = 1.0  # lower middle of the query, upper right of the retrieved photo
    one = Players(MASK.ids[:1], MASK.shape)
    figure = visualization.pair_figure(interactions(between, one, one), (PHOTO[:1], PHOTO[:1]), n_parts=1)
    query, retrieved = (figure.axes[k].texts[0].get_position() for k in (0, 3))
    assert query == pytest.approx((14.5, 14.5)) and retrieved == pytest.approx((24.5, 4.5))


def test_what_cannot_be_drawn_is_refused():
    drawn = interactions(torch.zeros(2, 6, 6), MASK, MASK)
    with pytest.raises(ValueError, match="n_parts from 1 to 6"):
        visualization.pair_figure(drawn, (PHOTO, PHOTO), n_parts=7)
    with pytest.raises(ValueError, match=r"photos in \[0, 1\]"):
        visualization.pair_figure(drawn, (PHOTO * 4 - 2, PHOTO))
    with pytest.raises(ValueError, match="interactions with players, got some without"):
        visualization.pair_figure(interactions(torch.zeros(2, 6, 6), None, None), (PHOTO, PHOTO))


def test_curves_keep_their_look_in_every_panel():
    errors = {100: [1.0, 4.0, 9.0], 1000: [1e-20, 1e-20, 1e-20], 2000: [float("nan"), 1.0, 1.0]}
    panels = {"one": {"ours": errors, "theirs": errors}, "other": {"theirs": errors}}
    figure = visualization.convergence_figure(panels, {"one": "passes", "other": "evaluations"}, dashed=["theirs"])
    figure.draw_without_rendering()
    (ours, theirs), (again,) = (panel.lines for panel in figure.axes[:2])
    assert list(ours.get_xdata()) == [100, 1000]  # an error that is not finite has no place
    assert list(ours.get_ydata()) == [4.0, 1e-12]  # the median; rounding is drawn at the floor
    look = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in (ours, theirs, again)]
    assert look[1] == look[2] != look[0] and [style for _, style, _ in look] == ["-", "--", "--"]
    assert [panel.get_xlabel() for panel in figure.axes[:2]] == ["passes", "evaluations"]
    assert {panel.get_xscale() for panel in figure.axes[:2]} == {panel.get_yscale() for panel in figure.axes[:2]} == {"log"}
    with pytest.raises(ValueError, match="at least one panel"):
        visualization.convergence_figure({}, {})


TOKENS = [Players(torch.arange(n)[None, :, None].expand(2, -1, 1), (n,)) for n in (3, 4)]
NAMES = (["a", "black", "cat"], ["the", "dark", "##er", "kitten"])


def of_tokens(n_left_out=0):
    between = random_tensor(2, 3, 4)
    between[:, :, 4 - n_left_out :] = 0
    return interactions(between, *TOKENS)


def test_tokens_are_drawn_as_a_matrix_on_one_scale():
    drawn = of_tokens()
    figure = visualization.token_figure(drawn, *NAMES, example=1, title="a title")
    figure.draw_without_rendering()
    matrices = {panel.images[0].get_array().shape: panel for panel in figure.axes if panel.images and panel.images[0].get_clim()[0] < 0}
    assert set(matrices) == {(3, 4), (3, 1), (1, 4)}
    credit = {(3, 4): drawn.between[1], (3, 1): drawn.query_marginal[1, :, None], (1, 4): drawn.retrieved_marginal[1, None]}
    scale = max(block.abs().max().item() for block in credit.values())
    for shape, panel in matrices.items():
        assert np.array_equal(panel.images[0].get_array(), credit[shape].double())
        assert panel.images[0].get_clim() == pytest.approx((-scale, scale))
    assert [label.get_text() for label in matrices[3, 1].get_yticklabels()] == NAMES[0]
    assert [label.get_text() for label in matrices[1, 4].get_xticklabels()] == NAMES[1]
    assert figure.get_suptitle().splitlines()[0] == "a title"
    gap = (1 - drawn.marginal[1].sum()).item()
    assert figure.get_suptitle().splitlines()[1] == f"similarity 1.0000, of the baselines 0.0000; completeness gap {gap + 0.0:+.4f}"


def test_a_shorter_sentence_of_a_batch_is_drawn_without_the_rest():
    figure = visualization.token_figure(of_tokens(2), NAMES[0], NAMES[1][:2])
    assert (3, 2) in [panel.images[0].get_array().shape for panel in figure.axes if panel.images]
    for names in (NAMES[1][:1], [*NAMES[1], "more"], []):
        with pytest.raises(ValueError, match="a name for each token that plays, 3 of the query and 4 of the retrieved"):
            visualization.token_figure(of_tokens(2), NAMES[0], names)


@pytest.mark.parametrize("flipped", [False, True])
def test_each_token_has_a_map_over_the_photo(flipped):
    between, players = random_tensor(2, 6, 4), (MASK, TOKENS[1])
    drawn = interactions(between.mT.contiguous(), *players[::-1]) if flipped else interactions(between, *players)
    figure = visualization.caption_figure(drawn, PHOTO, NAMES[1], example=1, title="a title")
    figure.draw_without_rendering()
    shown = [panel for panel in figure.axes if panel.images]
    assert len(shown) == 2 + 4 and np.array_equal(shown[0].images[0].get_array(), PHOTO[1].permute(1, 2, 0).double().numpy())
    for token in range(4):
        heat = visualization.to_pixels(between[:, :, token], MASK, (20, 30))[1].numpy()
        expected = visualization.overlay(PHOTO[1].permute(1, 2, 0).double().numpy(), heat, between[1].abs().max().item())
        np.testing.assert_allclose(shown[2 + token].images[0].get_array(), expected)
    credit = (drawn.query_marginal if flipped else drawn.retrieved_marginal)[1].tolist()
    assert [panel.get_title() for panel in shown[2:]] == [f"{name}  {value:+.1f}" for name, value in zip(NAMES[1], credit, strict=True)]


def test_credits_of_tokens_are_written_as_large_as_they_are():
    credit = torch.tensor(6 * [1.0] + [2e-4, -1e-4, -1e-7, 0.0]).expand(2, -1)
    drawn = replace(interactions(random_tensor(2, 6, 4), MASK, TOKENS[1]), marginal=credit)
    figure = visualization.caption_figure(drawn, PHOTO, list("wxyz"))
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles[2:] == ["w  +0.00020", "x  -0.00010", "y  0", "z  0"]


def test_a_caption_needs_an_image():
    with pytest.raises(ValueError, match="one side whose players lie in an image"):
        visualization.caption_figure(of_tokens(), PHOTO, NAMES[1])
    with pytest.raises(ValueError, match="a name for each token"):
        visualization.caption_figure(interactions(random_tensor(2, 6, 4), MASK, TOKENS[1]), PHOTO, NAMES[1][:3])
