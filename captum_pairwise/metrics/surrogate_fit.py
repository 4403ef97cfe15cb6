"""How well the credits of an explanation predict the similarity when parts are absent."""

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.checks import check_finite, describe_value, promote_half


@dataclass(frozen=True)
class SurrogateFit:
    r"""The agreement of predictions $\hat v$ with the similarities $v$ of the same coalitions, for each pair of images.

    Attributes:
        r2: $1 - \mathbb{E}(v - \hat v)^2 / \mathrm{Var} \, v$; 1 is perfect, 0 as good as the mean, and below 0 worse than the mean.
        pearson: the correlation, which forgives a wrong offset and scale.
        spearman: the correlation of the ranks; equal values have their mean rank.
        kendall: the part of the pairs of coalitions that both order alike, minus the part that they order differently (Kendall's tau-b).
        mse: $\mathbb{E}(v - \hat v)^2$.

    >>> fit = surrogate_faithfulness(torch.tensor([[2.0, 4.0, 6.0]]), torch.tensor([[1.0, 2.0, 3.0]]))  # twice the similarity
    >>> fit.pearson.round(decimals=4), fit.kendall, fit.r2.round()
    (tensor([1.]), tensor([1.]), tensor([-6.]))

    See also `surrogate_faithfulness`.
    """

    r2: Float[Tensor, " batch"]
    pearson: Float[Tensor, " batch"]
    spearman: Float[Tensor, " batch"]
    kendall: Float[Tensor, " batch"]
    mse: Float[Tensor, " batch"]


@torch.no_grad()
def surrogate_faithfulness(predicted: Float[Tensor, "batch coalitions"], values: Float[Tensor, "batch coalitions"]) -> SurrogateFit:
    """The agreement of predictions with similarities, in float64 (the protocol of FIxLIP, Baniecki et al. 2025).

    Take coalitions that the explanation has not seen, in which each part is present with a probability that you report: the numbers depend
    on it. A number that is not defined, because all similarities or all predictions are equal, is NaN.

    Args:
        predicted: what the explanation predicts, `[B, coalitions]`, as `Interactions.predict` returns it.
        values: the similarity of the same coalitions.

    Raises:
        ValueError: the shapes differ, there are fewer than two coalitions, or a number is not finite.

    >>> fit = surrogate_faithfulness(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 6.0]]))
    >>> fit.mse, fit.r2, fit.kendall
    (tensor([3.]), tensor([0.3571]), tensor([1.]))

    See also `cp.Interactions.predict` and `insertion_deletion`.
    """
    for name, numbers in (("predicted", predicted), ("values", values)):
        if not isinstance(numbers, Tensor) or numbers.dim() != 2 or not numbers.is_floating_point():
            raise ValueError(
                f"Expected floating-point {name} [B, n], a row for each pair, got {describe_value(numbers)}. Add a batch axis."
            )
        check_finite(numbers, name)
    if predicted.shape != values.shape or values.shape[1] < 2:
        raise ValueError(
            f"Expected predicted and values of the same two or more coalitions, got shapes {tuple(predicted.shape)} and "
            f"{tuple(values.shape)}. Evaluate both on the same rows."
        )
    guess, truth = (numbers.detach().cpu().double().numpy() for numbers in (predicted, values))
    squared, spread = np.square(truth - guess).mean(1), truth.var(1)
    r2 = np.where(spread > 0, 1 - squared / np.where(spread > 0, spread, 1), np.nan)
    kendall = [scipy.stats.kendalltau(*row).statistic for row in zip(guess, truth, strict=True)]
    ranked = _correlate_rows(scipy.stats.rankdata(guess, axis=1), scipy.stats.rankdata(truth, axis=1))
    columns = (r2, _correlate_rows(guess, truth), ranked, np.array(kendall, dtype=float), squared)
    return SurrogateFit(*(torch.from_numpy(column).to(promote_half(values)) for column in columns))


def _correlate_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each row of two tables; NaN where a row is constant."""
    left, right = (table - table.mean(1, keepdims=True) for table in (left, right))
    scale = np.sqrt(np.square(left).sum(1) * np.square(right).sum(1))
    return np.where(scale > 0, (left * right).sum(1) / np.where(scale > 0, scale, 1), np.nan)
