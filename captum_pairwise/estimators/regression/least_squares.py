"""Least squares, also with a fixed sum of the unknowns: the kernel regressions keep efficiency as an exact constraint."""

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_PIVOT = 1e-10


@dataclass(frozen=True)
class SumConstrained:
    """Minimises `β' N β - 2 m' β` over all `β` with a given sum, for one `N`.

    Attributes:
        factor: upper Cholesky factor of `N + c 1 1'`; entries below its diagonal are not read. The added square of the constraint changes
            nothing if the constraint holds, and makes the matrix positive definite in the one direction that the constraint fixes.
    """

    factor: Float[Tensor, "unknowns unknowns"]

    def solve(self, moments: Float[Tensor, "unknowns columns"], total: Tensor | float) -> Float[Tensor, "unknowns columns"]:
        """The minimum for each column `m`, with the sum `total`."""
        solved = torch.cholesky_solve(torch.cat([torch.ones_like(self.factor[:, :1]), moments], 1), self.factor, upper=True)
        along, free = solved[:, :1], solved[:, 1:]
        return free + along * ((total - free.sum(0)) / along.sum())


def add_products(gram: Float[Tensor, "unknowns unknowns"], rows: Float[Tensor, "rows unknowns"]) -> None:
    """Add `rowsᵀ rows` to the lower triangle of a float64 matrix, in place and in half the time of the full product."""
    (syrk,) = scipy.linalg.get_blas_funcs(("syrk",), dtype=np.float64)
    # BLAS stores columns: it receives the transpose, whose upper triangle is the lower triangle here
    syrk(1.0, rows.numpy().T, beta=1.0, c=gram.numpy().T, overwrite_c=True)


def describe_undetermined(unknowns: str, n_samples: int, needed: int) -> str:
    """The error message for coalitions that do not determine the unknowns."""
    return (
        f"Expected coalitions that determine {unknowns}, but {n_samples} do not. Raise n_samples well above {needed}, or pass `ridge` for "
        "a biased answer."
    )


def sum_constrained(normal: Float[Tensor, "unknowns unknowns"], ridge: float | None, message: str) -> SumConstrained:
    """The solver for `N`, which is factorised in its own memory.

    Args:
        normal: `N`, float64. Its lower triangle is read and it is overwritten.
        ridge: if not None, added to its diagonal, in units of the mean of the diagonal.
        message: error message if `N` does not determine the unknowns.

    Raises:
        ValueError: `N` does not determine the unknowns.
    """
    scale = normal.diagonal().mean()
    scale = torch.where(scale > 0, scale, 1.0)  # a single unknown is equal to the sum, without any row
    normal += scale
    if ridge is not None:
        normal.diagonal().add_(ridge * scale)
    (potrf,) = scipy.linalg.get_lapack_funcs(("potrf",), dtype=np.float64)
    # LAPACK stores columns: the upper triangle that it receives is the lower triangle here
    factor, failed = potrf(normal.numpy().T, lower=False, overwrite_a=True, clean=False)
    factor = torch.from_numpy(factor)
    if failed or factor.diagonal().square().min() < SMALLEST_PIVOT * scale:
        raise ValueError(message)
    return SumConstrained(factor)


def solve_free(
    normal: Float[Tensor, "unknowns unknowns"], moment: Float[Tensor, " unknowns"], ridge: float | None, message: str
) -> Float[Tensor, " unknowns"]:
    """The minimum of `β' N β - 2 m' β`; the arguments are those of `sum_constrained`.

    Raises:
        ValueError: `N` does not determine the unknowns.
    """
    scale = normal.diagonal().mean()
    if ridge is not None:
        normal.diagonal().add_(ridge * scale)
    factor, failed = torch.linalg.cholesky_ex(normal)
    if failed or factor.diagonal().square().min() < SMALLEST_PIVOT * scale:
        raise ValueError(message)
    return torch.cholesky_solve(moment[:, None], factor)[:, 0]
