from statistics import median

import pytest
import torch
from conftest import relu_game, relu_tower, seeded
from slow import relative_mse

from captum_pairwise.estimators.exact import exact
from captum_pairwise.estimators.factorised import factorised
from captum_pairwise.game import TwoTowerGame

SEEDS = range(6)


@pytest.mark.parametrize(("n_samples", "least_accurate"), [(100, 4e-2), (250, 1.6e-2), (1000, 3.2e-3), (4000, 8e-4)])
def test_accuracy_on_random_relu_towers(n_samples, least_accurate):
    errors = []
    for seed in SEEDS:
        game = relu_game(8, 7, seed)
        truth = exact(relu_game(8, 7, seed)).between
        errors.append(relative_mse(factorised(game, n_samples, generator=seeded(seed)).between, truth))
        assert game.n_evaluations <= 2 * (n_samples + 2)
    assert median(errors) <= least_accurate


def test_each_tower_keeps_its_budget_and_embeds_no_row_twice():
    rows = {"query": [], "retrieved": []}
    game = relu_game(12, 9, seed=0)
    towers = {"query": game._embed_query, "retrieved": game._embed_retrieved}

    def counted(name):
        return lambda z: rows[name].append(z) or towers[name](z)

    factorised(TwoTowerGame(12, 9, counted("query"), counted("retrieved")), 120)
    for name in rows:
        embedded = torch.cat(rows[name])
        assert len(embedded) == len(embedded.unique(dim=0)) <= 120 + 2


def test_a_budget_that_covers_every_coalition_is_exact():
    game = relu_game(6, 5, seed=1)
    found, truth = factorised(game, 2**6 - 2), exact(relu_game(6, 5, seed=1))
    for name in ("empty", "full", "first_order", "marginal", "between"):
        torch.testing.assert_close(getattr(found, name), getattr(truth, name), rtol=0, atol=1e-12)
    assert (found.standard_error.between == 0).all() and (found.standard_error.marginal == 0).all()


def test_first_order_is_always_exact_and_a_dummy_gets_nothing():
    embed = relu_tower(9, 1)
    game = TwoTowerGame(10, 10, lambda z: embed(z[:, :9]), lambda z: embed(z[:, :9]))
    found, truth = factorised(game, 60), exact(relu_game_of(embed))
    torch.testing.assert_close(found.first_order[0, :9], truth.first_order[0, :9], rtol=0, atol=1e-12)
    assert found.between[0, 9].abs().max() < 1e-12 and found.between[0, :, 9].abs().max() < 1e-12
    assert found.marginal[0, [9, 19]].abs().max() < 1e-12


def relu_game_of(embed):
    return TwoTowerGame(9, 9, embed, embed)


def test_a_bilinear_game_needs_one_chain():
    """Steps do not depend on the coalition, so the smallest budget is already exact."""
    moves = torch.randn(10, 3, generator=seeded(0), dtype=torch.float64)
    game = TwoTowerGame(10, 10, lambda z: 1 + z.double() @ moves, lambda z: z.double() @ moves.flip(0))
    torch.testing.assert_close(factorised(game, 18).between[0], moves @ moves.flip(0).T, rtol=0, atol=1e-12)


def test_it_converges_within_its_standard_errors():
    within, errors = [], []
    for seed in SEEDS:
        truth = exact(relu_game(12, 11, seed))
        found = factorised(relu_game(12, 11, seed), 300, generator=seeded(seed))
        for name in ("between", "marginal"):
            within.append(((found[name] - truth[name]).abs() <= 2 * found.standard_error[name]).double().mean().item())
        errors.append([relative_mse(factorised(relu_game(12, 11, seed), n).between, truth.between) for n in (60, 240, 960)])
    assert sum(within) / len(within) >= 0.9
    small, medium, large = torch.tensor(errors).median(0).values
    assert medium < small and large < medium / 4  # at least as fast as independent samples


def test_repeated_draws_average_to_the_truth():
    """The mean of many estimates is nearer than one by what independence allows: no bias is left at a budget that fills the cells."""
    truth = exact(relu_game(7, 6, seed=2)).between
    estimates = torch.stack([factorised(relu_game(7, 6, seed=2), 50, generator=seeded(seed)).between for seed in range(60)])
    noise = estimates.std(0) / len(estimates) ** 0.5
    score = (estimates.mean(0) - truth) / noise
    assert score.square().mean() < 2  # 1 for an unbiased estimator


def test_the_generator_decides_and_one_seeded_with_0_is_the_default():
    first, same, other = (factorised(relu_game(9, 9, 0), 60, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(first, factorised(relu_game(9, 9, 0), 60).between)


def test_float32_is_near_float64():
    double = relu_game(9, 8, seed=0)
    single = TwoTowerGame(9, 8, lambda z: double.embed_query(z).float(), lambda z: double.embed_retrieved(z).float())
    torch.testing.assert_close(factorised(single, 100).between.double(), factorised(double, 100).between, rtol=0, atol=1e-6)
