"""Affine towers: from means of cells, and by coordinates of the space that they span, compared with the network on whole maps."""

import pytest
import torch
from conftest import images, random_tensor
from torch import Tensor, nn

import captum_pairwise as cp
from captum_pairwise.games import pooled_towers, two_towers
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.games.game import Affine
from captum_pairwise.games.narrowing import narrow_tower
from captum_pairwise.games.pooled_towers import pool_players
from captum_pairwise.games.sides import LayerOptions
from captum_pairwise.games.two_towers import make_layer_towers
from captum_pairwise.players.regions import NEVER_LEAVES


class ChannelsLast(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.movedim(1, -1)


class MeanOfPlaces(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((1, 2))


def make_encoder(*tail: nn.Module, channels: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, channels, 4, stride=4), nn.GELU(), *tail).double().eval()


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7))
AVERAGING = {
    "pooling": make_encoder(*POOL),
    "a map that the wrapper pools": make_encoder(),
    "channels last": make_encoder(ChannelsLast(), MeanOfPlaces(), nn.Linear(8, 7)),
    "convolutions of one cell": make_encoder(nn.Conv2d(8, 5, 1), *POOL[:2]),
}
OTHERS = {
    "a weight for each place": make_encoder(nn.Flatten(), nn.Linear(8 * 9, 7)),
    "pooling of four cells": make_encoder(nn.AvgPool2d(2), nn.Flatten()),
    "convolutions of nine cells": make_encoder(nn.Conv2d(8, 5, 3), *POOL[:2]),
}


def make_towers(encoder: nn.Sequential, mask: Tensor | None, baseline: object, layer_baseline: object = None):
    layer = encoder[2] if isinstance(encoder[2 if len(encoder) > 2 else 1], ChannelsLast) else encoder[1]
    options = [LayerOptions(name, baseline, layer_baseline, mask) for name in ("query", "retrieved")]
    return make_layer_towers(cp.SimilarityWrapper(encoder), layer, images(3), options, ForwardContext())


def compute_literally(tower, example: int) -> list[Affine]:
    """The functions from one whole map for each player."""
    n_players, functions = tower.side.count_coordinates(example), []
    for mix in tower.side.make_mixers(example):
        rows = tower.embed(mix(torch.cat([torch.zeros(1, n_players), torch.eye(n_players)])), example)
        functions.append(Affine(rows[0], rows[1:] - rows[0]))
    return functions


