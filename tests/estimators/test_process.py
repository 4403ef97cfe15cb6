"""The scale of a process against its definition: every row predicted from the other rows, by matrices without it."""

import pytest
import torch
from conftest import random_tensor, seeded

from captum_pairwise.estimators.draws import Draws
from captum_pairwise.estimators.gaussian.covariance import CoalitionKernel, Walsh
from captum_pairwise.estimators.gaussian.process import Process

N_PLAYERS, N_ROWS = 5, 12


def make_process(is_rough):
    """A smooth process on outputs of two channels: random numbers, or the numbers of players."""
    rows, number = Draws(N_PLAYERS, seeded(0)).more(N_ROWS).double(), torch.tensor(0.01, dtype=torch.float64)
    smooth = Walsh(torch.full((N_PLAYERS,), 0.05, dtype=torch.float64), number)
    kernel = CoalitionKernel(smooth, number, number, number, number.expand(3))
    outputs = random_tensor(N_ROWS, 2) if is_rough else rows.sum(1, keepdim=True) * torch.tensor([1.0, 2.0])
    factor = torch.linalg.cholesky(kernel.gram(rows))
    mean = outputs.mean(0)
    return Process(kernel, rows, factor, mean, torch.linalg.solve_triangular(factor, outputs - mean, upper=False)), outputs


def squared_errors_left_out(process, outputs):
    """The squared error of each row's prediction from the others, in units of its variance, summed over rows and channels."""
    gram, total = process.kernel.gram(process.rows), 0.0
    for row in range(N_ROWS):
        others = [other for other in range(N_ROWS) if other != row]
        weights = torch.linalg.solve(gram[others][:, others], gram[others, row])
        variance = gram[row, row] - weights @ gram[others, row]
        error = outputs[row] - process.mean - weights @ (outputs[others] - process.mean)
        total += (error.square() / variance).sum().item()
    return total


@pytest.mark.parametrize("is_rough", [True, False])
def test_the_scale_grows_with_the_errors_of_rows_left_out(is_rough):
    process, outputs = make_process(is_rough)
    centred, gram = outputs - process.mean, process.kernel.gram(process.rows)
    likely = centred.T @ torch.linalg.solve(gram, centred) / N_ROWS
    inflation = squared_errors_left_out(process, outputs) / N_ROWS / likely.trace().item()
    assert (inflation > 1.01) is is_rough
    torch.testing.assert_close(process.channels.T @ process.channels, likely * max(1.0, inflation), rtol=1e-9, atol=0)


def test_errors_of_rows_left_out_count_by_their_influence_on_a_target():
    """Without a row, the posterior mean of a target changes by its influence times the row's error, whose variance is the posterior's."""
    process, outputs = make_process(is_rough=True)
    gram, targets = process.kernel.gram(process.rows), random_tensor(3, N_ROWS, seed=4)
    squares, variances = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for row in range(N_ROWS):
        others = [other for other in range(N_ROWS) if other != row]
        smaller, covariance = gram[others][:, others], gram[others, row]
        weights = torch.linalg.solve(smaller, covariance)
        variance = gram[row, row] - weights @ covariance
        error = outputs[row] - process.mean - weights @ (outputs[others] - process.mean)
        whole = targets @ torch.linalg.solve(gram, outputs - process.mean)
        change = whole - targets[:, others] @ torch.linalg.solve(smaller, outputs[others] - process.mean)
        influence = change @ error / error.square().sum()
        torch.testing.assert_close(change, influence[:, None] * error)
        own = influence.square() * variance  # the variance of the change, in units of the outputs
        squares, variances = squares + own * error.square().sum() / variance, variances + own * process.channels.square().sum()
    expected = squares / variances
    assert expected.max() > 1 > expected.min()
    torch.testing.assert_close(process.compare_left_out(process.whiten(targets)), expected.clamp(min=1))
