"""Shapley–Taylor indices of any similarity by a Gaussian process on its coalitions."""

from typing import final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.results.interactions import Interactions


class _ProcessFit(PairMethod[Interactions]):
    """The estimate of both classes."""

    order, _default_samples = 2, 2000

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: gaussian_process(game, self._budget(n_samples), generator=generator))


@final
class GaussianProcessShapleyTaylor(_ProcessFit, InputMethod[Interactions]):
    """Shapley–Taylor indices of parts of two images for any forward function, from the fewest evaluations (ours; not in the paper).

    Pairs within one image included, with the standard errors of the posterior. `n_samples` is 2000 by default and at most 8192; one that
    covers all coalitions is exact. A two-tower model is better served by `FactorisedShapleyTaylor`, which knows of its towers.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = GaussianProcessShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """


@final
class LayerGaussianProcessShapleyTaylor(_ProcessFit, LayerMethod[Interactions]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `GaussianProcessShapleyTaylor` in feature space."""
