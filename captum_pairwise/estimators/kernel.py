"""The kernel estimator: Shapley–Taylor indices of any game as a weighted least-squares fit (paper §5.2, eq. 7)."""

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.coalition_sampling import (
    Sampler,
    WeightedCoalitions,
    distinct,
    draw,
    paper_direct,
    paper_weighting,
    taylor_law,
)
from captum_pairwise.estimators.least_squares import sum_constrained
from captum_pairwise.game import Game
from captum_pairwise.interactions import Interactions, from_all_pairs

SAMPLERS: dict[str, Sampler] = {"distinct": distinct, "paper-direct": paper_direct, "paper-weighting": paper_weighting}
ROWS_AT_ONCE = 2048
SMALL = 0.25


def kernel(
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
        ValueError: the sampling is unknown, or the coalitions do not determine the pairs.

    >>> from captum_pairwise.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 5.0 * (z[:, 0] & z[:, 2]))
    >>> kernel(product, 3).between
    tensor([[[5.],
             [0.]]])
    """
    n_players = game.n_players
    ends = game.values(torch.tensor([[False], [True]]).expand(2, n_players)).cpu()
    first = game.values(torch.eye(n_players, dtype=torch.bool)).cpu() - ends[0]
    total = (ends[1] - ends[0] - first.sum()).double()
    second = torch.zeros(n_players, n_players, dtype=torch.float64)
    pairs = tuple(torch.triu_indices(n_players, n_players, 1))
    if n_players < 3:
        second[pairs] = total  # a single pair has all that is left
    else:
        drawn = draw(SAMPLERS, sampling, taylor_law(n_players), n_samples, generator)
        # what the pairs have to explain
        left = game.values(drawn.coalitions).cpu().double() - ends[0] - drawn.coalitions.double() @ first.double()
        second[pairs] = _fit(drawn, left, total, sampling == "distinct", ridge)
    return from_all_pairs(ends, first, (second + second.T).to(first), game.n_query, game.n_evaluations)


def _fit(
    drawn: WeightedCoalitions, left: Float[Tensor, " coalitions"], total: Tensor, takes_out_sizes: bool, ridge: float | None
) -> Float[Tensor, " pairs"]:
    """The pairs that fit best what is left, summing to `total`; the mean of each size first taken out, if asked for."""
    by_size = torch.zeros(drawn.coalitions.shape[1] + 1, dtype=torch.float64)
    if takes_out_sizes:
        by_size = _size_means(drawn.coalitions, left, total)
    normal, moment = _normal_equations(drawn, left - by_size[drawn.coalitions.sum(1)])
    refusal = (
        f"Expected coalitions that determine the {len(moment)} pairs, but {len(left)} distinct ones do not. Raise n_samples "
        f"well above {len(moment) - 1}, or pass `ridge` for a biased answer."
    )
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
    """`Xᵀ Λ X` and `Xᵀ Λ y`; row `S` of `X` marks the pairs inside `S`.

    Most coalitions are small and mark few pairs: their part is a sparse product. That of the others is added a block of rows at a time.
    """
    n_players = drawn.coalitions.shape[1]
    is_small = drawn.coalitions.sum(1) <= n_players * SMALL
    design = _sparse_design(drawn.coalitions[is_small])
    weighted = design.multiply(drawn.weights[is_small].numpy()[:, None]).T.tocsr()
    normal, moment = torch.from_numpy((weighted @ design).toarray()), torch.from_numpy(weighted @ left[is_small].numpy())
    i, j = torch.triu_indices(n_players, n_players, 1)
    for rows in (~is_small).nonzero()[:, 0].split(ROWS_AT_ONCE):
        marks = (drawn.coalitions[rows][:, i] & drawn.coalitions[rows][:, j]).double()
        heavy = drawn.weights[rows, None] * marks
        normal.addmm_(marks.T, heavy)
        moment.addmv_(heavy.T, left[rows])
    return normal, moment


def _sparse_design(coalitions: Bool[Tensor, "coalitions players"]) -> scipy.sparse.csr_array:
    """The pairs inside each coalition, ones in a sparse matrix `[coalitions, pairs]`."""
    n_players = coalitions.shape[1]
    row_of, player = coalitions.nonzero(as_tuple=True)
    members = scipy.sparse.csr_array((np.ones(len(player)), (row_of.numpy(), player.numpy())), shape=coalitions.shape)
    rows, columns = [], []
    for size in np.unique(np.diff(members.indptr)):
        of_size = np.flatnonzero(np.diff(members.indptr) == size)
        chosen = members[of_size].indices.reshape(len(of_size), size)
        a, b = np.triu_indices(size, 1)
        first, second = chosen[:, a].astype(np.int64), chosen[:, b].astype(np.int64)
        columns.append((first * (2 * n_players - first - 1) // 2 + second - first - 1).ravel())  # place in the upper triangle
        rows.append(np.repeat(of_size, len(a)))
    place = (np.concatenate([*rows, []]).astype(np.int64), np.concatenate([*columns, []]).astype(np.int64))
    return scipy.sparse.csr_array((np.ones(len(place[0])), place), shape=(len(coalitions), n_players * (n_players - 1) // 2))
