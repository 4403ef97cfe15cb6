"""Pairs from two independent paths, one for each image: products of integrated Jacobians of two towers."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.paths.second_derivatives import slopes_at, tower_jacobians
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.results.interactions import Interactions, make_interactions

NODES_AT_ONCE, NUMBERS_AT_ONCE = 16, 2**24  # limits of the Jacobians in memory
Integrals = tuple[Float[Tensor, "query channels"], Float[Tensor, "retrieved channels"]]


def integrate_towers(game: Game, path: Path) -> Interactions:
    """The products of integrated Jacobians, `φ_ij = <∫ ∂_i u(s·1) ds, ∫ ∂_j w(t·1) dt>`, and all credit that they complete.

    It is the double integral `∫∫ ∂²_ij v(s, t) ds dt` over the presences `s` of the query's players and `t` of the retrieved ones (Möller,
    Nikolaev and Padó 2023, xsbert; Möller et al. 2024, exCLIP). The pairs sum to the mixed difference `v(N) - v(Q) - v(R) + v(∅)` of the
    two images. The credit of single players is what they do beside the baseline of the other image, `φ_i = <∫ ∂_i u ds, w(0)>`, so that
    all credits sum to `v(N) - v(∅)`. The jagged index (`combine_between`) has Shapley values of the embeddings in place of these integrals,
    `φ_ij = <φ_i(u), φ_j(w)>`: the two are equal if the towers are multilinear.

    Args:
        game: a game of two towers whose value is an inner product.
        path: quadrature of both integrals.

    Raises:
        ValueError: the game has no two towers, or no gradient arrives at the parts of an image.

    >>> towers = TwoTowerGame(1, 1, lambda z: z.float() ** 2 + 1, lambda z: 3 * z.float())
    >>> found = integrate_towers(towers, Path(torch.tensor([0.5]), torch.tensor([1.0])))
    >>> found.between, found.first_order
    (tensor([[[3.]]]), tensor([[0., 3.]]))
    """
    if not isinstance(game, TwoTowerGame):
        raise ValueError(
            "Expected two towers whose similarity is an inner product, because each image has a path of its own. Pass a SimilarityWrapper "
            "with similarity 'cosine', 'dot' or 'euclidean', or take another weight."
        )
    (u_empty, u_full), (w_empty, w_full) = (
        game.embed_query(_ends(game.n_query)),
        game.embed_retrieved(_ends(game.n_retrieved)),
    )
    query, retrieved = _integrate_jacobians(game, path, len(u_full))
    if not query.any() or not retrieved.any():
        slopes_at(game, path.nodes[:, None].expand(-1, 2))  # refuses a network without gradients

    def multiply(other_of_query: Tensor, other_of_retrieved: Tensor) -> Float[Tensor, "1 players"]:
        return torch.cat([query @ other_of_query, retrieved @ other_of_retrieved])[None]

    return make_interactions(
        torch.stack([u_empty @ w_empty, u_full @ w_full]),
        game.n_query,
        game.n_evaluations,
        first_order=multiply(w_empty, u_empty),
        marginal=multiply((w_empty + w_full) / 2, (u_empty + u_full) / 2),
        given_other=multiply(w_full, u_full),
        between=(query @ retrieved.T)[None],
        without_query=(u_empty @ w_full)[None],
        without_retrieved=(u_full @ w_empty)[None],
    )


def _ends(n_players: int) -> Float[Tensor, "2 players"]:
    """The start and the end of a path."""
    return torch.tensor([[0.0], [1.0]], dtype=torch.float32, device="cpu").expand(2, n_players)


def _integrate_jacobians(game: TwoTowerGame, path: Path, n_channels: int) -> Integrals:
    """`∫ ∂_i u(t·1) dt` of each tower, in batches of nodes that fit into memory."""
    at_once = max(1, min(NODES_AT_ONCE, NUMBERS_AT_ONCE // (n_channels * game.n_players)))
    sums = []
    for nodes, weights in zip(path.nodes.split(at_once), path.weights.split(at_once), strict=True):
        towers = tower_jacobians(game, nodes[:, None].expand(-1, 2))
        sums.append([torch.einsum("k,kic->ic", weights.to(slopes), slopes) for _, slopes in towers])
    query, retrieved = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
    return query, retrieved
