"""Credit that is shared over single players and chosen pairs alone."""

from collections.abc import Collection
from typing import final

import torch

from captum_pairwise.attr.base import InputPairwise, LayerPairwise
from captum_pairwise.attr.second_order.exact import MOST_COALITIONS
from captum_pairwise.estimators.jagged import BETWEEN, jagged
from captum_pairwise.game import Game
from captum_pairwise.interactions import Interactions
from captum_pairwise.joint_games import ForwardFunc
from captum_pairwise.layers import Layers


@final
class JaggedShapleyTaylor(InputPairwise):
    """The credit of single players and of pairs between the images, and of nothing else (paper §5.1, “jagged”), from every coalition.

    Sums to `v(N) - v(∅)` without pairs within an image: what one image does alone stays with its parts, and all that both do together
    goes to pairs between them. `n_samples` is the most coalitions that it may evaluate, 65 536 by default: `2**(n_q + n_r)`, or for
    a two-tower model `2**n_q` and `2**n_r` by each tower; more are refused. `generator` has no effect.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        pairs: which pairs get credit beside the single players, names out of `"between"`, `"within_query"`, `"within_retrieved"`. With
            pairs within an image `2**(n_q + n_r)` counts for two-tower models too; all three make it `ExactShapleyTaylor`.

    >>> similarity = JaggedShapleyTaylor(lambda query, retrieved: query.prod(1) * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]])))
    tensor([[[3.],
             [3.]]])
    """

    def __init__(self, forward_func: ForwardFunc, *, pairs: Collection[str] = (BETWEEN,)) -> None:
        InputPairwise.__init__(self, forward_func)
        self.pairs = pairs

    def _estimate(self, game: Game, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return jagged(game, self.pairs, MOST_COALITIONS if n_samples is None else n_samples)


@final
class LayerJaggedShapleyTaylor(LayerPairwise):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

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
        return jagged(game, self.pairs, MOST_COALITIONS if n_samples is None else n_samples)
