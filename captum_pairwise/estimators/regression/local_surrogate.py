"""The LIME estimator: a local quadratic model of any game, fitted by a weighted Lasso (paper §5.2). Also the weights of plain LIME."""

import warnings
from collections.abc import Callable
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.limits import refuse_beyond_memory
from captum_pairwise.estimators.regression.least_squares import SMALLEST_PIVOT, add_products
from captum_pairwise.files.optional_packages import import_optional
from captum_pairwise.games.game import Game
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

ROWS_AT_ONCE = 2048
TOLERANCE = 1e-5  # duality gap in units of the sum of squares; the terms have about the same relative error
ROUNDS = 10_000
NOT_CONVERGED = (
    "The Lasso of LIME has {} terms and did not converge in {} rounds, so they can be far from their limits. Raise n_samples or alpha, or "
    "take a coarser mask."
)
Terms = Float[np.ndarray, " terms"]
Gram = Float[np.ndarray, "terms terms"]
Targets = Float[np.ndarray, " coalitions"]


def lime(
    game: Game,
    departures: Float[Tensor, " players"],
    n_samples: int = 20_000,
    *,
    decay: float | None = None,
    alpha: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Interactions:
    """The terms of a sparse quadratic model of the game that is accurate near the full coalition.

    `min_β Σ_S Λ(S) (v(S) - β_∅ - Σ_{i∈S} β_i - Σ_{i<j∈S} β_ij)² / (2 Σ_S Λ(S)) + α α_max |β|₁` with `Λ(S) = exp(-λ d²(S))` over uniform
    coalitions, starting with the full one. `α_max` is the smallest penalty for which all terms are 0. `β_∅` is not penalised.

    `first_order` is `β_i` and the pairs are `β_ij`, so `marginal` is the Shapley value of the fitted model. The model is not exact at the
    empty and the full coalition: `completeness_gap` is `v(N) - v(∅)` minus the sum of all terms except `β_∅`.

    For `m = n (n+1) / 2` terms of `n` players, the fit needs `16 m²` bytes: 0.4 GB for 50 + 50 players.

    Args:
        game: the game.
        departures: contribution of the absence of each player to `d²(S)`.
        n_samples: coalitions to evaluate, beside the empty one. A budget for all coalitions takes each once.
        decay: `λ`; None is `ln 2` over the median of `d²`, such that half of the coalitions have a weight of at least ½.
        alpha: `α`; 0 is weighted least squares.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: a number is out of range, the terms do not fit into memory, or without a penalty the coalitions do not determine them.
        ImportError: the extra `lime` is missing, which provides the solver for a penalty.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> lime(both, torch.ones(2), alpha=0.0).between.round(decimals=9)
    tensor([[[5.]]])
    """
    n_players = game.n_players
    _refuse_settings(n_players, n_samples, decay, alpha)
    solver = _lasso(alpha) if alpha > 0 else _least_squares
    generator = default_generator(generator)
    coalitions = all_coalitions(n_players).flip(0) if 2**n_players <= n_samples else uniform_coalitions(n_players, n_samples, generator)
    values = game.values(torch.cat([coalitions, torch.zeros_like(coalitions[:1])]))
    weights = _distance_weights((~coalitions).double() @ departures.cpu().double(), decay)
    terms = torch.from_numpy(solver(*_moments(coalitions.numpy(), weights, values[:-1].cpu().double().numpy()))).to(values)
    second = values.new_zeros(n_players, n_players)
    second[tuple(torch.triu_indices(n_players, n_players, 1, device="cpu"))] = terms[n_players:]
    blocks = {"first_order": terms[None, :n_players], **split_blocks((second + second.T)[None], game.n_query)}
    return make_interactions(values[[-1, 0]], game.n_query, game.n_evaluations, **blocks)


def _refuse_settings(n_players: int, n_samples: int, decay: float | None, alpha: float) -> None:
    n_terms = n_players * (n_players + 1) // 2
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, got {n_samples}. Take well over the {n_terms} terms of the model.")
    if not alpha >= 0 or (decay is not None and not decay >= 0):
        raise ValueError(f"Expected an alpha and a decay of at least 0, got alpha={alpha} and decay={decay}. Leave them out.")
    refuse_beyond_memory(16 * n_terms**2, f"the {n_terms} terms of {n_players}", "Take a coarser mask, or FactorisedShapleyTaylor.")


def uniform_coalitions(n_players: int, n_samples: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """The full coalition, then coalitions in which each player is present with probability ½.

    >>> uniform_coalitions(3, 2, torch.Generator())[0]
    tensor([True, True, True])
    """
    drawn = torch.rand(n_samples, n_players, generator=generator, dtype=torch.float32, device=generator.device).cpu() < 0.5
    drawn[0] = True
    return drawn


def cosine_kernel(coalitions: Tensor, width: float = 0.25) -> Float[Tensor, " coalitions"]:
    """The weights of first-order LIME, `sqrt(exp(-D² / width²))`, where `D` is the cosine distance from the full coalition.

    A coalition of `s` out of `n` players has the cosine `sqrt(s / n)` with the full one. `D` is 1 for the empty coalition.

    >>> cosine_kernel(torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])).log()
    tensor([ 0., -2.], dtype=torch.float64)
    """
    distance = 1 - coalitions.double().mean(1).sqrt()
    return (-((distance / width) ** 2) / 2).exp()


def _distance_weights(distances: Float[Tensor, " coalitions"], decay: float | None) -> Targets:
    """`exp(-λ d²)`. By default all weights are equal if half of the coalitions have distance 0."""
    median = float(np.median(distances.numpy()))
    rate = decay if decay is not None else log(2) / median if median > 0 else 0.0
    return np.exp(-rate * distances.numpy())


def _moments(coalitions: Bool[np.ndarray, "coalitions players"], weights: Targets, values: Targets) -> tuple[Gram, Terms, float]:
    """Central second moments under the weights. A weighted fit with an intercept depends only on them.

    Returns:
        The moments of the terms with each other, the moments of the terms with the values, and the second moment of the values. BLAS
        computes only one triangle of the symmetric matrix, from blocks of coalitions.
    """
    weights = weights / weights.sum()
    i, j = np.triu_indices(coalitions.shape[1], 1)
    together = coalitions.T @ (weights[:, None] * coalitions)
    means = np.concatenate([together.diagonal(), together[i, j]])
    centred = values - weights @ values
    gram, moment = torch.zeros(len(means), len(means), dtype=torch.float64, device="cpu"), np.zeros(len(means))
    for start in range(0, len(values), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        root, present = np.sqrt(weights[rows, None]), coalitions[rows]
        scaled = root * (np.concatenate([present, present[:, i] & present[:, j]], 1) - means)
        add_products(gram, torch.from_numpy(scaled))
        moment += scaled.T @ (root[:, 0] * centred[rows])
    gram += gram.tril(-1).T
    return gram.numpy(), moment, float(weights @ centred**2)


def _lasso(alpha: float) -> Callable[[Gram, Terms, float], Terms]:
    """The coordinate-descent solver of scikit-learn."""
    enet_path = import_optional("sklearn.linear_model", "LIME with a penalty", "lime").enet_path

    def solve(gram: Gram, moment: Terms, square: float) -> Terms:
        largest = np.abs(moment).max()
        if largest == 0:
            return np.zeros_like(moment)
        # the solver needs the data only through these moments: a single row with the right norm replaces it, its entries are not read
        row, target = np.zeros((1, len(moment)), order="F"), np.array([square**0.5])
        settings = {"l1_ratio": 1.0, "alphas": [alpha * largest], "check_input": False, "tol": TOLERANCE, "max_iter": ROUNDS}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the next lines say it in words of our arguments
            _, coefficients, gaps = enet_path(row, target, precompute=gram, Xy=moment, **settings)
        if gaps[0] > TOLERANCE * square:
            warnings.warn(NOT_CONVERGED.format(len(moment), ROUNDS), stacklevel=2)
        return coefficients[:, 0]

    return solve


def _least_squares(gram: Gram, moment: Terms, _: float) -> Terms:
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(gram))
    if failed or factor.diagonal().min() ** 2 < SMALLEST_PIVOT * gram.diagonal().mean():
        raise ValueError(f"Expected coalitions that determine the {len(moment)} terms. Raise n_samples well above it, or alpha above 0.")
    return torch.cholesky_solve(torch.from_numpy(moment)[:, None], factor)[:, 0].numpy()
