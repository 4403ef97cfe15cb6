"""Errors that random games found in earlier versions, one case each."""

import warnings

import pytest
import torch
from conftest import images, random_game, random_tensor, tiny_encoder
from game_strategies import ANY_GAME, OF_TOWERS, TableGame, refusal_of
from torch import nn

import captum_pairwise as cp
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.paths.continuous_index import gauss_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_gradients, integrate_hessians
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.games.game import CallableGame, TwoTowerGame

SMOOTH = TwoTowerGame(0, 3, lambda z: torch.ones(len(z), 2).double(), lambda z: torch.tanh(z.double() @ random_tensor(3, 2)))


def random_towers(n_query, n_retrieved):
    return TableGame(n_query, n_retrieved, (random_tensor(2**n_query, 2), random_tensor(2**n_retrieved, 2, seed=1)))


@pytest.mark.parametrize("name", ANY_GAME | OF_TOWERS)
@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 1)])
def test_two_towers_with_an_image_without_players(name, sizes):
    """`torch.unique` does not accept rows without columns."""
    found = (ANY_GAME | OF_TOWERS)[name](random_towers(*sizes).game(), 30)
    assert found.marginal.shape == (1, sum(sizes)) and (found.between is None or found.between.shape == (1, *sizes))


@pytest.mark.parametrize("path", [None, diagonal_path(3)])
@pytest.mark.parametrize("as_towers", [True, False])
def test_integrated_hessians_of_one_image(as_towers, path):
    """Concatenation and vectorisation failed without players."""
    game = SMOOTH if as_towers else CallableGame(0, 3, SMOOTH.values)
    with differentiable():
        found = integrate_hessians(game, gauss_index(None, 3), path)
    assert found.between.shape == (1, 0, 3) and found.marginal.isfinite().all()


def test_chains_of_one_image_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OF_TOWERS["factorised, chains"](random_towers(0, 6).game(), 30)


@pytest.mark.parametrize(("n_players", "least"), [(1, 2), (2, 4), (3, 8), (4, 10)])
def test_least_budget_of_a_process_is_sufficient(n_players, least):
    game = random_game(1, n_players - 1, seed=0)
    assert f"at least {least} for" in (refusal_of(lambda: gaussian_process(game, least - 1)) or "")
    assert gaussian_process(game, least).completeness_gap.abs() < 1e-12


@pytest.mark.parametrize("as_towers", [True, False])
def test_pairs_are_symmetric_to_the_last_digit(as_towers):
    second = exact(random_towers(3, 4).game() if as_towers else random_game(3, 4, seed=7)).second_order
    assert torch.equal(second, second.mT)


@pytest.mark.parametrize("unit", [2.0**-40, 1.0])
def test_network_without_gradients_is_refused_in_any_unit(unit):
    """Similarities near 1e-12 counted as unchanged, and all credit was 0."""
    game = CallableGame(2, 2, lambda z: unit * z.detach().sum(1).double())
    with differentiable():
        assert "can be differentiated" in (refusal_of(lambda: integrate_gradients(game, diagonal_path(4))) or "")


def test_rounding_errors_of_a_euclidean_similarity_have_no_weight():
    """Its terms cancel. The rounding error of the difference was given as credit."""
    pair = images(2, seed=1)
    found = []
    with pytest.warns(UserWarning, match="No pair of windows"):
        for seed in range(4):
            method = cp.PairwiseSBSM(cp.SimilarityWrapper(tiny_encoder(seed), similarity="euclidean"))
            found.append(method.attribute(pair, pair, feature_mask=(cp.grid(12, 12, 2, 2),) * 2, sliding_window_shapes=4, strides=4))
    assert not torch.stack(found).any()


def test_mask_with_strides_does_not_warn():
    mask = cp.grid(24, 24, 2, 2)[..., ::2, ::2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cp.ExactShapleyTaylor(cp.SimilarityWrapper(nn.Sequential(nn.Flatten()))).attribute(images(1), feature_mask=(mask, mask))
