"""Projection of weights of query players through an index of pairs, without the matrix of all pairs."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.paths.continuous_index import ContinuousIndex
from captum_pairwise.estimators.paths.derivatives import directional, directional_if_fits, hessian_products, is_supported, point_gradients
from captum_pairwise.estimators.paths.second_derivatives import make_points, slopes_at, split_sides
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame


def project_weights(game: Game, attention: Float[Tensor, " query"], index: ContinuousIndex) -> Float[Tensor, " retrieved"]:
    """`Σ_i a_i φ_ij` for an index along the diagonal, from two products per node, independent of the number of players.

    For two towers `Σ_i a_i ∂²_ij v = <Σ_i a_i ∂_i u, ∂_j w>`. The left vector is one forward-mode product in the direction `a`, and all `j`
    together are one reverse-mode product with it. Other games, and towers without forward mode, take one Hessian–vector product per node.

    Args:
        game: the game.
        attention: the weight of each query player.
        index: the index, as for `integrate_hessians`.

    >>> from captum_pairwise.estimators.paths.continuous_index import gauss_index
    >>> from captum_pairwise.results.index import Index
    >>> towers = TwoTowerGame(2, 1, lambda z: z.float(), lambda z: torch.cat([z, 3 * z], 1).float())
    >>> project_weights(towers, torch.tensor([1.0, 1.0]), gauss_index(Index("shapley-taylor"), 1))
    tensor([4.])
    """
    attention, whole = attention.detach().cpu().to(index.nodes), make_points(index.nodes, game)
    query, points = split_sides(game, whole)
    moved = _move_query(game, query, attention) if isinstance(game, TwoTowerGame) else None
    if isinstance(game, TwoTowerGame) and moved is not None:
        _run_start(game, game.embed_retrieved, points)
        products = point_gradients(
            lambda rows, index: (game.embed_retrieved(rows) * moved[index.to(moved.device)]).sum(1), points, game.chunk
        )
    else:
        direction = torch.nn.functional.pad(attention, (0, game.n_retrieved)).expand_as(whole)
        _run_start(game, game.values, whole)
        products = hessian_products(lambda rows, _: game.values(rows), whole, direction, game.chunk)[:, game.n_query :]
    if not products.any():
        slopes_at(game, index.nodes)  # refuses a network without gradients
    return index.pairs.to(products) @ products


def _run_start(game: Game, function: Callable[[Tensor], Tensor], points: Float[Tensor, "nodes players"]) -> None:
    """Run the start of the path: a cosine refuses an embedding of zero there, because its slopes near it have no limit."""
    with game.pause_counting(), torch.no_grad():
        function(torch.zeros_like(points[:1]))


def _move_query(
    game: TwoTowerGame, points: Float[Tensor, "nodes query"], direction: Float[Tensor, " query"]
) -> Float[Tensor, "nodes channels"] | None:
    """The derivative of the query's embedding in one direction at each node; None without forward mode, or if memory is too small."""
    with game.pause_counting():
        start = torch.zeros_like(points[:1])  # a cosine refuses an embedding of zero there, too
        if not is_supported(lambda: directional(game.embed_query, start, direction[None])):
            return None
    return directional_if_fits(game.embed_query, points, direction.expand_as(points))


def swap_images(game: Game) -> Game:
    """The same game with the retrieved image as the query."""
    if isinstance(game, TwoTowerGame):
        return TwoTowerGame(game.n_retrieved, game.n_query, game.embed_retrieved, game.embed_query, chunk=game.chunk)
    n_query, n_retrieved = game.n_query, game.n_retrieved
    return CallableGame(
        n_retrieved, n_query, lambda z: game.values(torch.cat([z[:, n_retrieved:], z[:, :n_retrieved]], 1)), chunk=game.chunk
    )


def sum_of_maps(maps: Float[Tensor, "maps batch height width"]) -> Float[Tensor, "batch height width"]:
    """The sum of the maps of each example, each divided by its largest absolute value. A map of zeros stays zero.

    >>> sum_of_maps(torch.tensor([[[[1.0, -2.0]]], [[[5.0, 0.0]]]]))
    tensor([[[ 1.5000, -1.0000]]])
    """
    largest = maps.abs().amax((2, 3), keepdim=True)
    return (maps / largest.clamp(min=torch.finfo(maps.dtype).tiny)).sum(0)
