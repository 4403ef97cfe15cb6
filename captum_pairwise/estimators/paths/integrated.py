"""Path methods: integrated gradients, and integrated Hessians of games that are smooth along the diagonal of the cube.

With `t` the presence of every player alike, an index of pairs is an integral of second derivatives along the diagonal,

    φ_ij = ∫ ω(t) ∂²_ij v(t·1) dt ,   φ_i = ½ ∫ ω(t) ∂²_ii v(t·1) dt + the slopes that make it complete,

and credit sums to `v(1) - v(0)` for either of two weights. A player's own credit and half of its pairs are its integrated gradient.

* `"hessian"`, `ω = -2 t ln t`: Integrated Hessians (paper A.14, eq. 14-15). Its double integral is one, as `αβ` has density `-ln t`. An
  entry here is the whole pair, `Γ_ij + Γ_ji`.
* `"taylor"`, `ω = 2(1-t)`: the continuous Shapley–Taylor index, the remainder of Taylor's formula at the baseline; it *is* the
  Shapley–Taylor index where `v` is multilinear.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.paths.derivatives import hessian_products, jacobians, point_gradients
from captum_pairwise.estimators.quadrature import Path, linear_path, logarithmic_path
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.network.batching import Chunk
from captum_pairwise.results.interactions import AXES, Credits, Interactions

NOTICED = 1e-5  # of the largest value: a change that rounding does not explain
NODES_AT_ONCE, NUMBERS_AT_ONCE = 16, 2**22  # and of matrices of all pairs, at a time


@dataclass(frozen=True)
class PathIndex:
    """An index of pairs as a sum over nodes of the diagonal.

    Attributes:
        nodes: where to look.
        pairs: the weights of `∂²_ij v`, both orders together; half of them are those of `∂²_ii v`.
        slopes: the weights of `∂_i v` at the nodes.
        start: the weight of `∂_i v` at the baseline.
    """

    nodes: Float[Tensor, " nodes"]
    pairs: Float[Tensor, " nodes"]
    slopes: Float[Tensor, " nodes"]
    start: float


def hessian_index(path: Path) -> PathIndex:
    """Integrated Hessians from nodes for the weight `-ln t`."""
    return PathIndex(path.nodes, 2 * path.weights * path.nodes, path.weights, start=0.0)


def taylor_index(path: Path) -> PathIndex:
    """The continuous Shapley–Taylor index from nodes for the weight `2(1-t)`."""
    return PathIndex(path.nodes, path.weights, torch.zeros_like(path.weights), start=1.0)


@dataclass(frozen=True)
class _Weight:
    """How an index is made: of Gauss nodes, or of two uniform numbers whose `draw` has the density of its weight."""

    index: Callable[[Path], PathIndex]
    gauss: Callable[[int], Path]
    draw: Callable[[Tensor, Tensor], Tensor]


WEIGHTS = {
    "hessian": _Weight(hessian_index, logarithmic_path, torch.mul),
    "taylor": _Weight(taylor_index, linear_path, torch.minimum),
}


def gauss_index(weight: str, n_steps: int) -> PathIndex:
    """The index with this weight, `"hessian"` or `"taylor"`, from `n_steps` Gauss nodes made for it."""
    return WEIGHTS[weight].index(WEIGHTS[weight].gauss(n_steps))


def random_index(weight: str, n_samples: int, generator: torch.Generator | None) -> PathIndex:
    """The same from `n_samples` random nodes: expected Hessians."""
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    alpha, beta = torch.rand(2, n_samples, generator=generator, device=generator.device, dtype=torch.float64).cpu()
    return WEIGHTS[weight].index(Path(WEIGHTS[weight].draw(alpha, beta), torch.full_like(alpha, 1 / n_samples)))


def integrate_gradients(game: Game, path: Path) -> Interactions:
    """The integrated gradient of every player, `∫₀¹ ∂_i v(t·1) dt`, as `marginal` (paper eq. 9).

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> integrate_gradients(both, Path(torch.tensor([0.5]), torch.tensor([1.0]))).marginal
    tensor([[2.5000, 2.5000]])
    """
    ends, marginal = _ends(game), _integrate_slopes(game, path)
    n_evaluations = torch.tensor([game.n_evaluations])
    return Interactions(n_query=game.n_query, empty=ends[:1], full=ends[1:], marginal=marginal, n_evaluations=n_evaluations)


def integrate_hessians(game: Game, index: PathIndex, path: Path | None, *, is_random: bool = False) -> Interactions:
    """An index of pairs along the diagonal, by Jacobians of two towers, or by Hessian–vector products of any other game.

    Args:
        game: the game.
        index: where to look, with what weights.
        path: a quadrature for `marginal`, the integrated gradients, beside the pairs between the images; None gives the whole index,
            with the pairs within each image and the players' own credit, from which `marginal` follows.
        is_random: whether the nodes are independent draws, so that standard errors are known.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: (5.0 * z[:, 0] * z[:, 1]).float())
    >>> whole = integrate_hessians(both, gauss_index("hessian", 4), None)
    >>> whole.between, whole.first_order
    (tensor([[[2.5000]]]), tensor([[1.2500, 1.2500]]))
    >>> integrate_hessians(both, gauss_index("taylor", 1), None).between
    tensor([[[5.]]])
    """
    ends = _ends(game)
    credits, errors = _sum_terms(_terms(game, index, is_whole=path is None), len(index.nodes), is_random)
    if path is not None:
        credits["marginal"] = _integrate_slopes(game, path)
    elif index.start:
        start = index.start * slopes_at(game, torch.zeros(1, dtype=torch.float64))
        credits |= {name: credits[name] + start for name in ("first_order", "marginal")}
    return Interactions(
        n_query=game.n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        standard_error=errors,
        **credits,
    )


def _ends(game: Game) -> Float[Tensor, "2"]:
    return game.values(torch.tensor([[0.0], [1.0]]).expand(2, game.n_players))


def _diagonal(nodes: Float[Tensor, " nodes"], n_players: int) -> Float[Tensor, "nodes players"]:
    return nodes[:, None].expand(-1, n_players)


def slopes_at(game: Game, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "nodes players"]:
    """`∂_i v` at nodes of the diagonal.

    Raises:
        ValueError: no gradient arrives at any part of an image that changes the value.
    """
    slopes = _game_gradients(game, _diagonal(nodes, game.n_players))
    for of_image in (slice(0, game.n_query), slice(game.n_query, None)):
        if slopes[:, of_image].numel() and not slopes[:, of_image].any():
            _refuse_cut_off(game, of_image)
    return slopes


def _game_gradients(game: Game, points: Float[Tensor, "points players"]) -> Float[Tensor, "points players"]:
    return point_gradients(lambda rows, _: game.values(rows), points, game.chunk)


def _refuse_cut_off(game: Game, of_image: slice) -> None:
    """Refuse a game that changes between two points inside the path of one image, but has no slope at either."""
    points = torch.ones(4, game.n_players, dtype=torch.float64)
    points[:, of_image] = torch.tensor([[0.4], [0.6], [0.0], [1.0]], dtype=torch.float64)
    values = game.values(points)
    is_moved = (values[1] - values[0]).abs() > NOTICED * values.abs().max()  # whatever the unit of the similarity is
    if is_moved and not _game_gradients(game, points[:2])[:, of_image].any():
        raise ValueError(
            "Expected a network that can be differentiated, but no gradient arrives at the parts of an image, while the similarity changes "
            "with them. Take `torch.no_grad()`, `detach()` and rounding out of its forward, or use FactorisedShapleyTaylor."
        )


def _integrate_slopes(game: Game, path: Path) -> Float[Tensor, "1 players"]:
    slopes = slopes_at(game, path.nodes)
    return path.weights.to(slopes)[None] @ slopes


def _terms(game: Game, index: PathIndex, is_whole: bool) -> Iterator[Credits]:
    """Yield what each node adds to the index, in batches of nodes; without what is the same at all of them."""
    at_once = max(1, min(NODES_AT_ONCE, NUMBERS_AT_ONCE // game.n_players**2))
    for nodes, pairs, slopes in zip(*(part.split(at_once) for part in (index.nodes, index.pairs, index.slopes)), strict=True):
        if is_whole:
            second = _whole(game, nodes)
            own = slopes_at(game, nodes) if slopes.any() else second.new_zeros(second.shape[:2])
            yield _whole_terms(second * pairs.to(second)[:, None, None], own * slopes.to(own)[:, None], game.n_query)
        else:
            second = _mixed_derivatives(game, nodes)
            yield Credits(between=second * pairs.to(second)[:, None, None])


def _whole_terms(pairs: Float[Tensor, "nodes players players"], slopes: Float[Tensor, "nodes players"], n_query: int) -> Credits:
    own = pairs.diagonal(dim1=1, dim2=2) / 2 + slopes
    pairs = pairs - torch.diag_embed(pairs.diagonal(dim1=1, dim2=2))
    return Credits(
        first_order=own,
        marginal=own + pairs.sum(2) / 2,
        between=pairs[:, :n_query, n_query:],
        within_query=pairs[:, :n_query, :n_query],
        within_retrieved=pairs[:, n_query:, n_query:],
    )


def _sum_terms(terms: Iterator[Credits], n_nodes: int, is_random: bool) -> tuple[dict[str, Any], Credits | None]:
    """The sum over all nodes, a batch of one, and its standard error where the nodes are independent draws."""
    total: dict[str, Any] = {}
    squares: dict[str, Any] = {}
    for part in terms:
        for name in AXES:
            block = getattr(part, name)
            if block is not None:
                total[name] = total.get(name, 0) + block.sum(0, keepdim=True)
                squares[name] = squares.get(name, 0) + block.square().sum(0, keepdim=True)
    if not is_random or n_nodes < 2:
        return total, None
    spread = {name: (squares[name] - total[name].square() / n_nodes).clamp(min=0) * n_nodes / (n_nodes - 1) for name in total}
    return total, Credits(**{name: block.sqrt() for name, block in spread.items()})


def _mixed_derivatives(game: Game, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "nodes query retrieved"]:
    """`∂²_ij v` for `i` of the query and `j` of the retrieved image."""
    if not min(game.n_query, game.n_retrieved):  # an image without players has no pairs
        return _ends(game).new_zeros(len(nodes), game.n_query, game.n_retrieved)
    if isinstance(game, TwoTowerGame):
        (_, of_query), (_, of_retrieved) = _both_jacobians(game, nodes)
        return torch.einsum("kic,kjc->kij", of_query, of_retrieved)
    units, n_query = torch.eye(game.n_players, dtype=nodes.dtype), game.n_query
    if n_query <= game.n_retrieved:
        return _rows_of_hessian(game, nodes, units[:n_query])[:, :, n_query:]
    return _rows_of_hessian(game, nodes, units[n_query:])[:, :, :n_query].mT


def _both_jacobians(game: TwoTowerGame, nodes: Float[Tensor, " nodes"]) -> list[tuple[Tensor, Tensor]]:
    """Each tower's embeddings and slopes; a pass is counted for each embedding, and one for each product with its derivative."""
    found, counted = [], game.n_evaluations
    for embed, n_players in ((game.embed_query, game.n_query), (game.embed_retrieved, game.n_retrieved)):
        embeddings, slopes = jacobians(embed, _diagonal(nodes, n_players), game.chunk)
        found.append((embeddings, slopes))
        counted += len(nodes) * (1 + min(n_players, embeddings.shape[1]))
    game.n_evaluations = counted
    return found


