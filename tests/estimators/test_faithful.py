from statistics import mean

import pytest
import torch
from conftest import opaque, random_game, relu_game, seeded, shapiqs_index
from formulas import faithful_fit, interaction_index, relative_mse

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.regression import faithful
from captum_pairwise.estimators.regression.faithful import kernel_faithful
from captum_pairwise.games.game import CallableGame
from captum_pairwise.results.index import parse_index

INDICES = [parse_index("faith-shap"), parse_index("banzhaf"), parse_index("banzhaf", (0.3, 0.8))]
indices = pytest.mark.parametrize("index", INDICES, ids=str)


@indices
@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (3, 4)])
def test_all_coalitions_give_the_index(index, sizes):
    game = random_game(*sizes, seed=sum(sizes))
    found = kernel_faithful(game, 2 ** sum(sizes) - sum(sizes) - 2, index=index)
    assert game.n_evaluations == 2 ** sum(sizes)
    constant, first, second = interaction_index(game, index.name, index.probabilities)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-8)
    assert found.constant.item() == pytest.approx(constant, abs=1e-8)
    assert found.index == index and (not index.is_efficient or found.completeness_gap.abs().item() < 1e-9)


@pytest.mark.parametrize(("index", "name"), [(INDICES[0], "FSII"), (INDICES[1], "FBII")])
def test_shapiq_computes_the_same(index, name):
    game = random_game(3, 3, seed=2)
    found, expected = kernel_faithful(game, 2**6, index=index), shapiqs_index(game, 2, name)
    pairs = torch.tensor([[expected[(i, j)] for j in range(3, 6)] for i in range(3)], dtype=torch.float64)
    torch.testing.assert_close(found.between[0], pairs, rtol=0, atol=1e-8)
    assert found.constant.item() == pytest.approx(expected.baseline_value, abs=1e-8)


def watch(game):
    rows = []
    return rows, CallableGame(game.n_query, game.n_retrieved, lambda z: rows.append(z) or game.values(z))


@pytest.mark.parametrize("index", INDICES[1:], ids=str)
def test_banzhaf_is_ordinary_least_squares_over_the_drawn_coalitions(index):
    game = random_game(3, 4, seed=1)
    rows, watched = watch(game)
    found = kernel_faithful(watched, 100, index=index)
    counts, generator, presences = torch.zeros(2**7, dtype=torch.float64), seeded(0), torch.tensor([index.p[0]] * 3 + [index.p[1]] * 4)
    while True:  # until a draw would be the 101st coalition, or for 20 rounds
        for draw in torch.rand(100, 7, generator=generator, dtype=torch.float64) < presences.double():
            position = sum(2**player for player in range(7) if draw[player])
            if counts[position] == 0 and (counts > 0).sum() == 100:
                break
            counts[position] += 1
        else:
            if counts.sum() < 20 * 100:
                continue
        break
    constant, first, second = faithful_fit(game, counts)
    torch.testing.assert_close(found.second_order[0], second, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.first_order[0], first, rtol=0, atol=1e-9)
    assert found.constant.item() == pytest.approx(constant, abs=1e-9)
    assert 80 < len(rows[1]) == (counts > 0).sum() <= 100


@indices
def test_quadratic_games_are_exact(index):
    square = torch.randn(10, 10, generator=seeded(0), dtype=torch.float64)
    game = CallableGame(5, 5, lambda z: 2 + torch.einsum("ri,ij,rj->r", z.double(), square, z.double()))
    found, truth = kernel_faithful(game, 200, index=index), exact(game, index=index)
    torch.testing.assert_close(found.second_order, truth.second_order, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.first_order, truth.first_order, rtol=0, atol=1e-8)


@indices
def test_it_converges(index):
    errors = {100: [], 800: []}
    for seed in range(4):
        game = opaque(relu_game(5, 5, seed))
        truth = exact(game, index=index)
        for n_samples, mistakes in errors.items():
            found = kernel_faithful(game, n_samples, index=index, generator=seeded(seed))
            mistakes.append(relative_mse(found.second_order, truth.second_order) + relative_mse(found.first_order, truth.first_order))
    assert mean(errors[800]) < mean(errors[100]) / 3


@indices
def test_too_few_coalitions_are_refused_without_a_ridge(index):
    game = random_game(6, 6, seed=0)
    with pytest.raises(ValueError, match=r"determine the 78 players and pairs, but 40 do not.*above 78"):
        kernel_faithful(game, 40, index=index)
    assert game.n_evaluations == 0
    found = kernel_faithful(game, 40, index=index, ridge=1e-3)
    assert found.second_order.isfinite().all()


def test_coalitions_that_repeat_are_refused():
    with pytest.raises(ValueError, match="determine the 21 players and pairs, but 21 do not"):
        kernel_faithful(random_game(3, 3, seed=0), 21, index=parse_index("banzhaf", 0.99))


def test_the_result_depends_on_the_generator_and_not_on_the_block_size(monkeypatch):
    game = random_game(4, 4, seed=0)
    for index in INDICES:
        first, same, other = (kernel_faithful(game, 100, index=index, generator=seeded(seed)).between for seed in (0, 0, 1))
        assert torch.equal(first, same) and not torch.equal(first, other)
        with monkeypatch.context() as patch:
            patch.setattr(faithful, "ROWS_AT_ONCE", 7)
            torch.testing.assert_close(kernel_faithful(game, 100, index=index).between, first, rtol=0, atol=1e-10)


def test_each_image_has_its_probability():
    rows, watched = watch(random_game(4, 4, seed=0))
    kernel_faithful(watched, 200, index=parse_index("banzhaf", (0.9, 0.2)))
    share = rows[1].double().mean(0)
    assert share[:4].min() > 0.6 and share[4:].max() < 0.5 and len(all_coalitions(8)) > len(rows[1])
