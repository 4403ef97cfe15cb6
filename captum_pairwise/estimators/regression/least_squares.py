"""Least squares whose unknowns have a known sum: the kernel regressions keep efficiency as an exact constraint."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from torch import Tensor

SMALLEST_PIVOT = 1e-10


@dataclass(frozen=True)
class SumConstrained:
    """Minimises `β' N β - 2 m' β` among the `β` of a given sum, for one `N`.

    Attributes:
        factor: upper Cholesky factor of `N + c 1 1'`; what is below its diagonal is not read. The square of the constraint changes
            nothing where it holds, and fills the one direction that it fixes.
    """

    factor: Float[Tensor, "unknowns unknowns"]

    def solve(self, moments: Float[Tensor, "unknowns columns"], total: Tensor | float) -> Float[Tensor, "unknowns columns"]:
        """The minimum for each column `m`, all with this sum."""
        solved = torch.cholesky_solve(torch.cat([torch.ones_like(self.factor[:, :1]), moments], 1), self.factor, upper=True)
        along, free = solved[:, :1], solved[:, 1:]
        return free + along * ((total - free.sum(0)) / along.sum())


def add_products(gram: Float[Tensor, "unknowns unknowns"], rows: Float[Tensor, "rows unknowns"]) -> None:
    """Add `rowsᵀ rows` to the lower triangle of a matrix, in place and in half the time of the whole; float64."""
    (syrk,) = get_blas_funcs(("syrk",), dtype=np.float64)
    # BLAS counts along columns: what it sees is transposed, and the upper triangle there is the lower one here
    syrk(1.0, rows.numpy().T, beta=1.0, c=gram.numpy().T, overwrite_c=True)


def sum_constrained(normal: Float[Tensor, "unknowns unknowns"], ridge: float | None, refusal: str) -> SumConstrained:
    """Factorise `N` in its own memory.

    Args:
        normal: `N`, float64, of which the lower triangle is read; it is overwritten.
        ridge: if not None, added to its diagonal, in units of the diagonal's mean.
        refusal: what to say where it determines nothing.

    Raises:
        ValueError: `N` does not determine the unknowns.
    """
    scale = normal.diagonal().mean()
    scale = torch.where(scale > 0, scale, 1.0)  # a single unknown is its sum, without any row
    normal += scale
    if ridge is not None:
        normal.diagonal().add_(ridge * scale)
    (potrf,) = get_lapack_funcs(("potrf",), dtype=np.float64)
    # LAPACK counts along columns: the upper triangle that it sees is the lower one here
    factor, failed = potrf(normal.numpy().T, lower=False, overwrite_a=True, clean=False)
    factor = torch.from_numpy(factor)
    if failed or factor.diagonal().square().min() < SMALLEST_PIVOT * scale:
        raise ValueError(refusal)
    return SumConstrained(factor)
