"""Sides of figures and pages: tensors of any kind, and hints at the right figure."""

import numpy as np
import pytest
import torch
from conftest import random_tensor
from viewer_cases import read_data

import captum_pairwise as cp
from captum_pairwise.players.regions import cells
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.visualization.input_kinds import Picture, Video, Volume
from captum_pairwise.visualization.sheets import choose_kind, show_picture


def build_pairs(n_pairs: int, *sizes: int) -> Interactions:
    """Interactions of the cells of maps."""
    players, n = cells(torch.zeros(n_pairs, 1, *sizes), 1), int(np.prod(sizes))
    return Interactions(
        n_query=n,
        empty=torch.zeros(n_pairs),
        full=torch.ones(n_pairs),
        n_evaluations=torch.ones(n_pairs).long(),
        between=random_tensor(n_pairs, n, n),
        given_other=random_tensor(n_pairs, 2 * n, seed=1),
        query_players=players,
        retrieved_players=players,
    )


SIDES = {
    "grey": torch.rand(5, 1, 8, 8),
    "two channels": torch.rand(5, 2, 8, 8),
    "many channels": 3 * torch.rand(5, 13, 8, 8),
    "a picture": cp.Picture(torch.rand(13, 8, 8), shown=torch.rand(3, 8, 8)),
    "a spectrogram": cp.Spectrogram(torch.rand(1, 8, 8)),
}


@pytest.mark.parametrize("name", SIDES)
def test_one_query_serves_all_results(name):
    interactions, side = build_pairs(5, 2, 2), SIDES[name]
    query = side[:1] if isinstance(side, torch.Tensor) else side
    assert cp.visualization.pair_figure(interactions, (query, side), example=3).axes
    assert cp.visualization.matches_figure(interactions, (query, side), example=3).axes
    assert len(read_data(cp.viewer(interactions, (query, side), example=3))["sides"]) == 2


@pytest.mark.parametrize("shape", [(5, 1, 4, 8, 8), (5, 3, 4, 8, 8), (5, 4, 3, 8, 8)])
def test_batches_of_volumes_and_videos_need_no_name(shape):
    interactions, inputs = build_pairs(5, 2, 2, 2), torch.rand(shape)
    assert cp.visualization.pair_figure(interactions, (inputs[:1], inputs), example=4).axes
    data = read_data(cp.viewer(interactions, (inputs[:1], inputs), example=4))
    assert [side["noun"] for side in data["sides"]] == ["volume" if shape[1] == 1 else "video"] * 2
    assert data["methods"][0]["parts"][0]["names"][0].endswith("cell (0, 0)")


def test_a_page_of_two_methods_shows_the_same_slices():
    first, second = build_pairs(1, 2, 2, 2), build_pairs(1, 4, 2, 2)
    volume = torch.rand(1, 1, 8, 8, 8)
    data = read_data(cp.viewer({"a": first, "b": second}, (volume, volume)))
    sizes = [(parts["width"], parts["height"]) for method in data["methods"] for parts in method["parts"]]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize(
    ("shape", "kind"), [((1, 13, 8, 8), Picture), ((1, 1, 4, 8, 8), Volume), ((1, 3, 4, 8, 8), Video), ((1, 4, 3, 8, 8), Video)]
)
def test_axes_tell_the_kind(shape, kind):
    assert isinstance(choose_kind(torch.rand(shape)), kind)


def test_other_channels_are_shown_as_their_mean():
    tensor = torch.rand(13, 8, 8)
    shown, mean = show_picture(Picture(tensor)), tensor.mean(0).numpy()
    assert (shown == shown[..., :1]).all() and shown.min() == 0 and shown.max() == 1
    assert np.corrcoef(shown[..., 0].ravel(), mean.ravel())[0, 1] > 0.99


HINTS = {
    "words": (["a", "cat"], "caption_figure"),
    "token ids": (torch.tensor([[1, 2]]), "caption_figure"),
    "no batch": (torch.rand(3, 8, 8), r"image\[None\].*cp.Signal"),
    "another batch": (torch.rand(2, 13, 8, 8), "inputs of 5 pairs.*got 2"),
    "bytes": (torch.zeros(5, 3, 8, 8, dtype=torch.uint8), "Divide bytes by 255"),
}


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("name", HINTS)
def test_a_side_that_is_no_image_names_the_right_figure(name):
    side, message = HINTS[name]
    with pytest.raises(ValueError, match=message):
        cp.visualization.pair_figure(build_pairs(5, 2, 2), (torch.rand(5, 3, 8, 8), side))


def test_tokens_hint_at_their_grid():
    players = cells(torch.zeros(1, 17, 3), 2)
    n = 17
    interactions = Interactions(
        n_query=n,
        empty=torch.zeros(1),
        full=torch.ones(1),
        n_evaluations=torch.ones(1).long(),
        between=torch.rand(1, n, n),
        query_players=players,
        retrieved_players=players,
    )
    for view in (cp.visualization.pair_figure, cp.viewer):
        with pytest.raises(ValueError, match="token_grid"):
            view(interactions, (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)))
