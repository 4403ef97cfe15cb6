"""Path methods: integrated gradients, and indices of pairs by second derivatives along the diagonal (see `continuous_index.py`)."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.heat_maps import attach_maps
from captum_pairwise.estimators.paths.continuous_index import ContinuousIndex
from captum_pairwise.estimators.paths.low_rank import sum_low_rank
from captum_pairwise.estimators.paths.second_derivatives import cross_derivatives, full_hessians, make_points, slopes_at
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.games.game import Game, make_one_image_games
from captum_pairwise.results.credits import Credits, get_blocks, sum_pairs
from captum_pairwise.results.index import CO_MOEBIUS
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

NODES_AT_ONCE, NUMBERS_AT_ONCE = 16, 2**22  # limits of the matrices of all pairs in memory
Blocks = dict[str, Any]  # of a batch of one


def integrate_gradients(game: Game, path: Path) -> Interactions:
    """The integrated gradient of every player, `∫₀¹ ∂_i v(t·1) dt`, as `marginal` (paper eq. 9).

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> integrate_gradients(both, Path(torch.tensor([0.5]), torch.tensor([1.0]))).marginal
    tensor([[2.5000, 2.5000]])
    """
    ends, marginal = _evaluate_ends(game), _integrate_slopes(game, path)
    return make_interactions(ends, game.n_query, game.n_evaluations, marginal=marginal)


def integrate_hessians(
    game: Game, index: ContinuousIndex, path: Path | None, *, is_random: bool = False, tolerance: float | None = None
) -> Interactions:
    """An index of pairs along the diagonal, by Jacobians of two towers, or by Hessian–vector products of any other game.

    Args:
        game: the game.
        index: nodes and weights.
        path: quadrature for `marginal`, the integrated gradients, beside the pairs between the images; an index that is not efficient also
            has the credit of single players then, with these pairs alone. None computes the complete index: also the pairs within each
            image and the players' own credit, from which `marginal` follows.
        is_random: True if the nodes are independent samples. The result then has standard errors.
        tolerance: the relative error to which pairs of many players are computed, see `sum_low_rank`; None computes all exactly.

    >>> from captum_pairwise.estimators.paths.continuous_index import gauss_index
    >>> from captum_pairwise.games.game import CallableGame
    >>> from captum_pairwise.results.index import Index
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> hessian = integrate_hessians(both, gauss_index(None, 4), None)
    >>> hessian.between, hessian.first_order
    (tensor([[[2.5000]]]), tensor([[1.2500, 1.2500]]))
    >>> integrate_hessians(both, gauss_index(Index("shapley-taylor"), 1), None).between
    tensor([[[5.]]])
    """
    ends, constant = _evaluate_ends(game), {}
    low_rank = None if tolerance is None or path is None or is_random else sum_low_rank(game, index, tolerance)
    if low_rank is not None:
        credits, errors = get_blocks(_share_cross(low_rank[0]["between"], index)), low_rank[1]
    else:
        credits, errors = _sum_terms(_node_terms(game, index, is_complete=path is None), len(index.nodes), is_random)
    if path is not None and index.is_efficient:
        credits["marginal"] = _integrate_slopes(game, path)
    elif len(index.ends):
        start = _sum_slopes(game, index.ends, index.end_slopes)
        credits |= {name: credits[name] + start for name in ("first_order", "marginal")}
    if index.index is not None and index.index.p is not None:
        constant["constant"] = _centre_credit(game, index, credits)
    elif index.index is not None and index.index.name == CO_MOEBIUS:
        constant["constant"] = ends[1:]
    return make_interactions(ends, game.n_query, game.n_evaluations, index=index.index, standard_error=errors, **constant, **credits)


def _centre_credit(game: Game, index: ContinuousIndex, credits: Blocks) -> Float[Tensor, "1"]:
    """The constant of the Banzhaf index. The credit of single players in `credits` is changed in place, to fit the pairs that are known.

    `φ_i = ∂_i v(p) - Σ_j p_j φ_ij` and `v(p) - Σ_i p_i φ_i - Σ_{i<j} p_i p_j φ_ij`.
    """
    present = make_points(index.nodes, game)
    mean = game.values(present)
    present = present.to(mean)
    shared = sum_pairs(credits, present)
    credits |= {name: credits[name] - shared for name in ("first_order", "marginal")}
    return mean - ((credits["first_order"] + shared / 2) * present).sum(1)


def integrate_with_maps(
    game: Game, index: ContinuousIndex, path: Path, *, within: bool, is_random: bool = False, tolerance: float | None = None
) -> Interactions:
    """`integrate_hessians`, and the heat maps: the integrated gradients of each image's players while the other image is whole.

    Args:
        game: the game.
        index: nodes and weights of the pairs.
        path: quadrature of the integrated gradients, of the maps and without `within` of `marginal`.
        within: True for the complete index.
        is_random: True if the nodes of the index are independent samples.
        tolerance: the relative error of pairs of many players, as for `integrate_hessians`.
    """
    pairs = integrate_hessians(game, index, None if within else path, is_random=is_random, tolerance=tolerance)
    if not min(game.n_query, game.n_retrieved):  # an image without players
        return pairs
    query, retrieved = (integrate_gradients(image_game, path) for image_game in make_one_image_games(game))
    return attach_maps(pairs, query, retrieved, game.n_evaluations)


def _evaluate_ends(game: Game) -> Float[Tensor, "2"]:
    return game.values(torch.tensor([[0.0], [1.0]], dtype=torch.float32, device="cpu").expand(2, game.n_players))


def _integrate_slopes(game: Game, path: Path) -> Float[Tensor, "1 players"]:
    return _sum_slopes(game, path.nodes[:, None].expand(-1, 2), path.weights)


def _sum_slopes(game: Game, nodes: Float[Tensor, "nodes sides"], weights: Float[Tensor, " nodes"]) -> Float[Tensor, "1 players"]:
    slopes = slopes_at(game, nodes)
    return weights.to(slopes)[None] @ slopes


def _node_terms(game: Game, index: ContinuousIndex, is_complete: bool) -> Iterator[Credits]:
    """Yield the term of each node, in batches of nodes."""
    at_once = max(1, min(NODES_AT_ONCE, NUMBERS_AT_ONCE // game.n_players**2))
    for nodes, pairs, slopes in zip(*(part.split(at_once) for part in (index.nodes, index.pairs, index.slopes)), strict=True):
        second = full_hessians(game, nodes) if is_complete else cross_derivatives(game, nodes)
        second = second * pairs.to(second)[:, None, None]
        if not is_complete:
            yield _share_cross(second, index)
            continue
        own = second.diagonal(dim1=1, dim2=2) * (index.is_efficient / 2)
        if slopes.any():
            own = own + slopes_at(game, nodes) * slopes.to(own)[:, None]
        second = second - torch.diag_embed(second.diagonal(dim1=1, dim2=2))
        yield Credits(first_order=own, marginal=own + second.sum(2) / 2, **split_blocks(second, game.n_query))


def _share_cross(between: Float[Tensor, "nodes query retrieved"], index: ContinuousIndex) -> Credits:
    """The pairs between the images, and for indices without a fixed sum also the half of them that belongs to each player."""
    if index.is_efficient:
        return Credits(between=between)
    half = torch.cat([between.sum(2), between.sum(1)], 1) / 2
    return Credits(first_order=torch.zeros_like(half), marginal=half, between=between)


def _sum_terms(terms: Iterator[Credits], n_nodes: int, is_random: bool) -> tuple[Blocks, Credits | None]:
    """The sum over all nodes, a batch of one, and its standard error if the nodes are independent samples."""
    total: Blocks = {}
    squares: Blocks = {}
    for term in terms:
        for name, block in get_blocks(term).items():
            total[name] = total.get(name, 0) + block.sum(0, keepdim=True)
            squares[name] = squares.get(name, 0) + block.square().sum(0, keepdim=True)
    if not is_random or n_nodes < 2:
        return total, None
    variance = {name: (squares[name] - total[name].square() / n_nodes).clamp(min=0) * n_nodes / (n_nodes - 1) for name in total}
    return total, Credits(**{name: block.sqrt() for name, block in variance.items()})
