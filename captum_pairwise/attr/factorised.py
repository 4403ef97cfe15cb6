"""Interaction indices of two towers from embeddings of each image alone."""

import abc
from dataclasses import replace
from typing import ClassVar, final

import torch

from captum_pairwise.attr.base import DeviceIds, InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.views import Matrix
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.sampled_tower import CHAINED_PER_PART, TowerOptions
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.results.index import BANZHAF, SHAPLEY_TAYLOR, Probability, parse_index
from captum_pairwise.results.interactions import Interactions

HELD_OUT_SHARE = 5  # a fifth of the budget of images
FEWEST_HELD_OUT, MOST_HELD_OUT = 64, 512  # images may have fewer
SAMPLES_PER_PART, FEWEST_SAMPLES = 10, 128  # default of a layer
FEWEST_CHAINED = 4000  # default of a layer with an affine tail


class _TowerFit(PairMethod[Interactions]):
    """The options and the estimate of all four classes."""

    order = 2
    _default_index: ClassVar[str] = BANZHAF
    options: TowerOptions

    def _set_options(self, index: str | None, p: Probability, fit: str | None, tolerance: float | None, within: bool) -> None:
        self.options = TowerOptions(fit, tolerance, within, parse_index(self._default_index if index is None else index, p))

    @abc.abstractmethod
    def _split_budget(self, n_samples: int | None, game: EmbeddedGame) -> tuple[int, int]:
        """The number of embeddings of each image for the estimate, and the number that measures its prediction.

        Args:
            n_samples: the budget of the user, or None.
            game: the game.
        """

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate(game: Game) -> Interactions:
            towers = _require_towers(game)
            budget, held_out = self._split_budget(n_samples, towers)
            return factorise(towers, budget, replace(self.options, held_out=held_out), generator=generator)

        return pairs.explain(estimate)


def _round_to_power(number: float) -> int:
    """The nearest power of 2, 0 below 1: as many coalitions can be balanced."""
    below = 2 ** (int(number).bit_length() - 1) if number >= 1 else 0
    return below if number**2 < 2 * below**2 else 2 * below


def _require_towers(game: Game) -> EmbeddedGame:
    if not isinstance(game, EmbeddedGame):
        raise ValueError(
            "Expected a SimilarityWrapper, because each image is embedded alone, got another function. Pass `SimilarityWrapper(encoder)`, "
            "with `similarity=` for a score of your own; for other functions take GaussianProcessShapleyTaylor."
        )
    return game


class FactorisedInteractions(_TowerFit, InputMethod[Interactions, Matrix]):
    r"""Any interaction index of parts of two images, from a few hundred embeddings of each (our own method; not in the paper).

    $$\phi_{ij} = \int_0^1 f(p) \, \langle \mathbb{E}_p[u(A \cup i) - u(A)], \, \mathbb{E}_p[w(B \cup j) - w(B)] \rangle \, dp$$

    for embeddings $u$ and $w$ of the two images; each part is in $A$ or $B$ with probability $p$, and $f$ belongs to the index. The
    default, `"banzhaf"` at 0.5, predicts the similarity of images with absent parts best: `interactions(...).predict`. One sample gives
    all indices: `interactions(...).as_index("faith-shap")`.

    The result has pairs between the images, the credit of single parts, and the heat maps, with standard errors where they were sampled,
    and `r2`, the share of the variance of the similarity that its credits predict. `n_samples` is 500 by default, of which about a
    fifth, at most 512, is held out to measure `r2`. A query that is repeated in consecutive entries of the batch is embedded once:
    `(query.expand(k, -1, -1, -1), retrieved)` explains it against `k` images with `n_samples` embeddings of the query, and as many of each
    image.

    Args:
        forward_func: a `SimilarityWrapper`.
        index: `"shapley-taylor"`, `"shapley"`, `"k-sii"`, `"faith-shap"`, `"chaining"`, `"banzhaf"`, `"moebius"` or `"co-moebius"`; None
            takes the default of the class.
        p: of `"banzhaf"`, the probability that a part is present, or one for each image.
        fit: the model of the coalitions that were not evaluated: `"process"`, a Gaussian process; `"chains"`, means over chains of
            growing coalitions, which need more embeddings for the same error but a tenth of the other time; or `"regression"`, for
            `"banzhaf"` alone the linear regressions that FIxLIP solves (Baniecki et al. 2025), for comparison. None takes the process.
            It takes chains for more than 8192 embeddings or 256 players; and where only pooling and linear layers follow a layer, for 40 or
            more embeddings for each part.
        tolerance: stop before `n_samples` when the root-mean-square standard error of the pairs, relative to the pairs, is below it.
        within: also estimate the pairs within each image.

    Raises:
        ValueError: the index or an option is unknown, or `p` is no probability.

    >>> from captum_pairwise import SimilarityWrapper
    >>> method = FactorisedInteractions(SimilarityWrapper(torch.nn.Identity(), similarity="dot"))
    >>> result = method.interactions((torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> torch.allclose(result.between[0], torch.tensor([[3.0, 0.0], [0.0, 8.0]]), atol=1e-6)  # only equal places are multiplied
    True

    See also `FactorisedShapleyTaylor`, `LayerFactorisedInteractions` and `Interactions`.
    """

    _default_samples = 500

    def _split_budget(self, n_samples: int | None, game: EmbeddedGame) -> tuple[int, int]:
        """About a fifth of the budget, at most 512, measures the prediction, if the rest is enough; none if all coalitions are embedded."""
        budget, n_players = self._budget(n_samples), max(game.n_query, game.n_retrieved)
        held_out = min(_round_to_power(budget / HELD_OUT_SHARE), MOST_HELD_OUT)
        is_enough = budget - held_out >= 2 * n_players - 2 and 2**n_players > budget + 2
        return (budget - held_out, held_out) if is_enough else (budget, 0)

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        index: str | None = None,
        p: Probability = 0.5,
        fit: str | None = None,
        tolerance: float | None = None,
        within: bool = False,
    ) -> None:
        InputMethod.__init__(self, forward_func)
        self._set_options(index, p, fit, tolerance, within)


