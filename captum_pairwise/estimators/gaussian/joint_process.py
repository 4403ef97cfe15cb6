"""The Gaussian-process estimator: interaction indices of any game by Bayesian quadrature."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.draws import Draws, default_generator, ends_and_singles
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel, Nodes
from captum_pairwise.estimators.gaussian.process import Process, condition_process, fit_kernel
from captum_pairwise.estimators.gaussian.shapley_process import (
    ROWS_FOR_KERNEL,
    count_least,
    posterior_error,
    predict_mean,
    predict_values,
)
from captum_pairwise.estimators.index_path import IndexPath, make_index_path
from captum_pairwise.estimators.limits import refuse_small_budget
from captum_pairwise.estimators.size_weights import refuse_two_probabilities
from captum_pairwise.games.game import Game
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.index import CO_MOEBIUS, MOEBIUS, SHAPLEY_TAYLOR, TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

MOST_SAMPLES = 8192
NUMBERS_AT_ONCE = 2**23  # covariances in memory at once
STEP = 2**-8  # of differences along the probability
Predicted = tuple[Tensor, Tensor]  # values and standard errors


def gaussian_process(game: Game, n_samples: int, *, index: Index = TAYLOR_INDEX, generator: torch.Generator | None = None) -> Interactions:
    """The index of all pairs and players, from a Gaussian process conditioned on `n_samples` values of the game.

    `φ_ij = ∫ f(p) E_p[δ_ij v] dp` is linear in `v`, so its posterior mean and its posterior variance (the squared standard error) have
    closed forms. The process reproduces its data, so the credits of an efficient index sum to `v(N) - v(∅)`. The result computes other
    indices from the same values.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, including the empty and the full one and each single player. A budget for all is exact.
        index: the interaction index.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the budget is too small for the players, or too large for a process, or the index has a probability for each image.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 5.0 * (z[:, 0] & z[:, 2]))
    >>> gaussian_process(product, 8).between
    tensor([[[5.],
             [0.]]])
    """
    if 2**game.n_players <= n_samples:
        return exact(game, n_samples, index)
    refuse_two_probabilities(index)
    _refuse_budget(n_samples, game.n_players)
    base = ends_and_singles(game.n_players)
    rows = torch.cat([base, Draws(game.n_players, default_generator(generator)).more(n_samples - len(base))])
    values = game.values(rows)
    sample = ProcessSample(fit_kernel(rows, values[:, None], ROWS_FOR_KERNEL), rows, values, game.n_query, game.n_evaluations)
    return sample.compute(index)


@dataclass(frozen=True)
class ProcessSample:
    """Values of some coalitions, starting with `ends_and_singles`, and the kernel of their process.

    The process itself is not kept: it has a number for every two rows.
    """

    kernel: CoalitionKernel
    rows: Bool[Tensor, "rows players"]
    values: Float[Tensor, " rows"]
    n_query: int
    n_evaluations: int

    def compute(self, index: Index) -> Interactions:
        """The interactions of this index, a batch of one, without heat maps.

        Raises:
            ValueError: the index has a probability for each image.
        """
        refuse_two_probabilities(index)
        path = make_index_path(index, self.rows.shape[1])
        process = condition_process(self.kernel, self.rows, self.values[:, None])
        pairs = _predict_pairs(process, path)
        first = self._predict_players(process, path, pairs[0])
        blocks, errors = (
            {"first_order": first[part].to(self.values)[None], **split_blocks(pairs[part].to(self.values)[None], self.n_query)}
            for part in (0, 1)
        )
        if index.is_efficient:
            errors["marginal"] = predict_values(process, path.query, path.shapley)[1].to(self.values)[None]
        interactions = make_interactions(
            self.values[:2], self.n_query, self.n_evaluations, index=index, standard_error=Credits(**errors), **blocks
        )
        return replace(interactions, **self._predict_constant(process, path, first[0], pairs[0]), sources=(self.compute,))

    def _predict_players(self, process: Process, path: IndexPath, pairs: Tensor) -> Predicted:
        """The first order and its standard errors. Single players are in the sample, so where they are the index it is exact."""
        if path.index.name in (SHAPLEY_TAYLOR, MOEBIUS):
            first = (self.values[2 : 2 + len(pairs)] - self.values[0]).double()
            return first, torch.zeros_like(first)
        first, errors = predict_values(process, path.query, path.players)
        if path.index.p is None:
            return first, errors
        # Σ_j g_ij is the derivative of h_i along p: the errors of h_i - p Σ_j g_ij are those of a difference
        return first - path.shares[0] * pairs.sum(1), predict_values(process, *_extrapolate(path.shares[0], 1))[1]

    def _predict_constant(self, process: Process, path: IndexPath, first: Tensor, pairs: Tensor) -> dict[str, Tensor]:
        """The constant and its standard error where it is not `v(∅)`, by name."""
        constant = self.values[:1] if path.index.name != CO_MOEBIUS else self.values[1:2]
        if path.index.p is None:
            return {"constant": constant, "constant_error": torch.zeros_like(constant)}
        p, one = path.shares[0], first.new_ones(1)
        mean = predict_mean(process, p * one, one)[0]
        constant, error = mean - p * first.sum() - p**2 * pairs.sum() / 2, predict_mean(process, *_extrapolate(p, 2))[1]
        return {"constant": constant.to(self.values)[None], "constant_error": error.to(self.values)[None]}


def _extrapolate(p: float, degree: int) -> tuple[Nodes, Nodes]:
    """Nodes and weights of the Taylor polynomial at `p` of a function of the probability, of degree 1 or 2, at probability 0."""
    step = min(STEP, p / 2, (1 - p) / 2)
    value, slope, curvature = torch.tensor([[0, 1, 0], [-0.5, 0, 0.5], [1, -2, 1]], dtype=torch.float64, device="cpu")
    nodes = p + step * torch.tensor([-1, 0, 1], dtype=torch.float64, device="cpu")
    return nodes, value - p / step * slope + (degree == 2) * (p / step) ** 2 / 2 * curvature


def _refuse_budget(n_samples: int, n_players: int) -> None:
    refuse_small_budget(n_samples, count_least(n_players), f"{n_players} players")
    needed, available = 8 * (4 * n_samples**2 + 3 * max(NUMBERS_AT_ONCE, n_samples * n_players)), get_memory_bytes(torch.device("cpu"))
    if n_samples > MOST_SAMPLES or needed > available:
        raise ValueError(
            f"Expected n_samples of at most {MOST_SAMPLES} that fit into memory, got {n_samples} ({needed / 2**30:.0f} GiB). Take fewer."
        )


def _predict_pairs(process: Process, path: IndexPath) -> Predicted:
    """The pairs and their standard errors, symmetric with zero diagonals."""
    n_rows, n_players = process.rows.shape
    second, errors, used = [], [], path.pairs != 0
    at_once = max(1, NUMBERS_AT_ONCE // (n_rows * n_players))
    for covariances, variances in process.kernel.pair_covariances(path.query[used], path.pairs[used], process.rows, at_once):
        whitened = process.whiten(covariances)
        second.append((whitened @ process.whitened)[..., 0])
        errors.append(posterior_error(process, variances, whitened))
    upper_second, upper_errors = torch.cat(second).triu(1), torch.cat(errors).triu(1)  # symmetric to the last digit
    return upper_second + upper_second.T, upper_errors + upper_errors.T
