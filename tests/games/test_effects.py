"""A layer that does not move the similarity is refused, one that hardly does is warned of."""

import warnings

import pytest
import torch
from conftest import assert_refused, random_tensor
from torch import nn

from captum_pairwise.games.effects import refuse_without_effect
from captum_pairwise.games.sides import Side
from captum_pairwise.players.regions import cells

ENCODER = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
SHOWN = random_tensor(1, 4) + 5
SIDE = Side(SHOWN, [torch.zeros_like(SHOWN)], cells(SHOWN, 1))


def check(share: float, layer: int = 2, side: Side = SIDE) -> None:
    """Check an embedding of length 1, of which the players move this share."""
    refuse_without_effect(
        ENCODER, ENCODER[layer], side, lambda rows, _: torch.cat([torch.ones(2, 1), share * rows[:, :1] / SHOWN[0, 0]], 1), "query"
    )


def test_no_effect_is_refused_and_the_layer_before_is_named():
    assert_refused(lambda: check(0.0), "without any player of '2' .Linear. the query embedding stays the same.*Take '0'.")
    assert_refused(lambda: check(0.0, layer=0), "Take an earlier layer")


def test_almost_no_effect_is_a_warning():
    with pytest.warns(UserWarning, match="changes by only 3e-06 of its length"):
        check(3e-6)


@pytest.mark.parametrize(
    ("share", "side"), [(1e-4, SIDE), (0.0, Side(SHOWN, [SHOWN], cells(SHOWN, 1)))], ids=["an effect", "its own baseline"]
)
def test_other_layers_pass_without_a_word(share, side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(share, side=side)
