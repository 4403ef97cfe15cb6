"""Factorised estimates with any head: each tower is embedded once, and every combination is scored."""

from collections.abc import Callable
from itertools import product
from statistics import mean

import pytest
import torch
from conftest import looked_up, random_tensor, relu_game, relu_tower, seeded
from formulas import relative_mse, taylor_pairs
from torch import Tensor

from captum_pairwise.estimators.enumeration import enumerate_values, exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.process import condition_process
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.lifting import lift_scores
from captum_pairwise.estimators.towers.models import ProcessTower
from captum_pairwise.estimators.towers.sampled_tower import FITS, SampledTower, TowerOptions
from captum_pairwise.games.game import CallableGame, ScoredGame
from captum_pairwise.models.heads import score_maxsim

BLOCKS = ("empty", "full", "without_query", "without_retrieved", "first_order", "marginal", "given_other", "between")
exactly = pytest.mark.parametrize("shape", [(5, 5), (4, 7), (7, 4), (1, 3), (6, 1)], ids=str)
both_fits = pytest.mark.parametrize("fit", FITS[:2])


def token_tower(n_players: int, seed: int, channels: int = 6) -> Callable[[Tensor], Tensor]:
    """Unit embeddings of tokens, each of which depends on all players that are present: a layer of attention in random features."""
    tokens, absent = random_tensor(n_players, 8, seed=seed), random_tensor(n_players, 8, seed=seed + 1)
    mixing, outer = random_tensor(8, 8, seed=seed + 2) / 8**0.5, random_tensor(8, channels, seed=seed + 3)

    def embed(z: Tensor) -> Tensor:
        states = torch.where(z[..., None].bool(), tokens, absent)
        shares = torch.softmax(states @ mixing @ states.mT / 2, -1)
        return torch.nn.functional.normalize(torch.tanh(states + shares @ states) @ outer, dim=-1)

    return embed


def learned_score(u: Tensor, w: Tensor) -> Tensor:
    """A head that is no inner product: a network on the two means."""
    pooled = torch.cat([u.mean(1), w.mean(1)], 1)
    return torch.tanh(3 * pooled @ random_tensor(pooled.shape[1], 10, seed=9)) @ random_tensor(10, seed=10)


HEADS = {"maxsim": score_maxsim, "learned": learned_score}
every_head = pytest.mark.parametrize("head", HEADS)


def scored_game(n_query: int, n_retrieved: int, seed: int, head: str = "maxsim") -> ScoredGame:
    towers = token_tower(n_query, 20 * seed), token_tower(n_retrieved, 20 * seed + 10)
    return ScoredGame(n_query, n_retrieved, *towers, HEADS[head])


def as_opaque(game: ScoredGame) -> CallableGame:
    return CallableGame(game.n_query, game.n_retrieved, game.values)


@exactly
def test_lifted_embeddings_multiply_to_the_scores(shape: tuple[int, int]) -> None:
    scores = random_tensor(*shape)
    for table in (scores, 1e9 * scores, scores * 0 + 3, scores[:, :1] * scores[:1], scores * 0):
        u, w = lift_scores(table)
        torch.testing.assert_close(u @ w.T, table, rtol=0, atol=1e-13 * table.abs().max().item())


def test_the_lift_shares_each_singular_value_between_the_images() -> None:
    scores = random_tensor(5, 7)
    values = torch.linalg.svdvals(scores)
    for tower in lift_scores(scores):
        torch.testing.assert_close(torch.linalg.eigvalsh(tower.T @ tower), values.flip(0), rtol=1e-10, atol=0)


@every_head
def test_estimate_of_a_pair_is_the_sum_over_all_scores(head: str) -> None:
    """`g_ij(p) = Σ_ab c_ia(p) d_jb(p) V_ab` with the weights `c`, `d` of the processes of each tower, which are linear in its table."""
    game, path = scored_game(6, 5, 0, head), diagonal_path(11)
    rows = [tower.drawn[1] for tower in sample_towers(game, 20)]
    scores = game.combine(game.embed_query(rows[0]), game.embed_retrieved(rows[1]))
    tables = lift_scores(scores)
    weights = [weigh_rows(members, table, path) for members, table in zip(rows, tables, strict=True)]
    taylor = 2 * path.weights * (1 - path.nodes)
    expected = sum(weight * torch.einsum("ia,jb,ab->ij", c, d, scores) for weight, c, d in zip(taylor, *map(list, weights), strict=True))
    torch.testing.assert_close(factorise(scored_game(6, 5, 0, head), 20).between[0], expected, rtol=0, atol=1e-10)


