"""Token and caption figures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import random_tensor
from figure_cases import QUERY, build_interactions, read_bars, read_image, read_texts, render, to_array

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, parse_mask
from captum_pairwise.results.verdict import Trust, Verdict

MASK = parse_mask(cp.grid(20, 30, 2, 3), QUERY, "mask")
TOKENS = [Players(torch.arange(n)[None, :, None].expand(2, -1, 1), (n,)) for n in (3, 4)]
NAMES = (["a", "black", "cat"], ["the", "dark", "##er", "kitten"])


def build_token_interactions(n_without_credit=0):
    between = random_tensor(2, 3, 4)
    between[:, :, 4 - n_without_credit :] = 0
    return build_interactions(between, *TOKENS)


def find_matrices(figure):
    return {panel.images[0].get_array().shape: panel for panel in figure.axes if panel.images and panel.images[0].get_clim()[0] < 0}


def test_pairs_and_tokens_have_a_scale_and_a_bar_each():
    known = build_token_interactions()
    figure = render(visualization.token_figure(known, *NAMES, example=1, title="a title"))
    matrices = find_matrices(figure)
    assert set(matrices) == {(3, 4), (3, 1), (1, 4)}
    credit = {(3, 4): known.between[1], (3, 1): known.query_map[1, :, None], (1, 4): known.retrieved_map[1, None]}
    scales = {shape: (known.between if shape == (3, 4) else known.given_other)[1].abs().max().item() for shape in credit}
    for shape, panel in matrices.items():
        assert np.array_equal(panel.images[0].get_array(), credit[shape].double())
        assert panel.images[0].get_clim() == pytest.approx((-scales[shape], scales[shape]))
    bars = {name: pytest.approx((-scales[shape], scales[shape])) for name, shape in (("pair", (3, 4)), ("token", (3, 1)))}
    assert {name: read_bars(figure)[f"similarity that a {name} adds"] for name in bars} == {name: [limits] for name, limits in bars.items()}
    assert [label.get_text() for label in matrices[3, 1].get_yticklabels()] == NAMES[0]
    assert [label.get_text() for label in matrices[1, 4].get_xticklabels()] == NAMES[1]
    assert "a title" in read_texts(figure)
    assert (
        "Similarity 1.00 with the query sentence, 0.25 without it. Similarity 1.00 with the retrieved sentence, 0.50 without it."
        in read_texts(figure)
    )


VERDICT = Verdict("Why so alike?", ("They are.",), Trust("do not read this", ("R² 0.1.",)), ("random weights",))


def test_the_verdict_is_above_the_tokens():
    token = render(visualization.token_figure(build_token_interactions(), *NAMES, verdict=VERDICT))
    caption = render(
        visualization.caption_figure(build_interactions(random_tensor(2, 6, 4), MASK, TOKENS[1]), QUERY, NAMES[1], verdict=VERDICT)
    )
    for figure in (token, caption):
        words = ["Warning: random weights", "Why so alike?", "They are.", "Do not read this as an explanation."]
        assert read_texts(figure)[:4] == words and "R² 0.1." in read_texts(figure)
    grey = token.axes[3].images[0]
    assert np.ptp(grey.cmap(grey.norm(grey.get_array()))[..., :3], axis=-1).max() < 1e-9
    assert np.ptp(read_image(caption.axes[1]), axis=2).max() < 1e-9


def test_results_without_maps_show_their_pairs():
    known = replace(build_token_interactions(), given_other=None)
    figure = render(visualization.token_figure(known, *NAMES))
    assert list(read_bars(figure)) == ["similarity that a pair adds"]
    assert find_matrices(figure)[3, 1].images[0].get_array().any() == 0
    known = replace(build_interactions(random_tensor(2, 6, 4), MASK, TOKENS[1]), given_other=None)
    caption = render(visualization.caption_figure(known, QUERY, NAMES[1]))
    assert [panel.get_title() for panel in caption.axes if panel.images][:5] == ["photo", *NAMES[1]]
    for drawn in (figure, caption):
        assert "This method gives pairs, but no value of a single part or token." in read_texts(drawn)


def test_unnamed_tokens_of_a_shorter_sentence_are_left_out():
    figure = visualization.token_figure(build_token_interactions(2), NAMES[0], NAMES[1][:2])
    assert (3, 2) in [panel.images[0].get_array().shape for panel in figure.axes if panel.images]
    for names in (NAMES[1][:1], [*NAMES[1], "more"], []):
        with pytest.raises(ValueError, match=r"names of all tokens that play, up to \(3, 4\), got \(3, "):
            visualization.token_figure(build_token_interactions(2), NAMES[0], names)


@pytest.mark.parametrize("flipped", [False, True])
def test_each_token_has_a_map_over_the_photo(flipped):
    between, players = random_tensor(2, 6, 4), (MASK, TOKENS[1])
    known = build_interactions(between.mT.contiguous(), *players[::-1]) if flipped else build_interactions(between, *players)
    figure = render(visualization.caption_figure(known, QUERY, NAMES[1], example=1, title="a title"))
    shown = [panel for panel in figure.axes if panel.images]
    assert len(shown) == 2 + 4 and np.array_equal(shown[0].images[0].get_array(), to_array(QUERY, 1))
    for token in range(4):
        heat = cp.paint(between[:, :, token], MASK.ids)[1, 0].numpy()
        expected = visualization.overlay(to_array(QUERY, 1), heat, between[1].abs().max().item())
        np.testing.assert_allclose(shown[2 + token].images[0].get_array(), expected)
    credit = (known.query_map if flipped else known.retrieved_map)[1].tolist()
    titles = [panel.get_title() for panel in shown]
    assert titles == ["photo", "photo: what each part adds"] + [
        f"{name}  {value:+.1f}" for name, value in zip(NAMES[1], credit, strict=True)
    ]


def test_digits_of_token_credits_follow_their_size():
    credit = torch.tensor(6 * [1.0] + [2e-4, -1e-4, -1e-7, 0.0]).expand(2, -1)
    known = build_interactions(random_tensor(2, 6, 4), MASK, TOKENS[1], credit=credit)
    figure = visualization.caption_figure(known, QUERY, list("wxyz"))
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles[2:] == ["w  +0.00020", "x  -0.00010", "y  0", "z  0"]


def test_a_caption_figure_needs_an_image_and_all_names():
    with pytest.raises(ValueError, match="one side whose players lie in an image"):
        visualization.caption_figure(build_token_interactions(), QUERY, NAMES[1])
    with pytest.raises(ValueError, match="names of all tokens"):
        visualization.caption_figure(build_interactions(random_tensor(2, 6, 4), MASK, TOKENS[1]), QUERY, NAMES[1][:3])
