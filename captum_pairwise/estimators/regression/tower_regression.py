"""Linear regressions of the embeddings of two towers, whose products are the regression of FIxLIP."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Coalitions = Bool[Tensor, "rows players"]


@dataclass(frozen=True)
class LinearTower:
    """The embedding of a tower as a linear function of its coalition, `u(A) ≈ intercept + Σ_{i∈A} slopes_i`.

    Attributes:
        intercept: the embedding without players.
        slopes: what each player adds.
    """

    intercept: Float[Tensor, " channels"]
    slopes: Float[Tensor, "players channels"]


def regress_tower(coalitions: Coalitions, embeddings: Float[Tensor, "rows channels"]) -> LinearTower:
    """The ordinary least squares of embeddings on the presence of players, with an intercept.

    For coalitions drawn with probability `p` the slopes estimate `E_p[u(A∪i) - u(A)]`. Together with the slopes of the other tower they
    estimate the weighted Banzhaf index, `φ_ij = <slope_i, slope_j>`. The product of both regressions is the one least squares that FIxLIP
    solves over the grid of all coalitions of the image and of the text (Baniecki et al. 2025).

    Args:
        coalitions: the coalitions.
        embeddings: their embeddings.

    Raises:
        ValueError: the coalitions do not determine the slopes.

    >>> rows = torch.tensor([[False, False], [True, False], [False, True]])
    >>> regress_tower(rows, torch.tensor([[1.0], [3.0], [0.0]])).slopes.round(decimals=6)
    tensor([[ 2.],
            [-1.]])
    """
    present = coalitions.cpu().double()
    design = torch.cat([present.new_ones(len(present), 1), present], 1)
    fit = torch.linalg.lstsq(design, embeddings.cpu().double(), driver="gelsd")
    if fit.rank < design.shape[1]:
        n_samples, n_players = coalitions.shape
        raise ValueError(
            f"Expected coalitions that determine the slopes of {n_players} players, but {n_samples} do not. Raise n_samples well above "
            f"{n_players + 1}."
        )
    solution = fit.solution.to(embeddings)
    return LinearTower(solution[0], solution[1:])
