"""What a tower does along the path, by a Gaussian process on its coalitions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.process import Process, fit
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary, Variance


def process_summary(coalitions: Bool[Tensor, "rows players"], embeddings: Float[Tensor, "rows channels"], path: Path) -> TowerSummary:
    """The summary of a tower from the embeddings of some coalitions, the first of which are `ends_and_singles`.

    Slopes and means are integrals of a process that has seen the rows (Bayesian quadrature): their expectations are closed forms, and
    so are their errors.
    """
    n_players, process = coalitions.shape[1], fit(coalitions, embeddings)
    means, slopes = process.kernel.expectations(path.nodes, process.rows)
    return TowerSummary(
        empty=embeddings[0],
        full=embeddings[1],
        singles=embeddings[2 : 2 + n_players],
        slopes=_curves(process, slopes, process.kernel.slope_covariance(path.nodes), torch.zeros_like(process.mean), embeddings),
        mean=_curves(process, means[None], process.kernel.mean_covariance(path.nodes)[None], process.mean, embeddings),
        within=lambda other_mean, path: _within(process, other_mean.cpu().double(), path).to(embeddings),
    )


def _curves(
    process: Process,
    covariances: Float[Tensor, "curves nodes rows"],
    prior: Float[Tensor, "curves nodes nodes"],
    offset: Float[Tensor, " channels"],
    like: Tensor,
) -> Curves:
    """The most likely curves, given how they vary with the rows, and with themselves."""
    whitened = process.whiten(covariances)
    values, unexplained, channels = offset + whitened @ process.whitened, prior - whitened @ whitened.mT, process.channels
    return Curves(values.to(like), _variance(unexplained.to(like), channels.to(like)))


def _variance(unexplained: Float[Tensor, "curves nodes nodes"], channels: Float[Tensor, "factors channels"]) -> Variance:
    """`Σ_kl weights_k weights_l V_i(k, l) <other_j(k), Σ other_j(l)>` with `Σ = channelsᵀ channels`."""

    def variance(others: Tensor, weights: Tensor) -> Tensor:
        seen = torch.einsum("fc,jkc->jkf", channels, weights.to(others)[:, None] * others)
        return unexplained.flatten(1) @ (seen @ seen.mT).flatten(1).T

    return variance


def _within(process: Process, other_mean: Float[Tensor, "nodes channels"], path: Path) -> Float[Tensor, "players players"]:
    """`∫ 2(1-p) <E_p[δ_ii' u], E_p[w]> dp`: at each node a scalar function, the product with the other's mean."""
    weights = process.weights @ other_mean.T
    parts = zip(path.nodes, path.taylor, weights.T, strict=True)
    pairs = sum((share * process.kernel.pairs(p, process.rows, weight) for p, share, weight in parts), torch.zeros(()))
    return ((pairs + pairs.T) / 2).fill_diagonal_(0)  # symmetric to the last digit