class LayerFactorisedInteractions(_TowerFit, LayerMethod[Interactions, Matrix]):
    """Any interaction index of cells of a layer's two outputs; `FactorisedInteractions` in feature space.

    By default `n_samples` is 10 for each part of an image, at least 128. Where only pooling and linear layers follow the layer, an
    embedding costs a matrix product; the default is then 40 for each part, at least 4000. Half as many coalitions, from 64 to 512, are
    embedded beside them to measure `r2`.

    Args:
        forward_func: a `SimilarityWrapper`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        index: as for `FactorisedInteractions`, and so are `p`, `fit`, `tolerance` and `within`.
        p: the probability that a part is present.
        fit: the model of the coalitions that were not evaluated.
        tolerance: the relative error at which to stop.
        within: also estimate the pairs within each image.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerFactorisedInteractions(SimilarityWrapper(encoder), encoder[1])
    >>> result = method.interactions((torch.rand(1, 3, 9, 9), torch.rand(1, 3, 7, 7)))
    >>> result.predict(torch.ones(1, 25, dtype=torch.bool)).shape, str(result.as_index("faith-shap").index)
    (torch.Size([1, 1]), 'faith-shap')

    See also `LayerFactorisedShapleyTaylor` and `LayerPairwiseSAM`.
    """

    def _split_budget(self, n_samples: int | None, game: EmbeddedGame) -> tuple[int, int]:
        """Half as many coalitions beside the budget, because only the tail of the network runs: at least 64, at most 512."""
        if n_samples is not None:
            budget = self._budget(n_samples)
        else:
            is_free = game.is_affine and self.options.fit in (None, "chains") and not self.options.needs_process
            least, per_part = (FEWEST_CHAINED, CHAINED_PER_PART) if is_free else (FEWEST_SAMPLES, SAMPLES_PER_PART)
            budget = max(least, per_part * max(game.n_query, game.n_retrieved))
        return budget, min(max(_round_to_power(budget / 2), FEWEST_HELD_OUT), MOST_HELD_OUT)

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: DeviceIds = None,
        *,
        index: str | None = None,
        p: Probability = 0.5,
        fit: str | None = None,
        tolerance: float | None = None,
        within: bool = False,
        layout: LayoutNames = None,
    ) -> None:
        LayerMethod.__init__(self, forward_func, layer, device_ids, layout=layout)
        self._set_options(index, p, fit, tolerance, within)


@final
class FactorisedShapleyTaylor(FactorisedInteractions):
    """Shapley–Taylor indices of parts of two images, from a few hundred embeddings of each (our own method; not in the paper).

    `FactorisedInteractions` with the index that shares the similarity fairly: with the pairs within each image, all credit sums to
    `v(N) - v(∅)`. First-order terms are exact.

    >>> from captum_pairwise import SimilarityWrapper
    >>> method = FactorisedShapleyTaylor(SimilarityWrapper(torch.nn.Identity(), similarity="dot"), within=True)
    >>> result = method.interactions((torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])))
    >>> torch.allclose(result.query_map, torch.tensor([[3.0, 8.0]])), torch.allclose(result.marginal.sum(1), result.full - result.empty)
    (True, True)

    See also `LayerFactorisedShapleyTaylor`, and for any function `GaussianProcessShapleyTaylor`.
    """

    _default_index = SHAPLEY_TAYLOR


@final
class LayerFactorisedShapleyTaylor(LayerFactorisedInteractions):
    """Shapley–Taylor indices of cells of a layer's two outputs; `FactorisedShapleyTaylor` in feature space.

    `n_samples` has the defaults of `LayerFactorisedInteractions`.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerFactorisedShapleyTaylor(SimilarityWrapper(encoder), encoder[1])
    >>> method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7))).shape
    torch.Size([2, 4, 4, 3, 3])

    See also `LayerPairwiseSAM` and `LayerIntegratedHessians`.
    """

    _default_index = SHAPLEY_TAYLOR
