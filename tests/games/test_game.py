"""Games of one pair: evaluation counts, distinct embeddings, and the games of single images."""

from collections.abc import Callable

import pytest
import torch
from conftest import random_tensor
from torch import Tensor
from torch.testing import assert_close

from captum_pairwise.games.game import Affine, CallableGame, TwoTowerGame, make_one_image_games


def random_coalitions(rows: int, players: int) -> Tensor:
    return random_tensor(rows, players) > 0


def make_counted_tower(weights: Tensor) -> tuple[Callable[[Tensor], Tensor], list[Tensor]]:
    """A linear tower, and a list of its inputs."""
    given: list[Tensor] = []

    def embed(z: Tensor) -> Tensor:
        given.append(z)
        return z.double() @ weights

    return embed, given


@pytest.mark.parametrize("as_coalitions", [torch.Tensor.bool, torch.Tensor.double])
def test_towers_embed_each_distinct_row_once(as_coalitions: Callable[[Tensor], Tensor]) -> None:
    weights = random_tensor(3, 5), random_tensor(2, 5, seed=1)
    (embed_query, of_query), (embed_retrieved, of_retrieved) = map(make_counted_tower, weights)
    game, z = TwoTowerGame(3, 2, embed_query, embed_retrieved), as_coalitions(random_coalitions(40, 5))
    sides = z[:, :3], z[:, 3:]
    assert_close(game.values(z), ((sides[0].double() @ weights[0]) * (sides[1].double() @ weights[1])).sum(1))
    for (given,), side in zip((of_query, of_retrieved), sides, strict=True):
        assert sorted(given.tolist()) == [list(row) for row in sorted({tuple(row) for row in side.tolist()})]
    assert game.n_evaluations == sum(len(side.unique(dim=0)) for side in sides)


def test_callable_game_counts_its_rows() -> None:
    game, z = CallableGame(2, 1, lambda z: z.double().prod(1)), random_coalitions(6, 3)
    assert_close(torch.cat([game.values(z[:4]), game.values(z[4:])]), z.all(1).double())
    assert (game.n_evaluations, game.n_players) == (len(z), 3)


def test_embedding_counts_too() -> None:
    game = TwoTowerGame(3, 2, lambda z: z.double(), lambda z: z.double())
    game.embed_query(random_coalitions(4, 3))
    game.embed_retrieved(random_coalitions(6, 2))
    assert game.n_evaluations == 4 + 6


@pytest.mark.parametrize("as_coalitions", [torch.Tensor.bool, torch.Tensor.double])
@pytest.mark.parametrize("is_opaque", [False, True])
def test_games_of_one_image_hold_the_other_whole(is_opaque: bool, as_coalitions: Callable[[Tensor], Tensor]) -> None:
    weights = random_tensor(3, 5), random_tensor(2, 5, seed=1)
    towers = TwoTowerGame(3, 2, *(lambda z, w=w: (1 + z.double() @ w).square() for w in weights))
    game = CallableGame(3, 2, towers.values) if is_opaque else towers
    query, retrieved = make_one_image_games(game)
    assert (query.n_query, query.n_retrieved, retrieved.n_query, retrieved.n_retrieved) == (3, 0, 0, 2)
    of_query, of_retrieved = as_coalitions(random_coalitions(9, 3)), as_coalitions(random_coalitions(9, 2))
    assert_close(query.values(of_query), game.values(torch.cat([of_query, torch.ones(9, 2)], 1)))
    assert_close(retrieved.values(of_retrieved), game.values(torch.cat([torch.ones(9, 3), of_retrieved], 1)))
    assert (query.n_evaluations, retrieved.n_evaluations) == (9, 9)


def test_each_whole_image_is_embedded_once_for_both_games() -> None:
    towers = [make_counted_tower(random_tensor(n, 5, seed=n)) for n in (3, 2)]
    games = make_one_image_games(TwoTowerGame(3, 2, *(embed for embed, _ in towers)))
    for game, n_players, (_, given) in zip(games, (3, 2), towers, strict=True):
        everybody = torch.ones(1, n_players)
        for z in (everybody, torch.cat([everybody, torch.zeros(2, n_players)])):
            game.values(z)
        assert torch.cat(given).sum(1).tolist() == [n_players, 0]


@pytest.mark.parametrize("z", [random_coalitions(6, 3), random_tensor(6, 3)], ids=["coalitions", "presences"])
def test_affine_embedding(z: Tensor) -> None:
    offset, moves = random_tensor(5), random_tensor(3, 5, seed=1)
    expected = [offset + sum(float(presence) * move for presence, move in zip(row, moves, strict=True)) for row in z]
    assert_close(Affine(offset, moves)(z), torch.stack(expected))
