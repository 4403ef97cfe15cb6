"""Interaction indices by permutations and by a Gaussian process, and jagged credit."""

import abc
from collections.abc import Callable
from functools import partial
from typing import ClassVar, final

import torch

from captum_pairwise.attr.base import InputMethod, LayerMethod, PairMethod
from captum_pairwise.attr.indexed import InputIndexMethod, LayerIndexMethod
from captum_pairwise.attr.views import Matrix
from captum_pairwise.estimators.enumeration import MOST_COALITIONS
from captum_pairwise.estimators.gaussian.joint_process import gaussian_process
from captum_pairwise.estimators.gaussian.shapley_process import count_least
from captum_pairwise.estimators.heat_maps import estimate_with_maps
from captum_pairwise.estimators.jagged_index import share_dividends
from captum_pairwise.estimators.permutation_sampling import count_coalitions, permutation
from captum_pairwise.games.game import EmbeddedGame, Game
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.players.few_parts import divide_into_segments
from captum_pairwise.results.index import Index
from captum_pairwise.results.interactions import Interactions


class _SampledIndex(PairMethod[Interactions]):
    """The index of the classes that sample coalitions of both images, and the estimate with heat maps."""

    order = 2
    index: Index
    _estimator: ClassVar[Callable[..., Interactions]]

    @staticmethod
    @abc.abstractmethod
    def _count_least(n_players: int, index: Index) -> int:
        """The smallest budget of the pairs."""

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate_game(game: Game) -> Interactions:
            least = self._count_least(game.n_players, self.index)
            limits = {"least": least, "exact_from": 2**game.n_players, "index": self.index, "generator": generator}
            estimate = partial(self._estimator, index=self.index, generator=generator)
            return estimate_with_maps(game, self._budget(n_samples, least), estimate, **limits)

        return pairs.explain(estimate_game)


class _Permutations(_SampledIndex):
    """The estimator of both classes."""

    _estimator, _count_least = staticmethod(permutation), staticmethod(count_coalitions)


@final
class ShapleyTaylorSampling(_Permutations, InputIndexMethod):
    """Any interaction index of parts of two images from random orders of arrival, unbiased, pairs within one image included.

    After Sundararajan et al. 2020, with the prefixes of an order shared by all pairs. Indices but Shapley–Taylor weight each order by its
    number of earlier parts, with larger standard errors. `n` players need at least `n (n+1) / 2 + 1` coalitions; `n_samples` is 2000 by
    default, and at least twice that. Images without a mask are divided into about 20 superpixels, not 50. For a two-tower model
    `FactorisedInteractions` is far more accurate.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        index: `"shapley-taylor"`, `"shapley"`, `"k-sii"`, `"faith-shap"`, `"chaining"` or `"banzhaf"`; or `"moebius"` or `"co-moebius"`,
            which need no order and are exact.
        p: of `"banzhaf"`, the probability that a part is present, the same for both images.

    >>> similarity = ShapleyTaylorSampling(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]]))).round()
    tensor([[[6.]]])

    See also `GaussianProcessShapleyTaylor` and `LayerShapleyTaylorSampling`.
    """

    _default_samples = 2000
    _players = staticmethod(divide_into_segments)


@final
class LayerShapleyTaylorSampling(_Permutations, LayerIndexMethod):
    """Any interaction index of cells of a layer's two outputs; `ShapleyTaylorSampling` in feature space, `n_samples` 20 000 by default.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        index: as for `ShapleyTaylorSampling`, and so is `p`.
        p: the probability that a part is present.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerShapleyTaylorSampling(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved), baselines=(0, 0)).flatten().round()
    tensor([ 6., 12.])

    See also `LayerGaussianProcessShapleyTaylor`.
    """

    _default_samples = 20_000


class _ProcessFit(_SampledIndex):
    """The estimator of both classes."""

    _default_samples = 2000
    _estimator = staticmethod(gaussian_process)

    @staticmethod
    def _count_least(n_players: int, index: Index) -> int:
        return count_least(n_players)


@final
class GaussianProcessShapleyTaylor(_ProcessFit, InputIndexMethod):
    """Any interaction index of parts of two images for any forward function, from the fewest evaluations (ours; not in the paper).

    Pairs within one image included, with the standard errors of the posterior. One sample gives all indices:
    `interactions(...).as_index("faith-shap")`. `n_samples` is 2000 by default, of which the pairs take at most 8192; one that covers all
    coalitions is exact. For a two-tower model use `FactorisedInteractions`, which embeds each image alone.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        index: `"shapley-taylor"`, `"shapley"`, `"k-sii"`, `"faith-shap"`, `"chaining"`, `"banzhaf"`, `"moebius"` or `"co-moebius"`.
        p: of `"banzhaf"`, the probability that a part is present, the same for both images.

    >>> similarity = GaussianProcessShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0])
    >>> similarity.attribute((torch.tensor([[2.0]]), torch.tensor([[3.0]])))
    tensor([[[6.]]])

    See also `LayerGaussianProcessShapleyTaylor`, and for few parts `ExactShapleyTaylor`.
    """


@final
class LayerGaussianProcessShapleyTaylor(_ProcessFit, LayerIndexMethod):
    """Any interaction index of cells of a layer's two outputs; `GaussianProcessShapleyTaylor` in feature space.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        index: as for `GaussianProcessShapleyTaylor`, and so is `p`.
        p: the probability that a part is present.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerGaussianProcessShapleyTaylor(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved), baselines=(0, 0)).flatten().round()
    tensor([ 6., 12.])

    See also `LayerFactorisedInteractions`.
    """


class _SharedDividends(PairMethod[Interactions]):
    """The estimate of both classes; the default budget counts embeddings, or coalitions where they are enumerated."""

    order = 2

    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        def estimate(game: Game) -> Interactions:
            is_enumerated = n_samples is None and not isinstance(game, EmbeddedGame)
            return share_dividends(game, MOST_COALITIONS if is_enumerated else self._budget(n_samples), generator=generator)

        return pairs.explain(estimate)


@final
class JaggedShapleyTaylor(_SharedDividends, InputMethod[Interactions, Matrix]):
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

    See also `LayerJaggedShapleyTaylor` and `jagged_credit`.
    """

    _default_samples = 500


@final
class LayerJaggedShapleyTaylor(_SharedDividends, LayerMethod[Interactions, Matrix]):
    """The credit of single cells of a layer's two outputs, and of pairs between them; `JaggedShapleyTaylor` in feature space.

    `n_samples` is 2000 by default for a two-tower model.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerJaggedShapleyTaylor(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved), baselines=(0, 0)).flatten().round()
    tensor([ 6., 12.])
    """

    _default_samples = 2000
