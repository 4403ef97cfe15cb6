"""The LIME estimator: a local quadratic model of any game, fitted by a weighted Lasso (paper §5.2); and the draws and weights of LIME."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.regression.least_squares import add_products
from captum_pairwise.games.game import Game
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Interactions, make_interactions

ROWS_AT_ONCE = 2048
TOLERANCE = 1e-5  # of the duality gap, in units of the square to explain: the terms are then good to about as much
ROUNDS = 10_000
SMALLEST_PIVOT = 1e-10


def lime(
    game: Game,
    departures: Float[Tensor, " players"],
    n_samples: int = 20_000,
    *,
    decay: float | None = None,
    alpha: float = 1e-3,
    generator: torch.Generator | None = None,
) -> Interactions:
    """The terms of a quadratic model of the game that is good near all players, and sparse.

    `min_β Σ_S Λ(S) (v(S) - β_∅ - Σ_{i∈S} β_i - Σ_{i<j∈S} β_ij)² / (2 Σ_S Λ(S)) + α α_max |β|₁` with `Λ(S) = exp(-λ d²(S))` over uniform
    coalitions, the first of them everybody; `α_max` is the least penalty that leaves no term, and `β_∅` is free.

    `first_order` is `β_i` and the pairs are `β_ij`, so `marginal` is the Shapley value of the fitted model. The model meets the game at
    neither end: `completeness_gap` is what all terms but `β_∅` miss of `v(N) - v(∅)`.

    For `m` terms, `n (n+1) / 2` of `n` players, the fit needs `16 m²` bytes: 0.4 GB for 50 + 50 players.

    Args:
        game: the game.
        departures: what the absence of each player adds to `d²(S)`.
        n_samples: coalitions; beside them that of no player is evaluated. A number that covers them all takes each once.
        decay: `λ`; None is `ln 2` over the median of `d²`, so that half of the coalitions weigh a half or more.
        alpha: `α`; 0 is weighted least squares.
        generator: the source of randomness; one seeded with 0 if None.

    Raises:
        ValueError: a number is out of range, the terms do not fit memory, or without a penalty the coalitions do not determine them.
        ImportError: the extra `lime` is missing, whose solver a penalty needs.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> lime(both, torch.ones(2), alpha=0.0).between.round(decimals=9)
    tensor([[[5.]]])
    """
    _refuse(game.n_players, n_samples, decay, alpha)
    solver = _lasso(alpha) if alpha > 0 else _least_squares
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    coalitions = _coalitions(game.n_players, n_samples, generator)
    values = game.values(torch.cat([coalitions, torch.zeros_like(coalitions[:1])]))
    weights = _kernel((~coalitions).double() @ departures.cpu().double(), decay)
    terms = torch.from_numpy(solver(_moments(coalitions.numpy(), weights, values[:-1].cpu().double().numpy()))).to(values)
    first, pairs = terms.split([game.n_players, len(terms) - game.n_players])
    second = values.new_zeros(game.n_players, game.n_players)
    second[tuple(torch.triu_indices(game.n_players, game.n_players, 1))] = pairs
    return make_interactions(values[[-1, 0]], first, second + second.T, game.n_query, game.n_evaluations)


def _refuse(n_players: int, n_samples: int, decay: float | None, alpha: float) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, got {n_samples}. Take well over the {_n_terms(n_players)} terms of the model.")
    if not alpha >= 0 or (decay is not None and not decay >= 0):
        raise ValueError(
            f"Expected an alpha and a decay of at least 0, got alpha={alpha} and decay={decay}. Leave them out for the defaults."
        )
    needed, has = 16 * _n_terms(n_players) ** 2, get_memory_bytes(torch.device("cpu"))
    if needed > has:
        raise ValueError(
            f"Expected fewer players: the {_n_terms(n_players)} terms of {n_players} need {needed / 2**30:.0f} GiB, and there are "
            f"{has / 2**30:.0f} GiB. Group them with a coarser mask, or use FactorisedShapleyTaylor."
        )


def _n_terms(n_players: int) -> int:
    return n_players * (n_players + 1) // 2


def _coalitions(n_players: int, n_samples: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """Everybody, then uniform coalitions; or each of them once."""
    if 2**n_players <= n_samples:
        return all_coalitions(n_players).flip(0)
    return uniform_coalitions(n_players, n_samples, generator)


def uniform_coalitions(n_players: int, n_samples: int, generator: torch.Generator) -> Bool[Tensor, "coalitions players"]:
    """Everybody, then coalitions in which each player is or is not, with equal chance.

    >>> uniform_coalitions(3, 2, torch.Generator())[0]
    tensor([True, True, True])
    """
    drawn = torch.rand(n_samples, n_players, generator=generator, device=generator.device).cpu() < 0.5
    drawn[0] = True
    return drawn


def cosine_kernel(coalitions: Tensor, width: float = 0.25) -> Float[Tensor, " coalitions"]:
    """The weights of first-order LIME, `sqrt(exp(-D² / width²))` of the cosine distance `D` from everybody, 1 for nobody.

    Among `n` players those of a coalition of `s` have the cosine `sqrt(s / n)` with all.

    >>> cosine_kernel(torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])).log()
    tensor([ 0., -2.], dtype=torch.float64)
    """
    distance = 1 - coalitions.double().mean(1).sqrt()
    return (-((distance / width) ** 2) / 2).exp()


def _kernel(distances: Float[Tensor, " coalitions"], decay: float | None) -> Float[np.ndarray, " coalitions"]:
    """`exp(-λ d²)`; all coalitions weigh the same if half of them are no distance away."""
    median = float(np.median(distances.numpy()))
    rate = decay if decay is not None else log(2) / median if median > 0 else 0.0
    return np.exp(-rate * distances.numpy())


@dataclass(frozen=True)
class _Moments:
    """Second moments under the kernel's distribution, all about the means: what a weighted fit with an intercept depends on.

    Attributes:
        gram: of the terms with each other.
        moment: of the terms with the values.
        square: of the values.
    """

    gram: Float[np.ndarray, "terms terms"]
    moment: Float[np.ndarray, " terms"]
    square: float


def _moments(
    coalitions: Bool[np.ndarray, "coalitions players"], weights: Float[np.ndarray, " coalitions"], values: Float[np.ndarray, " coalitions"]
) -> _Moments:
    """A block of coalitions at a time; only one triangle of the symmetric matrix is computed, by BLAS."""
    n_players = coalitions.shape[1]
    weights = weights / weights.sum()
    pairs = np.triu_indices(n_players, 1)
    together = coalitions.T @ (weights[:, None] * coalitions)
    means = np.concatenate([together.diagonal(), together[pairs]])
    left = values - weights @ values
    gram, moment = torch.zeros(len(means), len(means), dtype=torch.float64), np.zeros(len(means))
    for start in range(0, len(values), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        root = np.sqrt(weights[rows, None])
        design = np.concatenate([coalitions[rows], coalitions[rows][:, pairs[0]] & coalitions[rows][:, pairs[1]]], 1)
        scaled = root * (design - means)
        add_products(gram, torch.from_numpy(scaled))
        moment += scaled.T @ (root[:, 0] * left[rows])
    gram += gram.tril(-1).T
    return _Moments(gram.numpy(), moment, float(weights @ left**2))


def _lasso(alpha: float) -> Callable[[_Moments], Float[np.ndarray, " terms"]]:
    """The solver of scikit-learn, by coordinate descent."""
    try:
        enet_path = import_module("sklearn.linear_model").enet_path
    except ImportError as error:
        raise ImportError("LIME with a penalty needs scikit-learn: pip install 'captum-pairwise[lime]'") from error

    def solve(moments: _Moments) -> Float[np.ndarray, " terms"]:
        largest = np.abs(moments.moment).max()
        if largest == 0:
            return np.zeros_like(moments.moment)
        # the solver sees the data through these moments alone, so one row of the right norm stands for all; its entries are not read
        _, coefficients, _ = enet_path(
            np.zeros((1, len(moments.moment)), order="F"),
            np.array([moments.square**0.5]),
            l1_ratio=1.0,
            alphas=[alpha * largest],
            precompute=moments.gram,
            Xy=moments.moment,
            check_input=False,
            tol=TOLERANCE,
            max_iter=ROUNDS,
        )
        return coefficients[:, 0]

    return solve


def _least_squares(moments: _Moments) -> Float[np.ndarray, " terms"]:
    gram = torch.from_numpy(moments.gram)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed or factor.diagonal().min() ** 2 < SMALLEST_PIVOT * gram.diagonal().mean():
        raise ValueError(
            f"Expected coalitions that determine the {len(moments.moment)} terms of the model, but these do not. Raise n_samples well "
            "above that, or take an alpha above 0."
        )
    return torch.cholesky_solve(torch.from_numpy(moments.moment)[:, None], factor)[:, 0].numpy()
