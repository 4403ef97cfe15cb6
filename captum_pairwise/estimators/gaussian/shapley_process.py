"""Shapley values of any game by Bayesian quadrature: a Gaussian process conditioned on some of its values."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions, shapley_values
from captum_pairwise.estimators.draws import Draws, default_generator, ends_and_singles
from captum_pairwise.estimators.gaussian.covariance import Nodes
from captum_pairwise.estimators.gaussian.process import Process, fit_process
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.quadrature import diagonal_path
from captum_pairwise.games.game import Game
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.interactions import Interactions, make_interactions

ROWS_FOR_KERNEL = 512  # more than for a tower, because a single output tells less about the kernel than many channels


def process_shapley(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """All Shapley values (as `marginal`) from `n_samples` coalitions, with the standard errors of the posterior.

    `φ_i = ∫ E_p[v(A∪i) - v(A)] dp` is linear in `v`, so the posterior mean and variance have closed forms. The values sum to
    `v(N) - v(∅)`, because the process reproduces its data. With few coalitions this is more accurate than `kernel_shapley`.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, including the empty and the full one and each single player. A budget for all is exact.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget is too small for the players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(3, 0, lambda z: 6.0 * z.all(1))
    >>> process_shapley(product, 8).marginal
    tensor([[2., 2., 2.]])
    """
    n_players = game.n_players
    if 2**n_players <= n_samples:
        values = game.values(all_coalitions(n_players))
        ends, credit = values[[0, -1]], shapley_values(values)
        errors = torch.zeros_like(credit)
    else:
        refuse_small_budget(n_samples, count_least(n_players), f"{n_players} players")
        base = ends_and_singles(n_players)
        rows = torch.cat([base, Draws(n_players, default_generator(generator)).more(n_samples - len(base))])
        values = game.values(rows)
        process, path = fit_process(rows, values[:, None], ROWS_FOR_KERNEL), diagonal_path(n_players)
        ends = values[:2]
        credit, errors = (numbers.to(values) for numbers in predict_values(process, path.nodes, path.weights))
    blocks = {"marginal": credit[None], "standard_error": Credits(marginal=errors[None])}
    return make_interactions(ends, game.n_query, game.n_evaluations, **blocks)


def count_least(n_players: int) -> int:
    """The smallest budget of a process: the ends, each single player, and as many others."""
    return min(2 * n_players + 2, 2**n_players)


def predict_values(process: Process, nodes: Nodes, weights: Nodes) -> tuple[Float[Tensor, " players"], Float[Tensor, " players"]]:
    """`Σ_k weights_k E_k[v(A∪i) - v(A)]` of each player and its standard error; for the whole diagonal the Shapley value."""
    nodes, weights = nodes[weights != 0], weights[weights != 0]
    _, slopes = process.kernel.expectations(nodes, process.rows)
    whitened = process.whiten(torch.einsum("k,ikr->ir", weights, slopes))
    prior = torch.einsum("k,l,ikl->i", weights, weights, process.kernel.slope_covariance(nodes))
    return (whitened @ process.whitened)[:, 0], posterior_error(process, prior, whitened)


def predict_mean(process: Process, nodes: Nodes, weights: Nodes) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`Σ_k weights_k E_k[v]` and its standard error."""
    means, _ = process.kernel.expectations(nodes, process.rows)
    whitened, prior = process.whiten(weights @ means), weights @ process.kernel.mean_covariance(nodes) @ weights
    return weights.sum() * process.mean[0] + (whitened @ process.whitened)[0], posterior_error(process, prior, whitened)


def posterior_error(process: Process, prior: Float[Tensor, "*targets"], whitened: Float[Tensor, "*targets rows"]) -> Tensor:
    """Posterior standard deviations, from prior variances and whitened covariances with the rows."""
    return ((prior - whitened.square().sum(-1)).clamp(min=0) * process.channels.square().sum()).sqrt()
