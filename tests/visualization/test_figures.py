"""All figures: maps without contrast, signs, and refused input."""

import re

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import MASK, PHOTOS, QUERY, RETRIEVED, build_interactions, find_bar_panels, read_bars, read_image, render

from captum_pairwise import visualization
from captum_pairwise.players.regions import Players
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.style import write_errors

# all figures, from maps that one function fills


def draw_heatmaps(fill):
    maps = {"one": (fill(2, 1, 3, 5), fill(2, 1, 6, 2)), "other": (fill(2, 20, 30), fill(2, 3, 24, 16))}
    return visualization.heatmap_figure(PHOTOS, maps)


def draw_counterfactual(fill):
    return visualization.counterfactual_figure((QUERY, RETRIEVED, RETRIEVED[:1]), (fill(2, 1, 3, 5), fill(2, 1, 4, 2), fill(2, 24, 16)))


def draw_projection(fill):
    return visualization.projection_figure(PHOTOS, fill(2, 1, 3, 5), fill(2, 24, 16), RETRIEVED[:, 0] > 0.5, PHOTOS)


def draw_projection_alone(fill):
    return visualization.projection_figure(PHOTOS, fill(2, 1, 3, 5), fill(2, 24, 16))


def draw_with(figure):
    def draw(fill):
        return figure(build_interactions(fill(2, 15, 6), credit=fill(2, 21)), PHOTOS, example=0)

    return draw


def draw_matrix(fill):
    blocks = {"within_query": fill(2, 15, 15), "within_retrieved": fill(2, 6, 6)}
    return visualization.matrix_figure(build_interactions(fill(2, 15, 6), credit=fill(2, 21), **blocks))


def draw_tokens(fill):
    places = [Players(torch.arange(n)[None, :, None].expand(2, -1, 1), (n,)) for n in (3, 4)]
    return visualization.token_figure(build_interactions(fill(2, 3, 4), *places, credit=fill(2, 7)), list("abc"), list("wxyz"))


def draw_caption(fill):
    tokens = Players(torch.arange(4)[None, :, None].expand(2, -1, 1), (4,))
    return visualization.caption_figure(build_interactions(fill(2, 6, 4), MASK, tokens, credit=fill(2, 10)), RETRIEVED, list("wxyz"))


FIGURES = {
    "heatmap": draw_heatmaps,
    "joint": draw_with(visualization.joint_figure),
    "counterfactual": draw_counterfactual,
    "projection": draw_projection,
    "matches": draw_with(visualization.matches_figure),
    "pair": draw_with(visualization.pair_figure),
    "matrix": draw_matrix,
    "token": draw_tokens,
    "caption": draw_caption,
}


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e-30, -1e-30])
@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_constant_maps_have_finite_colours(name, value):
    figure = render(FIGURES[name](lambda *shape: torch.full(shape, value, dtype=torch.float64)))
    for panel in figure.axes:
        for image in panel.images:
            array = np.asarray(image.get_array())
            assert np.isfinite(array).all()
            assert array.ndim == 2 or ((array >= 0) & (array <= 1)).all()
    for limits in read_bars(figure).values():  # without any credit, 0 is the only label of the scale
        for low, high in limits:  # the bar of pairs of one sign is half of a bar
            assert low in (-high, 0) and (high > 0.99e-30 if value else high == 1)
    numbered = [label.get_text() for panel in find_bar_panels(figure) for label in panel.get_xticklabels() + panel.get_yticklabels()]
    assert value or set(filter(None, numbered)) <= {"0"}


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "matches"])
def test_figures_of_credit_have_a_labelled_colour_bar(name):
    assert any("similarity" in label for label in read_bars(render(FIGURES[name](random_tensor))))


def build_with_errors(**errors):
    return build_interactions(random_tensor(2, 15, 6), credit=random_tensor(2, 21, seed=3), standard_error=Credits(**errors))


