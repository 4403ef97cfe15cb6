from math import comb

import pytest
import torch
from conftest import random_tensor, relu_game, relu_tower

from captum_pairwise.estimators.coalitions import all_coalitions, shapley_values
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.estimators.towers.indices import combine, combine_between
from captum_pairwise.estimators.towers.summary import (
    CurveCovariance,
    Curves,
    average_nodes,
    enumerate_tower,
    make_posterior,
    multiply_curves,
)
from captum_pairwise.results.index import TAYLOR_INDEX


def mean_steps(embed, n_players):
    """`D_i^a`: the mean of `u(A∪i) - u(A)` over all `A` of size `a` without `i`, `[players, sizes, channels]`."""
    table = []
    for player in range(n_players):
        without = all_coalitions(n_players)
        without = without[~without[:, player]]
        along = without.clone()
        along[:, player] = True
        steps, size = embed(along) - embed(without), without.sum(1)
        table.append(torch.stack([steps[size == a].mean(0) for a in range(n_players)]))
    return torch.stack(table)


def test_path_integral_matches_the_double_sum_over_sizes():
    n_query, n_retrieved = 5, 4
    towers = relu_tower(n_query, 1), relu_tower(n_retrieved, 2)
    n = n_query + n_retrieved
    weights = torch.tensor(
        [
            [2 / n * comb(n_query - 1, a) * comb(n_retrieved - 1, b) / comb(n - 1, a + b) for b in range(n_retrieved)]
            for a in range(n_query)
        ],
        dtype=torch.float64,
    )
    slow = torch.einsum("ab,iac,jbc->ij", weights, mean_steps(towers[0], n_query), mean_steps(towers[1], n_retrieved))
    path = make_index_path(TAYLOR_INDEX, n)
    summaries = [enumerate_tower(embed(all_coalitions(k)), path.query) for embed, k in zip(towers, (n_query, n_retrieved), strict=True)]
    torch.testing.assert_close(combine(*summaries, path).credits.between[0], slow, rtol=0, atol=1e-13)


def test_pairs_between_the_images_are_inner_products_of_shapley_values_of_the_embeddings():
    towers, path = {n: relu_tower(n, n) for n in (5, 4)}, make_index_path(TAYLOR_INDEX, 9)
    embedded = [embed(all_coalitions(n)) for n, embed in towers.items()]
    left, right = (torch.stack([shapley_values(channel) for channel in rows.T], 1) for rows in embedded)
    found = combine_between(*(enumerate_tower(rows, path.query) for rows in embedded), path).credits
    torch.testing.assert_close(found.between[0], left @ right.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(found.first_order[0], torch.cat([left @ embedded[1][0], right @ embedded[0][0]]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_players", [2, 5, 64, 98, 400])
def test_nodes_integrate_products_of_binomials_exactly(n_players):
    half = n_players // 2
    path, beta = diagonal_path(n_players), torch.arange(half, dtype=torch.float64)
    binomial = torch.distributions.Binomial(half - 1, path.nodes[:, None]).log_prob(beta).exp() if half > 1 else torch.ones(1, 1)
    found = torch.einsum("k,ka,kb->ab", 2 * path.weights * (1 - path.nodes), binomial.double(), binomial.double())
    n = 2 * half  # the closed form: a beta integral
    exact_weights = torch.tensor(
        [[2 / n * comb(half - 1, a) * comb(half - 1, b) / comb(n - 1, a + b) for b in range(half)] for a in range(half)],
        dtype=torch.float64,
    )
    torch.testing.assert_close(found, exact_weights, rtol=0, atol=1e-13)


def test_query_summary_is_independent_of_the_retrieved_image():
    """The summary of the query does not depend on the other image."""
    path, query = make_index_path(TAYLOR_INDEX, 8), relu_tower(4, 0)
    u = enumerate_tower(query(all_coalitions(4)), path.query)
    for seed in (1, 2):
        retrieved = relu_tower(4, seed)
        w = enumerate_tower(retrieved(all_coalitions(4)), path.retrieved)
        game = relu_game(4, 4, 0)
        game._embed_query, game._embed_retrieved = query, retrieved
        torch.testing.assert_close(combine(u, w, path).credits.between, exact(game).between, rtol=0, atol=1e-13)


def uncertain_curves(n_rows, seed):
    """Random curves, the covariance `[rows, nodes, nodes]` of each between the nodes, and its variance in products, term by term."""
    values, root = random_tensor(n_rows, 3, 4, seed=seed), random_tensor(n_rows, 3, 3, seed=seed + 1)
    covariance = root @ root.mT

    def variance(others, weights):
        terms = torch.zeros(n_rows, len(others), dtype=torch.float64)
        for k in range(3):
            for m in range(3):
                products = (others[:, k] * others[:, m]).sum(1)
                terms += weights[k] * weights[m] * covariance[:, k, m, None] * products
        return terms

    return Curves(values, variance), covariance


def test_the_variance_of_a_product_is_the_sum_of_both_towers():
    (left, left_covariance), (right, right_covariance) = uncertain_curves(2, 0), uncertain_curves(5, 5)
    weights = random_tensor(3, seed=9)
    values, errors = multiply_curves(left, right, weights)
    torch.testing.assert_close(values, torch.einsum("k,ikc,jkc->ij", weights, left.values, right.values))
    both = weights[:, None] * weights
    expected = torch.einsum("km,ikm,jkc,jmc->ij", both, left_covariance, right.values, right.values)
    expected += torch.einsum("km,jkm,ikc,imc->ij", both, right_covariance, left.values, left.values)
    torch.testing.assert_close(errors, expected.sqrt())


def draw_posterior(n_rows, seed):
    """Random posterior curves with an inflated covariance, and all their second moments, `[rows, nodes, channels, nodes, channels]`."""
    values, root, channels = (
        random_tensor(n_rows, 3, 4, seed=seed),
        random_tensor(n_rows, 3, 3, seed=seed + 1),
        random_tensor(2, 4, seed=seed + 2),
    )
    nodes, factors = root @ root.mT, 1 + torch.arange(n_rows, dtype=torch.float64)
    moments = torch.einsum("r,rkm,fc,fd->rkcmd", factors, nodes, channels, channels) + torch.einsum("rkc,rmd->rkcmd", values, values)
    return make_posterior(values, CurveCovariance(nodes, channels, lambda _: factors)), moments


def test_the_variance_of_a_product_of_two_posteriors_matches_their_second_moments():
    """`E[(Σ_k w_k <a(k), b(k)>)²] - (Σ_k w_k <E a(k), E b(k)>)²`, term by term."""
    (left, left_moments), (right, right_moments) = draw_posterior(2, 0), draw_posterior(5, 5)
    weights = random_tensor(3, seed=9)
    values, errors = multiply_curves(left, right, weights)
    squares = torch.einsum("k,m,ikcmd,jkcmd->ij", weights, weights, left_moments, right_moments)
    torch.testing.assert_close(errors, (squares - values.square()).sqrt())


def test_the_covariance_of_an_average_is_that_of_a_single_node():
    (curves, moments), weights = draw_posterior(3, 0), random_tensor(3, seed=9)
    mean = average_nodes(curves, weights)
    assert mean.covariance is not None
    expected = torch.einsum("k,m,rkcmd->rcd", weights, weights, moments)
    found = mean.covariance.nodes * (mean.covariance.channels.T @ mean.covariance.channels) + mean.values.mT * mean.values
    torch.testing.assert_close(found, expected)
