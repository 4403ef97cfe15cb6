"""Summary of a tower by a Gaussian process on its coalitions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.process import Process, fit_process
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.estimators.towers.summary import Curves, TowerSummary


def process_summary(coalitions: Bool[Tensor, "rows players"], embeddings: Float[Tensor, "rows channels"], path: Path) -> TowerSummary:
    """The summary of a tower from the embeddings of some coalitions, starting with `ends_and_singles`.

    Slopes and means are integrals of a Gaussian process conditioned on the rows (Bayesian quadrature). Their expectations and their errors
    have closed forms.
    """
    n_players, process = coalitions.shape[1], fit_process(coalitions, embeddings)
    kernel = process.kernel
    means, slopes = kernel.expectations(path.nodes, process.rows)

    def within(other_mean: Tensor) -> Tensor:
        weights = process.weights @ other_mean.cpu().double().T  # at each node a scalar function, the product with the other mean
        nodes = zip(path.nodes, path.taylor, weights.T, strict=True)
        pairs = sum(
            (share * kernel.pairs(p, process.rows, weight) for p, share, weight in nodes),
            torch.zeros((), dtype=torch.float64, device="cpu"),
        )
        return ((pairs + pairs.T) / 2).fill_diagonal_(0).to(embeddings)  # symmetric to the last digit

    slopes = _predict_curves(process, slopes, kernel.slope_covariance(path.nodes), embeddings)
    mean = _predict_curves(process, means[None], kernel.mean_covariance(path.nodes)[None], embeddings, process.mean)
    return TowerSummary(embeddings[0], embeddings[1], embeddings[2 : 2 + n_players], slopes, mean, within)


def _predict_curves(
    process: Process, covariances: Float[Tensor, "curves nodes rows"], prior: Tensor, like: Tensor, offset: Tensor | float = 0.0
) -> Curves:
    """The posterior of curves, from their covariances with the rows, their prior `[curves, nodes, nodes]` and their prior mean `offset`."""
    whitened = process.whiten(covariances)
    unexplained, channels = (prior - whitened @ whitened.mT).to(like), process.channels.to(like)

    def variance(others: Tensor, weights: Tensor) -> Tensor:
        """`Σ_kl weights_k weights_l V_i(k, l) <other_j(k), Σ other_j(l)>` with `Σ = channelsᵀ channels`."""
        scaled = torch.einsum("fc,jkc->jkf", channels, weights.to(others)[:, None] * others)
        return unexplained.flatten(1) @ (scaled @ scaled.mT).flatten(1).T

    return Curves((offset + whitened @ process.whitened).to(like), variance)