MASKS = {
    "cells": None,
    "groups": torch.tensor([[0, 0, 1], [2, 0, 1], [2, 1, 1]]),
    "cells that never leave": torch.tensor([[0, NEVER_LEAVES, 1], [2, 0, 1], [NEVER_LEAVES, 1, 1]]),
    "ids that are not used": torch.tensor([[5, 5, 1], [2, 5, 1], [2, 1, 1]]),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", AVERAGING)
def test_means_of_cells_give_the_embeddings_of_whole_maps(name, mask):
    encoder, ids = AVERAGING[name], MASKS[mask]
    ids = ids if ids is None or name == "channels last" else ids[None]
    for tower in make_towers(encoder, ids[..., None] if ids is not None and name == "channels last" else ids, None):
        assert tower.is_affine and tower._pooled is not None
        for example in range(3):
            for found, expected in zip(tower.make_affine(example), compute_literally(tower, example), strict=True):
                torch.testing.assert_close((found.offset, found.moves), (expected.offset, expected.moves), rtol=0, atol=1e-12)


def test_each_background_has_its_own_function():
    backgrounds = cp.Backgrounds(random_tensor(3, 3, 12, 12, seed=5))
    (tower, _) = make_towers(AVERAGING["pooling"], None, backgrounds)
    assert tower._pooled is not None and len(tower.make_affine(0)) == 3
    for found, expected in zip(tower.make_affine(1), compute_literally(tower, 1), strict=True):
        torch.testing.assert_close((found.offset, found.moves), (expected.offset, expected.moves), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OTHERS)
def test_a_tail_that_does_not_average_runs_on_whole_maps(name):
    tower, _ = make_towers(OTHERS[name], None, None)
    assert tower.is_affine and tower._pooled is None
    for found, expected in zip(tower.make_affine(1), compute_literally(tower, 1), strict=True):
        torch.testing.assert_close((found.offset, found.moves), (expected.offset, expected.moves), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_hides_no_tail_that_weighs_borders(dtype):
    """A convolution with a border of zeros takes a single position, and gives it another weight."""
    encoder = make_encoder(nn.Conv2d(8, 5, 3, padding=1), *POOL[:2]).to(dtype)
    options = [LayerOptions(name, None, 0, None) for name in ("query", "retrieved")]
    pair = tuple(batch.to(dtype) for batch in images(2))
    for tower in make_layer_towers(cp.SimilarityWrapper(encoder), encoder[1], pair, options, ForwardContext()):
        assert tower.is_affine and tower._pooled is None


def test_players_of_single_numbers_run_on_whole_maps():
    tower, _ = make_towers(AVERAGING["pooling"], torch.arange(72).view(8, 3, 3), None)
    assert pool_players(tower.side, lambda rows: tower.embed(rows, 0), 1) is None and len(tower.make_affine(0)[0].moves) == 72


def test_examples_with_different_numbers_of_players_run_on_whole_maps():
    ids = torch.stack([torch.arange(9).view(1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.long), torch.arange(9).view(1, 3, 3)])
    tower, _ = make_towers(AVERAGING["pooling"], ids, None)
    assert tower._pooled is None and [len(tower.make_affine(k)[0].moves) for k in range(3)] == [9, 1, 9]


def test_coordinates_keep_norms_and_products():
    towers = [Affine(random_tensor(20, seed=k), random_tensor(6, 20, seed=k + 9)) for k in range(2)]
    narrow, z = narrow_tower(towers), random_tensor(5, 6, seed=3)
    assert narrow is not None and narrow.basis.shape == (14, 20)
    for tower, coordinates in zip(towers, narrow.functions, strict=True):
        torch.testing.assert_close(coordinates(z) @ narrow.basis, tower(z))
        torch.testing.assert_close(coordinates(z) @ coordinates(z).T, tower(z) @ tower(z).T)


@pytest.mark.parametrize(
    "functions",
    [
        [Affine(random_tensor(5, seed=1), random_tensor(4, 5, seed=2))],  # as many dimensions as channels
        [lambda z: z],
        [Affine(random_tensor(3, 20, seed=1), random_tensor(2, 3, 20, seed=2))],  # tokens
    ],
)
def test_embeddings_that_cannot_be_narrowed(functions):
    assert narrow_tower(functions) is None


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("n_backgrounds", [1, 2])
def test_games_of_coordinates_have_the_values_of_the_network(similarity, n_backgrounds, monkeypatch):
    encoder = make_encoder(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 40))
    model = cp.SimilarityWrapper(encoder, similarity=similarity)
    backgrounds = cp.Backgrounds(random_tensor(n_backgrounds, 3, 12, 12, seed=5))

    def build():
        return list(build_layer_pairs(model, encoder[1], images(2), context=ForwardContext(), baselines=(backgrounds, backgrounds)).games())

    narrow = build()
    monkeypatch.setattr(two_towers, "narrow_tower", lambda functions: None)
    monkeypatch.setattr(pooled_towers, "_averages_positions", lambda *_: False)
    for found, expected in zip(narrow, build(), strict=True):
        z = torch.rand(30, found.n_players, generator=torch.Generator().manual_seed(0)).round()
        torch.testing.assert_close(found.values(z), expected.values(z), rtol=0, atol=1e-12)
        is_narrow = found.embed_query(z[:, :9]).shape[1] < expected.embed_query(z[:, :9]).shape[1]
        assert is_narrow == (similarity != "euclidean") and found.is_affine


def test_a_repeated_query_has_the_same_coordinates():
    encoder = make_encoder(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 40))
    model, (queries, retrieved) = cp.SimilarityWrapper(encoder), images(3)
    together = cp.LayerFactorisedInteractions(model, encoder[1]).attribute((queries[:1].expand(3, -1, -1, -1), retrieved), n_samples=400)
    alone = [
        cp.LayerFactorisedInteractions(model, encoder[1]).attribute((queries[:1], retrieved[k : k + 1]), n_samples=400) for k in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_a_query_with_coordinates_meets_an_image_without():
    """Of two retrieved images one has too many parts for coordinates; both games share the embeddings of the query."""
    encoder = make_encoder(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 9))
    model, (queries, retrieved) = cp.SimilarityWrapper(encoder), images(2)
    few = torch.arange(9).clamp(max=5).view(1, 1, 3, 3)
    masks = few.expand(2, -1, -1, -1), torch.cat([few, torch.arange(9).view(1, 1, 3, 3)])
    method = cp.LayerFactorisedInteractions(model, encoder[1])
    together = method.interactions((queries[:1].expand(2, -1, -1, -1), retrieved), layer_mask=masks)
    for k in range(2):
        query_mask, retrieved_mask = (mask[k : k + 1] for mask in masks)
        exact = cp.LayerExactShapleyTaylor(model, encoder[1], index="banzhaf")
        alone = exact.interactions((queries[:1], retrieved[k : k + 1]), layer_mask=(query_mask, retrieved_mask))
        n_parts = alone.between.shape[2]
        torch.testing.assert_close(together.between[k, :, :n_parts], alone.between[0], rtol=0, atol=1e-12)
