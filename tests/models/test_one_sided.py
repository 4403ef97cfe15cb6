"""Similarity models with one image or a gallery fixed."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from conftest import images
from model_cases import (
    SIMILARITIES,
    asymmetric,
    close,
    count_calls,
    full_encoder,
)
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper

# one side fixed

TIED = partial(SimilarityWrapper, full_encoder())
DIFFERENT = partial(SimilarityWrapper, full_encoder(), full_encoder(1), similarity=asymmetric)
MODELS = pytest.mark.parametrize("make_model", [TIED, DIFFERENT], ids=["tied", "different"])
SIDES = pytest.mark.parametrize("side", [0, 1], ids=["given_query", "given_retrieved"])


def fix(model: SimilarityWrapper, side: int, fixed: Tensor) -> nn.Module:
    return [model.given_query, model.given_retrieved][side](fixed)


@MODELS
@SIDES
def test_one_sided_model_gives_the_same_similarity(make_model: Callable, side: int) -> None:
    model, pair = make_model(), images(3)
    close(fix(model, side, pair[side])(pair[1 - side]), model(*pair))


@MODELS
@SIDES
def test_one_fixed_image_is_compared_with_every_row(make_model: Callable, side: int) -> None:
    model, pair = make_model(), list(images(3))
    one = pair[side][:1]
    pair[side] = one.expand_as(pair[side])
    close(fix(model, side, one)(pair[1 - side]), model(*pair))


@MODELS
@SIDES
def test_fixed_rows_repeat_in_the_order_of_captum(make_model: Callable, side: int) -> None:
    model, pair = make_model(), images(2)
    close(fix(model, side, pair[side])(torch.cat([pair[1 - side]] * 3)), torch.cat([model(*pair)] * 3))


@SIDES
def test_rows_that_do_not_divide_are_refused(model: SimilarityWrapper, side: int) -> None:
    with pytest.raises(ValueError, match="multiple of the 2"):
        fix(model, side, images(2)[0])(images(3)[1])


@MODELS
@SIDES
def test_fixed_side_is_embedded_once(make_model: Callable, side: int) -> None:
    model, pair = copy.deepcopy(make_model()), images()
    calls = count_calls(*{model.query_encoder, model.retrieved_encoder})
    one_sided = fix(model, side, pair[side])
    for n_forwards in range(3):
        assert calls.total() == 1 + n_forwards
        one_sided(pair[1 - side])


@pytest.mark.parametrize("name", ["given_query", "given_retrieved", "given_gallery"])
def test_fixed_embedding_is_a_buffer_without_gradient(model: SimilarityWrapper, name: str) -> None:
    one_sided = getattr(model, name)(images()[0])
    (fixed,) = one_sided.buffers()
    assert not fixed.requires_grad
    single = one_sided.to(torch.float32)
    assert [buffer.dtype for buffer in single.buffers()] == [torch.float32]
    assert single(images()[0].float()).dtype == torch.float32


@SIMILARITIES
@pytest.mark.parametrize("other", [None, full_encoder(1)], ids=["tied", "different"])
def test_gallery_scores_every_item(similarity: str | Callable, other: nn.Module | None) -> None:
    model = SimilarityWrapper(full_encoder(), other, similarity=similarity)
    q, gallery = images(2)[0], images(3)[1]
    expected = torch.stack([model(q, item.expand_as(q)) for item in gallery], 1)
    close(model.given_gallery(gallery)(q), expected)


@SIMILARITIES
def test_scores_of_a_gallery_have_the_dtype_of_the_embeddings(similarity: str | Callable) -> None:
    model, (query, gallery) = SimilarityWrapper(full_encoder().float(), similarity=similarity), images(2)
    assert model.given_gallery(gallery.float())(query.float()).dtype == torch.float32
