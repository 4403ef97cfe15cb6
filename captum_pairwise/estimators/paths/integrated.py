"""Path methods: integrated gradients, and integrated Hessians of games that are smooth along the diagonal of the cube.

With the same presence `t` of all players, an index of pairs is an integral of second derivatives along the diagonal,

    φ_ij = ∫ ω(t) ∂²_ij v(t·1) dt ,   φ_i = ½ ∫ ω(t) ∂²_ii v(t·1) dt + the slopes that make it complete,

and the credits sum to `v(1) - v(0)` for two weights. A player's own credit plus half of its pairs is its integrated gradient.

* `"hessian"`, `ω = -2 t ln t`: Integrated Hessians (paper A.14, eq. 14-15). Their double integral is a single one, because `αβ` has the
  density `-ln t`. An entry here is the full pair, `Γ_ij + Γ_ji`.
* `"taylor"`, `ω = 2(1-t)`: the continuous Shapley–Taylor index, the remainder of Taylor's formula at the baseline. It is equal to the
  Shapley–Taylor index if `v` is multilinear.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.draws import default_generator
from captum_pairwise.estimators.heat_maps import attach_maps
from captum_pairwise.estimators.paths.derivatives import Function, hessian_products, jacobians, point_gradients
from captum_pairwise.estimators.quadrature import Path, linear_path, logarithmic_path
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.game import Game, TwoTowerGame, make_one_image_games
from captum_pairwise.results.interactions import Credits, Interactions, get_blocks, make_interactions, split_blocks

NOTICED = 1e-5  # a change relative to the largest value that is no rounding error
NODES_AT_ONCE, NUMBERS_AT_ONCE = 16, 2**22  # limits of the matrices of all pairs in memory
Nodes = Float[Tensor, " nodes"]
Hessians = Float[Tensor, "nodes players players"]
# for each weight: its Gauss nodes, and the function that turns two uniform numbers into a number with the density of the weight
WEIGHTS = {"hessian": (logarithmic_path, torch.mul), "taylor": (linear_path, torch.minimum)}


@dataclass(frozen=True)
class PathIndex:
    """An index of pairs as a sum over nodes of the diagonal.

    Attributes:
        nodes: the nodes.
        pairs: weights of `∂²_ij v`, both orders together. Half of them are the weights of `∂²_ii v`.
        slopes: weights of `∂_i v` at the nodes.
        start: weight of `∂_i v` at the baseline.
    """

    nodes: Nodes
    pairs: Nodes
    slopes: Nodes
    start: float


def gauss_index(weight: str, n_steps: int) -> PathIndex:
    """The index with this weight, `"hessian"` or `"taylor"`, from `n_steps` Gauss nodes for the weight."""
    return _make_index(weight, WEIGHTS[weight][0](check_count(n_steps, "n_steps")))


def random_index(weight: str, n_samples: int, generator: torch.Generator | None) -> PathIndex:
    """The index with this weight from `n_samples` random nodes: expected Hessians."""
    generator = default_generator(generator)
    alpha, beta = torch.rand(2, n_samples, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    return _make_index(weight, Path(WEIGHTS[weight][1](alpha, beta), torch.full_like(alpha, 1 / n_samples)))


def _make_index(weight: str, path: Path) -> PathIndex:
    """The index from nodes and weights for an integral with `-ln t` (`"hessian"`) or `2(1-t)` (`"taylor"`)."""
    if weight == "hessian":
        return PathIndex(path.nodes, 2 * path.weights * path.nodes, path.weights, start=0.0)
    return PathIndex(path.nodes, path.weights, torch.zeros_like(path.weights), start=1.0)


def integrate_gradients(game: Game, path: Path) -> Interactions:
    """The integrated gradient of every player, `∫₀¹ ∂_i v(t·1) dt`, as `marginal` (paper eq. 9).

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> integrate_gradients(both, Path(torch.tensor([0.5]), torch.tensor([1.0]))).marginal
    tensor([[2.5000, 2.5000]])
    """
    ends, marginal = _evaluate_ends(game), _integrate_slopes(game, path)
    return make_interactions(ends, game.n_query, game.n_evaluations, marginal=marginal)


def integrate_hessians(game: Game, index: PathIndex, path: Path | None, *, is_random: bool = False) -> Interactions:
    """An index of pairs along the diagonal, by Jacobians of two towers, or by Hessian–vector products of any other game.

    Args:
        game: the game.
        index: nodes and weights.
        path: quadrature for `marginal`, the integrated gradients, beside the pairs between the images. None computes the complete index:
            also the pairs within each image and the players' own credit, from which `marginal` follows.
        is_random: True if the nodes are independent samples. The result then has standard errors.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> complete = integrate_hessians(both, gauss_index("hessian", 4), None)
    >>> complete.between, complete.first_order
    (tensor([[[2.5000]]]), tensor([[1.2500, 1.2500]]))
    >>> integrate_hessians(both, gauss_index("taylor", 1), None).between
    tensor([[[5.]]])
    """
    ends = _evaluate_ends(game)
    credits, errors = _sum_terms(_node_terms(game, index, is_complete=path is None), len(index.nodes), is_random)
    if path is not None:
        credits["marginal"] = _integrate_slopes(game, path)
    elif index.start:
        start = index.start * slopes_at(game, torch.zeros(1, dtype=torch.float64, device="cpu"))
        credits |= {name: credits[name] + start for name in ("first_order", "marginal")}
    return make_interactions(ends, game.n_query, game.n_evaluations, standard_error=errors, **credits)


def integrate_with_maps(game: Game, index: PathIndex, path: Path, *, within: bool, is_random: bool = False) -> Interactions:
    """`integrate_hessians`, and the heat maps: the integrated gradients of each image's players while the other image is whole.

    Args:
        game: the game.
        index: nodes and weights of the pairs.
        path: quadrature of the integrated gradients, of the maps and without `within` of `marginal`.
        within: True for the complete index.
        is_random: True if the nodes of the index are independent samples.
    """
    pairs = integrate_hessians(game, index, None if within else path, is_random=is_random)
    if not min(game.n_query, game.n_retrieved):  # an image without players
        return pairs
    query, retrieved = (integrate_gradients(image_game, path) for image_game in make_one_image_games(game))
    return attach_maps(pairs, query, retrieved, game.n_evaluations)


def _evaluate_ends(game: Game) -> Float[Tensor, "2"]:
    return game.values(torch.tensor([[0.0], [1.0]], dtype=torch.float32, device="cpu").expand(2, game.n_players))


def diagonal_points(nodes: Nodes, n_players: int) -> Float[Tensor, "nodes players"]:
    """The points of the diagonal at the nodes."""
    return nodes[:, None].expand(-1, n_players)


def slopes_at(game: Game, nodes: Nodes) -> Float[Tensor, "nodes players"]:
    """`∂_i v` at nodes of the diagonal.

    Raises:
        ValueError: the value changes with an image, but no gradient arrives at its parts.
    """
    slopes = _game_gradients(game, diagonal_points(nodes, game.n_players))
    for side in (slice(0, game.n_query), slice(game.n_query, None)):
        if slopes[:, side].numel() and not slopes[:, side].any():
            _refuse_missing_gradient(game, side)
    return slopes


def _game_gradients(game: Game, points: Float[Tensor, "points players"]) -> Float[Tensor, "points players"]:
    return point_gradients(lambda rows, _: game.values(rows), points, game.chunk)


def _refuse_missing_gradient(game: Game, side: slice) -> None:
    """Refuse a game that changes between two points on the path of one image, but has no slope at either."""
    points = torch.ones(4, game.n_players, dtype=torch.float64, device="cpu")
    points[:, side] = torch.tensor([[0.4], [0.6], [0.0], [1.0]], dtype=torch.float64, device="cpu")
    values = game.values(points)
    is_changed = (values[1] - values[0]).abs() > NOTICED * values.abs().max()  # independent of the unit of the similarity
    if is_changed and not _game_gradients(game, points[:2])[:, side].any():
        raise ValueError(
            "Expected a network that can be differentiated, but no gradient arrives at the parts of an image, while the similarity changes "
            "with them. Take `torch.no_grad()`, `detach()` and rounding out of its forward, or use FactorisedShapleyTaylor."
        )


def _integrate_slopes(game: Game, path: Path) -> Float[Tensor, "1 players"]:
    slopes = slopes_at(game, path.nodes)
    return path.weights.to(slopes)[None] @ slopes


def _node_terms(game: Game, index: PathIndex, is_complete: bool) -> Iterator[Credits]:
    """Yield the term of each node, in batches of nodes."""
    at_once = max(1, min(NODES_AT_ONCE, NUMBERS_AT_ONCE // game.n_players**2))
    for nodes, pairs, slopes in zip(*(part.split(at_once) for part in (index.nodes, index.pairs, index.slopes)), strict=True):
        second = _hessians(game, nodes) if is_complete else _cross_derivatives(game, nodes)
        second = second * pairs.to(second)[:, None, None]
        if is_complete:
            own = second.diagonal(dim1=1, dim2=2) / 2
            if slopes.any():
                own = own + slopes_at(game, nodes) * slopes.to(own)[:, None]
            second = second - torch.diag_embed(second.diagonal(dim1=1, dim2=2))
            yield Credits(first_order=own, marginal=own + second.sum(2) / 2, **split_blocks(second, game.n_query))
        else:
            yield Credits(between=second)


def _sum_terms(terms: Iterator[Credits], n_nodes: int, is_random: bool) -> tuple[dict[str, Any], Credits | None]:
    """The sum over all nodes, a batch of one, and its standard error if the nodes are independent samples."""
    total: dict[str, Any] = {}
    squares: dict[str, Any] = {}
    for term in terms:
        for name, block in get_blocks(term).items():
            total[name] = total.get(name, 0) + block.sum(0, keepdim=True)
            squares[name] = squares.get(name, 0) + block.square().sum(0, keepdim=True)
    if not is_random or n_nodes < 2:
        return total, None
    variance = {name: (squares[name] - total[name].square() / n_nodes).clamp(min=0) * n_nodes / (n_nodes - 1) for name in total}
    return total, Credits(**{name: block.sqrt() for name, block in variance.items()})


def _cross_derivatives(game: Game, nodes: Nodes) -> Float[Tensor, "nodes query retrieved"]:
    """`∂²_ij v` for `i` of the query and `j` of the retrieved image."""
    if not min(game.n_query, game.n_retrieved):  # an image without players has no pairs
        return _evaluate_ends(game).new_zeros(len(nodes), game.n_query, game.n_retrieved)
    if isinstance(game, TwoTowerGame):
        (_, query_slopes), (_, retrieved_slopes) = _tower_jacobians(game, nodes)
        return torch.einsum("kic,kjc->kij", query_slopes, retrieved_slopes)
    units, n_query = torch.eye(game.n_players, dtype=nodes.dtype, device=nodes.device), game.n_query
    if n_query <= game.n_retrieved:
        return _hessian_rows(game, lambda rows, _: game.values(rows), nodes, units[:n_query])[:, :, n_query:]
    return _hessian_rows(game, lambda rows, _: game.values(rows), nodes, units[n_query:])[:, :, :n_query].mT


def _tower_jacobians(game: TwoTowerGame, nodes: Nodes) -> list[tuple[Tensor, Tensor]]:
    """The embeddings and slopes of each tower. Each embedding and each product with its derivative counts as one evaluation."""
    results = []
    for embed, n_players in ((game.embed_query, game.n_query), (game.embed_retrieved, game.n_retrieved)):
        with game.pause_counting():
            results.append(jacobians(embed, diagonal_points(nodes, n_players), game.chunk))
        game.n_evaluations += len(nodes) * (1 + min(n_players, results[-1][0].shape[1]))
    return results


def _hessians(game: Game, nodes: Nodes) -> Hessians:
    """All `∂²_ij v`."""
    if not isinstance(game, TwoTowerGame):
        second = _hessian_rows(
            game, lambda rows, _: game.values(rows), nodes, torch.eye(game.n_players, dtype=nodes.dtype, device=nodes.device)
        )
        return (second + second.mT) / 2
    (u, query_slopes), (w, retrieved_slopes) = _tower_jacobians(game, nodes)
    between = torch.einsum("kic,kjc->kij", query_slopes, retrieved_slopes)
    within_query = _tower_hessian(game, game.embed_query, nodes, game.n_query, w)
    within_retrieved = _tower_hessian(game, game.embed_retrieved, nodes, game.n_retrieved, u)
    return torch.cat([torch.cat([within_query, between], 2), torch.cat([between.mT, within_retrieved], 2)], 1)


def _hessian_rows(game: Game, value: Function, nodes: Nodes, units: Float[Tensor, "rows players"]) -> Float[Tensor, "nodes rows players"]:
    """The products of the Hessian of a function with unit vectors, at each node."""
    points = diagonal_points(nodes.repeat_interleave(len(units)), units.shape[1])
    return hessian_products(value, points, units.repeat(len(nodes), 1), game.chunk).unflatten(0, (len(nodes), len(units)))


def _tower_hessian(game: TwoTowerGame, embed: Callable[[Tensor], Tensor], nodes: Nodes, n_players: int, other: Tensor) -> Hessians:
    """The second derivatives of `<embed(z), other>` at each node, with the other tower's embeddings constant."""
    if n_players == 0:
        return other.new_zeros(len(nodes), 0, 0)
    units = torch.eye(n_players, dtype=nodes.dtype, device=nodes.device)
    second = _hessian_rows(game, lambda rows, index: (embed(rows) * other[index // n_players]).sum(1), nodes, units)
    return (second + second.mT) / 2
