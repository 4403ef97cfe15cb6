"""The summaries of images and the credit of their pairs against brute force over all coalitions."""

from itertools import permutations

import pytest
import torch

from captum_pairwise.audits.pair_credit import combine_towers
from captum_pairwise.estimators.towers.image_tower import make_design, summarise_tower

CHANNELS = 12


def make_embed(n_players, seed):
    """The normalised affine embedding of presences."""
    generator = torch.Generator().manual_seed(seed)
    offset, moves = torch.rand(CHANNELS, generator=generator), torch.rand(n_players, CHANNELS, generator=generator)
    return lambda z: torch.nn.functional.normalize(offset + z.float() @ moves, dim=1)


def list_coalitions(n_players):
    return torch.cartesian_prod(*[torch.tensor([False, True])] * n_players)


def slow_slopes(embed, n_players):
    rows = list_coalitions(n_players)
    embeddings = embed(rows)
    return torch.stack([embeddings[rows[:, i]].mean(0) - embeddings[~rows[:, i]].mean(0) for i in range(n_players)])


def slow_shapley(embed, n_players):
    orders = list(permutations(range(n_players)))
    moves = torch.zeros(n_players, CHANNELS)
    for order in orders:
        z = torch.zeros(1, n_players, dtype=torch.bool)
        for player in order:
            before = embed(z)
            z[0, player] = True
            moves[player] += (embed(z) - before)[0] / len(orders)
    return moves


def make_pair(n_query, n_hit):
    embeds = make_embed(n_query, 0), make_embed(n_hit, 1)
    towers = [summarise_tower(embed, n, torch.eye(CHANNELS)) for embed, n in zip(embeds, (n_query, n_hit), strict=True)]
    return embeds, towers


def test_few_parts_are_exact():
    embeds, towers = make_pair(4, 3)
    credit = combine_towers(*towers)
    slopes = [slow_slopes(embed, n) for embed, n in zip(embeds, (4, 3), strict=True)]
    whole = [embed(torch.ones(1, n, dtype=torch.bool))[0] for embed, n in zip(embeds, (4, 3), strict=True)]
    torch.testing.assert_close(credit.between, slopes[0] @ slopes[1].T)
    torch.testing.assert_close(credit.query_map, slow_shapley(embeds[0], 4) @ whole[1])
    torch.testing.assert_close(credit.hit_map, slow_shapley(embeds[1], 3) @ whole[0])
    assert credit.error == 0
    assert credit.similarity == pytest.approx((whole[0] @ whole[1]).item(), rel=1e-6)


def test_sampled_pairs_have_the_error_that_they_report():
    embeds, towers = make_pair(12, 11)
    credit = combine_towers(*towers)
    truth = slow_slopes(embeds[0], 12) @ slow_slopes(embeds[1], 11).T
    error = ((credit.between - truth).norm() / truth.norm()).item()
    assert 0 < error < 3 * credit.error


def test_maps_sum_to_what_an_image_adds():
    embeds, towers = make_pair(12, 11)
    credit = combine_towers(*towers)
    none, whole = embeds[0](torch.zeros(1, 12, dtype=torch.bool)), embeds[1](torch.ones(1, 11, dtype=torch.bool))
    assert credit.query_map.sum().item() == pytest.approx(credit.similarity - (none @ whole.T).item(), abs=1e-5)


def test_r2_is_that_of_the_products_of_both_regressions():
    embeds, towers = make_pair(8, 8)
    credit = combine_towers(*towers)
    rows = list_coalitions(8)
    u, w = (embed(rows) for embed in embeds)
    fits = [embed(rows).mean(0) + (rows.float() - 0.5) @ slow_slopes(embed, 8) for embed in embeds]
    values, predicted = u @ w.T, fits[0] @ fits[1].T
    truth = 1 - (values - predicted).square().sum() / (values - values.mean()).square().sum()
    assert credit.r2 == pytest.approx(truth.item(), abs=0.05)


@pytest.mark.parametrize("n_players", [9, 49])
def test_every_two_parts_are_together_apart_and_absent_equally_often(n_players):
    for half in make_design(n_players).coalitions.double():
        together = half.T @ half / len(half)
        torch.testing.assert_close(together, torch.full_like(together, 0.25) + torch.eye(n_players).double() / 4)
