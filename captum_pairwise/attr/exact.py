"""Shapley–Taylor indices by evaluating every coalition."""

from typing import final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.results.interactions import Interactions

MOST_COALITIONS = 2**16


class _Enumeration(PairMethod[Interactions]):
    """The estimate of both classes."""

    order, _default_samples = 2, MOST_COALITIONS

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: exact(game, self._budget(n_samples)))


@final
class ExactShapleyTaylor(_Enumeration, InputMethod[Interactions]):
    """Shapley–Taylor indices of parts of two images (paper eq. 5), pairs within one image included, from every coalition.

    `n_samples` is the most coalitions that it may evaluate, 65 536 by default: `2**(n_q + n_r)`, or for a two-tower model `2**n_q` and
    `2**n_r` by each tower; more are refused. Nothing is drawn, so `generator` has no effect.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> similarity = ExactShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])
    """


@final
class LayerExactShapleyTaylor(_Enumeration, LayerMethod[Interactions]):
    """Shapley–Taylor indices of cells of a layer's two outputs, from every coalition; `ExactShapleyTaylor` in feature space."""
