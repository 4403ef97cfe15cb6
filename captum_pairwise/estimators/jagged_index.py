"""Jagged fair credit: dividends shared by single players and by pairs between the images."""

import torch

from captum_pairwise.estimators.coalitions import jagged_credit
from captum_pairwise.estimators.enumeration import enumerate_values, map_images
from captum_pairwise.estimators.limits import refuse_too_many
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.indices import combine_between
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.results.interactions import Interactions, make_interactions


def share_dividends(game: Game, n_samples: int, *, generator: torch.Generator | None = None) -> Interactions:
    """The credit of all single players and of the pairs between the images (paper §5.1, “jagged”).

    Each dividend is shared as by `jagged_credit`, and the sum is `v(N) - v(∅)`. A pair gets its part of the joint effect of the two images,
    `φ_ij = Σ_{T∋i,j} d(T) / (|T∩Q| |T∩R|)`: the Shapley operator of each image, applied in turn. For two towers this is the inner
    product of the Shapley values of their embeddings, `<φ_i(u), φ_j(w)>`, which `factorise` enumerates or samples. The effect of one
    image alone is the credit of its single players: their Shapley values while the other image is absent. Their own credit and all
    their pairs together are their Shapley values while the other image is present (eq. 2). The marginal is the mean of both: the Owen
    value with the images as unions.

    Args:
        game: the game.
        n_samples: maximum number of coalitions to evaluate; for a two-tower game, embeddings per tower.
        generator: source of randomness if embeddings are sampled; None means a generator with seed 0.

    Raises:
        ValueError: there are too many coalitions, or too few embeddings for the number of players.

    >>> from captum_pairwise.games.game import CallableGame
    >>> three = CallableGame(2, 1, lambda z: 6.0 * z.all(1))
    >>> share_dividends(three, 8).between
    tensor([[[3.],
             [3.]]])
    """
    if isinstance(game, EmbeddedGame):
        return factorise(game, n_samples, share=combine_between, generator=generator)
    refuse_too_many(game.n_players, n_samples, "of both images")
    values, n_players, n_query = enumerate_values(game), game.n_players, game.n_query
    singles = torch.eye(n_players, dtype=torch.bool, device="cpu")
    pairs = (singles[:n_query, None] | singles[n_query:]).flatten(0, 1)
    _, credit, _ = jagged_credit(values, torch.cat([singles, pairs]))
    first, between = credit[:n_players], credit[n_players:].reshape(n_query, game.n_retrieved)
    marginal = first + torch.cat([between.sum(1), between.sum(0)]) / 2
    blocks = {"first_order": first[None], "marginal": marginal[None], "between": between[None], **map_images(values, n_query)}
    return make_interactions(values[[0, -1]], n_query, game.n_evaluations, **blocks)
