"""Jagged fair credit: dividends shared over single players and over chosen pairs, by evaluating every coalition."""

from collections.abc import Collection
from math import comb
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions, jagged_credit
from captum_pairwise.estimators.exact import refuse_more
from captum_pairwise.game import Game, TwoTowerGame
from captum_pairwise.interactions import Interactions, blocks_of

BETWEEN = "between"
PAIRS = (BETWEEN, "within_query", "within_retrieved")


def jagged(game: Game, pairs: Collection[str] = (BETWEEN,), most: int = 2**20) -> Interactions:
    """The credit of all single players and of the pairs of the named blocks, and of nothing else (paper §5.1, “jagged”).

    Each dividend is shared as by `jagged_credit`; the sum is `v(N) - v(∅)`. A pair between the images then has the part of all that the
    two do together, `φ_ij = Σ_{T∋i,j} d(T) / (|T∩Q| |T∩R|)`: the Shapley operator of each image, applied in turn; for two towers the
    inner product of the Shapley values of their embeddings, `<φ_i(u), φ_j(w)>`. What an image does alone goes to its single players:
    their credit is their Shapley value while the other image is absent, that and all their pairs together their Shapley value while
    it is whole (eq. 2), and the marginal the mean of both, the Owen value with the images as unions.

    Args:
        game: the game.
        pairs: names of blocks: `"between"`, `"within_query"`, `"within_retrieved"`. All three make it Shapley–Taylor, none Shapley values.
        most: the most coalitions to evaluate; of a two-tower game and the pairs between alone, by each tower.

    Raises:
        ValueError: a name is unknown, or there are more coalitions.

    >>> from captum_pairwise.game import CallableGame
    >>> three = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> jagged(three).between
    tensor([[[3.],
             [3.]]])
    """
    if isinstance(pairs, str) or not set(pairs) <= set(PAIRS):
        raise ValueError(f"Expected pairs to be a tuple of names out of {PAIRS}, got {pairs!r}.")
    if isinstance(game, TwoTowerGame) and set(pairs) == {BETWEEN}:
        refuse_more(max(game.n_query, game.n_retrieved), most, "of one image")
        return _by_towers(game)
    refuse_more(game.n_players, most, "of both images")
    n_players, n_query = game.n_players, game.n_query
    values = _every_value(game)
    i, j = _chosen(n_players, n_query, pairs)
    wanted = torch.eye(n_players, dtype=torch.bool)
    empty, credit, _ = jagged_credit(values, torch.cat([wanted, wanted[i] | wanted[j]]))
    second = values.new_zeros(n_players, n_players)
    second[i, j] = second[j, i] = credit[n_players:]
    blocks = {name: block for name, block in blocks_of(second, n_query).items() if name in pairs}
    return _interactions(game, torch.stack([empty, values[-1]]), credit[:n_players], second.sum(1), blocks)


def _interactions(
    game: Game, ends: Float[Tensor, "2"], first: Float[Tensor, " players"], company: Float[Tensor, " players"], blocks: dict[str, Any]
) -> Interactions:
    """The credits of one game; `company` sums the pairs of each player."""
    return Interactions(
        n_query=game.n_query,
        empty=ends[:1],
        full=ends[1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        first_order=first[None],
        marginal=(first + company / 2)[None],
        **blocks,
    )


def _chosen(n_players: int, n_query: int, pairs: Collection[str]) -> tuple[Tensor, Tensor]:
    """Both players of each pair in the named blocks."""
    i, j = torch.triu_indices(n_players, n_players, 1)
    block = {"within_query": j < n_query, "within_retrieved": i >= n_query, BETWEEN: (i < n_query) & (j >= n_query)}
    kept = torch.zeros_like(i, dtype=torch.bool)
    for name in pairs:
        kept |= block[name]
    return i[kept], j[kept]


def _every_value(game: Game) -> Float[Tensor, " coalitions"]:
    """The value of every coalition; each tower embeds its own once, and query players are the lower bits."""
    if isinstance(game, TwoTowerGame):
        u = game.embed_query(all_coalitions(game.n_query))
        return (game.embed_retrieved(all_coalitions(game.n_retrieved)) @ u.T).flatten()
    return game.values(all_coalitions(game.n_players))


def _by_towers(game: TwoTowerGame) -> Interactions:
    """The pairs between alone, from the Shapley values of the embeddings: no coalition of both images is looked at."""
    u, w = game.embed_query(all_coalitions(game.n_query)), game.embed_retrieved(all_coalitions(game.n_retrieved))
    left, right = _shapley_values(u), _shapley_values(w)
    between = left @ right.T
    ends = torch.stack([u[0] @ w[0], u[-1] @ w[-1]])
    return _interactions(
        game, ends, torch.cat([left @ w[0], right @ u[0]]), torch.cat([between.sum(1), between.sum(0)]), {BETWEEN: between[None]}
    )


def _shapley_values(embeddings: Float[Tensor, "coalitions channels"]) -> Float[Tensor, "players channels"]:
    """The Shapley values of every channel (paper eq. 1): a coalition of size `s` counts for its members, and against the others."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players)
    size = members.sum(1)
    share = torch.tensor([1 / (n_players * comb(n_players - 1, s)) for s in range(n_players)], dtype=torch.float64)
    joined, stayed_out = share[(size - 1).clamp(min=0)], share[size.clamp(max=n_players - 1)]
    weights = torch.where(members, joined[:, None], -stayed_out[:, None])
    return weights.T.to(embeddings) @ embeddings
