"""Slopes and second derivatives of games at points whose players have one presence in each image."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.paths.continuous_index import SideNodes
from captum_pairwise.estimators.paths.derivatives import Function, NoGradientError, hessian_products, jacobians, point_gradients
from captum_pairwise.games.game import Game, TwoTowerGame

NOTICED = 1e-5  # a change relative to the largest value that is no rounding error
Hessians = Float[Tensor, "nodes players players"]
Jacobian = tuple[Float[Tensor, "nodes channels"], Float[Tensor, "nodes players channels"]]


def make_points(nodes: SideNodes, game: Game) -> Float[Tensor, "nodes players"]:
    """The presence of each player of a game at the nodes."""
    return torch.cat([nodes[:, :1].expand(-1, game.n_query), nodes[:, 1:].expand(-1, game.n_retrieved)], 1)


def slopes_at(game: Game, nodes: SideNodes) -> Float[Tensor, "nodes players"]:
    """`∂_i v` at the nodes.

    Raises:
        ValueError: the value changes with an image, but no gradient arrives at its parts.
    """
    slopes = _game_gradients(game, make_points(nodes, game))
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
        raise NoGradientError(
            "Expected a network that can be differentiated, but no gradient arrives at the parts of an image, while the similarity changes "
            "with them. Take `torch.no_grad()`, `detach()` and rounding out of its forward, or use FactorisedShapleyTaylor."
        )


def cross_derivatives(game: Game, nodes: SideNodes) -> Float[Tensor, "nodes query retrieved"]:
    """`∂²_ij v` for `i` of the query and `j` of the retrieved image."""
    if not min(game.n_query, game.n_retrieved):  # an image without players has no pairs
        ends = game.values(make_points(nodes[:1], game))
        return ends.new_zeros(len(nodes), game.n_query, game.n_retrieved)
    if isinstance(game, TwoTowerGame):
        (_, query_slopes), (_, retrieved_slopes) = tower_jacobians(game, nodes)
        return torch.einsum("kic,kjc->kij", query_slopes, retrieved_slopes)
    units, n_query = torch.eye(game.n_players, dtype=nodes.dtype, device=nodes.device), game.n_query
    points = make_points(nodes, game)
    if n_query <= game.n_retrieved:
        return _hessian_rows(game, lambda rows, _: game.values(rows), points, units[:n_query])[:, :, n_query:]
    return _hessian_rows(game, lambda rows, _: game.values(rows), points, units[n_query:])[:, :, :n_query].mT


def tower_jacobians(game: TwoTowerGame, nodes: SideNodes) -> list[Jacobian]:
    """The embeddings and slopes of each tower. Each embedding and each product with its derivative counts as one evaluation."""
    results = []
    for embed, points in zip((game.embed_query, game.embed_retrieved), split_sides(game, make_points(nodes, game)), strict=True):
        with game.pause_counting():
            results.append(jacobians(embed, points, game.chunk))
        game.n_evaluations += len(nodes) * (1 + min(points.shape[1], results[-1][0].shape[1]))
    return results


def split_sides(game: Game, players: Float[Tensor, "rows players"]) -> tuple[Tensor, ...]:
    """The columns of the query's players, and of the retrieved ones."""
    return players.split((game.n_query, game.n_retrieved), 1)


def full_hessians(game: Game, nodes: SideNodes) -> Hessians:
    """All `∂²_ij v`."""
    points = make_points(nodes, game)
    if not isinstance(game, TwoTowerGame):
        units = torch.eye(game.n_players, dtype=nodes.dtype, device=nodes.device)
        second = _hessian_rows(game, lambda rows, _: game.values(rows), points, units)
        return (second + second.mT) / 2
    (u, query_slopes), (w, retrieved_slopes) = tower_jacobians(game, nodes)
    query, retrieved = split_sides(game, points)
    between = torch.einsum("kic,kjc->kij", query_slopes, retrieved_slopes)
    within_query = _tower_hessian(game, game.embed_query, query, w)
    within_retrieved = _tower_hessian(game, game.embed_retrieved, retrieved, u)
    return torch.cat([torch.cat([within_query, between], 2), torch.cat([between.mT, within_retrieved], 2)], 1)


def _hessian_rows(
    game: Game, value: Function, points: Float[Tensor, "nodes players"], units: Float[Tensor, "rows players"]
) -> Float[Tensor, "nodes rows players"]:
    """The products of the Hessian of a function with unit vectors, at each point."""
    rows = points.repeat_interleave(len(units), 0)
    return hessian_products(value, rows, units.repeat(len(points), 1), game.chunk).unflatten(0, (len(points), len(units)))


def _tower_hessian(
    game: TwoTowerGame, embed: Callable[[Tensor], Tensor], points: Float[Tensor, "nodes players"], other: Float[Tensor, "nodes channels"]
) -> Hessians:
    """The second derivatives of `<embed(z), other>` at each point, with the other tower's embeddings constant."""
    n_points, n_players = points.shape
    if n_players == 0:
        return other.new_zeros(n_points, 0, 0)
    units = torch.eye(n_players, dtype=points.dtype, device=points.device)
    second = _hessian_rows(game, lambda rows, index: (embed(rows) * other[index // n_players]).sum(1), points, units)
    return (second + second.mT) / 2
