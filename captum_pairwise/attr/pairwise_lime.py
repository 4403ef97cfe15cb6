"""Second-order LIME, for any similarity."""

from typing import final

import torch

from captum_pairwise.attr.base import InputExplanation
from captum_pairwise.attr.second_order import Attribution, Pairwise
from captum_pairwise.estimators.regression.local_surrogate import lime
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.sides import Pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.baselines import part_colour
from captum_pairwise.results.interactions import Interactions


@final
class PairwiseLime(InputExplanation[Interactions, Attribution], Pairwise):
    r"""The terms of a quadratic model of the similarity near both images, by a weighted Lasso (LIME second order, paper §5.2).

    $$v(S) \approx \beta_\emptyset + \sum_{i \in S} \beta_i + \sum_{i < j \in S} \beta_{ij}$$

    over uniform coalitions weighted by $\exp(-\lambda d^2)$, with $d^2$ the mean squared difference between the masked images and the
    images, all their values together. What `attribute` returns is $\beta_{ij}$ between the images; `marginal` is the Shapley value of the
    model. LIME is not efficient: `completeness_gap`, and the delta, tell by how much.

    An absent part of an image shows its own mean colour if `baselines` is None. `n_samples` is 20 000 by default: coalitions, of which
    each tower of a two-tower model embeds its distinct halves. Needs the extra `lime`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        decay: $\lambda$ of the kernel; None is $\ln 2$ over the median of $d^2$.
        alpha: the penalty on the sum of absolute terms, in units of the least one that leaves no term; 0 is weighted least squares.
    """

    _baseline = staticmethod(part_colour)

    def __init__(self, forward_func: ForwardFunc, *, decay: float | None = None, alpha: float = 1e-3) -> None:
        InputExplanation.__init__(self, forward_func)
        self.decay, self.alpha = decay, alpha

    @disable_autocast()
    def _explain(self, pairs: Pairs, n_samples: int | None, generator: torch.Generator | None) -> Interactions:
        pairs.refuse_beyond_memory()
        samples, fit = 20_000 if n_samples is None else n_samples, {"decay": self.decay, "alpha": self.alpha, "generator": generator}
        return pairs.joined([lime(game, pairs.departures(example), samples, **fit) for example, game in enumerate(pairs.games())])