def sample_towers(game: ScoredGame, n_samples: int) -> list:
    """The towers of an estimate, to see the coalitions that it drew."""
    seeds = torch.randint(2**62, (2,), generator=seeded(0)).tolist()
    options = TowerOptions()
    towers = [SampledTower(n, 8, options, 0.5, seed, True) for n, seed in zip((game.n_query, game.n_retrieved), seeds, strict=True)]
    for tower, embed in zip(towers, (game.embed_query, game.embed_retrieved), strict=True):
        tower.sample(embed, n_samples, n_samples)
    return towers


def weigh_rows(members: Tensor, table: Tensor, path: Path) -> Tensor:
    """The weights `[nodes, players, rows]` of the rows in the slopes, from the posterior of the process that is fitted to the table."""
    process = condition_process(ProcessTower(table, members).kernel, members, table)
    slopes = process.kernel.expectations(path.nodes, process.rows)[1]
    weights = torch.linalg.solve(process.kernel.gram(process.rows), slopes.flatten(0, 1).T).T.unflatten(0, slopes.shape[:2])
    return (weights - weights.sum(-1, keepdim=True) / len(members)).transpose(0, 1)  # of the table minus its mean


@every_head
@pytest.mark.parametrize("sizes", [(1, 1), (4, 3), (2, 4)])
def test_enumerated_towers_are_exact(head: str, sizes: tuple[int, int]) -> None:
    game = scored_game(*sizes, 1, head)
    found, truth = factorise(game, 2**4, TowerOptions(within=True)), exact(as_opaque(scored_game(*sizes, 1, head)))
    torch.testing.assert_close(found.second_order[0], taylor_pairs(scored_game(*sizes, 1, head)), rtol=0, atol=1e-11)
    for name in (*BLOCKS, "within_query", "within_retrieved"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=0, atol=1e-12)
    assert found.n_evaluations.item() == 2 ** sizes[0] + 2 ** sizes[1]
    assert (found.standard_error["between"] == 0).all()


@every_head
@both_fits
def test_each_tower_embeds_each_coalition_once(head: str, fit: str) -> None:
    rows, game = ([], []), scored_game(9, 8, 0, head)
    towers = game._embed_query, game._embed_retrieved
    counted = [lambda z, k=k: rows[k].append(z) or towers[k](z) for k in range(2)]
    found = factorise(ScoredGame(9, 8, *counted, HEADS[head]), 60, TowerOptions(fit))
    for parts in rows:
        embedded = torch.cat(parts)
        assert len(embedded) == len(embedded.unique(dim=0)) == 62
    assert found.n_evaluations.item() == 124


@every_head
def test_credit_is_complete_and_first_order_exact_at_any_budget(head: str) -> None:
    truth = exact(scored_game(8, 7, 0, head))
    found = factorise(scored_game(8, 7, 0, head), 20)
    assert torch.cat([found.completeness_gap, *found.map_gaps]).abs().max() < 1e-9
    for name in ("first_order", *BLOCKS[:4]):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_an_inner_product_as_a_score_is_as_accurate_as_two_towers() -> None:
    scored, towers = [], []
    for seed in range(4):
        truth, embed = exact(relu_game(10, 9, seed)).between, (relu_tower(10, 2 * seed), relu_tower(9, 2 * seed + 1))
        game = ScoredGame(10, 9, *embed, lambda u, w: (u * w).sum(1))
        scored.append(relative_mse(factorise(game, 100).between, truth))
        towers.append(relative_mse(factorise(relu_game(10, 9, seed), 100).between, truth))
    assert mean(scored) < 1.3 * mean(towers)


