"""Interactions of tokens in late interaction (ColBERT, ColPali), exactly and in closed form."""

from typing import final

import torch

from captum_pairwise.attr.logged import log_method
from captum_pairwise.estimators.maxsim_index import INDICES, TokenIndex, make_banzhaf, match_tokens
from captum_pairwise.games.build import check_wrapper
from captum_pairwise.games.checks import check_images, promote_half
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.models.heads import find_tokens, score_maxsim, score_mean_maxsim
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.results.credits import Between
from captum_pairwise.results.interactions import Interactions

BANZHAF = "banzhaf"


@final
class MaxSimShapleyTaylor:
    r"""Interactions of the tokens of a query and of a document or page under MaxSim, exact, from one pass of each (ours).

    $$v(S) = \sum_{q \in S} \max_{d \in S} \langle u_q, w_d \rangle, \qquad
    \phi_{qd} = \sum_{k \ge \mathrm{rank}_q(d)} \frac{2}{k+1} (s_{(k)} - s_{(k+1)})$$

    with the scores $s_{(1)} \ge s_{(2)} \ge \dots$ of a query token. It asks which of the tokens *as they were embedded* match: an absent
    token is left out of the comparison, and the others keep the context that they got from it. So it explains the search index, which
    holds embedded tokens. `LayerFactorisedShapleyTaylor` asks which words or patches of the *input* matter: there an absent part also
    changes the context of all others, and each coalition is embedded anew.

    Two document tokens that match the same query token have a negative pair, because one of them is enough. For
    `similarity="meanmaxsim"` everything is divided by the number of query tokens.

    Args:
        forward_func: a `SimilarityWrapper(encoder, similarity="maxsim")` or `"meanmaxsim"`. A token that is exactly 0 is no player.
        index: `"shapley-taylor"`, `"shapley"` (the Shapley interaction index), `"k-sii"` (the same with a first order that sums to the
            similarity), `"faith-shap"` or `"banzhaf"`, all of order 2. `"shapley"` and `"banzhaf"` do not sum to the similarity.
        p: the probability that a token is present, for `"banzhaf"`.
        empty: the value of the maximum over no token.

    Raises:
        ValueError: the index is unknown, or `p` is no probability.

    >>> tokens = SimilarityWrapper(torch.nn.Identity(), similarity="maxsim")
    >>> query, document = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.8, 0.6]]])
    >>> MaxSimShapleyTaylor(tokens).attribute((query, document))
    tensor([[[0.7333, 0.5333]]])
    """

    order = 2

    def __init__(self, forward_func: ForwardFunc, *, index: str = "shapley-taylor", p: float = 0.5, empty: float = 0.0) -> None:
        self.forward_func, self.index, self.empty = forward_func, _choose_index(index, p), float(empty)

    @log_method
    def attribute(self, inputs: Images) -> Between:
        """The credit of all pairs of tokens `[B, T, T']`: `between` of `interactions`, whose arguments and errors it has."""
        return self.interactions(inputs)["between"]

    @torch.no_grad()
    @disable_autocast()
    def interactions(self, inputs: Images) -> Interactions:
        """The credit of the tokens and of all pairs of tokens, and the heat maps, batched.

        `between` is `[B, T, T']`, with a row for each token of the query's encoder and a column for each of the retrieved side's.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length, as the encoders take them.

        Raises:
            ValueError: the forward function is no `SimilarityWrapper` with MaxSim, or the inputs do not fit.
        """
        model, is_mean = _require_maxsim(self.forward_func)
        query, retrieved = check_images(inputs, takes_ids=True)
        u, w = promote_half(model.embed_query(query)), promote_half(model.embed_retrieved(retrieved))
        shares = 1 / find_tokens(u).sum(1).clamp(min=1).to(u) if is_mean else u.new_ones(len(u))
        scores = torch.einsum("bqc,bdc->bqd", u, w) * shares[:, None, None]
        return match_tokens(scores, find_tokens(u), find_tokens(w), self.index, self.empty * shares)


def _choose_index(index: str, p: float) -> TokenIndex:
    """The index of this name.

    Raises:
        ValueError: the name is unknown, or `p` is no probability.
    """
    if index != BANZHAF and index not in INDICES:
        raise ValueError(f"Expected index to be one of {[*INDICES, BANZHAF]}, got {index!r}. Take 'shapley-taylor', for example.")
    if not 0 < p < 1:
        raise ValueError(f"Expected p to be a probability between 0 and 1, got {p}. Take 0.5, for example.")
    return make_banzhaf(p) if index == BANZHAF else INDICES[index]


def _require_maxsim(forward_func: ForwardFunc) -> tuple[SimilarityWrapper, bool]:
    """The model, and True if it averages the maxima.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper` with MaxSim.
    """
    model = check_wrapper(forward_func, ForwardContext())
    if model is None or model.head.score not in (score_maxsim, score_mean_maxsim):
        raise ValueError(
            "Expected a SimilarityWrapper with MaxSim, because other heads have no closed form. Pass SimilarityWrapper(encoder, "
            "similarity='maxsim'), or take FactorisedShapleyTaylor."
        )
    return model, model.head.score is score_mean_maxsim
