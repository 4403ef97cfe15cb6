"""Encoders that divide their embeddings by the norm: under cosine similarity that step changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import assert_refused, images, random_tensor, tiny_encoder
from model_cases import close
from torch import Tensor, nn

import captum_pairwise as cp

NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.normalize": lambda x: F.normalize(x, dim=1),
    "x / x.norm()": lambda x: x / x.norm(dim=1, keepdim=True),
    "x.div(norm)": lambda x: x.div(torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12)),
    "x * rsqrt": lambda x: x * x.square().sum(1, keepdim=True).rsqrt(),
    "scaled": lambda x: F.normalize(x, dim=1) * 16,
    "twice": lambda x: F.normalize(F.normalize(x, dim=1), dim=1),
}
CLASSES = (cp.LayerSAM, cp.LayerPairwiseSAM, cp.LayerFactorisedShapleyTaylor, cp.LayerKernelSAM)


class Face(nn.Module):
    """A network with global average pooling, a linear layer and a last step."""

    def __init__(self, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.last = tiny_encoder(), nn.Linear(6, 5).double(), last

    def forward(self, batch: Tensor) -> Tensor:
        return self.last(self.head(self.body(batch).mean((2, 3))))


def explain(cls: type, last: Callable[[Tensor], Tensor], similarity: str = "cosine", **options: Any) -> list[Tensor]:
    torch.manual_seed(0)
    encoder = Face(last).eval()
    credits = cls(cp.SimilarityWrapper(encoder, similarity=similarity), encoder.body).attribute(images(), **options)
    return [credits] if isinstance(credits, Tensor) else list(credits)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("last", NORMALISATIONS.values(), ids=NORMALISATIONS)
def test_the_credit_is_that_of_the_encoder_without_the_last_step(cls: type, last: Callable[[Tensor], Tensor]) -> None:
    for credit, expected in zip(explain(cls, last), explain(cls, lambda x: x), strict=True):
        close(credit, expected)


def test_weights_after_the_normalisation_are_kept() -> None:
    weights = random_tensor(5).exp()
    assert_refused(lambda: explain(cp.LayerSAM, lambda x: F.normalize(x, dim=1) * weights), "only pooling and linear layers")
    lasts = (lambda x: F.normalize(x, dim=1) * weights), (lambda x: x * weights)
    (credit,), (expected,) = (explain(cp.LayerFactorisedShapleyTaylor, last, n_samples=2**9) for last in lasts)  # all coalitions
    close(credit, expected)


def test_a_dot_product_of_normalised_embeddings_is_refused_by_its_cause() -> None:
    assert_refused(
        lambda: explain(cp.LayerSAM, NORMALISATIONS["F.normalize"], "dot"), "normalises its embeddings. Take similarity='cosine'"
    )


def test_a_normalisation_that_no_graph_shows_is_refused_by_its_cause() -> None:
    hidden = lambda x: x / x.norm(dim=1, keepdim=True) if x.abs().sum() > 0 else x  # noqa: E731 - control flow that cannot be traced
    assert_refused(lambda: explain(cp.LayerPairwiseSAM, hidden), "normalises its embeddings in a way that is not seen")


def test_vesm_still_sees_the_norm() -> None:
    maps, without = (explain(cp.LayerVESM, last)[0] for last in (NORMALISATIONS["F.normalize"], lambda x: x))
    assert (maps - without).abs().max() > 1e-3 * without.abs().max()