def test_typical_errors_are_shares_of_the_strongest_part_and_pair():
    pairs, parts = 0.1 * random_tensor(2, 15, 6).abs(), 0.2 * random_tensor(2, 21).abs()
    known = build_with_errors(between=pairs, given_other=parts)
    shares = [
        error[1].square().mean() ** 0.5 / block[1].abs().max() for error, block in ((parts, known.given_other), (pairs, known.between))
    ]
    of_part, of_pair = (f"{100 * share:.{0 if share >= 0.01 else 1}f} % of the strongest" for share in shares)
    unknown = parts * torch.nan
    assert write_errors(known, 1) == f"Typical error: {of_part} part, {of_pair} pair."
    assert write_errors(build_with_errors(between=pairs), 1) == f"Typical error: {of_pair} pair."
    assert write_errors(build_with_errors(between=pairs, given_other=unknown), 1) == f"Typical error: {of_pair} pair."
    assert write_errors(build_with_errors(given_other=unknown), 1) == write_errors(build_with_errors(), 1) == ""


@pytest.mark.parametrize("draw", [draw_heatmaps, draw_counterfactual, draw_projection_alone])
def test_a_change_of_sign_swaps_red_and_blue(draw):
    before, after = (draw(lambda *shape, sign=sign: sign * random_tensor(*shape)) for sign in (1, -1))
    swapped = 0
    for panels in zip(before.axes, after.axes, strict=True):
        if panels[0].images and not np.array_equal(*map(read_image, panels)):
            red, other_red = (read_image(panel)[..., 0] - read_image(panel)[..., 2] for panel in panels)
            strong = np.abs(red) > 0.15
            assert strong.any() and (np.sign(red[strong]) == -np.sign(other_red[strong])).all()
            swapped += 1
    assert swapped


# refused input

