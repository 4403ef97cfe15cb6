"""The factorised Shapley–Taylor estimator for two-tower models: the recommended default."""

from typing import final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.estimators.towers.factorisation import TowerOptions, factorise
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import Game, TwoTowerGame
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.results.interactions import Interactions


class _TowerFit(PairMethod[Interactions]):
    """The estimate of both classes."""

    order = 2
    options: TowerOptions

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        return pairs.explain(lambda game: factorise(_require_towers(game), self._budget(n_samples), self.options, generator=generator))


def _require_towers(game: Game) -> TwoTowerGame:
    if not isinstance(game, TwoTowerGame):
        raise ValueError(
            "Expected a SimilarityWrapper with cosine, dot product or Euclidean similarity, because the estimator embeds each image alone. "
            "Pass `SimilarityWrapper(encoder)`, or use ExactShapleyTaylor on few players."
        )
    return game


@final
class FactorisedShapleyTaylor(_TowerFit, InputMethod[Interactions]):
    r"""Shapley–Taylor indices of parts of two images, from a few hundred embeddings of each (our own method; not in the paper).

    $$\phi_{ij} = \int_0^1 2 (1 - p) \, \langle \mathbb{E}_p[u(A \cup i) - u(A)], \, \mathbb{E}_p[w(B \cup j) - w(B)] \rangle \, dp$$

    for embeddings $u$ and $w$ of the two images; each part is in $A$ or $B$ with probability $p$.

    The result has pairs between the images, exact first-order terms and Shapley values, each with a standard error where it was sampled.
    `n_samples` is 500 by default. A query that is repeated in consecutive entries of the batch is embedded once:
    `(query.expand(k, -1, -1, -1), retrieved)` explains it against `k` images with `n_samples` embeddings of the query, and as many of each
    image.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine, dot product or Euclidean head.
        fit: the model of the coalitions that were not evaluated: `"process"`, a Gaussian process, or `"chains"`, means over chains of
            growing coalitions, which need more embeddings for the same error but a tenth of the other time. None takes the process up to
            8192 embeddings of 256 players.
        tolerance: stop before `n_samples` when the root-mean-square standard error of the pairs, relative to the pairs, is below it.
        within: also estimate the pairs within each image; without standard errors.
    """

    _default_samples = 500

    def __init__(self, forward_func: ForwardFunc, *, fit: str | None = None, tolerance: float | None = None, within: bool = False) -> None:
        InputMethod.__init__(self, forward_func)
        self.options = TowerOptions(fit, tolerance, within)


@final
class LayerFactorisedShapleyTaylor(_TowerFit, LayerMethod[Interactions]):
    """Shapley–Taylor indices of cells of a layer's two outputs; `FactorisedShapleyTaylor` in feature space, `n_samples` 2000 by default.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine, dot product or Euclidean head.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        fit: as for `FactorisedShapleyTaylor`, and so are `tolerance` and `within`.
        tolerance: the relative error at which to stop.
        within: also estimate the pairs within each image.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder[1])
    >>> method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7))).shape
    torch.Size([2, 4, 4, 3, 3])
    """

    _default_samples = 2000

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        fit: str | None = None,
        tolerance: float | None = None,
        within: bool = False,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids)
        self.options = TowerOptions(fit, tolerance, within)
