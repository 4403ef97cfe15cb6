"""Gaussian processes on coalitions: what a function that was seen at some coalitions is likely to be at all others."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from torch import Tensor

from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel, Rows, Walsh
from captum_pairwise.estimators.gaussian.trends import N_OWN

STEPS_TO_FIT = 25
# logarithms of: the mean rate, the rough variance, that of common trends, and of each player's own
START = (log(0.2), -6.0, 4.0, *[3.0] * N_OWN)
BOUNDS = ((-9.0, 3.0), (log(1e-9), 2.0), (-9.0, 9.0), *[(-9.0, 9.0)] * N_OWN)
RELATIVE_RATES = (-4.0, 4.0)
LEAST_ADDED = 1e-14
IMPOSSIBLE = 1e12


@dataclass(frozen=True)
class Process:
    """A Gaussian process after it has seen some coalitions; every output has the same kernel, up to a scale.

    Attributes:
        kernel: the covariance between coalitions.
        rows: the coalitions.
        factor: the Cholesky factor of their covariance.
        mean: the mean of the outputs, which the process departs from.
        whitened: `factor⁻¹ (outputs - mean)`.
    """

    kernel: CoalitionKernel
    rows: Rows
    factor: Float[Tensor, "rows rows"]
    mean: Float[Tensor, " outputs"]
    whitened: Float[Tensor, "rows outputs"]

    @cached_property
    def weights(self) -> Float[Tensor, "rows outputs"]:
        """The function that is most likely is `mean + Σ_r weights_r k(·, row_r)`."""
        return torch.linalg.solve_triangular(self.factor.T, self.whitened, upper=True)

    @cached_property
    def channels(self) -> Float[Tensor, "rows outputs"]:
        """A factor `Z` of the covariance of the outputs, `Zᵀ Z`: what the kernel is to be multiplied by.

        It is that of greatest likelihood, or larger where each row is predicted worse by the others than it says.
        """
        precision = torch.cholesky_inverse(self.factor).diagonal()
        left_out = (self.weights.square() / precision[:, None]).sum()  # squared errors of leaving rows out, in prior variances
        inflation = (left_out / self.whitened.square().sum().clamp(min=torch.finfo(left_out.dtype).tiny)).clamp(min=1)
        return self.whitened * (inflation / len(self.rows)).sqrt()

    def whiten(self, covariances: Float[Tensor, "*targets rows"]) -> Float[Tensor, "*targets rows"]:
        """`factor⁻¹` of covariances with the rows: inner products are what the rows explain."""
        flat = covariances.reshape(-1, len(self.rows))
        return torch.linalg.solve_triangular(self.factor, flat.T, upper=False).T.reshape(covariances.shape)


def fit(coalitions: Bool[Tensor, "rows players"], outputs: Float[Tensor, "rows outputs"], rows_for_kernel: int = 256) -> Process:
    """The process that has seen `outputs`, its kernel the most likely one (type-II maximum likelihood, each player with its own rate).

    The prior of the relative rates is log-normal. As its time grows with the cube of the rows, the kernel is found on a few of them.
    """
    with torch.inference_mode(False), torch.no_grad():
        rows, outputs = coalitions.cpu().double(), outputs.detach().cpu().double().clone()
        mean = outputs.mean(0)
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:rows_for_kernel]
        kernel = _most_likely(rows[chosen], (outputs - mean)[chosen])
        factor = _cholesky(kernel.gram(rows))
        return Process(kernel, rows, factor, mean, torch.linalg.solve_triangular(factor, outputs - mean, upper=False))


def _cholesky(gram: Float[Tensor, "rows rows"]) -> Float[Tensor, "rows rows"]:
    """The Cholesky factor, of the least that must be added to the diagonal for it to exist in float64."""
    added = 0.0
    while True:
        factor, failed = torch.linalg.cholesky_ex(gram + added * torch.eye(len(gram), dtype=gram.dtype))
        if not failed:
            return factor
        added = max(10 * added, LEAST_ADDED * gram.diagonal().max().item())


def _most_likely(rows: Rows, outputs: Float[Tensor, "rows outputs"]) -> CoalitionKernel:
    """The most likely kernel, found with equal rates first."""
    n_players = rows.shape[1]
    spread = outputs @ outputs.T
    if not spread.diagonal().sum() > 0:  # a constant function
        return _kernel(torch.zeros(len(START) + n_players, dtype=torch.float64))
    spread = spread / spread.diagonal().mean()
    parameters = np.array([*START, *[0.0] * n_players])
    bounds = [*BOUNDS, *[RELATIVE_RATES] * n_players]
    for n_free in (len(START), len(parameters)):
        objective = _objective(rows, spread, parameters, n_free)
        found = minimize(
            objective, parameters[:n_free], jac=True, method="L-BFGS-B", bounds=bounds[:n_free], options={"maxiter": STEPS_TO_FIT}
        )
        parameters[:n_free] = found.x
    return _kernel(torch.tensor(parameters))


def _kernel(parameters: Float[Tensor, " parameters"]) -> CoalitionKernel:
    rate, rough, common = parameters[:3]
    return CoalitionKernel(Walsh((rate + parameters[len(START) :]).exp()), rough.exp(), common.exp(), parameters[3 : len(START)].exp())


def _objective(
    rows: Rows, spread: Float[Tensor, "rows rows"], parameters: np.ndarray, n_free: int
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Minus the log likelihood for each independent output, the scale of the outputs profiled out, and its gradient."""
    fixed, n_rows = torch.tensor(parameters[n_free:]), len(rows)
    effective_outputs = (spread.diagonal().sum() ** 2 / spread.square().sum()).item()

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            variables = torch.tensor(free, requires_grad=True)
            everything = torch.cat([variables, fixed])
            gram = _kernel(everything).gram(rows)
            prior = everything[len(START) :].square().sum() / 2 / effective_outputs
        factor, failed = torch.linalg.cholesky_ex(gram.detach())
        if failed:  # a kernel too smooth for float64: the search turns back
            return IMPOSSIBLE, np.zeros_like(free)
        inverse = torch.cholesky_inverse(factor)
        explained = inverse @ spread
        scale = explained.diagonal().sum() / n_rows
        loss = n_rows * scale.log() / 2 + factor.diagonal().log().sum() + prior
        by_gram = (inverse - explained @ inverse / scale) / 2  # the derivative of the likelihood, by hand: half the time of a graph
        gradients = torch.autograd.grad([gram, prior], variables, [by_gram, torch.ones_like(prior)])
        return loss.item(), gradients[0].numpy()

    return objective
