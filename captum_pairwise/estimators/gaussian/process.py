"""Gaussian processes on coalitions: posterior of a function from its values at some coalitions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
import scipy
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel, Rows, Walsh
from captum_pairwise.estimators.gaussian.trends import N_OWN
from captum_pairwise.network.threads import use_one_thread

STEPS_TO_FIT, ROWS_FOR_KERNEL = 25, 256
# Logarithms of: the prior variance without players, relative to that with half of them (`players * fading`); the variance of the smoother
# part; the mean rate; the rough variance; the variance of common trends; and the variance of each player's trends
START = (0.0, 0.0, log(0.2), -6.0, 4.0, *[3.0] * N_OWN)
BOUNDS = ((-9.0, 3.0), (log(1e-9), 2.0), (-9.0, 9.0), *[(-9.0, 9.0)] * N_OWN)
FADING, WIDE, RELATIVE_RATES = (-4.0, 4.0), (-9.0, 9.0), (-4.0, 4.0)
NO_FADING, NOT_WIDE = (0.0, 0.0), (-9.0, -9.0)  # for a single output, which tells too little about them
LEAST_ADDED = 1e-14
IMPOSSIBLE = 1e12
TINY = torch.finfo(torch.float64).tiny
Coalitions = Bool[Tensor, "rows players"]
Outputs = Float[Tensor, "rows outputs"]
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Process:
    """A Gaussian process conditioned on some coalitions. All outputs have the same kernel, up to a scale.

    Attributes:
        kernel: covariance between coalitions.
        rows: the coalitions.
        factor: Cholesky factor of their covariance.
        mean: prior mean of the outputs.
        whitened: `factor⁻¹ (outputs - mean)`.
    """

    kernel: CoalitionKernel
    rows: Rows
    factor: Float[Tensor, "rows rows"]
    mean: Float[Tensor, " outputs"]
    whitened: Float[Tensor, "rows outputs"]

    @cached_property
    def weights(self) -> Float[Tensor, "rows outputs"]:
        """The weights of the posterior mean `mean + Σ_r weights_r k(·, row_r)`."""
        return torch.linalg.solve_triangular(self.factor.T, self.whitened, upper=True)

    @cached_property
    def channels(self) -> Float[Tensor, "factors outputs"]:
        """A factor `Z` of the covariance of the outputs, `Zᵀ Z`, which scales the kernel; with few rows if there are few outputs.

        It is the maximum-likelihood estimate, or larger if the process predicts the rows from each other worse than its variance says.
        """
        inflation = (self._left_out.sum() / self.whitened.square().sum().clamp(min=TINY)).clamp(min=1)
        n_rows, n_outputs = self.whitened.shape
        factor = torch.linalg.qr(self.whitened, mode="r").R if n_rows > 2 * n_outputs else self.whitened
        return factor * (inflation / n_rows).sqrt()

    @cached_property
    def _precision(self) -> Float[Tensor, " rows"]:
        """The inverse variance of each row, given the others."""
        return torch.cholesky_inverse(self.factor).diagonal()

    @cached_property
    def _left_out(self) -> Float[Tensor, " rows"]:
        """The squared error with which the others predict each row, in units of its variance given them."""
        return self.weights.square().sum(1) / self._precision

    def compare_left_out(self, whitened: Float[Tensor, "targets rows"]) -> Float[Tensor, " targets"]:
        """The factor, at least 1, by which the rows that matter for a target are predicted worse than the variance says.

        If a row is left out, the prediction of the target changes by the influence of the row times the error with which the others predict
        the row. Rows are weighted by the variance of this change.
        """
        influence = torch.linalg.solve_triangular(self.factor.T, whitened.T, upper=True).T
        shares = influence.square() / self._precision
        expected = shares.sum(1) * self.channels.square().sum()
        return (shares @ self._left_out / expected.clamp(min=TINY)).clamp(min=1)

    def whiten(self, covariances: Float[Tensor, "*targets rows"]) -> Float[Tensor, "*targets rows"]:
        """`factor⁻¹` times covariances with the rows. Their inner products are the variances that the rows explain."""
        flat = covariances.reshape(-1, len(self.rows))
        return torch.linalg.solve_triangular(self.factor, flat.T, upper=False).T.reshape(covariances.shape)


def fit_process(coalitions: Coalitions, outputs: Outputs, rows_for_kernel: int = ROWS_FOR_KERNEL) -> Process:
    """The process conditioned on `outputs`, with the most likely kernel: see `fit_kernel`."""
    return condition_process(fit_kernel(coalitions, outputs, rows_for_kernel), coalitions, outputs)


def fit_kernel(coalitions: Coalitions, outputs: Outputs, rows_for_kernel: int = ROWS_FOR_KERNEL) -> CoalitionKernel:
    """The most likely kernel (type-II maximum likelihood, one rate for each player).

    The priors of the relative rates and of the variance without players are log-normal. The kernel is fitted on at most
    `rows_for_kernel` rows, because the time grows with the cube of the rows. Their matrices are so small that two threads take five times
    as long as one.
    """
    with torch.inference_mode(False), torch.no_grad(), use_one_thread():
        rows, outputs = coalitions.cpu().double(), outputs.detach().cpu().double().clone()
        chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0), device="cpu")[:rows_for_kernel]
        return _search_kernel(rows[chosen], (outputs - outputs.mean(0))[chosen])


def condition_process(kernel: CoalitionKernel, coalitions: Coalitions, outputs: Outputs) -> Process:
    """The process with this kernel, conditioned on `outputs`."""
    with torch.inference_mode(False), torch.no_grad():
        rows, outputs = coalitions.cpu().double(), outputs.detach().cpu().double().clone()
        mean, factor = outputs.mean(0), _cholesky(kernel.gram(rows))
        return Process(kernel, rows, factor, mean, torch.linalg.solve_triangular(factor, outputs - mean, upper=False))


def _cholesky(gram: Float[Tensor, "rows rows"]) -> Float[Tensor, "rows rows"]:
    """The Cholesky factor, after the smallest addition to the diagonal with which it exists in float64."""
    added = 0.0
    while True:
        factor, failed = torch.linalg.cholesky_ex(gram + added * torch.eye(len(gram), dtype=gram.dtype, device=gram.device))
        if not failed:
            return factor
        added = max(10 * added, LEAST_ADDED * gram.diagonal().max().item())


def _search_kernel(rows: Rows, outputs: Float[Tensor, "rows outputs"]) -> CoalitionKernel:
    """The most likely kernel, fitted first with equal rates, then with a rate for each player."""
    n_players = rows.shape[1]
    second_moments = outputs @ outputs.T
    if not second_moments.diagonal().sum() > 0:  # a constant function
        return _build_kernel(torch.zeros(len(START) + n_players, dtype=torch.float64, device="cpu"))
    second_moments = second_moments / second_moments.diagonal().mean()
    scales = (FADING, WIDE) if outputs.shape[1] > 1 else (NO_FADING, NOT_WIDE)
    bounds, options = [*scales, *BOUNDS, *[RELATIVE_RATES] * n_players], {"maxiter": STEPS_TO_FIT}
    parameters = np.clip([*START, *[0.0] * n_players], *np.transpose(bounds))
    for n_free in (len(START), len(parameters)):
        objective = _objective(rows, second_moments, parameters, n_free)
        parameters[:n_free] = scipy.optimize.minimize(
            objective, parameters[:n_free], jac=True, method="L-BFGS-B", bounds=bounds[:n_free], options=options
        ).x
    return _build_kernel(torch.tensor(parameters, device="cpu"))


def _build_kernel(parameters: Float[Tensor, " parameters"]) -> CoalitionKernel:
    fading, wide, rate, rough, common = parameters[: len(START) - N_OWN]
    own, relative = parameters[len(START) - N_OWN : len(START)], parameters[len(START) :]
    smooth = Walsh((rate + relative).exp(), fading / len(relative))
    return CoalitionKernel(smooth, wide.exp(), rough.exp(), common.exp(), own.exp())


def _objective(rows: Rows, second_moments: Float[Tensor, "rows rows"], parameters: np.ndarray, n_free: int) -> Objective:
    """The negative log likelihood for each independent output, maximised over the scale of the outputs, and its gradient."""
    fixed, n_rows = torch.tensor(parameters[n_free:], device="cpu"), len(rows)
    effective_outputs = (second_moments.diagonal().sum() ** 2 / second_moments.square().sum()).item()

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        with torch.enable_grad():
            variables = torch.tensor(free, requires_grad=True, device="cpu")
            joined = torch.cat([variables, fixed])
            gram = _build_kernel(joined).gram(rows)
            prior = (joined[0].square() + joined[len(START) :].square().sum()) / 2 / effective_outputs
        factor, failed = torch.linalg.cholesky_ex(gram.detach())
        if failed:  # the kernel is too smooth for float64: the search turns back
            return IMPOSSIBLE, np.zeros_like(free)
        inverse = torch.cholesky_inverse(factor)
        explained = inverse @ second_moments
        scale = explained.diagonal().sum() / n_rows
        loss = n_rows * scale.log() / 2 + factor.diagonal().log().sum() + prior
        by_gram = (inverse - explained @ inverse / scale) / 2  # derivative of the likelihood by hand: half the time of autograd
        gradients = torch.autograd.grad([gram, prior], variables, [by_gram, torch.ones_like(prior)])
        return loss.item(), gradients[0].numpy()

    return objective
