"""Errors of the network in the projection of weights. Its numbers are tested with `project_attention`."""

import pytest
import torch
from conftest import random_tensor

from captum_pairwise.estimators.paths.continuous_index import gauss_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.projected import project_weights
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.results.index import Index


def test_an_error_of_the_network_is_not_taken_for_a_missing_derivative():
    """Only the probe, at a single point, may catch errors."""
    matrix, failures = random_tensor(3, 2), []

    def embed(z):
        if len(z) > 1:
            failures.append(z)
            raise RuntimeError("a mistake of the user")
        return torch.tanh(z @ matrix)

    game = TwoTowerGame(3, 3, embed, lambda z: torch.tanh(z @ matrix))
    with differentiable(), pytest.raises(RuntimeError, match="a mistake of the user"):
        project_weights(game, random_tensor(3), gauss_index(Index(), 4))
    assert len(failures) == 1


def test_a_network_of_steps_is_refused():
    """The similarity changes with the parts, but no gradient arrives at them: every product is 0."""
    matrix = random_tensor(3, 2)
    game = TwoTowerGame(3, 3, lambda z: (5 * z).round() @ matrix, lambda z: (5 * z).round() @ matrix)
    with differentiable(), pytest.raises(ValueError, match="no gradient arrives at the parts of an image"):
        project_weights(game, random_tensor(3), gauss_index(Index(), 4))
