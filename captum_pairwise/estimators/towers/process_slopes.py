"""Summary of a tower by a Gaussian process on its coalitions."""

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.process import Process
from captum_pairwise.estimators.index_path import Nodes
from captum_pairwise.estimators.towers.summary import CurveCovariance, Curves, Products, TowerSummary, make_posterior

NUMBERS_AT_ONCE = 2**23  # covariances in memory at once
LEAST_SHARE = 1e-3  # of the variance of pairs within an image: smaller directions are left out


def process_summary(process: Process, embeddings: Float[Tensor, "rows channels"], nodes: Nodes) -> TowerSummary:
    """The summary of a tower from the embeddings of some coalitions, starting with `ends_and_singles`.

    Slopes and means are integrals of a Gaussian process conditioned on the rows (Bayesian quadrature). Their expectations and their errors
    have closed forms. At `p = 0` the slopes are differences of embedded rows, and means at both ends are embedded rows: they are exact.
    """
    kernel, n_players = process.kernel, process.kernel.n_players
    means, slopes = kernel.expectations(nodes, process.rows)
    priors = kernel.slope_covariance(nodes), kernel.mean_covariance(nodes)[None]
    slope_curves = _predict_curves(process, slopes, priors[0], nodes == 0, embeddings)
    slope_curves.values[:, nodes == 0] = (embeddings[2 : 2 + n_players] - embeddings[0])[:, None]
    mean = _predict_curves(process, means[None], priors[1], (nodes == 0) | (nodes == 1), embeddings, process.mean)
    mean.values[:, nodes == 0], mean.values[:, nodes == 1] = embeddings[0], embeddings[1]

    def within(other_mean: Tensor, weights: Nodes) -> Products:
        return _predict_within(process, nodes, weights, other_mean)

    return TowerSummary(embeddings[0], embeddings[1], slope_curves, mean, within)


def _predict_within(process: Process, nodes: Nodes, weights: Nodes, other_mean: Float[Tensor, "nodes channels"]) -> Products:
    """`Σ_k weights_k <E_k[δ_ii' u], other_mean(k)>` of every two players, and its standard error."""
    nodes, others = nodes[weights != 0], (weights[:, None] * other_mean.cpu().double())[weights != 0]
    scalars = process.weights @ others.T  # at each node a scalar function, the product with the other mean
    zero = torch.zeros(process.kernel.n_players, process.kernel.n_players, dtype=torch.float64, device="cpu")
    pairs = sum((process.kernel.pairs(p, process.rows, scalar) for p, scalar in zip(nodes, scalars.T, strict=True)), zero)
    variance = zero.clone()
    for direction in _find_directions(process.channels @ others.T):  # few, because the other mean hardly turns along the path
        at_once = max(1, NUMBERS_AT_ONCE // (len(process.rows) * len(zero)))
        blocks = process.kernel.pair_covariances(nodes, direction, process.rows, at_once)
        variance += torch.cat([prior - process.whiten(covariances).square().sum(2) for covariances, prior in blocks]).clamp(min=0)
    both = [((block + block.T) / 2).fill_diagonal_(0).to(other_mean) for block in (pairs, variance)]  # symmetric to the last digit
    return both[0], both[1].sqrt()


def _find_directions(scaled: Float[Tensor, "factors nodes"]) -> Float[Tensor, "directions nodes"]:
    """Weights over the nodes whose squares have the sum `scaledᵀ scaled`, without those that hardly matter."""
    _, sizes, directions = torch.linalg.svd(scaled, full_matrices=False)
    return (sizes[:, None] * directions)[sizes > LEAST_SHARE * sizes.max()]


def _predict_curves(
    process: Process,
    covariances: Float[Tensor, "curves nodes rows"],
    prior: Float[Tensor, "curves nodes nodes"],
    is_exact: Tensor,
    like: Tensor,
    offset: Tensor | float = 0.0,
) -> Curves:
    """The posterior of curves, from their covariances with the rows, their prior and their prior mean `offset`; exact at some nodes."""
    whitened = process.whiten(covariances)
    unexplained, channels = (prior - whitened @ whitened.mT).to(like), process.channels.to(like)
    unexplained[:, is_exact] = 0
    unexplained[:, :, is_exact] = 0

    def inflate(weights: Nodes) -> Tensor:
        return process.compare_left_out(weights.to(whitened) @ whitened).to(like)

    mean = (offset + whitened @ process.whitened).to(like)
    return make_posterior(mean, CurveCovariance(unexplained, channels, inflate))
