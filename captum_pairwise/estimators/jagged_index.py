"""Jagged fair credit: dividends shared over single players and over chosen pairs."""

from collections.abc import Collection
from typing import TypeGuard

import torch
from torch import Tensor

from captum_pairwise.estimators.coalitions import jagged_credit
from captum_pairwise.estimators.enumeration import enumerate_values, refuse_too_many
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.summary import combine_between
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.results.interactions import Interactions, split_blocks

BETWEEN = "between"
PAIRS = (BETWEEN, "within_query", "within_retrieved")


def share_dividends(
    game: Game, n_samples: int, pairs: Collection[str] = (BETWEEN,), *, generator: torch.Generator | None = None
) -> Interactions:
    """The credit of all single players and of the pairs of the named blocks, and of nothing else (paper §5.1, “jagged”).

    Each dividend is shared as by `jagged_credit`; the sum is `v(N) - v(∅)`. A pair between the images then has its part of all that the
    two do together, `φ_ij = Σ_{T∋i,j} d(T) / (|T∩Q| |T∩R|)`: the Shapley operator of each image, applied in turn; for two towers the
    inner product of the Shapley values of their embeddings, `<φ_i(u), φ_j(w)>`, which are enumerated or sampled as `factorised` does.
    What an image does alone goes to its single players: their credit is their Shapley value while the other image is absent, that and
    all their pairs together their Shapley value while it is whole (eq. 2), and the marginal the mean of both, the Owen value with the
    images as unions.

    Args:
        game: the game.
        n_samples: the most coalitions to evaluate; of a two-tower game and the pairs between alone, embeddings per tower.
        pairs: names of blocks: `"between"`, `"within_query"`, `"within_retrieved"`. All three make it Shapley–Taylor, none Shapley values.
        generator: the source of randomness, where embeddings are sampled; one seeded with 0 if None.

    Raises:
        ValueError: a name is unknown, or there are more coalitions, or too few embeddings for the number of players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> three = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> share_dividends(three, 8).between
    tensor([[[3.],
             [3.]]])
    """
    if isinstance(pairs, str) or not set(pairs) <= set(PAIRS):
        raise ValueError(f"Expected pairs to be a tuple of names out of {PAIRS}, got {pairs!r}.")
    if uses_towers(game, pairs):
        return factorise(game, n_samples, share=combine_between, generator=generator)
    refuse_too_many(game.n_players, n_samples, "of both images")
    values = enumerate_values(game)
    n_players, n_query = game.n_players, game.n_query
    i, j = _pairs_in_blocks(n_players, n_query, pairs)
    wanted = torch.eye(n_players, dtype=torch.bool)
    empty, credit, _ = jagged_credit(values, torch.cat([wanted, wanted[i] | wanted[j]]))
    second = values.new_zeros(n_players, n_players)
    second[i, j] = second[j, i] = credit[n_players:]
    return Interactions(
        n_query=n_query,
        empty=empty[None],
        full=values[-1:],
        n_evaluations=torch.tensor([game.n_evaluations]),
        first_order=credit[None, :n_players],
        marginal=(credit[:n_players] + second.sum(1) / 2)[None],
        **{name: block for name, block in split_blocks(second, n_query).items() if name in pairs},
    )


def uses_towers(game: Game, pairs: Collection[str]) -> TypeGuard[TwoTowerGame]:
    """Whether the credit is made of what each tower does alone, without a coalition of both images."""
    return isinstance(game, TwoTowerGame) and set(pairs) == {BETWEEN}


def _pairs_in_blocks(n_players: int, n_query: int, pairs: Collection[str]) -> tuple[Tensor, Tensor]:
    """Both players of each pair in the named blocks."""
    i, j = torch.triu_indices(n_players, n_players, 1)
    block = {"within_query": j < n_query, "within_retrieved": i >= n_query, BETWEEN: (i < n_query) & (j >= n_query)}
    kept = torch.zeros_like(i, dtype=torch.bool)
    for name in pairs:
        kept |= block[name]
    return i[kept], j[kept]
