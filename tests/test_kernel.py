from itertools import combinations
from math import comb

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded
from slow import relative_mse, value_function

from captum_pairwise.estimators import kernel as kernel_module
from captum_pairwise.estimators.coalition_sampling import distinct, paper_direct, paper_weighting, size_law
from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.exact import exact
from captum_pairwise.estimators.kernel import kernel
from captum_pairwise.game import CallableGame

SAMPLINGS = ["distinct", "paper-direct", "paper-weighting"]


def eq_7(size, n_players):
    return (n_players - 1) / (comb(n_players, size) * comb(size, 2) * (n_players - size))


def slow_fit(game, coalitions, weights):
    """Weighted least squares on all terms, the constraints by weights so large that only they count (paper §5.2), in float64."""
    n_players, value = game.n_players, value_function(game)
    pairs = list(combinations(range(n_players), 2))
    heavy = [[], *[[i] for i in range(n_players)], list(range(n_players))]
    rows = [(members, 1e8) for members in heavy]
    rows += [(row.nonzero()[:, 0].tolist(), weight.item()) for row, weight in zip(coalitions, weights / weights.max(), strict=True)]
    design = [[1.0] + [float(i in m) for i in range(n_players)] + [float(i in m and j in m) for i, j in pairs] for m, _ in rows]
    scale = torch.tensor([weight for _, weight in rows], dtype=torch.float64).sqrt()[:, None]
    target = torch.tensor([[value(members)] for members, _ in rows], dtype=torch.float64)
    return torch.linalg.lstsq(scale * torch.tensor(design, dtype=torch.float64), scale * target).solution[1 + n_players :, 0]


def upper(second):
    return second[0][tuple(torch.triu_indices(*second.shape[1:], 1))]


@pytest.mark.parametrize("n_players", [2, 3, 4, 7])
def test_enumerated_it_is_the_index(n_players):
    game = random_game(1, n_players - 1, seed=n_players)
    found = kernel(game, 2**n_players)
    torch.testing.assert_close(found.second_order, exact(game).second_order, rtol=0, atol=1e-8)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.first_order, exact(game).first_order, rtol=0, atol=1e-12)


def test_float32_values_are_good_to_a_thousandth():
    game = random_game(4, 4, seed=1)
    single = CallableGame(4, 4, lambda z: game.values(z).float())
    assert relative_mse(kernel(single, 2**8).second_order.double(), exact(game).second_order) ** 0.5 < 1e-3


@pytest.mark.parametrize("sampler", [paper_direct, paper_weighting])
def test_it_solves_the_papers_regression(sampler, monkeypatch):
    game, drawn = random_game(3, 3, seed=2), sampler(6, 200, seeded(0))
    monkeypatch.setitem(kernel_module.SAMPLERS, "paper-direct", lambda *_: drawn)
    found = upper(kernel(game, 200, sampling="paper-direct").second_order)
    torch.testing.assert_close(found, slow_fit(game, drawn.coalitions, drawn.weights), rtol=0, atol=1e-5)


