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


def maxsim() -> cp.SimilarityWrapper:
    return cp.SimilarityWrapper(Encoder(), similarity="maxsim")


def match_embedded(masks: tuple[Tensor | None, Tensor | None] | None = None) -> Tensor:
    return cp.MaxSimShapleyTaylor().attribute((torch.rand(1, 3, 4), torch.rand(1, 2, 4)), masks)


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
        (lambda: cp.MaxSimShapleyTaylor(cp.SimilarityWrapper(Encoder()), p=1.5), "a probability between 0 and 1, or one .* got 1.5"),
        (lambda: cp.MaxSimShapleyTaylor(empty=float("nan")), "empty to be a finite number, .* got nan"),
        (lambda: cp.MaxSimShapleyTaylor().attribute((torch.rand(1, 3), torch.rand(1, 3))), "embedded tokens .* no forward function, got"),
        (lambda: cp.MaxSimShapleyTaylor().attribute((torch.rand(1, 3, 4), torch.rand(1, 3, 5))), "with equal C"),
        (lambda: match_embedded(masks=(torch.ones(1, 3), None)), r"a boolean mask \[1, 3\], .* got torch.float32"),
        (lambda: match_embedded(masks=(torch.ones(1, 2, dtype=torch.bool), None)), r"a boolean mask \[1, 3\], .* shape \(1, 2\)"),
        (lambda: cp.MaxSimShapleyTaylor(maxsim()).attribute((torch.rand(1, 3, 5).double(),) * 2, (None, None)), "masks only with embedded"),
    ],
    ids=[
        "cosine",
        "function",
        "index",
        "probability",
        "empty",
        "no tokens",
        "other channels",
        "no boolean",
        "other tokens",
        "masks of encoders",
    ],
)
def test_other_models_and_indices_are_refused(call, sentence) -> None:
    assert_refused(call, sentence)


def test_dropout_in_training_mode_is_refused(pair: tuple[Tensor, Tensor]) -> None:
    model = cp.SimilarityWrapper(nn.Sequential(Encoder(), nn.Dropout()), similarity="maxsim")
    assert_refused(lambda: cp.MaxSimShapleyTaylor(model).interactions(pair), "Dropout is training")


def test_embedded_tokens_are_explained_as_the_model_explains_their_inputs(pair: tuple[Tensor, Tensor]) -> None:
    model = maxsim()
    expected = cp.MaxSimShapleyTaylor(model, index="faith-shap").interactions(pair)
    with torch.no_grad():
        tokens = model.embed_query(pair[0]), model.embed_retrieved(pair[1])
    found = cp.MaxSimShapleyTaylor(index="faith-shap").interactions(tokens)
    for name in BLOCKS:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=0)
    torch.testing.assert_close(cp.MaxSimShapleyTaylor(index="faith-shap").attribute(tokens), found.between)


def test_embedded_tokens_of_two_precisions_are_compared_in_the_higher(pair: tuple[Tensor, Tensor]) -> None:
    query, retrieved = pair[0].double(), pair[1].half()
    expected = cp.MaxSimShapleyTaylor().attribute((query, retrieved.double()))
    torch.testing.assert_close(cp.MaxSimShapleyTaylor().attribute((query, retrieved)), expected, rtol=0, atol=0)


def test_masks_tell_tokens_from_padding(pair: tuple[Tensor, Tensor]) -> None:
    """Without a mask, a token that is 0 is padding; with one, padding may hold anything, and a token may be 0."""
    query, retrieved = pair
    padded = torch.where(query.any(2, keepdim=True), query, 9.0)
    masks = query.any(2), None
    expected, found = (cp.MaxSimShapleyTaylor().interactions(inputs, mask) for inputs, mask in ((pair, None), ((padded, retrieved), masks)))
    for name in BLOCKS:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=0)
    all_tokens = torch.ones(2, 5, dtype=torch.bool)
    with_zero = cp.MaxSimShapleyTaylor().interactions((-query.abs(), retrieved.abs()), (None, all_tokens))
    assert with_zero.full[0].item() == 0  # the best of negative products and of 0
