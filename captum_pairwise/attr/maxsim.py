"""Interactions of tokens in late interaction (ColBERT, ColPali), exactly and in closed form."""

from dataclasses import replace
from numbers import Real
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.attr.logged import log_method
from captum_pairwise.estimators.maxsim_index import match_tokens
from captum_pairwise.games.build import check_wrapper
from captum_pairwise.games.checks import check_images, describe_value, promote_half, unpack_pair
from captum_pairwise.games.context import ForwardContext, ForwardFunc, Images
from captum_pairwise.models.heads import find_tokens, score_maxsim, score_mean_maxsim
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.results.credits import Between
from captum_pairwise.results.index import SHAPLEY_TAYLOR, Probability, parse_index
from captum_pairwise.results.interactions import Interactions

TokenMasks = tuple[Tensor | None, Tensor | None] | None


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

    Without a forward function, the inputs are the embedded tokens of a search index, and `masks` tells tokens from padding.

    Args:
        forward_func: a `SimilarityWrapper(encoder, similarity="maxsim")` or `"meanmaxsim"`; None for embedded tokens and their sum.
        index: the interaction index, any name of `Interactions.as_index`.
        p: of `"banzhaf"`, the probability that a token is present, or one for each side.
        empty: the value of the maximum over no token.

    Raises:
        ValueError: the index is unknown, `p` is no probability, or `empty` is no finite number.

    >>> query, document = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.8, 0.6]]])
    >>> MaxSimShapleyTaylor().attribute((query, document))
    tensor([[[0.7333, 0.5333]]])

    See also `cp.models.from_colbert`, `cp.models.from_colpali` and `LayerFactorisedShapleyTaylor`.
    """

    order = 2

    def __init__(
        self, forward_func: ForwardFunc | None = None, *, index: str = SHAPLEY_TAYLOR, p: Probability = 0.5, empty: float = 0.0
    ) -> None:
        if not isinstance(empty, Real) or not abs(empty) < float("inf"):
            raise ValueError(f"Expected empty to be a finite number, the value of the maximum over no token, got {empty!r}. Take 0.")
        self.forward_func, self.index, self.empty = forward_func, parse_index(index, p), float(empty)

    @log_method
    def attribute(self, inputs: Images, masks: TokenMasks = None) -> Between:
        """The credit of all pairs of tokens `[B, T, T']`: `between` of `interactions`, whose arguments and errors it has."""
        return self.interactions(inputs, masks)["between"]

    @torch.no_grad()
    @disable_autocast()
    def interactions(self, inputs: Images, masks: TokenMasks = None) -> Interactions:
        """The credit of the tokens and of all pairs of tokens, and the heat maps, batched.

        `between` is `[B, T, T']`, with a row for each token of the query's encoder and a column for each of the retrieved side's. Padding
        has no credit. `as_index` gives other indices without another pass.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length: as the encoders take them, or the embedded tokens `[B, T, C]` and
                `[B, T', C]`.
            masks: with embedded tokens, a pair of boolean tensors `[B, T]` and `[B, T']`, True for each token. None of a side: every
                token that is not exactly 0, which is also how an encoder tells padding.

        Raises:
            ValueError: the forward function is no `SimilarityWrapper` with MaxSim, or the inputs or masks do not fit.
        """
        images = check_images(inputs, takes_ids=True)
        model = None if self.forward_func is None else find_maxsim(self.forward_func)
        u, w = _take_tokens(images) if model is None else _embed_tokens(model, images, masks)
        is_query, is_retrieved = (_find_present(*side) for side in zip((u, w), unpack_pair(masks, "masks"), strict=True))
        is_mean = model is not None and model.head.score is score_mean_maxsim
        shares = 1 / is_query.sum(1).clamp(min=1).to(u) if is_mean else u.new_ones(len(u))
        scores = torch.einsum("bqc,bdc->bqd", u, w) * shares[:, None, None]
        result = match_tokens(scores, is_query, is_retrieved, self.index, self.empty * shares)
        return replace(result, query_players=_number_tokens(is_query), retrieved_players=_number_tokens(is_retrieved))


def _embed_tokens(model: SimilarityWrapper, images: Images, masks: TokenMasks) -> Images:
    """The tokens of both sides by the encoders.

    Raises:
        ValueError: there are masks.
    """
    if masks is not None:
        raise ValueError("Expected masks only with embedded tokens, because the encoders tell padding, got both. Leave them out.")
    return promote_half(model.embed_query(images[0])), promote_half(model.embed_retrieved(images[1]))


def _take_tokens(images: Images) -> Images:
    """The embedded tokens of both sides.

    Raises:
        ValueError: the inputs are none.
    """
    u, w = images
    if u.dim() != 3 or w.dim() != 3 or u.shape[2] != w.shape[2]:
        raise ValueError(
            f"Expected embedded tokens [B, T, C] with equal C, because there is no forward function, got {tuple(u.shape)} and "
            f"{tuple(w.shape)}. Pass MaxSimShapleyTaylor(model) to explain inputs of its encoders."
        )
    dtype = torch.promote_types(u.dtype, w.dtype)
    return promote_half(u.to(dtype)), promote_half(w.to(dtype))


def _find_present(tokens: Float[Tensor, "batch tokens channels"], mask: Tensor | None) -> Bool[Tensor, "batch tokens"]:
    """True for each token: those of the mask, or those that are not 0.

    Raises:
        ValueError: the mask does not fit.
    """
    if mask is None:
        return find_tokens(tokens)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != tokens.shape[:2]:
        raise ValueError(
            f"Expected a boolean mask {list(tokens.shape[:2])}, True for each token, got {describe_value(mask)}. Convert an attention mask "
            "with `.bool()`."
        )
    return mask.to(tokens.device)


def _number_tokens(is_token: Bool[Tensor, "batch tokens"]) -> Players:
    """A player for each token of a batch `[B, T, C]`."""
    numbers = torch.arange(is_token.shape[1], device=is_token.device, dtype=torch.int64)
    return Players(torch.where(is_token, numbers, NEVER_LEAVES)[..., None], (is_token.shape[1],))


def find_maxsim(forward_func: ForwardFunc) -> SimilarityWrapper:
    """The model behind a forward function.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper` with MaxSim.
    """
    model = check_wrapper(forward_func, ForwardContext())
    if model is None or model.head.score not in (score_maxsim, score_mean_maxsim):
        raise ValueError(
            "Expected a SimilarityWrapper with MaxSim, because other heads have no closed form. Pass SimilarityWrapper(encoder, "
            "similarity='maxsim'), or take FactorisedShapleyTaylor."
        )
    return model
