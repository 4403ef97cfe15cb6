"""Models that change between calls, or keep something of a batch, are explained rightly or refused."""

from collections.abc import Callable

import captum.attr as ca
import pytest
import torch
import torch.nn.functional as F
from conftest import random_tensor
from torch import Tensor, fx, nn

import captum_pairwise as cp

PAIR = random_tensor(1, 2, 1, 3, seed=1), random_tensor(1, 2, 1, 3, seed=2)
MASKS = (torch.arange(3).view(1, 1, 1, 3),) * 2


def explain(forward: Callable, **arguments: object) -> Tensor:
    return cp.ExactShapleyTaylor(forward).attribute(PAIR, (0, 0), feature_mask=MASKS, **arguments)


def make_encoder() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(2, 32, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers).double().eval()


class Changing(nn.Module):
    """An encoder with a rate of dropout and a share of the batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rate, self.share = make_encoder(), 0.0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        embeddings = F.dropout(self.encoder(images), self.rate)
        return embeddings - self.share * embeddings.mean(0)


def test_a_joint_function_that_mixes_its_batch_is_refused() -> None:
    encoder = make_encoder()
    for forward in (
        lambda a, b: F.cosine_similarity(encoder.train()(a), encoder(b)),
        lambda a, b: ((encoder.eval()(a) - encoder(a).mean(0)) * encoder(b)).sum(1),
    ):
        with pytest.raises(ValueError, match="mixes the images of a batch"):
            explain(forward)


def test_the_state_of_a_function_is_looked_at_in_each_call() -> None:
    encoder = nn.Sequential(make_encoder(), nn.Dropout(0.5)).eval()
    forward = lambda a, b: (encoder(a) * encoder(b)).sum(1)  # noqa: E731 - one object for both calls
    explain(forward)
    encoder.train()
    with pytest.raises(ValueError, match="draws at random"):
        explain(forward)


def test_additional_arguments_are_looked_at_in_each_call() -> None:
    encoder = make_encoder()
    forward = lambda a, b, rate: (F.dropout(encoder(a), rate) * encoder(b)).sum(1)  # noqa: E731 - one object for both calls
    explain(forward, additional_forward_args=(0.0,))
    with pytest.raises(ValueError, match="draws at random"):
        explain(forward, additional_forward_args=(0.5,))


@pytest.mark.parametrize(("name", "message"), [("rate", "draws at random"), ("share", "mixes the images of a batch")])
def test_a_changed_attribute_is_seen(name: str, message: str) -> None:
    encoder = Changing()
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    explain(model)
    setattr(encoder, name, 0.5)
    with pytest.raises(ValueError, match=message):
        explain(model)


class Stem(nn.Module):
    """It keeps its features for a later layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.saved = self.convolution(images).relu()
        return self.saved * 2


class Skipping(nn.Module):
    def __init__(self, can_trace: bool) -> None:
        super().__init__()
        self.stem, self.layer, self.last, self.can_trace = Stem(), nn.Conv2d(4, 4, 1), nn.Linear(4, 5), can_trace

    def forward(self, images: Tensor) -> Tensor:
        features = self.layer(self.stem(images))
        if not self.can_trace and features.sum() > 1e9:
            features = features * 2
        return self.last((torch.tanh(features) * self.stem.saved).mean((2, 3)))


@pytest.mark.parametrize("can_trace", [False, True])
@pytest.mark.parametrize("n_rows", [None, 1, 2])
def test_a_skip_connection_through_an_attribute_is_right(can_trace: bool, n_rows: int | None) -> None:
    torch.manual_seed(0)
    encoder = Skipping(can_trace).double().eval()
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    found = cp.LayerExactShapleyTaylor(model, encoder.layer).attribute(PAIR, layer_baselines=(0, 0), perturbations_per_eval=n_rows)
    with torch.no_grad():
        saved = [encoder.stem.convolution(image).relu() for image in PAIR]
        tails = [lambda maps, kept=kept: encoder.last((torch.tanh(maps) * kept).mean((2, 3))) for kept in saved]
        maps, z = [encoder.layer(2 * kept) for kept in saved], torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
        u, w = (tail(z[:, None, None, :].double() * whole) for tail, whole in zip(tails, maps, strict=True))
    bits = (z.long() * torch.tensor([1, 2, 4])).sum(1)
    values = torch.empty(64, dtype=torch.float64)
    values[(bits[:, None] + 8 * bits[None, :]).flatten()] = (u @ w.T).flatten()
    torch.testing.assert_close(found.reshape(3, 3), cp.shapley_taylor(values)[2][:3, 3:], rtol=0, atol=1e-12)
    assert not isinstance(encoder.stem.saved, fx.Proxy)


def test_a_hook_that_comes_after_the_twin_is_seen() -> None:
    encoder = make_encoder()
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    method = ca.LayerGradientXActivation(model, model.tower_layers(encoder[2]))
    method.attribute(PAIR)
    encoder[0].register_forward_hook(lambda *arguments: arguments[2] * 3)
    with pytest.raises(ValueError, match="embed as the encoder does"):
        method.attribute(PAIR)
