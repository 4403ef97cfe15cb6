"""Exact interaction indices of few parts."""

from typing import final

import torch

from captum_pairwise.attr.base import PairMethod
from captum_pairwise.attr.indexed import InputIndexMethod, LayerIndexMethod
from captum_pairwise.estimators.enumeration import MOST_COALITIONS, exact
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.players.few_parts import divide_cells, divide_into_few
from captum_pairwise.results.index import Index
from captum_pairwise.results.interactions import Interactions


class _Enumeration(PairMethod[Interactions]):
    """The estimate of both classes."""

    order, _default_samples = 2, MOST_COALITIONS
    index: Index

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: exact(game, self._budget(n_samples), self.index))


@final
class ExactShapleyTaylor(_Enumeration, InputIndexMethod):
    """Shapley–Taylor indices of parts of two images (paper eq. 5), or another index, pairs within one image included, from every coalition.

    `n_samples` is the most coalitions that it may evaluate, 65 536 by default: `2**(n_q + n_r)`, or for a two-tower model `2**n_q` and
    `2**n_r` by each tower; more are refused. Nothing is drawn, so `generator` has no effect. Without a mask, images are a grid of 2 × 4
    parts, and other inputs of more than 16 numbers are 8 runs of neighbouring numbers.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        index: the interaction index, as for `FactorisedInteractions`.
        p: of `"banzhaf"`, the probability that a part is present, or one for each image.

    Raises:
        ValueError: the index is unknown, or `p` is no probability.

    >>> similarity = ExactShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])

    See also `LayerExactShapleyTaylor`, and for more parts `GaussianProcessShapleyTaylor`.
    """

    _players = staticmethod(divide_into_few)


@final
class LayerExactShapleyTaylor(_Enumeration, LayerIndexMethod):
    """Shapley–Taylor indices of cells of a layer's two outputs, from every coalition; `ExactShapleyTaylor` in feature space.

    Without a mask, an output of more than 16 cells is divided into 8 runs of neighbouring cells, in reading order.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        index: as for `ExactShapleyTaylor`.
        p: as for `ExactShapleyTaylor`.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerExactShapleyTaylor(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved), baselines=(0, 0)).flatten().round()
    tensor([ 6., 12.])

    See also `LayerGaussianProcessShapleyTaylor`.
    """

    _divide = staticmethod(divide_cells)
