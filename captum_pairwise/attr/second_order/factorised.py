"""The factorised Shapley–Taylor estimator for two-tower models: the default that we recommend."""

from typing import final

import torch

from captum_pairwise.attr.base import InputPairwise, LayerPairwise
from captum_pairwise.estimators.factorised import factorised
from captum_pairwise.game import Game, TwoTowerGame
from captum_pairwise.interactions import Interactions


def _estimate(game: Game, n_samples: int, generator: torch.Generator | None) -> Interactions:
    if not isinstance(game, TwoTowerGame):
        raise ValueError(
            "Expected a SimilarityWrapper with cosine, dot product or Euclidean similarity, because the estimator embeds each image alone. "
            "Pass `SimilarityWrapper(encoder)`, or use ExactShapleyTaylor on few players."
        )
    return factorised(game, n_samples, generator=generator)


@final
class FactorisedShapleyTaylor(InputPairwise):
    """Shapley–Taylor indices of parts of two images, from a few hundred embeddings of each (ours; not in the paper).

    Pairs between the images, exact first-order terms and Shapley values, each with a standard error where it was sampled. Pairs
    within one image are not estimated. `n_samples` is 500 by default.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine, dot product or Euclidean head.
    """

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return _estimate(game, 500 if n_samples is None else n_samples, generator)


@final
class LayerFactorisedShapleyTaylor(LayerPairwise):
    """Shapley–Taylor indices of cells of a layer's two outputs; `FactorisedShapleyTaylor` in feature space, `n_samples` 2000 by default.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU())
    >>> method = LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder[1])
    >>> method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7))).shape
    torch.Size([2, 4, 4, 3, 3])
    """

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return _estimate(game, 2000 if n_samples is None else n_samples, generator)
