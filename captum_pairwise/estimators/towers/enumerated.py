"""Summary of a tower from the embeddings of all coalitions."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.coalitions import all_coalitions
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary

Members = Float[Tensor, "coalitions players"]


def enumerate_tower(embeddings: Float[Tensor, "coalitions channels"], path: Path) -> TowerSummary:
    """The summary of a tower from the embeddings of all coalitions, in the order of `all_coalitions`."""
    n_players = len(embeddings).bit_length() - 1
    members = all_coalitions(n_players).to(path.nodes)
    slopes, means = [], []
    for p in path.nodes:
        probability = _probabilities(members, p)
        slopes.append((probability[:, None] * _scores(members, p)).T.to(embeddings) @ embeddings)
        means.append(probability.to(embeddings) @ embeddings)

    def within(other_mean: Tensor) -> Tensor:
        values = (embeddings @ other_mean.T).to(members)  # one scalar game for each node
        total = members.new_zeros(n_players, n_players)
        for p, weight, value in zip(path.nodes, path.taylor, values.T, strict=True):
            scores = _scores(members, p)
            total += weight * scores.T @ ((_probabilities(members, p) * value)[:, None] * scores)
        return ((total + total.T) / 2).fill_diagonal_(0).to(embeddings)  # symmetric to the last digit

    singles = embeddings[2 ** torch.arange(n_players)]
    return TowerSummary(embeddings[0], embeddings[-1], singles, Curves(torch.stack(slopes, 1)), Curves(torch.stack(means)[None]), within)


def _probabilities(members: Members, p: Tensor) -> Float[Tensor, " coalitions"]:
    size, n_players = members.sum(1), members.shape[1]
    return p**size * (1 - p) ** (n_players - size)


def _scores(members: Members, p: Tensor) -> Members:
    """`∂ log P_p(A) / ∂p_i`. An expectation weighted by it is the slope in player `i`."""
    return members / p - (1 - members) / (1 - p)
