"""Kernel SHAP for two images, first order (each image on its own) and second order (pairs of parts), for any similarity."""

from functools import partial
from typing import Any, final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.views import ImageInteractions, Maps, Matrix, Result, View
from captum_pairwise.estimators.heat_maps import estimate_with_maps
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.estimators.regression.kernel_taylor import count_determining, kernel_taylor
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.few_parts import divide_into_segments
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.interactions import Interactions

Ridge = float | None


class _KernelFit(PairMethod[Result]):
    """The estimate of all four classes."""

    sampling: str
    ridge: Ridge

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions | ImageInteractions:
        options = {"sampling": self.sampling, "ridge": self.ridge, "generator": generator}
        if self.order == 1:
            return pairs.explain_images(lambda game, *_: kernel_shapley(game, self._budget(n_samples), **options))
        return pairs.explain(lambda game: self._estimate_pairs(game, n_samples, options))

    def _estimate_pairs(self, game: Game, n_samples: int | None, options: dict[str, Any]) -> Interactions:
        """The pairs and the heat maps; the empty coalition, the full one and the single players are beside the budget."""
        n_players, is_consistent = game.n_players, self.sampling == "distinct" and self.ridge is None
        least = 1 if self.ridge is not None else count_determining(n_players)
        budget = self._budget(n_samples, least)
        limits = {
            "least": least,
            "exact_from": 2**n_players - n_players - 2 if is_consistent else None,
        }
        return estimate_with_maps(game, budget, partial(kernel_taylor, **options), **limits, generator=options["generator"])


class _InputFit(_KernelFit[Result], InputMethod[Result, View]):
    """The constructor of both classes of parts of images."""

    def __init__(self, forward_func: ForwardFunc, *, sampling: str = "distinct", ridge: Ridge = None) -> None:
        InputMethod.__init__(self, forward_func)
        self.sampling, self.ridge = sampling, ridge


class _LayerFit(_KernelFit[Result], LayerMethod[Result, View]):
    """The constructor of both classes of cells of a layer."""

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        sampling: str = "distinct",
        ridge: Ridge = None,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self.sampling, self.ridge = sampling, ridge


@final
class KernelShapley(_InputFit[ImageInteractions, Maps]):
    r"""Shapley values of the parts of each image, with the other image whole, by a weighted linear fit (KSHAP, paper eq. 2 and §4).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i$$

    The credits of an image sum to its gain in similarity over its baseline, at any budget. `n` players need well over
    `2 (n-1)` coalitions; `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        sampling: `"distinct"`, or `"paper-direct"`, which repeats coalitions.
        ridge: if not None, the fit also has an answer, biased to equal players, where the coalitions do not determine one.
    """

    order, _default_samples = 1, 5000


@final
class LayerKernelSAM(_LayerFit[ImageInteractions, Maps]):
    """Shapley values of the positions of each layer output (KSAM, paper §4): SAM for any similarity and network.

    `n_samples` is 5000 by default, as in the paper.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        sampling: as for `KernelShapley`.
        ridge: as for `KernelShapley`.
        layout: the axes of the layer's output, as for the other layer methods.
    """

    order, _default_samples = 1, 5000


@final
class KernelShapleyTaylor(_InputFit[Interactions, Matrix]):
    r"""Shapley–Taylor indices of parts of two images by a weighted quadratic fit (KSHAP second order, paper §5.2 and eq. 7).

    $$v(S) \approx v(\emptyset) + \sum_{i \in S} \phi_i + \sum_{i < j \in S} \phi_{ij}$$

    This includes pairs within one image. `n` players have `n (n-1) / 2` pairs, and need well over as many coalitions; `n_samples` is 2000
    by default, and at least three times the number of pairs. Images without a mask are divided into about 20 superpixels, not 50. For a
    two-tower model `FactorisedShapleyTaylor` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        sampling: `"distinct"`, or the paper's `"paper-direct"` and `"paper-weighting"`.
        ridge: if not None, the fit also has an answer, biased to equal pairs, where the coalitions do not determine one.
    """

    order, _default_samples = 2, 2000
    _players = staticmethod(divide_into_segments)


@final
class LayerKernelShapleyTaylor(_LayerFit[Interactions, Matrix]):
    """Shapley–Taylor indices of cells of a layer's two outputs by the kernel fit (KSAM second order).

    `n_samples` is 20 000 by default, and at least three times the number of pairs.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        sampling: as for `KernelShapleyTaylor`.
        ridge: as for `KernelShapleyTaylor`.
        layout: the axes of the layer's output, as for the other layer methods.
    """

    order, _default_samples = 2, 20_000