def _whole(game: Game, nodes: Float[Tensor, " nodes"]) -> Float[Tensor, "nodes players players"]:
    """Every `∂²_ij v`."""
    if not isinstance(game, TwoTowerGame):
        second = _rows_of_hessian(game, nodes, torch.eye(game.n_players, dtype=nodes.dtype))
        return (second + second.mT) / 2
    (u, of_query), (w, of_retrieved) = _both_jacobians(game, nodes)
    between = torch.einsum("kic,kjc->kij", of_query, of_retrieved)
    within_query = _tower_hessian(game.embed_query, nodes, game.n_query, w, game.chunk)
    within_retrieved = _tower_hessian(game.embed_retrieved, nodes, game.n_retrieved, u, game.chunk)
    return torch.cat([torch.cat([within_query, between], 2), torch.cat([between.mT, within_retrieved], 2)], 1)


def _rows_of_hessian(
    game: Game, nodes: Float[Tensor, " nodes"], units: Float[Tensor, "rows players"]
) -> Float[Tensor, "nodes rows players"]:
    points = _diagonal(nodes.repeat_interleave(len(units)), game.n_players)
    products = hessian_products(lambda rows, _: game.values(rows), points, units.repeat(len(nodes), 1), game.chunk)
    return products.unflatten(0, (len(nodes), len(units)))


def _tower_hessian(
    embed: Callable[[Tensor], Tensor], nodes: Float[Tensor, " nodes"], n_players: int, other: Float[Tensor, "nodes channels"], chunk: Chunk
) -> Float[Tensor, "nodes players players"]:
    """The second derivatives of `<embed(z), other>` at each node, the other tower standing still."""
    if n_players == 0:
        return other.new_zeros(len(nodes), 0, 0)
    points, units = _diagonal(nodes.repeat_interleave(n_players), n_players), torch.eye(n_players, dtype=nodes.dtype).repeat(len(nodes), 1)
    products = hessian_products(lambda rows, index: (embed(rows) * other[index // n_players]).sum(1), points, units, chunk)
    second = products.unflatten(0, (len(nodes), n_players))
    return (second + second.mT) / 2
