"""Jagged credit: only single players and pairs between the images get credit."""

from typing import final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.exact import MOST_COALITIONS
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.results.interactions import Interactions


class _SharedDividends(PairMethod[Interactions]):
    """The estimate of both classes; the default budget counts embeddings, or coalitions where they are enumerated."""

    order = 2

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate(game: Game) -> Interactions:
            default = self._default_samples if isinstance(game, TwoTowerGame) else MOST_COALITIONS
            return share_dividends(game, default if n_samples is None else n_samples, generator=generator)

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

    >>> similarity = JaggedShapleyTaylor(lambda query, retrieved: query.prod(1) * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0]])))
    tensor([[[3.],
             [3.]]])
    """

    _default_samples = 500


@final
class LayerJaggedShapleyTaylor(_SharedDividends, LayerMethod[Interactions]):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

    `n_samples` is 2000 by default for a two-tower model.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
    """

    _default_samples = 2000
