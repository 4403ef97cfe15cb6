"""Heads against their formulas, and the pooling of encoder outputs."""

from collections.abc import Callable

import pytest
import torch
from conftest import assert_refused, images, random_tensor, tiny_encoder
from model_cases import NAMED, SIMILARITIES, TOKEN_HEADS, asymmetric, close, embeddings, slow_maxsim, slow_scores, token_embeddings
from torch import Tensor, nn

from captum_pairwise import ExactShapleyTaylor, LayerSAM, SimilarityWrapper, grid
from captum_pairwise.models.heads import make_head, normalize_rows

# heads


@SIMILARITIES
def test_each_head_follows_its_formula(similarity: str | Callable) -> None:
    u, w = embeddings()
    close(make_head(similarity).score(u, w), slow_scores(similarity, u, w))


@NAMED
def test_lifted_embeddings_multiply_to_the_score(similarity: str) -> None:
    u, w = embeddings()
    head = make_head(similarity)
    assert head.lift_query is not None and head.lift_retrieved is not None
    close((head.lift_query(u) * head.lift_retrieved(w)).sum(1), slow_scores(similarity, u, w))


@TOKEN_HEADS
def test_maxsim_follows_its_formula_without_tokens_that_are_zero(name: str) -> None:
    u, w = token_embeddings()
    expected = [slow_maxsim(name, *pair) for pair in zip(u, w, strict=True)]
    close(make_head(name).score(u, w), torch.tensor(expected, dtype=torch.float64))
    assert expected[0] < 0 or min(expected) < 0 or (u[0] @ w[0].T).min() < 0  # the maximum of some tokens may be negative


@TOKEN_HEADS
@pytest.mark.parametrize("numbers", [1, 20, 2**22])
def test_maxsim_of_all_combinations(name: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captum_pairwise.models.heads.NUMBERS_AT_ONCE", numbers)
    (u, w), combine = token_embeddings(), make_head(name).combine
    assert combine is not None
    for rows in (w, w[:1]):  # with and without padding
        expected = torch.tensor([[slow_maxsim(name, a, b) for b in rows] for a in u], dtype=torch.float64)
        close(combine(u, rows), expected)


@TOKEN_HEADS
def test_maxsim_differentiates_to_finite_numbers(name: str) -> None:
    u, w = (tokens.requires_grad_() for tokens in token_embeddings())
    gradients = torch.autograd.grad(make_head(name).score(u, w).sum(), (u, w))
    assert all(gradient.isfinite().all() for gradient in gradients)


@TOKEN_HEADS
def test_maxsim_of_pooled_embeddings_is_refused(name: str) -> None:
    assert_refused(
        lambda: SimilarityWrapper(tiny_encoder(), similarity=name)(*images()), r"return tokens \[B, T, C\] for MaxSim, got .*\(2, 6\)"
    )


@TOKEN_HEADS
def test_one_sided_models_compare_tokens_of_different_numbers(name: str) -> None:
    u, w = token_embeddings()
    model = SimilarityWrapper(nn.Identity(), similarity=name)
    expected = torch.tensor([[slow_maxsim(name, a, b) for b in w] for a in u], dtype=torch.float64)
    close(model.given_gallery(w)(u), expected)
    close(model.given_query(u)(w), expected.diagonal())
    close(model.given_retrieved(w[:1])(u), expected[:, 0])


def test_callable_head_has_no_lifts() -> None:
    assert make_head(asymmetric).lift_query is None


def test_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match="cosine"):
        SimilarityWrapper(nn.Identity(), similarity="cosinus")


def test_normalize_rows_refuses_a_zero_row() -> None:
    u, _ = embeddings()
    close(normalize_rows(u), torch.stack([row / row.square().sum().sqrt() for row in u]))
    u[3] = 0
    with pytest.raises(ValueError, match="row 3"):
        normalize_rows(u)


@pytest.mark.parametrize("bad", [nn.Flatten(2), nn.Flatten(0), nn.MaxPool2d(2, return_indices=True)], ids=["3-D", "1-D", "tuple"])
def test_other_encoder_outputs_are_refused(bad: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\[B, C\]"):
        SimilarityWrapper(bad)(*images())


class Bilinear(nn.Module):
    """A learned head."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(random_tensor(6, 6, seed=4))

    def forward(self, u: Tensor, w: Tensor) -> Tensor:
        return ((u @ self.weight) * w).sum(1)


def test_a_learned_head_is_a_submodule() -> None:
    head = Bilinear()
    model = SimilarityWrapper(tiny_encoder(), similarity=head)
    assert "similarity.weight" in model.state_dict() and any(p is head.weight for p in model.parameters())
    model.eval()
    assert not head.training
    model.float()
    assert head.weight.dtype == torch.float32
    for other in (model.given_query(images()[0].float()), model.given_gallery(images()[0].float())):
        assert head in set(other.modules())


def test_dropout_of_a_head_in_training_mode_is_refused() -> None:
    head = nn.Sequential(nn.Dropout(0.5))
    head.forward = lambda u, w: (head[0](u) * w).sum(1)
    model = SimilarityWrapper(tiny_encoder(), similarity=head)
    head.train()
    assert_refused(lambda: ExactShapleyTaylor(model).attribute(images(), feature_mask=(grid(12, 12, 1, 2),) * 2), "Dropout is training")


@pytest.mark.parametrize("score", [lambda u, w: u @ w.T, lambda u, w: (u * w).sum(1, keepdim=True), lambda u, w: (u * w).sum()])
def test_a_head_of_another_shape_is_refused(score: Callable) -> None:
    model = SimilarityWrapper(tiny_encoder(), similarity=score)
    for run in (lambda: model(*images()), lambda: model.given_query(images()[0])(images()[1])):
        assert_refused(run, r"one similarity for each pair, shape \(2,\)")
    with pytest.raises(ValueError, match="Expected"):
        ExactShapleyTaylor(model).attribute(images(), feature_mask=(grid(12, 12, 1, 2),) * 2)


@pytest.mark.parametrize(
    "score", [nn.functional.cosine_similarity, nn.CosineSimilarity(), nn.CosineSimilarity(-1)], ids=["function", "module", "last axis"]
)
def test_cosines_of_pytorch_are_the_cosine(score: Callable) -> None:
    model, reference = SimilarityWrapper(tiny_encoder(), similarity=score), SimilarityWrapper(tiny_encoder())
    for wrapper in (model, reference):
        maps = LayerSAM(wrapper, wrapper.query_encoder[4]).attribute(images())
    close(LayerSAM(model, model.query_encoder[4]).attribute(images()), maps)
