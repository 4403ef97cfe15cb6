"""Heads against their formulas, and the pooling of encoder outputs."""

from collections.abc import Callable

import pytest
import torch
from conftest import images
from model_cases import NAMED, SIMILARITIES, asymmetric, close, embeddings, slow_scores
from torch import nn

from captum_pairwise import SimilarityWrapper
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
