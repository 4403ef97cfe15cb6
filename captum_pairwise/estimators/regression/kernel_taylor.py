"""The kernel estimator: Shapley–Taylor indices of any game as a weighted least-squares fit (paper §5.2, eq. 7)."""

from math import comb

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.regression.least_squares import add_products, sum_constrained
from captum_pairwise.estimators.regression.sampling import (
    Sampler,
    WeightedCoalitions,
    distinct,
    draw_coalitions,
    paper_direct,
    paper_weighting,
    taylor_law,
)
from captum_pairwise.games.game import Game
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Interactions, make_interactions

SAMPLERS: dict[str, Sampler] = {"distinct": distinct, "paper-direct": paper_direct, "paper-weighting": paper_weighting}
ROWS_AT_ONCE = 2048
PRODUCTS_AT_ONCE = 2**21
SMALL = 0.25


def kernel_taylor(
    game: Game,
    n_samples: int,
    *,
    sampling: str = "distinct",
    ridge: float | None = None,
    generator: torch.Generator | None = None,
) -> Interactions:
    """Every Shapley–Taylor index of order 2, by the quadratic fit whose kernel is `Λ(S) = (n-1) / (C(n,s) C(s,2) (n-s))`.

    `v(S) ≈ v(∅) + Σ_{i∈S} φ_i + Σ_{i<j∈S} φ_ij`. The coalitions of infinite weight (no player, one, all) are exact constraints: the
    first two give `v(∅)` and `φ_i`, the last is eliminated. Enumerated, the fit is the index itself.

    With `sampling="distinct"` the mean of each size is regressed out first, and its own index, in closed form, is added again: the
    index is linear, so this is consistent, and it takes away what a quadratic fit is worst at.

    Args:
        game: the game.
        n_samples: coalitions; beside them those of no player, one, and all are evaluated.
        sampling: `"distinct"`, or the paper's `"paper-direct"` and `"paper-weighting"`, which repeat coalitions.
        ridge: if not None, added to the diagonal of the normal equations, in units of its mean: an answer, biased to equal
            pairs, where the budget does not determine them.
        generator: the source of randomness; one seeded with 0 if None.

    Raises:
        ValueError: the sampling is unknown, the pairs do not fit memory, or the coalitions do not determine them.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> kernel_taylor(product, 3).between.round(decimals=6)
    tensor([[[2.],
             [2.]]])
    """
    n_players = game.n_players
    pairs = tuple(torch.triu_indices(n_players, n_players, 1))
    _refuse_beyond_memory(n_players, len(pairs[0]))
    refusal = _refusal(len(pairs[0]), n_samples)
    if ridge is None and n_samples < len(pairs[0]) - 1:
        raise ValueError(refusal)  # before anything is evaluated
    ends = game.values(torch.tensor([[False], [True]]).expand(2, n_players))
    first = game.values(torch.eye(n_players, dtype=torch.bool)) - ends[0]
    total = (ends[1] - ends[0] - first.sum()).cpu().double()
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    if n_players < 3:
        second[pairs] = total  # a single pair has all that is left
    else:
        drawn = draw_coalitions(SAMPLERS, sampling, taylor_law(n_players), n_samples, generator)
        known = ends[0].cpu() + drawn.coalitions.double() @ first.cpu().double()
        left = game.values(drawn.coalitions).cpu().double() - known
        second[pairs] = fit_pairs(drawn, left, total, ridge, refusal, takes_out_sizes=sampling == "distinct")
    return make_interactions(ends, first, (second + second.T).to(first), game.n_query, game.n_evaluations)


def _refuse_beyond_memory(n_players: int, n_pairs: int) -> None:
    needed, has = 16 * n_pairs**2, get_memory_bytes(torch.device("cpu"))
    if needed > has:
        raise ValueError(
            f"Expected fewer players: a fit of the {n_pairs} pairs of {n_players} players needs {needed / 2**30:.0f} GiB, and there are "
            f"{has / 2**30:.0f} GiB. Group them with a coarser mask, or use FactorisedShapleyTaylor or ShapleyTaylorSampling."
        )


def _refusal(n_pairs: int, n_samples: int) -> str:
    return (
        f"Expected coalitions that determine the {n_pairs} pairs, but {n_samples} do not. Raise n_samples well above {n_pairs - 1}, or "
        "pass `ridge` for a biased answer."
    )


