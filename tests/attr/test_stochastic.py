"""Explanations of encoders that draw at random: the mean of literal repetitions, or a refusal."""

from collections.abc import Callable

import pytest
import torch
from conftest import assert_refused, images, random_tensor, tiny_encoder
from model_cases import close
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise import SimilarityWrapper

MASKS = {"feature_mask": (cp.grid(12, 12, 1, 2), cp.grid(12, 12, 2, 1))}


class Noisy(nn.Module):
    """A tiny encoder with one draw in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = tiny_encoder()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs).mean((2, 3)) + 0.1 * torch.randn(6, dtype=torch.float64)


@pytest.mark.parametrize("cls", [cp.ExactShapleyTaylor, cp.LayerExactShapleyTaylor, cp.ShapleyTaylorSampling], ids=lambda cls: cls.__name__)
def test_the_mean_of_eight_explanations_and_its_standard_error(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SimilarityWrapper(Noisy(), stochastic=True)
    is_layer = cls is cp.LayerExactShapleyTaylor
    method = cls(model, model.query_encoder.encoder[4]) if is_layer else cls(model)
    arguments = {"layer_mask": (cp.grid(3, 3, 1, 2), cp.grid(3, 3, 2, 1))} if is_layer else {**MASKS, "n_samples": 14}
    method.interactions(images(), **arguments)  # the proof also draws
    torch.manual_seed(0)
    mean = method.interactions(images(), **arguments)
    monkeypatch.setattr("captum_pairwise.attr.base.average_draws", lambda _, explain: explain())
    torch.manual_seed(0)
    draws = [method.interactions(images(), **arguments) for _ in range(8)]
    between = torch.stack([draw.between for draw in draws])
    close(mean.between, between.mean(0))
    own = [draw.standard_error.between.square() for draw in draws if draw.standard_error is not None]
    variance = between.var(0) / 8 + (torch.stack(own).mean(0) if own else 0)
    close(mean.standard_error.between, variance.sqrt())
    assert mean.standard_error.between.min() > 0


REFUSING = {
    "LayerSAM": lambda model: cp.LayerSAM(model, model.query_encoder.encoder).attribute(images()),
    "LayerVESM": lambda model: cp.LayerVESM(model, model.query_encoder.encoder).attribute(images()),
    "SBSM": lambda model: cp.SBSM(model).attribute(images(), sliding_window_shapes=6, strides=6),
    "project_attention": lambda model: cp.project_attention(model, model.query_encoder.encoder, images(), random_tensor(2, 3, 3)),
}


@pytest.mark.parametrize("explain", REFUSING.values(), ids=REFUSING)
@pytest.mark.parametrize("stochastic", [False, True])
def test_methods_that_cannot_average_refuse(explain: Callable, stochastic: bool) -> None:
    sentence = "does not average over draws" if stochastic else "draws at random"
    assert_refused(lambda: explain(SimilarityWrapper(Noisy(), stochastic=stochastic)), sentence)


def test_dropout_in_training_mode_is_averaged() -> None:
    encoder = nn.Sequential(*tiny_encoder(), nn.Dropout(0.5)).train()
    explain = lambda **options: cp.ExactShapleyTaylor(SimilarityWrapper(encoder, **options)).interactions(images(), **MASKS)  # noqa: E731
    assert_refused(explain, "Dropout is training")
    assert explain(stochastic=True).standard_error.between.min() > 0


def test_batch_normalisation_in_training_mode_is_refused() -> None:
    model = SimilarityWrapper(nn.Sequential(*tiny_encoder(), nn.BatchNorm2d(6).double()).train(), stochastic=True)
    assert_refused(lambda: cp.ExactShapleyTaylor(model).attribute(images(), **MASKS), "BatchNorm2d is training")