def test_sparse_and_dense_rows_make_the_same_equations(monkeypatch):
    drawn, left = distinct(12, 600, seeded(0)), torch.randn(600, generator=seeded(1), dtype=torch.float64)
    mixed = kernel_module._normal_equations(drawn, left)
    monkeypatch.setattr(kernel_module, "SMALL", 0.0)
    monkeypatch.setattr(kernel_module, "ROWS_AT_ONCE", 7)
    for one, other in zip(mixed, kernel_module._normal_equations(drawn, left), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_players", [3, 6, 9])
def test_the_size_law_is_eq_7_times_the_number_of_coalitions(n_players):
    law = torch.tensor([eq_7(size, n_players) * comb(n_players, size) for size in range(2, n_players)], dtype=torch.float64)
    torch.testing.assert_close(size_law(n_players), law / law.sum())


def test_direct_draws_sizes_by_the_law_and_counts_repeats():
    drawn = paper_direct(8, 20_000, seeded(0))
    assert drawn.weights.sum() == 20_000 and len(drawn.coalitions.unique(dim=0)) == len(drawn.coalitions)
    mass = torch.zeros(9, dtype=torch.float64).index_add_(0, drawn.coalitions.sum(1), drawn.weights)[2:8] / 20_000
    noise = (size_law(8) * (1 - size_law(8)) / 20_000).sqrt()
    assert ((mass - size_law(8)).abs() < 5 * noise).all()


def test_weighting_is_eq_7_on_uniform_coalitions():
    drawn = paper_weighting(6, 50_000, seeded(0))
    counts = 50_000 / 2**6
    for size in range(2, 6):
        ratio = drawn.weights[drawn.coalitions.sum(1) == size] / eq_7(size, 6) / counts
        assert (ratio / ratio.mean() - 1).abs().max() < 5 / counts**0.5


@pytest.mark.parametrize(("n_players", "n_samples"), [(5, 25), (8, 100), (15, 500), (40, 1000)])
def test_distinct_coalitions_fill_the_budget_and_give_each_size_its_mass(n_players, n_samples):
    drawn = distinct(n_players, n_samples, seeded(0))
    assert len(drawn.coalitions.unique(dim=0)) == len(drawn.coalitions) == min(n_samples, 2**n_players - n_players - 2)
    size = drawn.coalitions.sum(1)
    assert size.min() >= 2 and size.max() < n_players
    for seen in size.unique():
        assert drawn.weights[size == seen].sum().item() == pytest.approx(size_law(n_players)[seen - 2].item())


def test_a_game_of_sizes_is_solved_by_the_control_variate():
    """A quadratic fit cannot follow it, but its index has a closed form."""
    game = CallableGame(5, 5, lambda z: z.sum(1).double() ** 3)
    found = kernel(game, 150).second_order
    assert relative_mse(found, exact(game).second_order) < 1e-20


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_it_converges(sampling):
    errors = []
    for seed in range(4):
        game = opaque(relu_game(5, 5, seed))
        truth = exact(game).second_order
        errors.append([relative_mse(kernel(game, n, sampling=sampling, generator=seeded(seed)).second_order, truth) for n in (100, 800)])
    few, many = torch.tensor(errors).median(0).values
    assert many < few / 2


def test_a_dummy_gets_nothing_once_enumerated():
    game = random_game(3, 3, seed=5)
    found = kernel(CallableGame(3, 4, lambda z: game.values(z[:, :6])), 2**7)
    assert found.second_order[0, 6].abs().max() < 1e-9


def test_too_few_coalitions_are_refused_unless_a_ridge_is_asked_for():
    game = random_game(6, 6, seed=0)
    with pytest.raises(ValueError, match=r"determine the 66 pairs.*above 65"):
        kernel(game, 40)
    found = kernel(game, 40, ridge=1e-3)
    assert found.second_order.isfinite().all() and found.completeness_gap.abs().item() < 1e-9
    with pytest.raises(ValueError, match=r"one of .*'distinct'.* got 'uniform'"):
        kernel(game, 200, sampling="uniform")


def test_the_budget_is_kept_and_the_generator_decides():
    game = random_game(5, 5, seed=0)
    first, same, other = (kernel(game, 200, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert game.n_evaluations == 3 * (200 + 10 + 2)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_all_coalitions_are_those_of_eq_7():
    drawn = distinct(6, 2**6, seeded(0))
    sizes = all_coalitions(6).sum(1)
    assert len(drawn.coalitions) == ((sizes >= 2) & (sizes < 6)).sum()
    torch.testing.assert_close(
        drawn.weights / drawn.weights.sum(),
        torch.tensor([eq_7(int(size), 6) for size in drawn.coalitions.sum(1)], dtype=torch.float64)
        / sum(eq_7(size, 6) * comb(6, size) for size in range(2, 6)),
    )
