from itertools import combinations

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded, shapiqs_index
from formulas import relative_mse, value_function

from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.regression import kernel_taylor as kernel_module
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.regression.sampling import TAYLOR_SAMPLERS, distinct, paper_direct, paper_weighting, taylor_law
from captum_pairwise.games.game import CallableGame

SAMPLINGS = ["distinct", "paper-direct", "paper-weighting"]


def slow_fit(game, coalitions, weights):
    """Weighted least squares on all terms, with very large weights for the constraints (paper §5.2), in float64."""
    n_players, value = game.n_players, value_function(game)
    pairs = list(combinations(range(n_players), 2))
    heavy = [[], *[[i] for i in range(n_players)], list(range(n_players))]
    rows = [(members, 1e8) for members in heavy]
    rows += [(row.nonzero()[:, 0].tolist(), weight.item()) for row, weight in zip(coalitions, weights / weights.max(), strict=True)]
    design = [[1.0] + [float(i in m) for i in range(n_players)] + [float(i in m and j in m) for i, j in pairs] for m, _ in rows]
    scale = torch.tensor([weight for _, weight in rows], dtype=torch.float64).sqrt()[:, None]
    target = torch.tensor([[value(members)] for members, _ in rows], dtype=torch.float64)
    return torch.linalg.lstsq(scale * torch.tensor(design, dtype=torch.float64), scale * target).solution[1 + n_players :, 0]


def upper_triangle(second):
    return second[0][tuple(torch.triu_indices(*second.shape[1:], 1))]


@pytest.mark.parametrize("n_players", [2, 3, 4, 7])
def test_all_coalitions_give_the_index(n_players):
    game = random_game(1, n_players - 1, seed=n_players)
    found = kernel_taylor(game, 2**n_players)
    torch.testing.assert_close(found.second_order, exact(game).second_order, rtol=0, atol=1e-8)
    assert found.completeness_gap.item() == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.first_order, exact(game).first_order, rtol=0, atol=1e-12)


def test_all_coalitions_match_shapiq():
    game = random_game(3, 3, seed=5)
    index, found = shapiqs_index(game, order=2), kernel_taylor(game, 2**6)
    expected = torch.tensor([index[pair] for pair in combinations(range(6), 2)], dtype=torch.float64)
    torch.testing.assert_close(upper_triangle(found.second_order), expected, rtol=0, atol=1e-9)


def test_float32_error_is_below_a_thousandth():
    game = random_game(4, 4, seed=1)
    single = CallableGame(4, 4, lambda z: game.values(z).float())
    assert relative_mse(kernel_taylor(single, 2**8).second_order.double(), exact(game).second_order) ** 0.5 < 1e-3


@pytest.mark.parametrize("sampler", [paper_direct, paper_weighting])
def test_result_solves_the_regression_of_the_paper(sampler, monkeypatch):
    game, drawn = random_game(3, 3, seed=2), sampler(taylor_law(6), 200, seeded(0))
    monkeypatch.setitem(TAYLOR_SAMPLERS, "paper-direct", lambda *_: drawn)
    found = upper_triangle(kernel_taylor(game, 200, sampling="paper-direct").second_order)
    torch.testing.assert_close(found, slow_fit(game, drawn.coalitions, drawn.weights), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("small", "at_once"), [(0.25, 2**11), (0.0, 7), (1.0, 50)])
def test_small_and_large_coalitions_give_the_same_equations(small, at_once, monkeypatch):
    drawn, left = distinct(taylor_law(12), 600, seeded(0)), torch.randn(600, generator=seeded(1), dtype=torch.float64)
    for name, value in (("SMALL", small), ("ROWS_AT_ONCE", at_once), ("PRODUCTS_AT_ONCE", 20 * at_once)):
        monkeypatch.setattr(kernel_module, name, value)
    normal, moment = kernel_module._normal_equations(drawn, left)
    design = torch.stack([drawn.coalitions[:, i] & drawn.coalitions[:, j] for i, j in combinations(range(12), 2)], 1).double()
    torch.testing.assert_close(normal.tril(), (design.T @ (drawn.weights[:, None] * design)).tril(), rtol=0, atol=1e-12)
    torch.testing.assert_close(moment, design.T @ (drawn.weights * left), rtol=0, atol=1e-12)


def test_game_of_sizes_is_exact_by_the_control_variate():
    """A quadratic fit cannot represent the game, but its index has a closed form."""
    game = CallableGame(5, 5, lambda z: z.sum(1).double() ** 3)
    found = kernel_taylor(game, 150).second_order
    assert relative_mse(found, exact(game).second_order) < 1e-20


def test_means_of_sizes_that_were_not_drawn_are_interpolated():
    """Six players, coalitions of 2, 4 and 4: sizes 3 and 5 lie on the lines between their neighbours."""
    coalitions = torch.tensor([[1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0]]).bool()
    targets, total = torch.tensor([3.0, 4.0, 6.0], dtype=torch.float64), torch.tensor(11.0, dtype=torch.float64)
    found = kernel_module._size_means(coalitions, targets, total)
    assert found.tolist() == [0, 0, 3, (3 + 5) / 2, (4 + 6) / 2, (5 + 11) / 2, 11]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_it_converges(sampling):
    errors = []
    for seed in range(4):
        game = opaque(relu_game(5, 5, seed))
        truth = exact(game).second_order
        errors.append(
            [relative_mse(kernel_taylor(game, n, sampling=sampling, generator=seeded(seed)).second_order, truth) for n in (100, 800)]
        )
    few, many = torch.tensor(errors).median(0).values
    assert many < few / 2


def test_too_few_coalitions_are_refused_without_a_ridge():
    game = random_game(6, 6, seed=0)
    with pytest.raises(ValueError, match=r"determine the 66 pairs, but 40 do not.*above 65"):
        kernel_taylor(game, 40)
    assert game.n_evaluations == 0
    with pytest.raises(ValueError, match="determine the 66 pairs, but 70 do not"):
        kernel_taylor(game, 70, sampling="paper-direct", generator=seeded(1))  # some coalitions are drawn twice
    found = kernel_taylor(game, 40, ridge=1e-3)
    assert found.second_order.isfinite().all() and found.completeness_gap.abs().item() < 1e-9
    with pytest.raises(ValueError, match=r"one of .*'distinct'.* got 'uniform'"):
        kernel_taylor(game, 200, sampling="uniform")


def test_budget_is_respected_and_the_result_depends_on_the_generator():
    game = random_game(5, 5, seed=0)
    first, same, other = (kernel_taylor(game, 200, generator=seeded(seed)).between for seed in (0, 0, 1))
    assert game.n_evaluations == 3 * (200 + 10 + 2)
    assert torch.equal(first, same) and not torch.equal(first, other)
