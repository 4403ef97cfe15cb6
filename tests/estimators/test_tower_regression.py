"""Regressions of towers: against the one regression over the grid of all coalitions of both images, and the Banzhaf index."""

import pytest
import torch
from conftest import assert_refused, random_tensor, relu_game, seeded
from test_continuous_index import compute_index

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.independent_presence import draw_present
from captum_pairwise.estimators.regression.tower_regression import regress_tower
from captum_pairwise.results.index import parse_index


def multiply_towers(query, retrieved):
    """The surrogate `<u(A), w(B)>` of two regressions: its constant, the credit of single players, and the pairs between the images."""
    first = torch.cat([query.slopes @ retrieved.intercept, retrieved.slopes @ query.intercept])
    return query.intercept @ retrieved.intercept, first, query.slopes @ retrieved.slopes.T


def regress(game, n_samples, probabilities=(0.5, 0.5), seed=0):
    """The coefficients of the surrogate, and the coalitions of both towers."""
    generator = seeded(seed)
    rows = [draw_present(n, n_samples, p, generator) for n, p in zip((game.n_query, game.n_retrieved), probabilities, strict=True)]
    return multiply_towers(regress_tower(rows[0], game.embed_query(rows[0])), regress_tower(rows[1], game.embed_retrieved(rows[1]))), rows


@pytest.mark.parametrize("probabilities", [(0.5, 0.5), (0.3, 0.7)])
def test_products_of_two_regressions_are_the_regression_over_the_grid(probabilities):
    """FIxLIP's least squares: every mask of the image with every mask of the text, a column for each part and each pair."""
    game = relu_game(5, 4, seed=0)
    (constant, first, between), (query, retrieved) = regress(game, 40, probabilities, seed=1)
    rows = torch.cat([query.repeat_interleave(40, 0), retrieved.repeat(40, 1)], 1)
    present = rows.double()
    pairs = torch.einsum("ri,rj->rij", present[:, :5], present[:, 5:]).flatten(1)
    design = torch.cat([torch.ones(1600, 1, dtype=torch.float64), present, pairs], 1)
    expected = torch.linalg.lstsq(design, game.values(rows)[:, None]).solution[:, 0]
    found = torch.cat([constant[None], first, between.flatten()])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_regressions_on_all_coalitions_are_the_banzhaf_index_with_cross_pairs_alone():
    game = relu_game(4, 4, seed=1)
    constant, first, second = compute_index(game, parse_index("banzhaf", 0.5), between_only=True)
    towers = [regress_tower(all_coalitions(4), embed(all_coalitions(4))) for embed in (game.embed_query, game.embed_retrieved)]
    found = multiply_towers(*towers)
    assert found[0].item() == pytest.approx(constant, abs=1e-12)
    torch.testing.assert_close(found[1], first, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[2], second[:4, 4:], rtol=0, atol=1e-12)


def test_linear_towers_are_found_exactly_in_their_precision():
    rows, slopes = draw_present(6, 12, 0.5), random_tensor(6, 3).float()
    fit = regress_tower(rows, rows.float() @ slopes + 2)
    assert fit.slopes.dtype == fit.intercept.dtype == torch.float32
    torch.testing.assert_close(fit.slopes, slopes, rtol=0, atol=1e-5)
    torch.testing.assert_close(fit.intercept, torch.full((3,), 2.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [draw_present(6, 6, 0.5), draw_present(6, 40, 0.5) & torch.tensor([1, 1, 1, 1, 1, 0]).bool()])
def test_too_few_coalitions_are_refused(rows):
    sentence = f"Expected coalitions that determine the slopes of 6 players, but {len(rows)} do not"
    assert_refused(lambda: regress_tower(rows, torch.ones(len(rows), 2)), sentence)


def test_the_error_falls_with_the_number_of_coalitions():
    """The mean square error of the pairs is `c / n + d / n²`: ten times as many coalitions leave less than a tenth of it."""
    game, members = relu_game(16, 16, seed=0), all_coalitions(16)
    truth = multiply_towers(*(regress_tower(members, embed(members)) for embed in (game.embed_query, game.embed_retrieved)))[2]
    errors = {n: sum((regress(game, n, seed=seed)[0][2] - truth).square().sum() for seed in range(20)) for n in (50, 500)}
    assert errors[500] < errors[50] / 10