@every_head
def test_it_is_more_accurate_than_estimators_of_opaque_games_at_equal_passes(head: str) -> None:
    truth, n_samples = exact(scored_game(8, 7, 0, head)).between, 120
    error = relative_mse(factorise(scored_game(8, 7, 0, head), n_samples).between, truth)
    others = kernel_taylor(scored_game(8, 7, 0, head), n_samples), gaussian_process(scored_game(8, 7, 0, head), n_samples)
    assert error < min(relative_mse(other.between, truth) for other in others) / 4


@pytest.mark.slow
@pytest.mark.parametrize(("head", "n_samples"), list(product(HEADS, [50, 150])))
def test_two_standard_errors_cover_the_truth(head: str, n_samples: int) -> None:
    covered = {"between": [], "marginal": [], "given_other": []}
    for seed in range(6):
        truth = exact(scored_game(9, 8, seed, head))
        found = factorise(scored_game(9, 8, seed, head), n_samples, generator=seeded(seed))
        for name, shares in covered.items():
            shares.append(((found[name] - truth[name]).abs() <= 2 * found.standard_error[name]).double().mean().item())
    for shares in covered.values():
        assert mean(shares) >= 0.9


def test_tolerance_stops_early_and_is_reached() -> None:
    truth = exact(scored_game(10, 9, 0)).between
    found = factorise(scored_game(10, 9, 0), 500, TowerOptions(tolerance=0.2))
    assert found.n_evaluations.item() < 2 * 500
    assert found.standard_error.between.norm() <= 0.2 * found.between.norm()
    assert relative_mse(found.between, truth) ** 0.5 < 2 * 0.2


@both_fits
def test_games_of_one_query_share_its_embeddings(fit: str) -> None:
    query, tables, evaluations = token_tower(9, 0), {}, []
    for seed in (1, 2):
        retrieved = token_tower(8, 20 * seed)
        shared = factorise(ScoredGame(9, 8, query, retrieved, score_maxsim, tables), 60, TowerOptions(fit))
        alone = factorise(ScoredGame(9, 8, query, retrieved, score_maxsim), 60, TowerOptions(fit))
        for name in BLOCKS:
            assert torch.equal(getattr(shared, name), getattr(alone, name))
        evaluations.append(shared.n_evaluations.item())
    assert evaluations == [124, 62]


def test_jagged_credit_is_sampled_too() -> None:
    truth = share_dividends(as_opaque(scored_game(5, 4, 0)), 2**9)
    found = share_dividends(scored_game(5, 4, 0), 2**5)
    for name in ("between", "first_order", "marginal", "given_other"):
        torch.testing.assert_close(found[name], truth[name], rtol=0, atol=1e-12)


def test_float32_scores_are_near_float64() -> None:
    double = scored_game(9, 8, 0)
    single = ScoredGame(9, 8, lambda z: double.embed_query(z).float(), lambda z: double.embed_retrieved(z).float(), score_maxsim)
    found = factorise(single, 60)
    assert found.completeness_gap.abs().item() < 1e-9  # of the rounded scores
    torch.testing.assert_close(found.between, factorise(scored_game(9, 8, 0), 60).between, rtol=0, atol=1e-4)


@both_fits
def test_a_constant_score_has_no_credit(fit: str) -> None:
    for value in (0.0, 2.5):
        game = ScoredGame(9, 8, token_tower(9, 0), token_tower(8, 10), lambda u, w, value=value: (u[:, 0, 0] * 0) + value)
        found = factorise(game, 60, TowerOptions(fit))
        assert found.full.item() == pytest.approx(value, abs=1e-12)
        assert torch.cat([found.between.flatten(), found.marginal.flatten()]).abs().max() < 1e-12


def test_all_values_are_in_the_order_of_bit_masks() -> None:
    table = random_tensor(8, 4)
    rows, columns = looked_up(torch.arange(8.0)), looked_up(torch.arange(4.0))
    game = ScoredGame(3, 2, rows, columns, lambda a, b: table[a.long(), b.long()])
    torch.testing.assert_close(enumerate_values(game), table.T.flatten(), rtol=0, atol=0)
