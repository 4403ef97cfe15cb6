"""Closed-form expectations of the kernel and its trends, against sums over all coalitions."""

import pytest
import torch
from conftest import random_tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel, Walsh
from captum_pairwise.estimators.gaussian.trends import trend_expectations, trends

N_PLAYERS = 5
CORNERS = all_coalitions(N_PLAYERS).double()
NODES = torch.tensor([0.1, 0.35, 0.9, 0.0, 1.0], dtype=torch.float64)  # 0 and 1: Möbius and co-Möbius
WEIGHTS = torch.tensor([0.35, 0.9, -0.4, 0.7, 0.2], dtype=torch.float64)


def kernel():
    fading, wide, rough, common, *own = torch.tensor([0.4, 0.2, 0.3, 2.0, 5.0, 0.7, 3.0], dtype=torch.float64)
    return CoalitionKernel(Walsh(random_tensor(N_PLAYERS, seed=1).exp(), fading), wide, rough, common, torch.stack(own))


def probabilities(p, corners=CORNERS, changed=()):
    """Of each coalition; for players that change the factor is 1 with them and -1 without them: `E_p[δ f] = Σ_S weights[S] f(S)`."""
    factors = p * corners + (1 - p) * (1 - corners)
    factors[:, list(changed)] = 2 * corners[:, list(changed)] - 1
    return factors.prod(1)


def slope_weights(p, corners=CORNERS):
    return torch.stack([probabilities(p, corners, {i}) for i in range(corners.shape[1])])


def pair_weights(p):
    return torch.stack([torch.stack([probabilities(p, changed={i, j}) for j in range(N_PLAYERS)]) for i in range(N_PLAYERS)])


def off_diagonal(matrix):
    return matrix[..., ~torch.eye(N_PLAYERS, dtype=torch.bool)]


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def expected_features(order, p, n_players):
    """One row of features for each player, or pair of players, that changes."""
    every = torch.eye(trends(torch.zeros(1, n_players, dtype=torch.float64)).shape[1], dtype=torch.float64)
    same, share = trend_expectations(order, p, n_players).multiply(every)
    return [same, same + share.T, same + share.T[:, None] + share.T][order]


@pytest.mark.parametrize("p", NODES)
def test_trend_expectations(p):
    features = trends(CORNERS)
    assert_near(expected_features(0, p, N_PLAYERS), probabilities(p) @ features)
    assert_near(expected_features(1, p, N_PLAYERS), slope_weights(p) @ features)
    pairs = expected_features(2, p, N_PLAYERS) - pair_weights(p) @ features
    assert_near(off_diagonal(pairs.permute(2, 0, 1)), torch.zeros(features.shape[1], N_PLAYERS * (N_PLAYERS - 1), dtype=torch.float64))


@pytest.mark.parametrize("n_players", [1, 2])
@pytest.mark.parametrize("p", NODES)
def test_trend_expectations_of_one_to_three_players(n_players, p):
    corners = all_coalitions(n_players).double()
    assert_near(expected_features(0, p, n_players), probabilities(p, corners) @ trends(corners))
    assert_near(expected_features(1, p, n_players), slope_weights(p, corners) @ trends(corners))


def test_gram_matrix_matches_its_formula():
    """`s(A) s(B) (Π_{l∈A△B} e^{-rates_l} + wide Π_{l∈A△B} e^{-rates_l/10} + rough [A = B]) + Σ_f scale_f f(A) f(B)`.

    `s(A) = e^{fading (players / 2 - |A|)}`.
    """
    k, features = kernel(), trends(CORNERS)
    share = 4 / N_PLAYERS * k.smooth.rates / k.smooth.rates.log().mean().exp()
    for a in (0, 3, 17):
        for b in (0, 3, 30):
            apart = CORNERS[a] != CORNERS[b]
            scales = torch.exp(k.smooth.fading * (N_PLAYERS - CORNERS[a].sum() - CORNERS[b].sum()))
            distance = k.smooth.rates[apart].sum()
            expected = scales * (torch.exp(-distance) + k.wide * torch.exp(-distance / 10) + k.rough * (a == b))
            expected = expected + k.common * (features[a, :4] * features[b, :4]).sum()
            own = (features[a, 4:] * features[b, 4:]).reshape(N_PLAYERS, 3)
            assert_near(k.gram(CORNERS)[a, b], expected + (share[:, None] * k.own * own).sum())


@pytest.mark.parametrize("p", NODES)
def test_expectations_are_sums_over_all_coalitions(p):
    k, gram = kernel(), kernel().gram(CORNERS)
    seen = torch.tensor([0, 31, 5, 9, 22])
    means, slopes = k.expectations(p[None], CORNERS[seen])
    assert_near(means[0], probabilities(p) @ gram[:, seen])
    assert_near(slopes[:, 0], slope_weights(p) @ gram[:, seen])
    weights = random_tensor(len(seen), seed=2)
    assert_near(off_diagonal(k.pairs(p, CORNERS[seen], weights)), off_diagonal(pair_weights(p) @ (gram[:, seen] @ weights)))
    i, j = torch.triu_indices(N_PLAYERS, N_PLAYERS, 1)
    found = zip(*k.pair_covariances(NODES, WEIGHTS, CORNERS[seen], at_once=2), strict=True)
    values, variances = (torch.cat(parts)[i, j] for parts in found)
    functional = sum(weight * pair_weights(node) for node, weight in zip(NODES, WEIGHTS, strict=True))
    assert_near(values, functional[i, j] @ gram[:, seen])
    assert_near(variances, torch.einsum("ks,st,kt->k", functional[i, j], gram, functional[i, j]))


def test_prior_covariances_are_double_sums():
    k, gram = kernel(), kernel().gram(CORNERS)
    means = torch.stack([probabilities(p) for p in NODES])
    assert_near(k.mean_covariance(NODES), means @ gram @ means.T)
    slopes = torch.stack([slope_weights(p) for p in NODES], 1)
    assert_near(k.slope_covariance(NODES), slopes @ gram @ slopes.mT)
