"""Kernel SHAP of each of two images, first order, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.first_order import InputFirstOrder, LayerFirstOrder, OfBoth
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.sides import Pairs
from captum_pairwise.network.layers import Layers


def _explained(pairs: Pairs, n_samples: int | None, sampling: str, ridge: float | None, generator: torch.Generator | None) -> OfBoth:
    """The Shapley values of both images of each pair."""
    budget = 5000 if n_samples is None else n_samples
    return pairs.explain_images(lambda game, *_: kernel_shapley(game, budget, sampling=sampling, ridge=ridge, generator=generator))


@final
class KernelShapley(InputFirstOrder):
    r"""Shapley values of the parts of each image, the other image being whole, by a weighted linear fit (KSHAP, paper eq. 2 and §4).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i$$

    The credits of an image sum to what it adds to the similarity over its baseline, at any budget. `n` players need well over
    `2 (n-1)` coalitions; `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        sampling: `"distinct"`, or `"paper-direct"`, which repeats coalitions.
        ridge: if not None, an answer is given, biased to equal players, where the coalitions do not determine one.
    """

    def __init__(self, forward_func: ForwardFunc, *, sampling: str = "distinct", ridge: float | None = None) -> None:
        InputFirstOrder.__init__(self, forward_func)
        self.sampling, self.ridge = sampling, ridge

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> OfBoth:
        return _explained(pairs, n_samples, self.sampling, self.ridge, generator)


@final
class LayerKernelSAM(LayerFirstOrder):
    """Shapley values of the positions of each layer output (KSAM, paper §4): what SAM means, for any similarity and network.

    `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        sampling: as for `KernelShapley`.
        ridge: as for `KernelShapley`.
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
        LayerFirstOrder.__init__(self, forward_func, layer, device_ids)
        self.sampling, self.ridge = sampling, ridge

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> OfBoth:
        return _explained(pairs, n_samples, self.sampling, self.ridge, generator)
