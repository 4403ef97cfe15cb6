"""`SimilarityWrapper` against its formula, and the layers of both towers."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from conftest import images, tiny_encoder
from model_cases import SIMILARITIES, asymmetric, close, count_calls, slow_scores
from torch import nn

from captum_pairwise import SimilarityWrapper

# encoders


@SIMILARITIES
def test_model_scores_the_averaged_maps(similarity: str | Callable) -> None:
    encoder, (q, r) = tiny_encoder(), images()
    averages = [torch.stack([encoder(x)[..., i, j] for i in range(3) for j in range(3)]).mean(0) for x in (q, r)]
    close(SimilarityWrapper(encoder, similarity=similarity)(q, r), slow_scores(similarity, *averages))


def test_different_towers_embed_their_own_side() -> None:
    ours, theirs, (q, r) = nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Tanh()), images()
    model = SimilarityWrapper(ours, theirs, similarity=asymmetric)
    close(model(q, r), slow_scores(asymmetric, ours(q), theirs(r)))


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda encoder: torch.jit.trace(encoder, images()[0])], ids=["script", "trace"])
def test_torchscript_encoder_gives_the_same_similarity(compiled: Callable) -> None:
    q, r = images()
    model = SimilarityWrapper(compiled(tiny_encoder()))
    eager = SimilarityWrapper(tiny_encoder())
    close(model(q, r), eager(q, r))
    close(model.given_query(q)(r), eager(q, r))


# tower_layers


@pytest.mark.parametrize("tower", ["query_encoder", "retrieved_encoder"])
@pytest.mark.parametrize("name", ["", "0", "4"])
def test_tower_layers_finds_the_layer_in_both_towers(model: SimilarityWrapper, tower: str, name: str) -> None:
    found = model.tower_layers(getattr(model, tower).get_submodule(name))
    assert [id(layer) for layer in found] == [id(t.get_submodule(name)) for t in (model.query_encoder, model.retrieved_encoder)]


def test_tower_layers_finds_a_new_layer_in_the_tower_that_will_run() -> None:
    encoder = tiny_encoder()
    model = SimilarityWrapper(encoder)
    encoder[4] = tiny_encoder(1)[4]
    layers = model.tower_layers(encoder[4])
    calls = count_calls(*layers)
    model(*images())  # compares the twin with the encoder, too
    calls.clear()
    model(*images())
    assert calls == Counter(layers)


def test_tower_layers_refuses_a_foreign_layer(model: SimilarityWrapper) -> None:
    with pytest.raises(ValueError, match="no module of it"):
        model.tower_layers(nn.ReLU())


@pytest.mark.parametrize("encoders", [[tiny_encoder(), tiny_encoder(1)], [torch.jit.script(tiny_encoder())]], ids=["different", "script"])
def test_tower_layers_refuses_towers_that_are_no_twins(encoders: list[nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"tied towers|can be copied"):
        SimilarityWrapper(*encoders).tower_layers(encoders[0])
