"""The kernel estimator: Shapley–Taylor indices of any game as a weighted least-squares fit (paper §5.2, eq. 7)."""

from math import ceil, comb

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import empty_and_full
from captum_pairwise.estimators.limits import refuse_beyond_memory
from captum_pairwise.estimators.regression.least_squares import add_products, describe_undetermined, sum_constrained
from captum_pairwise.estimators.regression.sampling import TAYLOR_SAMPLERS, Coalitions, WeightedCoalitions, draw_coalitions, taylor_law
from captum_pairwise.estimators.size_weights import weigh_sizes
from captum_pairwise.games.game import Game
from captum_pairwise.results.index import SHAPLEY_TAYLOR, TAYLOR_INDEX, Index
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

ROWS_AT_ONCE = 2048
PRODUCTS_AT_ONCE = 2**21
SMALL = 0.25
DETERMINING = 1.5  # coalitions for each unknown pair, below which the error of the fit explodes
Targets = Float[Tensor, " coalitions"]


def kernel_taylor(
    game: Game, n_samples: int, *, sampling: str = "distinct", ridge: float | None = None, generator: torch.Generator | None = None
) -> Interactions:
    """All Shapley–Taylor indices of order 2, by the quadratic fit with the kernel `Λ(S) = (n-1) / (C(n,s) C(s,2) (n-s))`.

    `v(S) ≈ v(∅) + Σ_{i∈S} φ_i + Σ_{i<j∈S} φ_ij`. The coalitions of infinite weight (empty, single players, full) are exact constraints: the
    first two give `v(∅)` and `φ_i`, the last one is eliminated. If all coalitions are enumerated, the fit is the index itself.

    With `sampling="distinct"` the mean of each size is subtracted first, and its own index, in closed form, is added afterwards. The index
    is linear, so this is consistent. It removes the part of a game that a quadratic fit approximates worst.

    Args:
        game: the game.
        n_samples: coalitions to evaluate, beside the empty one, the full one and the single players.
        sampling: `"distinct"`; or the paper's `"paper-direct"` and `"paper-weighting"`, which repeat coalitions.
        ridge: if not None, added to the diagonal of the normal equations, in units of its mean. It gives an answer, biased to equal
            pairs, if the budget does not determine them.
        generator: source of randomness; None means a generator with seed 0.

    Raises:
        ValueError: the sampling is unknown, the pairs do not fit into memory, or the coalitions do not determine them.

    >>> from captum_pairwise.games.game import CallableGame
    >>> product = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> kernel_taylor(product, 3).between.round(decimals=6)
    tensor([[[2.],
             [2.]]])
    """
    n_players = game.n_players
    pairs = tuple(torch.triu_indices(n_players, n_players, 1, device="cpu"))
    n_pairs = len(pairs[0])
    advice = "Group them with a coarser mask, or use FactorisedShapleyTaylor or ShapleyTaylorSampling."
    refuse_beyond_memory(16 * n_pairs**2, f"the {n_pairs} pairs of {n_players} players", advice)
    message = describe_undetermined(f"the {n_pairs} pairs", n_samples, n_pairs - 1)
    if ridge is None and n_samples < n_pairs - 1:
        raise ValueError(message)  # before the game is evaluated
    ends = game.values(empty_and_full(n_players))
    first = game.values(torch.eye(n_players, dtype=torch.bool, device="cpu")) - ends[0]
    total = (ends[1] - ends[0] - first.sum()).cpu().double()
    second = torch.zeros(n_players, n_players, dtype=torch.float64, device="cpu")
    if n_players < 3:
        second[pairs] = total  # a single pair is equal to the sum
    else:
        drawn = draw_coalitions(TAYLOR_SAMPLERS, sampling, taylor_law(n_players), n_samples, generator)
        additive = ends[0].cpu() + drawn.coalitions.double() @ first.cpu().double()
        targets = game.values(drawn.coalitions).cpu().double() - additive
        second[pairs] = fit_pairs(drawn, targets, total, ridge, message, subtract_sizes=sampling == "distinct")
    blocks = {"first_order": first[None], **split_blocks((second + second.T).to(first)[None], game.n_query)}
    return make_interactions(ends, game.n_query, game.n_evaluations, index=TAYLOR_INDEX, constant=ends[:1], **blocks)


def count_determining(n_players: int, index: Index = TAYLOR_INDEX) -> int:
    """The coalitions that determine all unknowns well. Fewer may have an answer, with a large error."""
    n_pairs = n_players * (n_players - 1) // 2
    return ceil(DETERMINING * (n_pairs - 1 if index.name == SHAPLEY_TAYLOR else n_pairs + n_players))


