"""Least squares whose unknowns have a known sum: the kernel regressions keep efficiency as an exact constraint."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_PIVOT = 1e-10


@dataclass(frozen=True)
class SumConstrained:
    """Minimises `β' N β - 2 m' β` among the `β` of a given sum, for one `N`.

    Attributes:
        factor: lower Cholesky factor of `N + c 1 1'`. The square of the constraint changes nothing where it holds, and fills the
            one direction that it fixes.
        along: that matrix's inverse times `1`.
    """

    factor: Float[Tensor, "unknowns unknowns"]
    along: Float[Tensor, "unknowns 1"]

    def solve(self, moments: Float[Tensor, "unknowns columns"], total: Tensor | float) -> Float[Tensor, "unknowns columns"]:
        """The minimum for each column `m`, all with this sum."""
        free = torch.cholesky_solve(moments, self.factor)
        return free + self.along * ((total - free.sum(0)) / self.along.sum())


def sum_constrained(normal: Float[Tensor, "unknowns unknowns"], ridge: float | None, refusal: str) -> SumConstrained:
    """Factorise `N`, of which the lower triangle is read, and which is overwritten.

    Args:
        normal: `N`.
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
    factor, failed = torch.linalg.cholesky_ex(normal)
    if failed or (factor.diagonal().square().min() < SMALLEST_PIVOT * scale):
        raise ValueError(refusal)
    return SumConstrained(factor, torch.cholesky_solve(torch.ones_like(factor[:, :1]), factor))
