"""Credit that is shared over single players and chosen pairs alone."""

from collections.abc import Collection
from typing import final

import torch

from captum_pairwise.attr.exact import MOST_COALITIONS
from captum_pairwise.attr.second_order import InputPairwise, LayerPairwise
from captum_pairwise.estimators.jagged_index import BETWEEN, share_dividends, uses_towers
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.game import Game
from captum_pairwise.network.layers import Layers
from captum_pairwise.results.interactions import Interactions


def _budget(game: Game, pairs: Collection[str], n_samples: int | None, embeddings: int) -> int:
    """The budget that was asked for, or the default of how the game is estimated."""
    if n_samples is not None:
        return n_samples
    return embeddings if uses_towers(game, pairs) else MOST_COALITIONS


@final
class JaggedShapleyTaylor(InputPairwise):
    """The credit of single players and of pairs between the images, and of nothing else (paper §5.1, “jagged”).

    Sums to `v(N) - v(∅)` without pairs within an image: what one image does alone stays with its parts, and all that both do together
    goes to pairs between them. `first_order` is the Shapley value of a part while the other image is absent, `marginal` the Owen
    value with the images as unions. For a two-tower model `n_samples` is embeddings per tower, as for `FactorisedShapleyTaylor`, 500 by
    default; for any other it is the most coalitions that may be enumerated, 65 536 by default, and more are refused.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        pairs: which pairs get credit beside the single players, names out of `"between"`, `"within_query"`, `"within_retrieved"`. With
            pairs within an image two-tower models are enumerated too; all three make it `ExactShapleyTaylor`.

    >>> similarity = JaggedShapleyTaylor(lambda query, retrieved: query.prod(1) * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]])))
    tensor([[[3.],
             [3.]]])
    """

    def __init__(self, forward_func: ForwardFunc, *, pairs: Collection[str] = (BETWEEN,)) -> None:
        InputPairwise.__init__(self, forward_func)
        self.pairs = pairs

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return share_dividends(game, _budget(game, self.pairs, n_samples, 500), self.pairs, generator=generator)


@final
class LayerJaggedShapleyTaylor(LayerPairwise):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

    `n_samples` is 2000 by default for a two-tower model.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        pairs: as for `JaggedShapleyTaylor`.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: list[int] | None = None,
        *,
        pairs: Collection[str] = (BETWEEN,),
    ) -> None:
        LayerPairwise.__init__(self, forward_func, layer, device_ids)
        self.pairs = pairs

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return share_dividends(game, _budget(game, self.pairs, n_samples, 2000), self.pairs, generator=generator)
