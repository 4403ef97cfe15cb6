"""Kernel SHAP for two images, first order (each image on its own) and second order (pairs of parts), for any similarity."""

from functools import partial
from typing import final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.views import ImageInteractions, Maps, Matrix
from captum_pairwise.estimators.heat_maps import estimate_with_maps
from captum_pairwise.estimators.regression.faithful import kernel_faithful
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.estimators.regression.kernel_taylor import count_determining, kernel_taylor
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.few_parts import divide_into_segments
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.index import BANZHAF, FAITH_SHAP, SHAPLEY_TAYLOR, Index, Probability, parse_index
from captum_pairwise.results.interactions import Interactions

Ridge = float | None
DISTINCT = "distinct"
REGRESSIONS = (SHAPLEY_TAYLOR, FAITH_SHAP, BANZHAF)


class _ImageFit(PairMethod[ImageInteractions]):
    """The estimate of both classes of first order."""

    order, _default_samples = 1, 5000
    sampling: str
    ridge: Ridge

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> ImageInteractions:
        options = {"sampling": self.sampling, "ridge": self.ridge, "generator": generator}
        return pairs.explain_images(lambda game, *_: kernel_shapley(game, self._budget(n_samples), **options))


class _KernelPairs(PairMethod[Interactions]):
    """The estimate of both classes of second order."""

    order = 2
    sampling: str
    ridge: Ridge
    index: Index

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: self._estimate_pairs(game, n_samples, generator))

    def _estimate_pairs(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        """The pairs and the heat maps; the empty coalition, the full one and the single players are beside the budget."""
        n_players, is_consistent = game.n_players, self.sampling == DISTINCT and self.ridge is None
        least = 1 if self.ridge is not None else count_determining(n_players, self.index)
        if self.index.name == SHAPLEY_TAYLOR:
            estimate = partial(kernel_taylor, sampling=self.sampling, ridge=self.ridge, generator=generator)
        else:
            estimate = partial(kernel_faithful, index=self.index, ridge=self.ridge, generator=generator)
        limits = {
            "least": least,
            "exact_from": 2**n_players - n_players - 2 if is_consistent else None,
            "index": self.index,
        }
        return estimate_with_maps(game, self._budget(n_samples, least), estimate, **limits, generator=generator)


def _choose_regression(index: str, p: Probability, sampling: str) -> Index:
    """The index, if it is the solution of a regression with this sampling.

    Raises:
        ValueError: it is not.
    """
    parsed = parse_index(index, p)
    if index not in REGRESSIONS:
        raise ValueError(
            f"Expected index to be one of {list(REGRESSIONS)}, because no regression gives the others, got {index!r}. Take "
            f"GaussianProcessShapleyTaylor(forward_func, index={index!r})."
        )
    if index != SHAPLEY_TAYLOR and sampling != DISTINCT:
        raise ValueError(
            f"Expected sampling={DISTINCT!r} for index={index!r}, got {sampling!r}, which is of 'shapley-taylor'. Leave it out."
        )
    return parsed


@final
class KernelShapley(_ImageFit, InputMethod[ImageInteractions, Maps]):
    r"""Shapley values of the parts of each image, with the other image whole, by a weighted linear fit (KSHAP, paper eq. 2 and §4).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i$$

    The credits of an image sum to its gain in similarity over its baseline, at any budget. `n` players need well over
    `2 (n-1)` coalitions; `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        sampling: `"distinct"`, or `"paper-direct"`, which repeats coalitions.
        ridge: if not None, the fit also has an answer, biased to equal players, where the coalitions do not determine one.

    >>> similarity = KernelShapley(lambda query, retrieved: (query * retrieved).sum(1))
    >>> credits = similarity.attribute((torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> [credit.round() for credit in credits]
    [tensor([[3., 8.]]), tensor([[3., 8.]])]

    See also `PartitionShap`, which needs no mask, and `LayerKernelSAM`.
    """

    def __init__(self, forward_func: ForwardFunc, *, sampling: str = DISTINCT, ridge: Ridge = None) -> None:
        InputMethod.__init__(self, forward_func)
        self.sampling, self.ridge = sampling, ridge


@final
class LayerKernelSAM(_ImageFit, LayerMethod[ImageInteractions, Maps]):
    """Shapley values of the positions of each layer output (KSAM, paper §4): SAM for any similarity and network.

    `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        sampling: as for `KernelShapley`.
        ridge: as for `KernelShapley`.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerKernelSAM(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> inputs = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> [credit.flatten().round() for credit in method.attribute(inputs, baselines=(0, 0))]
    [tensor([ 6., 12.]), tensor([18.])]

    See also `KernelShapley` and `LayerIGSAM`.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        sampling: str = DISTINCT,
        ridge: Ridge = None,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self.sampling, self.ridge = sampling, ridge


@final
class KernelShapleyTaylor(_KernelPairs, InputMethod[Interactions, Matrix]):
    r"""Shapley–Taylor or faithful indices of parts of two images by a weighted quadratic fit (KSHAP second order, paper §5.2 and eq. 7).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i + \sum_{i < j \in S} \phi_{ij}$$

    This includes pairs within one image. `n` players have `n (n-1) / 2` pairs, and need well over as many coalitions; `n_samples` is 2000
    by default, and at least three times the number of pairs. Images without a mask are divided into about 20 superpixels, not 50. For a
    two-tower model `FactorisedInteractions` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        index: `"shapley-taylor"`; `"faith-shap"`, the best fit under the Shapley kernel; or `"banzhaf"`, the best fit if parts are present
            with probability `p`, which FIxLIP computes. No regression gives the other indices.
        p: of `"banzhaf"`, the probability that a part is present, or one for each image.
        sampling: `"distinct"`, or for `"shapley-taylor"` the paper's `"paper-direct"` and `"paper-weighting"`.
        ridge: if not None, the fit also has an answer, biased to equal pairs, where the coalitions do not determine one.

    Raises:
        ValueError: the index is unknown or no regression gives it, or `p` is no probability.

    >>> similarity = KernelShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]]))).round()
    tensor([[[6.]]])

    See also `GaussianProcessShapleyTaylor`, which has all indices and standard errors, and `LayerKernelShapleyTaylor`.
    """

    _default_samples = 2000
    _players = staticmethod(divide_into_segments)

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        index: str = SHAPLEY_TAYLOR,
        p: Probability = 0.5,
        sampling: str = DISTINCT,
        ridge: Ridge = None,
    ) -> None:
        InputMethod.__init__(self, forward_func)
        self.index, self.sampling, self.ridge = _choose_regression(index, p, sampling), sampling, ridge


@final
class LayerKernelShapleyTaylor(_KernelPairs, LayerMethod[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs by the kernel fit (KSAM second order).

    `n_samples` is 20 000 by default, and at least three times the number of pairs.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        index: as for `KernelShapleyTaylor`, and so is `p`.
        p: the probability that a part is present.
        sampling: as for `KernelShapleyTaylor`.
        ridge: as for `KernelShapleyTaylor`.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerKernelShapleyTaylor(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved), baselines=(0, 0)).flatten().round()
    tensor([ 6., 12.])

    See also `LayerGaussianProcessShapleyTaylor`.
    """

    _default_samples = 20_000

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        index: str = SHAPLEY_TAYLOR,
        p: Probability = 0.5,
        sampling: str = DISTINCT,
        ridge: Ridge = None,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self.index, self.sampling, self.ridge = _choose_regression(index, p, sampling), sampling, ridge
