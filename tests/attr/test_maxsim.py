"""MaxSim of frozen tokens: the class against all coalitions of the tokens that the encoders return."""

import pytest
import torch
from conftest import assert_refused, random_tensor, tiny_encoder
from torch import Tensor, nn

import captum_pairwise as cp

BLOCKS = (
    *("empty", "full", "without_query", "without_retrieved"),
    *("first_order", "marginal", "given_other", "between", "within_query", "within_retrieved"),
)


class Encoder(nn.Module):
    """Tokens `[B, T, 6]` that depend on all tokens of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.tokens = nn.Linear(5, 6).double(), nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        """Padding, which is 0, stays 0."""
        is_token = rows.any(2, keepdim=True)
        return self.tokens(nn.functional.normalize(self.mix(rows + rows.mean(1, keepdim=True)), dim=2) * is_token)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    query, retrieved = random_tensor(2, 4, 5, seed=1), random_tensor(2, 5, 5, seed=2)
    query[1, 3], retrieved[0, 4] = 0, 0
    return query, retrieved


@pytest.mark.parametrize("similarity", ["maxsim", "meanmaxsim"])
def test_frozen_tokens_match_all_coalitions_of_the_encoders_outputs(similarity: str, pair: tuple[Tensor, Tensor]) -> None:
    encoder = Encoder()
    found = cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(encoder, similarity=similarity)).interactions(pair)
    exact = cp.LayerExactShapleyTaylor(cp.SimilarityWrapper(encoder, similarity="maxsim"), encoder.tokens)
    truth = exact.interactions(pair, layer_baselines=(0, 0), layer_mask=tuple(torch.arange(batch.shape[1])[:, None] for batch in pair))
    for name in BLOCKS:
        expected = getattr(truth, name)
        if similarity == "meanmaxsim":
            expected = expected / torch.tensor([4, 3]).view(2, *[1] * (expected.dim() - 1))
        torch.testing.assert_close(getattr(found, name), expected, rtol=0, atol=1e-12)
    assert found.n_evaluations.tolist() == [2, 2]


@pytest.mark.parametrize("similarity", ["maxsim", "meanmaxsim"])
def test_the_credits_sum_to_the_models_own_similarity(similarity: str, pair: tuple[Tensor, Tensor]) -> None:
    model = cp.SimilarityWrapper(Encoder(), similarity=similarity)
    found = cp.MaxSimShapleyTaylor(model).interactions(pair)
    torch.testing.assert_close(found.full, model(*pair).detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.marginal.sum(1), found.full, rtol=0, atol=1e-12)


def test_the_index_and_the_empty_maximum_are_those_of_the_user(pair: tuple[Tensor, Tensor]) -> None:
    model = cp.SimilarityWrapper(Encoder(), similarity="maxsim")
    by_half = cp.MaxSimShapleyTaylor(model, index="banzhaf").interactions(pair).between
    torch.testing.assert_close(by_half, cp.MaxSimShapleyTaylor(model, index="banzhaf", p=0.5).interactions(pair).between)
    assert not torch.allclose(by_half, cp.MaxSimShapleyTaylor(model, index="banzhaf", p=0.2).interactions(pair).between)
    shifted = cp.MaxSimShapleyTaylor(model, empty=-1.0).interactions(pair)
    assert shifted.without_retrieved.tolist() == [-4, -3]


def test_the_empty_maximum_is_averaged_as_the_others(pair: tuple[Tensor, Tensor]) -> None:
    encoder, sides = Encoder(), []
    for similarity in ("meanmaxsim", "maxsim"):
        sides.append(cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(encoder, similarity=similarity), empty=-1.0).interactions(pair))
    for name in BLOCKS:
        expected = getattr(sides[1], name)
        expected = expected / torch.tensor([4, 3]).view(2, *[1] * (expected.dim() - 1))
        torch.testing.assert_close(getattr(sides[0], name), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(tiny_encoder())).interactions((torch.rand(1, 3),) * 2), "with MaxSim"),
        (lambda: cp.MaxSimShapleyTaylor(lambda u, w: u.sum(1)).interactions((torch.rand(1, 3),) * 2), "with MaxSim"),
        (lambda: cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(Encoder()), index="owen"), "one of .*'banzhaf'.*, got 'owen'"),
        (lambda: cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(Encoder()), p=1.5), "a probability between 0 and 1, got 1.5"),
    ],
    ids=["cosine", "function", "index", "probability"],
)
def test_other_models_and_indices_are_refused(call, sentence) -> None:
    assert_refused(call, sentence)


def test_dropout_in_training_mode_is_refused(pair: tuple[Tensor, Tensor]) -> None:
    model = cp.SimilarityWrapper(nn.Sequential(Encoder(), nn.Dropout()), similarity="maxsim")
    assert_refused(lambda: cp.MaxSimShapleyTaylor(model).interactions(pair), "Dropout is training")
