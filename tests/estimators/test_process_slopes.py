import math

import torch
from conftest import random_tensor, relu_tower, seeded

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import Draws, ends_and_singles
from captum_pairwise.estimators.gaussian import process
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.estimators.towers.process_slopes import process_summary
from captum_pairwise.estimators.towers.summary import enumerate_tower


def drawn(n_players, n_rows, seed=0):
    rows = ends_and_singles(n_players)
    return torch.cat([rows, Draws(n_players, seeded(seed)).more(n_rows - len(rows))])


def test_process_reproduces_its_data():
    rows, embed = drawn(7, 40), relu_tower(7, 0)
    found = process.fit_process(rows, embed(rows))
    torch.testing.assert_close(found.mean + found.kernel.gram(found.rows) @ found.weights, embed(rows), rtol=0, atol=1e-9)


def test_likelihood_and_gradient_match_the_normal_density():
    """Each output is an independent sample of `N(0, σ² K)` with the most likely `σ²`. The gradient is compared with finite differences."""
    rows, outputs = drawn(4, 9).double(), random_tensor(9, 3)
    outputs = outputs - outputs.mean(0)
    spread = outputs @ outputs.T
    spread = spread / spread.diagonal().mean()
    start = random_tensor(len(process.START) + 4, seed=3).numpy() / 3
    objective = process._objective(rows, spread, start, len(start))
    loss, gradient = objective(start)

    def density(parameters):
        gram = process._build_kernel(torch.tensor(parameters)).gram(rows)
        scale = (outputs * torch.linalg.solve(gram, outputs)).sum() / outputs.numel()
        normal = torch.distributions.MultivariateNormal(torch.zeros(9, dtype=torch.float64), scale * gram)
        return -normal.log_prob(outputs.T).mean()

    moved = start + 0.1
    found, expected = objective(moved)[0] - loss, density(moved) - density(start)
    prior = (
        (moved[[0, -4, -3, -2, -1]] ** 2 - start[[0, -4, -3, -2, -1]] ** 2).sum() / 2 * spread.square().sum() / spread.diagonal().sum() ** 2
    )
    assert math.isclose(found, expected.item() + prior.item(), abs_tol=1e-9)
    for k in range(len(start)):
        step = torch.eye(len(start), dtype=torch.float64)[k].numpy() * 1e-6
        assert math.isclose(gradient[k], (objective(start + step)[0] - objective(start - step)[0]) / 2e-6, abs_tol=1e-6)


def test_constant_and_nearly_constant_functions_are_fitted():
    rows = drawn(6, 30)
    for outputs in (torch.full((30, 2), 3.0), 1e-12 * random_tensor(30, 2), 1e12 * random_tensor(30, 2)):
        found = process.fit_process(rows, outputs)
        assert found.weights.isfinite().all() and found.channels.isfinite().all()


def test_slopes_and_means_match_the_posterior_mean():
    """Bayesian quadrature: the sum of the posterior mean over all coalitions gives the same."""
    n_players, path = 6, diagonal_path(12)
    rows, embed = drawn(n_players, 30), relu_tower(n_players, 2)
    fitted = process.fit_process(rows, embed(rows))
    summary = process_summary(fitted, embed(rows), path.nodes)
    corners = all_coalitions(n_players).double()
    seen = (corners[:, None] == fitted.rows).all(2).int().argmax(0)
    everywhere = fitted.mean + fitted.kernel.gram(corners)[:, seen] @ fitted.weights
    truth = enumerate_tower(everywhere, path.nodes)
    torch.testing.assert_close(summary.slopes.values, truth.slopes.values, rtol=0, atol=1e-9)
    torch.testing.assert_close(summary.mean.values, truth.mean.values, rtol=0, atol=1e-9)


def test_additive_function_is_exact_from_single_players():
    n_players, path = 8, diagonal_path(16)
    moves = random_tensor(n_players, 3)
    rows = drawn(n_players, 24)
    outputs = 1 + rows.double() @ moves
    found = process_summary(process.fit_process(rows, outputs), outputs, path.nodes)
    torch.testing.assert_close(found.slopes.values, moves[:, None].expand(-1, len(path.nodes), -1), rtol=0, atol=1e-4)


def test_variances_match_the_posterior_covariance():
    """The covariance of all coalitions given the rows, summed with the weights of a slope and of a mean at every two nodes."""
    n_players, path = 4, diagonal_path(8)
    rows, embed = drawn(n_players, 12), relu_tower(n_players, 2, channels=3)
    fitted = process.fit_process(rows, embed(rows))
    summary = process_summary(fitted, embed(rows), path.nodes)
    corners = all_coalitions(n_players).double()
    seen = (rows.long() << torch.arange(n_players)).sum(1)
    gram = fitted.kernel.gram(corners)
    posterior = gram - gram[:, seen] @ torch.linalg.solve(gram[seen][:, seen], gram[seen])
    p, size = path.nodes[:, None], corners.sum(1)
    probability = p**size * (1 - p) ** (n_players - size)  # [nodes, corners]
    slopes = (corners / p[..., None] - (1 - corners) / (1 - p[..., None])) * probability[..., None]
    others, weights = random_tensor(5, len(path.nodes), 3, seed=1), random_tensor(len(path.nodes), seed=2)
    weighted = weights[:, None] * others
    products = torch.einsum("jkc,cd,jld->jkl", weighted, fitted.channels.T @ fitted.channels, weighted)
    of_slopes = torch.einsum("ksi,st,lti,jkl->ij", slopes, posterior, slopes, products)
    of_mean = torch.einsum("ks,st,lt,jkl->j", probability, posterior, probability, products)[None]
    of_rows = gram[seen]
    for curves, expected, functional in ((summary.slopes, of_slopes, slopes.mT), (summary.mean, of_mean, probability[:, None])):
        covariances = torch.einsum("k,kis,rs->ir", weights, functional, of_rows)
        expected = fitted.compare_left_out(fitted.whiten(covariances))[:, None] * expected
        largest = expected.abs().max().item()
        torch.testing.assert_close(curves.variance(others, weights), expected, rtol=0, atol=1e-7 * largest)
