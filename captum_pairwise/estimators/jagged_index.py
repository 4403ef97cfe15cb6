"""Jagged fair credit: dividends shared by single players and by chosen pairs."""

from collections.abc import Collection
from typing import TypeGuard

import torch
from torch import Tensor

from captum_pairwise.estimators.coalitions import jagged_credit
from captum_pairwise.estimators.enumeration import enumerate_values
from captum_pairwise.estimators.limits import refuse_too_many
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.summary import combine_between
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks

BETWEEN = "between"
PAIRS = (BETWEEN, "within_query", "within_retrieved")


def share_dividends(
    game: Game, n_samples: int, pairs: Collection[str] = (BETWEEN,), *, generator: torch.Generator | None = None
) -> Interactions:
    """The credit of all single players and of the pairs in the named blocks (paper §5.1, “jagged”).

    Each dividend is shared as by `jagged_credit`, and the sum is `v(N) - v(∅)`. With pairs between the images only, a pair gets its part of
    the joint effect of the two images, `φ_ij = Σ_{T∋i,j} d(T) / (|T∩Q| |T∩R|)`: the Shapley operator of each image, applied in turn. For
    two towers this is the inner product of the Shapley values of their embeddings, `<φ_i(u), φ_j(w)>`, which `factorise` enumerates or
    samples. The effect of one image alone is the credit of its single players: their Shapley values while the other image is absent. Their
    own credit and all their pairs together are their Shapley values while the other image is present (eq. 2). The marginal is the mean of
    both: the Owen value with the images as unions.

    Args:
        game: the game.
        n_samples: maximum number of coalitions to evaluate; for a two-tower game with pairs between the images only, embeddings per tower.
        pairs: names of blocks: `"between"`, `"within_query"`, `"within_retrieved"`. All three give Shapley–Taylor indices, no name
            gives Shapley values.
        generator: source of randomness if embeddings are sampled; None means a generator with seed 0.

    Raises:
        ValueError: a name is unknown, there are too many coalitions, or too few embeddings for the number of players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> three = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> share_dividends(three, 8).between
    tensor([[[3.],
             [3.]]])
    """
    if isinstance(pairs, str) or not set(pairs) <= set(PAIRS):
        raise ValueError(f"Expected pairs to be a tuple of names out of {PAIRS}, got {pairs!r}. Leave out the others.")
    if uses_towers(game, pairs):
        return factorise(game, n_samples, share=combine_between, generator=generator)
    refuse_too_many(game.n_players, n_samples, "of both images")
    values = enumerate_values(game)
    n_players, n_query = game.n_players, game.n_query
    i, j = _pairs_in_blocks(n_players, n_query, pairs)
    singles = torch.eye(n_players, dtype=torch.bool)
    _, credit, _ = jagged_credit(values, torch.cat([singles, singles[i] | singles[j]]))
    second = values.new_zeros(n_players, n_players)
    second[i, j] = second[j, i] = credit[n_players:]
    blocks = {name: block for name, block in split_blocks(second[None], n_query).items() if name in pairs}
    blocks |= {"first_order": credit[None, :n_players], "marginal": (credit[:n_players] + second.sum(1) / 2)[None]}
    return make_interactions(values[[0, -1]], n_query, game.n_evaluations, **blocks)


def uses_towers(game: Game, pairs: Collection[str]) -> TypeGuard[TwoTowerGame]:
    """True if the credit follows from each tower alone, without coalitions of both images."""
    return isinstance(game, TwoTowerGame) and set(pairs) == {BETWEEN}


def _pairs_in_blocks(n_players: int, n_query: int, pairs: Collection[str]) -> tuple[Tensor, Tensor]:
    """Both players of each pair in the named blocks."""
    i, j = torch.triu_indices(n_players, n_players, 1)
    block = {"within_query": j < n_query, "within_retrieved": i >= n_query, BETWEEN: (i < n_query) & (j >= n_query)}
    is_chosen = torch.zeros_like(i, dtype=torch.bool)
    for name in pairs:
        is_chosen |= block[name]
    return i[is_chosen], j[is_chosen]
