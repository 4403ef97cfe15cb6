"""Exact Shapley–Taylor indices, by evaluating every coalition."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions, shapley_taylor
from captum_pairwise.estimators.quadrature import Path, diagonal_path
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary, combine
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.network.batching import get_memory_bytes
from captum_pairwise.results.interactions import Interactions, make_interactions


def exact(game: Game, most: int = 2**20) -> Interactions:
    """Every Shapley–Taylor index of order 2 (paper eq. 5), from all `2**n` coalitions, or `2**n_q + 2**n_r` of a two-tower game.

    Args:
        game: the game.
        most: the most coalitions to evaluate; of a two-tower game, by each tower.

    Raises:
        ValueError: there are more coalitions.

    >>> from captum_pairwise.games.game import CallableGame
    >>> both = CallableGame(1, 1, lambda z: 5.0 * (z[:, 0] & z[:, 1]))
    >>> exact(both).between
    tensor([[[5.]]])
    """
    if isinstance(game, TwoTowerGame):
        refuse_too_many(max(game.n_query, game.n_retrieved), most, "of one image")
        return _exact_two_tower(game)
    refuse_too_many(game.n_players, most, "of both images")
    values = enumerate_values(game)
    _, first, second = shapley_taylor(values)
    return make_interactions(values[[0, -1]], first, second, game.n_query, game.n_evaluations)


def enumerate_values(game: Game) -> Float[Tensor, " coalitions"]:
    """The value of every coalition, row `S` at bit mask `S`, query players the lower bits; each of two towers embeds its own once."""
    if isinstance(game, TwoTowerGame):
        u = game.embed_query(all_coalitions(game.n_query))
        return (game.embed_retrieved(all_coalitions(game.n_retrieved)) @ u.T).flatten()
    return game.values(all_coalitions(game.n_players))


def refuse_too_many(n_players: int, most: int, whose: str) -> None:
    """Refuse to enumerate more coalitions than `most`, or than fit memory.

    Raises:
        ValueError: there are more.
    """
    if 2**n_players > most:
        raise ValueError(
            f"Expected n_samples of at least 2**{n_players} = {2**n_players} to enumerate all coalitions of the {n_players} players "
            f"{whose}, got {most}. Raise n_samples, take fewer players (a coarser mask), or sample them with FactorisedShapleyTaylor."
        )
    if 8 * n_players * 2**n_players > get_memory_bytes(torch.device("cpu")):
        raise ValueError(
            f"Expected coalitions that fit memory, got all 2**{n_players} of the {n_players} players {whose}. Take fewer players (a "
            "coarser mask), or sample them with FactorisedShapleyTaylor."
        )


def _exact_two_tower(game: TwoTowerGame) -> Interactions:
    path = diagonal_path(game.n_players)
    u = game.embed_query(all_coalitions(game.n_query))
    w = game.embed_retrieved(all_coalitions(game.n_retrieved))
    query, retrieved = enumerate_tower(u, path), enumerate_tower(w, path)
    credits, _ = combine(query, retrieved, path)
    return Interactions(
        n_query=game.n_query,
        empty=(query.empty @ retrieved.empty)[None],
        full=(query.full @ retrieved.full)[None],
        first_order=credits.first_order,
        between=credits.between,
        within_query=_within(u, retrieved.mean.values[0], path)[None],
        within_retrieved=_within(w, query.mean.values[0], path)[None],
        n_evaluations=torch.tensor([game.n_evaluations]),
    )


def _probabilities(members: Float[Tensor, "coalitions players"], p: Tensor) -> Float[Tensor, " coalitions"]:
    size, n_players = members.sum(1), members.shape[1]
    return p**size * (1 - p) ** (n_players - size)


def _scores(members: Float[Tensor, "coalitions players"], p: Tensor) -> Float[Tensor, "coalitions players"]:
    """`∂ log P_p(A) / ∂p_i`: weighting by it turns an expectation into a slope in player `i`."""
    return members / p - (1 - members) / (1 - p)


def enumerate_tower(embeddings: Float[Tensor, "coalitions channels"], path: Path) -> TowerSummary:
    """The summary of a tower whose every coalition is embedded, in the order of `all_coalitions`."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players).to(path.nodes)
    slopes, means = [], []
    for p in path.nodes:
        probability = _probabilities(members, p)
        slopes.append((probability[:, None] * _scores(members, p)).T.to(embeddings) @ embeddings)
        means.append(probability.to(embeddings) @ embeddings)
    singles = 2 ** torch.arange(n_players)
    return TowerSummary(
        empty=embeddings[0],
        full=embeddings[-1],
        singles=embeddings[singles],
        slopes=Curves(torch.stack(slopes, 1)),
        mean=Curves(torch.stack(means)[None]),
        within=lambda other_mean, path: _within(embeddings, other_mean, path),
    )


def _within(
    embeddings: Float[Tensor, "coalitions channels"], other_mean: Float[Tensor, "nodes channels"], path: Path
) -> Float[Tensor, "players players"]:
    """The Shapley–Taylor indices of two players of one image, `∫ 2(1-p) <E_p[δ_ii' u], E_p[w]> dp`."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players).to(path.nodes)
    values = (embeddings @ other_mean.T).to(members)  # one scalar game for each node
    total = members.new_zeros(n_players, n_players)
    for p, weight, value in zip(path.nodes, path.taylor, values.T, strict=True):
        scores = _scores(members, p)
        weighted = _probabilities(members, p) * value
        total += weight * scores.T @ (weighted[:, None] * scores)
    return ((total + total.T) / 2).fill_diagonal_(0).to(embeddings)  # symmetric to the last digit