ONE = {"one": random_tensor(2, 1, 3, 5)}
MAPS = tuple(random_tensor(2, 1, 3, 5) for _ in range(3))
LABEL = RETRIEVED[:, 0] > 0.5
KNOWN = build_interactions(random_tensor(2, 15, 6))
REFUSED = {
    "no method": (r"a mapping from method names to maps, got none", lambda: visualization.heatmap_figure(QUERY, {})),
    "photos that are normalised": (r"photos in \[0, 1\], got the photos from", lambda: visualization.heatmap_figure(4 * QUERY - 2, ONE)),
    "bytes": (r"Divide bytes by 255", lambda: visualization.heatmap_figure((255 * QUERY).byte(), ONE)),
    "NaN": (r"photos in \[0, 1\], got the photos from nan", lambda: visualization.heatmap_figure(QUERY * torch.nan, ONE)),
    "one photo": (r"batch \[B, 3, H, W\].*image\[None\]", lambda: visualization.heatmap_figure(QUERY[0], ONE)),
    "no photo": (r"batch \[B, 3, H, W\]", lambda: visualization.heatmap_figure(QUERY[:0], ONE)),
    "a map too few": (r"the maps of 'one' to hold 2 maps", lambda: visualization.heatmap_figure(QUERY, {"one": MAPS[0][:1]})),
    "maps that are not finite": (r"Expected finite", lambda: visualization.heatmap_figure(QUERY, {"one": MAPS[0] * torch.inf})),
    "one map of a pair": (r"a pair \(query_map, retrieved_map\) for 'one', got 1", lambda: visualization.heatmap_figure(PHOTOS, ONE)),
    "a pair of maps of one image": (r"one map.*for 'one', got 2", lambda: visualization.heatmap_figure(QUERY, {"one": MAPS[:2]})),
    "units of another method": (
        r"units of \['one'\], got units of \['won'\]",
        lambda: visualization.heatmap_figure(QUERY, ONE, units={"won": "votes"}),
    ),
    "numbers of players as maps": (r"`visualization.to_pixels`", lambda: visualization.heatmap_figure(QUERY, {"one": MAPS[0][:, 0, 0]})),
    "different numbers of photos": (
        r"as many photos of each",
        lambda: visualization.heatmap_figure((QUERY.repeat(2, 1, 1, 1)[:3], RETRIEVED), ONE),
    ),
    "two maps of three": (r"maps of query, better and worse result", lambda: visualization.counterfactual_figure((QUERY,) * 3, MAPS[:2])),
    "two photos of three": (r"\(query, better, worse\), got 2", lambda: visualization.counterfactual_figure(PHOTOS, MAPS)),
    "two names": (r"3 names", lambda: visualization.counterfactual_figure((QUERY,) * 3, MAPS, ("query", "result"))),
    "no query part": (r"n_parts from 1 to 6, got 0", lambda: visualization.pair_figure(KNOWN, PHOTOS, n_parts=0)),
    "more query parts than colours": (r"n_parts from 1 to 6, got 7", lambda: visualization.pair_figure(KNOWN, PHOTOS, n_parts=7)),
    "no lines": (r"n_matches from 1 up, got 0", lambda: visualization.matches_figure(KNOWN, PHOTOS, 0)),
    "players without a place": (
        r"interactions with players, got some without",
        lambda: visualization.matches_figure(build_interactions(random_tensor(2, 15, 6), None, None), PHOTOS),
    ),
    "tokens": (
        r"lie in an image",
        lambda: visualization.matches_figure(
            build_interactions(random_tensor(2, 3, 6), Players(torch.arange(3).expand(2, -1), (3,))), PHOTOS
        ),
    ),
    "photos of another batch": (
        r"photos of 2 pairs",
        lambda: visualization.matches_figure(KNOWN, tuple(batch[:1].expand(3, -1, -1, -1) for batch in PHOTOS)),
    ),
    "a pair that is not there": (r"example from 0 to 1, got 2", lambda: visualization.matrix_figure(KNOWN, example=2)),
    "no pairs": (r"between to have been computed", lambda: visualization.matrix_figure(build_without_pairs())),
    "a label of another size": (r"a label as signal", lambda: visualization.projection_figure(PHOTOS, LABEL, MAPS[0])),
    "an empty true label": (r"mask with at least one pixel", lambda: visualization.projection_figure(PHOTOS, *MAPS[:2], LABEL & False)),
    "void alone": (r"a mask together with void", lambda: visualization.projection_figure(PHOTOS, *MAPS[:2], void=LABEL)),
    "censored photos of another batch": (
        r"censored photos of 2 pairs",
        lambda: visualization.projection_figure(PHOTOS, *MAPS[:2], censored=(QUERY[:1], RETRIEVED[:1])),
    ),
}


def build_without_pairs():
    return Interactions(
        n_query=1, empty=torch.zeros(1), full=torch.ones(1), n_evaluations=torch.ones(1, dtype=torch.long), first_order=torch.ones(1, 2)
    )


@pytest.mark.parametrize("name", REFUSED)
def test_input_that_does_not_fit_is_refused_with_a_remedy(name):
    message, draw = REFUSED[name]
    with pytest.raises(ValueError, match=message) as refusal:
        draw()
    assert re.match(r"Expected .*(, got | but ).*\.", str(refusal.value))


def fill_with_nan(n_dimensions, example):
    """Random credits; one NaN in the blocks with this number of dimensions."""

    def fill(*shape):
        block = random_tensor(*shape)
        if len(shape) == n_dimensions:
            block[example].view(-1)[-1] = torch.nan
        return block

    return fill


@pytest.mark.parametrize(("block", "n_dimensions"), [("given_other", 2), ("between", 3)])
@pytest.mark.parametrize("name", ["matches", "pair", "matrix", "token", "caption"])
def test_credits_that_are_not_finite_are_refused(name, block, n_dimensions):
    with pytest.raises(ValueError, match=rf"Expected finite credits, got NaN or infinity in `{block}`\. .*\."):
        FIGURES[name](fill_with_nan(n_dimensions, example=0))
    FIGURES[name](fill_with_nan(n_dimensions, example=1))  # in a pair that is not drawn