def fit_pairs(
    drawn: WeightedCoalitions,
    left: Float[Tensor, " coalitions"],
    total: Tensor,
    ridge: float | None,
    refusal: str,
    *,
    takes_out_sizes: bool,
) -> Float[Tensor, " pairs"]:
    """The pairs that fit best what is left to them, summing to `total`; the mean of each size first taken out, if asked for."""
    by_size = torch.zeros(drawn.coalitions.shape[1] + 1, dtype=torch.float64)
    if takes_out_sizes:
        by_size = _size_means(drawn.coalitions, left, total)
    normal, moment = _normal_equations(drawn, left - by_size[drawn.coalitions.sum(1)])
    fit = sum_constrained(normal, ridge, refusal)
    return fit.solve(moment[:, None], total - by_size[-1])[:, 0] + _index_of_sizes(by_size)


def _size_means(
    coalitions: Bool[Tensor, "coalitions players"], left: Float[Tensor, " coalitions"], total: Tensor
) -> Float[Tensor, " sizes"]:
    """The mean of each size, 0 for none and one player, interpolated where a size was not drawn."""
    n_players = coalitions.shape[1]
    size = coalitions.sum(1)
    sums = torch.zeros(n_players + 1, dtype=torch.float64).index_add_(0, size, left)
    counts = torch.bincount(size, minlength=n_players + 1)
    known = counts > 0
    known[[0, 1, n_players]] = True
    means = sums / counts.clamp(min=1)
    means[-1] = total
    return torch.from_numpy(np.interp(np.arange(n_players + 1), known.nonzero()[:, 0].numpy(), means[known].numpy()))


def _index_of_sizes(by_size: Float[Tensor, " sizes"]) -> Float[Tensor, ""]:
    """The index of every pair in the game `g(|S|)`: `(2/n) Σ_t C(n-2, t) / C(n-1, t) [g(t+2) - 2 g(t+1) + g(t)]`."""
    n_players = len(by_size) - 1
    share = 1 - torch.arange(n_players - 1, dtype=torch.float64) / (n_players - 1)  # the ratio of the binomials
    return 2 / n_players * (share * by_size.diff(n=2)).sum()


def _normal_equations(
    drawn: WeightedCoalitions, left: Float[Tensor, " coalitions"]
) -> tuple[Float[Tensor, "pairs pairs"], Float[Tensor, " pairs"]]:
    """The lower triangle of `Xᵀ Λ X`, and `Xᵀ Λ y`; row `S` of `X` marks the pairs inside `S`.

    Most coalitions are small: the few products of their marks are added one by one. The others come as dense blocks.
    """
    n_players, size = drawn.coalitions.shape[1], drawn.coalitions.sum(1)
    n_pairs = n_players * (n_players - 1) // 2
    normal, moment = torch.zeros(n_pairs, n_pairs, dtype=torch.float64), torch.zeros(n_pairs, dtype=torch.float64)
    is_small = size <= n_players * SMALL
    for small in size[is_small].unique().tolist():
        at_once = max(1, PRODUCTS_AT_ONCE // comb(small, 2) ** 2)
        for rows in (size == small).nonzero()[:, 0].split(at_once):
            _add_small(normal, moment, drawn.coalitions[rows], drawn.weights[rows], left[rows])
    for rows in (~is_small).nonzero()[:, 0].split(ROWS_AT_ONCE):
        _add_block(normal, moment, drawn.coalitions[rows], drawn.weights[rows], left[rows])
    return normal, moment


def _add_small(normal: Tensor, moment: Tensor, coalitions: Bool[Tensor, "coalitions players"], weights: Tensor, left: Tensor) -> None:
    """Add rows of coalitions of one size, product by product; in numpy, because threads have nothing to gain from scattered sums."""
    n_players, n_pairs = coalitions.shape[1], len(moment)
    place = np.zeros((n_players, n_players), dtype=np.int64)
    place[np.triu_indices(n_players, 1)] = np.arange(n_pairs)
    members = coalitions.nonzero()[:, 1].numpy().reshape(len(coalitions), -1).T
    a, b = np.triu_indices(len(members), 1)
    marks = place[members[a], members[b]]  # ascending
    np.add.at(moment.numpy(), marks.ravel(), np.tile((weights * left).numpy(), len(marks)))
    row, column = np.tril_indices(len(marks))
    products = marks.take(row, 0) * n_pairs + marks.take(column, 0)
    np.add.at(normal.numpy().reshape(-1), products.ravel(), np.tile(weights.numpy(), len(row)))


def _add_block(normal: Tensor, moment: Tensor, coalitions: Bool[Tensor, "coalitions players"], weights: Tensor, left: Tensor) -> None:
    """Add rows as one product with itself, of which a triangle is computed."""
    i, j = torch.triu_indices(coalitions.shape[1], coalitions.shape[1], 1)
    root = weights.sqrt()
    marks = (coalitions[:, i] & coalitions[:, j]).double().mul_(root[:, None])
    moment.addmv_(marks.T, root * left)
    add_products(normal, marks)
