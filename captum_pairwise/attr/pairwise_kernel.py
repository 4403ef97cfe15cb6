"""The paper's kernel estimator of Shapley–Taylor indices, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.second_order import InputPairwise, LayerPairwise
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.network.layers import Layers
from captum_pairwise.results.interactions import Interactions


@final
class KernelShapleyTaylor(InputPairwise):
    r"""Shapley–Taylor indices of parts of two images by a weighted quadratic fit (KSHAP second order, paper §5.2 and eq. 7).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i + \sum_{i < j \in S} \phi_{ij}$$

    Pairs within one image included. `n` players have `n (n-1) / 2` pairs, and need well over as many coalitions; `n_samples` is 2000 by
    default. For a two-tower model `FactorisedShapleyTaylor` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        sampling: `"distinct"`, or the paper's `"paper-direct"` and `"paper-weighting"`.
        ridge: if not None, an answer is given, biased to equal pairs, where the coalitions do not determine one.
    """

    def __init__(self, forward_func: ForwardFunc, *, sampling: str = "distinct", ridge: float | None = None) -> None:
        InputPairwise.__init__(self, forward_func)
        self.sampling, self.ridge = sampling, ridge

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return kernel_taylor(game, 2000 if n_samples is None else n_samples, sampling=self.sampling, ridge=self.ridge, generator=generator)


@final
class LayerKernelShapleyTaylor(LayerPairwise):
    """Shapley–Taylor indices of cells of a layer's two outputs by the kernel fit (KSAM second order); `n_samples` is 20 000 by default.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        sampling: as for `KernelShapleyTaylor`.
        ridge: as for `KernelShapleyTaylor`.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        sampling: str = "distinct",
        ridge: float | None = None,
    ) -> None:
        LayerPairwise.__init__(self, forward_func, layer, device_ids)
        self.sampling, self.ridge = sampling, ridge

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return kernel_taylor(
            game, 20_000 if n_samples is None else n_samples, sampling=self.sampling, ridge=self.ridge, generator=generator
        )
