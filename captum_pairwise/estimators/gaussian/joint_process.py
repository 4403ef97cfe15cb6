"""The Gaussian-process estimator: Shapley–Taylor indices of any game by Bayesian quadrature."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import Draws, ends_and_singles
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.process import Process, fit
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.games.game import Game
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Credits, Interactions, make_interactions, split_blocks

MOST_SAMPLES = 8192
NUMBERS_AT_ONCE = 2**23  # of covariances
ROWS_FOR_KERNEL = 512  # a single output says less of the kernel than the many of a tower


def gaussian_process(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """Every Shapley–Taylor index of order 2, from a process that has seen the game at `n_samples` coalitions.

    `φ_ij = ∫ 2(1-p) E_p[δ_ij v] dp` is linear in `v`, so that its expectation under the posterior is a closed form, and so is its variance:
    the standard error. First order is seen, and the process reproduces what it saw, so the credit sums to `v(N) - v(∅)`.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, those of no player, one, and all among them. A budget that covers all is exact.
        generator: the source of randomness; one seeded with 0 if None.

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
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    base = ends_and_singles(game.n_players)
    rows = torch.cat([base, Draws(game.n_players, generator).more(n_samples - len(base))])
    values = game.values(rows)
    path, process = diagonal_path(game.n_players), fit(rows, values[:, None], ROWS_FOR_KERNEL)
    second, errors = _pairs(process, path)
    return make_interactions(
        values[:2],
        values[2 : len(base)] - values[0],
        second.to(values),
        game.n_query,
        game.n_evaluations,
        Credits(marginal=_marginal_error(process, path).to(values)[None], **split_blocks(errors.to(values), game.n_query)),
    )


def _refuse_budget(n_samples: int, n_players: int) -> None:
    least = min(2 * n_players + 2, 2**n_players)
    if n_samples < least:
        raise ValueError(
            f"Expected n_samples of at least {least} for {n_players} players (none, all, each alone, and as many others), got "
            f"{n_samples}. Raise n_samples, or take fewer players."
        )
    needed, has = 8 * (4 * n_samples**2 + 3 * max(NUMBERS_AT_ONCE, n_samples * n_players)), get_memory_bytes(torch.device("cpu"))
    if n_samples > MOST_SAMPLES or needed > has:
        raise ValueError(
            f"Expected n_samples of at most {MOST_SAMPLES} and a process that fits memory, got {n_samples}, which with {n_players} players "
            f"needs {needed / 2**30:.0f} GiB. Lower n_samples, or use KernelShapleyTaylor."
        )


def _pairs(process: Process, path: Path) -> tuple[Float[Tensor, "players players"], Float[Tensor, "players players"]]:
    """The pairs and their standard errors, symmetric with zero diagonals."""
    n_rows, n_players = process.rows.shape
    second, errors = [], []
    at_once = max(1, NUMBERS_AT_ONCE // (n_rows * n_players))
    for covariances, variances in process.kernel.pair_covariances(path.nodes, path.taylor, process.rows, at_once):
        whitened = process.whiten(covariances)
        second.append((whitened @ process.whitened)[..., 0])
        errors.append(((variances - whitened.square().sum(2)).clamp(min=0) * process.channels.square().sum()).sqrt())
    halves = [torch.cat(found).triu(1) for found in (second, errors)]  # symmetric to the last digit
    return halves[0] + halves[0].T, halves[1] + halves[1].T


def _marginal_error(process: Process, path: Path) -> Float[Tensor, " players"]:
    """The standard errors of the Shapley values, `∫ E_p[v(A∪i) - v(A)] dp`."""
    _, slopes = process.kernel.expectations(path.nodes, process.rows)
    seen = process.whiten(torch.einsum("k,ikr->ir", path.weights, slopes))
    prior = torch.einsum("k,l,ikl->i", path.weights, path.weights, process.kernel.slope_covariance(path.nodes))
    return ((prior - seen.square().sum(1)).clamp(min=0) * process.channels.square().sum()).sqrt()