def fit_pairs(
    drawn: WeightedCoalitions, targets: Targets, total: Tensor, ridge: float | None, message: str, *, subtract_sizes: bool
) -> Float[Tensor, " pairs"]:
    """The pairs with the best fit to the targets and the sum `total`; with `subtract_sizes`, the mean of each size is fitted apart."""
    n_players, size = drawn.coalitions.shape[1], drawn.coalitions.sum(1)
    by_size = (
        _size_means(drawn.coalitions, targets, total) if subtract_sizes else torch.zeros(n_players + 1, dtype=torch.float64, device="cpu")
    )
    normal, moment = _normal_equations(drawn, targets - by_size[size])
    fit = sum_constrained(normal, ridge, message)
    return fit.solve(moment[:, None], total - by_size[-1])[:, 0] + weigh_sizes(TAYLOR_INDEX, n_players).pairs @ by_size.diff(n=2)


def _size_means(coalitions: Coalitions, targets: Targets, total: Tensor) -> Float[Tensor, " sizes"]:
    """The mean target of each size, 0 for the empty coalition and single players, interpolated for sizes that were not drawn."""
    n_players = coalitions.shape[1]
    size = coalitions.sum(1)
    sums = torch.zeros(n_players + 1, dtype=torch.float64, device="cpu").index_add_(0, size, targets)
    counts = torch.bincount(size, minlength=n_players + 1)
    is_drawn = counts > 0
    is_drawn[[0, 1, n_players]] = True
    means = sums / counts.clamp(min=1)
    means[-1] = total
    return torch.from_numpy(np.interp(np.arange(n_players + 1), is_drawn.nonzero()[:, 0].numpy(), means[is_drawn].numpy()))


def _normal_equations(drawn: WeightedCoalitions, targets: Targets) -> tuple[Float[Tensor, "pairs pairs"], Float[Tensor, " pairs"]]:
    """The lower triangle of `Xᵀ Λ X`, and `Xᵀ Λ y`. Row `S` of `X` marks the pairs inside `S`.

    Most coalitions are small: the few products of their marks are added one by one. Larger coalitions are added as dense blocks.
    """
    n_players, size = drawn.coalitions.shape[1], drawn.coalitions.sum(1)
    n_pairs = n_players * (n_players - 1) // 2
    normal, moment = (
        torch.zeros(n_pairs, n_pairs, dtype=torch.float64, device="cpu"),
        torch.zeros(n_pairs, dtype=torch.float64, device="cpu"),
    )
    is_small = size <= n_players * SMALL
    for small in size[is_small].unique().tolist():
        at_once = max(1, PRODUCTS_AT_ONCE // comb(small, 2) ** 2)
        for rows in (size == small).nonzero()[:, 0].split(at_once):
            _add_small(normal, moment, drawn.coalitions[rows], drawn.weights[rows], targets[rows])
    for rows in (~is_small).nonzero()[:, 0].split(ROWS_AT_ONCE):
        _add_block(normal, moment, drawn.coalitions[rows], drawn.weights[rows], targets[rows])
    return normal, moment


def _add_small(normal: Tensor, moment: Tensor, coalitions: Coalitions, weights: Targets, targets: Targets) -> None:
    """Add coalitions of one size, product by product; in numpy, because threads do not speed up scattered sums."""
    n_players, n_pairs = coalitions.shape[1], len(moment)
    place = np.zeros((n_players, n_players), dtype=np.int64)
    place[np.triu_indices(n_players, 1)] = np.arange(n_pairs)
    members = coalitions.nonzero()[:, 1].numpy().reshape(len(coalitions), -1).T
    a, b = np.triu_indices(len(members), 1)
    marks = place[members[a], members[b]]  # ascending
    np.add.at(moment.numpy(), marks.ravel(), np.tile((weights * targets).numpy(), len(marks)))
    row, column = np.tril_indices(len(marks))
    products = marks.take(row, 0) * n_pairs + marks.take(column, 0)
    np.add.at(normal.numpy().reshape(-1), products.ravel(), np.tile(weights.numpy(), len(row)))


def _add_block(normal: Tensor, moment: Tensor, coalitions: Coalitions, weights: Targets, targets: Targets) -> None:
    """Add coalitions as one matrix product. Only a triangle of it is computed."""
    i, j = torch.triu_indices(coalitions.shape[1], coalitions.shape[1], 1, device="cpu")
    root = weights.sqrt()
    marks = (coalitions[:, i] & coalitions[:, j]).double().mul_(root[:, None])
    moment.addmv_(marks.T, root * targets)
    add_products(normal, marks)
