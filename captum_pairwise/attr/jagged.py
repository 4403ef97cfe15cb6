"""Jagged credit: only single players and chosen pairs get credit."""

from collections.abc import Collection
from typing import final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.exact import MOST_COALITIONS
from captum_pairwise.estimators.jagged_index import BETWEEN, share_dividends, uses_towers
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.results.interactions import Interactions


class _SharedDividends(PairMethod[Interactions]):
    """The estimate of both classes; the default budget counts embeddings, or coalitions where they are enumerated."""

    order = 2
    pairs: Collection[str]

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate(game: Game) -> Interactions:
            default = self._default_samples if uses_towers(game, self.pairs) else MOST_COALITIONS
            return share_dividends(game, default if n_samples is None else n_samples, self.pairs, generator=generator)

        return pairs.explain(estimate)


@final
class JaggedShapleyTaylor(_SharedDividends, InputMethod[Interactions]):
    """The credit of only single players and pairs between the images (paper §5.1, “jagged”).

    It sums to `v(N) - v(∅)` without pairs within an image: the effect of one image alone stays with its parts, and the joint effect of both
    images goes to pairs between them. `first_order` is the Shapley value of a part while the other image is absent, `marginal` the Owen
    value with the images as unions. For a two-tower model `n_samples` is embeddings per tower, as for `FactorisedShapleyTaylor`, 500 by
    default; for any other it is the most coalitions that may be enumerated, 65 536 by default, and more are refused.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        pairs: the pairs that get credit besides the single players, names out of `"between"`, `"within_query"`, `"within_retrieved"`. With
            pairs within an image two-tower models are enumerated too; all three make it `ExactShapleyTaylor`.

    >>> similarity = JaggedShapleyTaylor(lambda query, retrieved: query.prod(1) * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]])))
    tensor([[[3.],
             [3.]]])
    """

    _default_samples = 500

    def __init__(self, forward_func: ForwardFunc, *, pairs: Collection[str] = (BETWEEN,)) -> None:
        InputMethod.__init__(self, forward_func)
        self.pairs = pairs


@final
class LayerJaggedShapleyTaylor(_SharedDividends, LayerMethod[Interactions]):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

    `n_samples` is 2000 by default for a two-tower model.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        pairs: as for `JaggedShapleyTaylor`.
    """

    _default_samples = 2000

    def __init__(
        self, forward_func: ForwardFunc, layer: Layers, device_ids: DeviceIds = None, *, pairs: Collection[str] = (BETWEEN,)
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids)
        self.pairs = pairs
