"""The Gaussian-process estimator: Shapley–Taylor indices of any game by Bayesian quadrature."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import Draws, default_generator, ends_and_singles
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.process import Process, fit_process
from captum_pairwise.estimators.gaussian.shapley_process import ROWS_FOR_KERNEL, count_least, posterior_error, predict_values
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.games.game import Game
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Credits, Interactions, make_interactions, split_blocks

MOST_SAMPLES = 8192
NUMBERS_AT_ONCE = 2**23  # covariances in memory at once


def gaussian_process(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """All Shapley–Taylor indices of order 2, from a Gaussian process conditioned on `n_samples` values of the game.

    `φ_ij = ∫ 2(1-p) E_p[δ_ij v] dp` is linear in `v`, so its posterior mean and its posterior variance (the squared standard error) have
    closed forms. The first order is evaluated, and the process reproduces its data, so the credits sum to `v(N) - v(∅)`.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, including the empty and the full one and each single player. A budget for all is exact.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget is too small for the players, or too large for a process.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 5.0 * (z[:, 0] & z[:, 2]))
    >>> gaussian_process(product, 8).between
    tensor([[[5.],
             [0.]]])
    """
    if 2**game.n_players <= n_samples:
        return exact(game, n_samples)
    _refuse_budget(n_samples, game.n_players)
    base = ends_and_singles(game.n_players)
    rows = torch.cat([base, Draws(game.n_players, default_generator(generator)).more(n_samples - len(base))])
    values = game.values(rows)
    path, process = diagonal_path(game.n_players), fit_process(rows, values[:, None], ROWS_FOR_KERNEL)
    second, second_errors = (numbers.to(values) for numbers in _predict_pairs(process, path))
    marginal_errors = predict_values(process, path)[1].to(values)
    errors = Credits(marginal=marginal_errors[None], **split_blocks(second_errors[None], game.n_query))
    blocks = {"first_order": (values[2 : len(base)] - values[0])[None], **split_blocks(second[None], game.n_query)}
    return make_interactions(values[:2], game.n_query, game.n_evaluations, standard_error=errors, **blocks)


def _refuse_budget(n_samples: int, n_players: int) -> None:
    refuse_small_budget(n_samples, count_least(n_players), f"{n_players} players")
    needed, available = 8 * (4 * n_samples**2 + 3 * max(NUMBERS_AT_ONCE, n_samples * n_players)), get_memory_bytes(torch.device("cpu"))
    if n_samples > MOST_SAMPLES or needed > available:
        raise ValueError(
            f"Expected n_samples of at most {MOST_SAMPLES} that fit into memory, got {n_samples} ({needed / 2**30:.0f} GiB). Take fewer."
        )


def _predict_pairs(process: Process, path: Path) -> tuple[Float[Tensor, "players players"], Float[Tensor, "players players"]]:
    """The pairs and their standard errors, symmetric with zero diagonals."""
    n_rows, n_players = process.rows.shape
    second, errors = [], []
    at_once = max(1, NUMBERS_AT_ONCE // (n_rows * n_players))
    for covariances, variances in process.kernel.pair_covariances(path.nodes, path.taylor, process.rows, at_once):
        whitened = process.whiten(covariances)
        second.append((whitened @ process.whitened)[..., 0])
        errors.append(posterior_error(process, variances, whitened))
    upper_second, upper_errors = torch.cat(second).triu(1), torch.cat(errors).triu(1)  # symmetric to the last digit
    return upper_second + upper_second.T, upper_errors + upper_errors.T
