"""Layers whose output does not move the similarity."""

import warnings

import pytest
import torch
from conftest import assert_refused, images, random_tensor, tiny_encoder
from model_cases import pool
from test_tails import tiny_vit
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.games.effects import refuse_without_effect
from captum_pairwise.games.sides import Side
from captum_pairwise.players.regions import cells

GRIDS = (cp.token_grid(4, 4, 1),) * 2


def transformer_images() -> tuple[Tensor, Tensor]:
    return random_tensor(1, 3, 32, 32, seed=1).float(), random_tensor(1, 3, 32, 32, seed=2).float()


def test_the_last_block_before_the_class_token_is_refused() -> None:
    model = cp.SimilarityWrapper(tiny_vit().eval())
    last, previous = (model.query_encoder.get_submodule(f"encoder.layers.encoder_layer_{k}") for k in (1, 0))
    sentence = "'encoder.layers.encoder_layer_1' .EncoderBlock. the query embedding stays the same.*Take 'encoder.layers.encoder_layer_0'"
    method = cp.LayerFactorisedShapleyTaylor(model, last)
    assert_refused(lambda: method.attribute(transformer_images(), layer_mask=GRIDS, n_samples=40), sentence)
    credits = cp.LayerFactorisedShapleyTaylor(model, previous).attribute(transformer_images(), layer_mask=GRIDS, n_samples=40)
    assert credits.abs().max() > 0


class Shortcut(nn.Module):
    """The layer moves the embedding by a small share."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.layer, self.encoder, self.share = tiny_encoder(1), tiny_encoder(), share

    def forward(self, inputs: Tensor) -> Tensor:
        return pool(self.encoder(inputs)) + self.share * pool(self.layer(inputs))


def explain(share: float, pair: tuple[Tensor, Tensor], **baselines: object) -> Tensor:
    model = cp.SimilarityWrapper(Shortcut(share))
    return cp.LayerExactShapleyTaylor(model, model.query_encoder.layer).attribute(pair, layer_mask=(cp.grid(3, 3, 1, 2),) * 2, **baselines)


def test_an_almost_unused_layer_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="'layer' .Sequential. the (query|retrieved) embedding changes by only .e-0[67] of its length"):
        explain(3e-6, images(1), layer_baselines=(0, 0))


def test_a_used_layer_is_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explain(1.0, images(1))


def test_an_unused_layer_without_a_previous_one_is_refused() -> None:
    assert_refused(lambda: explain(0.0, images(1)), "stays the same.*Take an earlier layer")


def test_an_image_equal_to_its_baseline_is_no_error() -> None:
    pair = images(1)
    assert explain(1.0, pair, baselines=pair).abs().max() < 1e-15
    assert explain(0.0, pair, baselines=pair).abs().max() < 1e-15


# the check alone

ENCODER = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
SHOWN = random_tensor(1, 4) + 5
SIDE = Side(SHOWN, [torch.zeros_like(SHOWN)], cells(SHOWN, 1))


def check(share: float, layer: int = 2, side: Side = SIDE) -> None:
    """Check an embedding of length 1, of which the players move this share."""
    refuse_without_effect(
        ENCODER, ENCODER[layer], side, lambda rows: torch.cat([torch.ones(2, 1), share * rows[:, :1] / SHOWN[0, 0]], 1), "query"
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
