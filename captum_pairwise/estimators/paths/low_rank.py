"""Pairs of many players of two towers along a path, from products of low rank with a measured error.

The mixed derivatives at a node are `A Bᵀ`, with the slopes `A` and `B` of the two towers, one row for each player. With an orthonormal
basis `C` of few directions of the embedding they are nearly `(A C) (B C)ᵀ`: one reverse-mode product for each direction and tower. A
randomised range finder (Halko, Martinsson and Tropp 2011) makes the basis from forward-mode products `Bᵀ ω` with random signs `ω`. Other
random signs measure the error: the mean of `|(A Bᵀ - A C Cᵀ Bᵀ) ω|²` is its squared Frobenius norm.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.paths.continuous_index import ContinuousIndex
from captum_pairwise.estimators.paths.derivatives import Embed, cotangent_products, directional, directional_if_fits, is_supported
from captum_pairwise.estimators.paths.second_derivatives import make_points, split_sides
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.results.credits import Credits

MOST_EXACT = 64  # players of the smaller side; fewer have a product for each
N_SKETCHES, N_PROBES = 8, 4  # random directions of the first block of the basis, and of the measured error
LARGE_SHARE = 4  # a basis of a quarter of all directions is completed at once
Products = Float[Tensor, "nodes directions channels"]


def sum_low_rank(game: Game, index: ContinuousIndex, tolerance: float) -> tuple[Credits, Credits] | None:
    """The pairs between the images, a batch of one, and their standard error, the same for each; None where exact products are better.

    Args:
        game: the game.
        index: nodes and weights.
        tolerance: add directions until the root-mean-square error is below this share of the root-mean-square pair.
    """
    if not isinstance(game, TwoTowerGame) or game.is_affine or min(game.n_query, game.n_retrieved) <= MOST_EXACT:
        return None
    query, retrieved = split_sides(game, make_points(index.nodes, game))
    generator = torch.Generator().manual_seed(0)
    signs = _draw_signs((N_PROBES, 1, game.n_retrieved), generator).to(retrieved)
    probes = _push(game, retrieved, signs.expand(-1, len(retrieved), -1)) if _has_forward_mode(game, retrieved) else None
    if probes is None:
        return None
    weights, pairs = index.pairs.to(probes), probes.new_zeros(game.n_query, game.n_retrieved)
    products = torch.einsum("k,kpi->pi", weights, _pull(game, game.embed_query, query, probes))
    error = products.square().sum(1).mean()
    for basis in _make_bases(game, retrieved, probes, generator):
        sides = (_pull(game, game.embed_query, query, basis), _pull(game, game.embed_retrieved, retrieved, basis))
        pairs = pairs + torch.einsum("k,kci,kcj->ij", weights, *sides)
        error = (products - signs[:, 0].to(pairs) @ pairs.T).square().sum(1).mean()
        if error <= tolerance**2 * pairs.square().sum():
            break
    return Credits(between=pairs[None]), Credits(between=(error / pairs.numel()).sqrt().expand(1, *pairs.shape))


def _has_forward_mode(game: TwoTowerGame, points: Float[Tensor, "nodes players"]) -> bool:
    with game.pause_counting():
        return is_supported(lambda: directional(game.embed_retrieved, points[:1], torch.ones_like(points[:1])))


def _draw_signs(shape: Sequence[int], generator: torch.Generator) -> Float[Tensor, "directions nodes players"]:
    return 2 * torch.randint(2, tuple(shape), generator=generator, device=generator.device).double().cpu() - 1


def _push(
    game: TwoTowerGame, points: Float[Tensor, "nodes players"], directions: Float[Tensor, "directions nodes players"]
) -> Products | None:
    """`Bᵀ ω` of the retrieved tower for each direction, in forward mode; None if memory is too small for one direction."""
    products = [directional_if_fits(game.embed_retrieved, points, direction) for direction in directions]
    fitting = [product for product in products if product is not None]
    return torch.stack(fitting, 1) if len(fitting) == len(products) else None


def _pull(
    game: TwoTowerGame, embed: Embed, points: Float[Tensor, "nodes players"], directions: Float[Tensor, "*nodes directions channels"]
) -> Float[Tensor, "nodes directions players"]:
    """`A c` of a tower for each direction of the embedding, at all nodes or of each node, in reverse mode."""
    directions = directions.expand(len(points), -1, -1)
    with game.pause_counting():
        products = cotangent_products(embed, points, directions, game.chunk)
    game.n_evaluations += directions.shape[0] * directions.shape[1]
    return products


def _make_bases(
    game: TwoTowerGame, points: Float[Tensor, "nodes players"], like: Products, generator: torch.Generator
) -> Iterator[Float[Tensor, "directions channels"]]:
    """Yield blocks of orthonormal directions of the embedding, each orthogonal to those before and twice as large, until none is left."""
    every = torch.eye(like.shape[2], dtype=like.dtype, device=like.device)
    basis, n_rounds = every[:0], -(-N_SKETCHES // len(points))
    while len(basis) < len(every):
        signs = _draw_signs((n_rounds, *points.shape), generator).to(points)
        sketches = _push(game, points, signs) if LARGE_SHARE * len(basis) < len(every) else None
        more = every if sketches is None else sketches.flatten(0, 1)
        longer = torch.linalg.qr(torch.cat([basis, more]).T)[0].T
        yield longer[len(basis) :]
        basis, n_rounds = longer, 2 * n_rounds
