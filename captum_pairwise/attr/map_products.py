"""Pairs of parts from relevance maps that another library computed, one for each dimension of the embedding (BiLRP)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.limits import refuse_beyond_memory
from captum_pairwise.games.checks import check_finite, describe_value, promote_half, unpack_pair
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.regions import Players, cells, parse_mask
from captum_pairwise.results.interactions import SIDES, Interactions

IntegerMasks = tuple[Tensor | None, Tensor | None] | None


@torch.no_grad()
@disable_autocast()
def pairs_from_maps(
    query_maps: Float[Tensor, "batch channels ..."],
    retrieved_maps: Float[Tensor, "batch channels ..."],
    similarity: Float[Tensor, " batch"] | None = None,
    *,
    feature_mask: IntegerMasks = None,
) -> Interactions:
    r"""The credit of every pair of parts from relevance maps of both images, as in BiLRP (Eberle et al. 2020).

    $$\phi_{ij} = \sum_k R_k(x)_i \, R_k(x')_j$$

    where $R_k(x)$ is the relevance of the parts of an image for dimension $k$ of its embedding, by any rule: zennit and attnLRP compute
    such maps, one backward pass for each dimension. If a rule conserves relevance, $\sum_i R_k(x)_i = u_k$, the pairs sum to the dot
    product of the embeddings. For the cosine, divide the maps by the norm of the embedding.

    All credit belongs to pairs of both images: `first_order` is 0, and the heat maps are what each part has with the whole other image.

    Args:
        query_maps: the relevance of the query, `[B, C, H, W]` of pixels or cells, or `[B, C, n]` of tokens, with a map for each of the `C`
            dimensions. Sum the colours of a pixel first.
        retrieved_maps: the same of the retrieved image, whose parts may be others.
        similarity: the similarity of each pair of images, from which `completeness_gap` says how much relevance the rule lost. None takes
            the sum of the pairs, and the gap is 0 and says nothing.
        feature_mask: a pair of integer masks over the maps, each None or broadcastable to `[B, 1, H, W]`: the relevance of a part is the
            sum over its elements, and elements with the id -1 belong to no part. None makes each position a part.

    Raises:
        ValueError: the maps, the similarity or a mask do not fit.

    >>> weights, query, retrieved = torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.0])
    >>> similarity = ((weights @ query) @ (weights @ retrieved))[None]
    >>> found = pairs_from_maps((weights * query)[None], (weights * retrieved)[None], similarity)
    >>> found.between, found.completeness_gap
    (tensor([[[ 2.,  2.],
             [ 4., 13.]]]), tensor([0.]))

    See also `LayerPairwiseSAM` and `IntegratedHessians`.
    """
    maps = _check_relevance(query_maps, retrieved_maps)
    query, retrieved = _divide_maps(maps, feature_mask)
    between = torch.einsum("bci,bcj->bij", _sum_elements(maps[0], query), _sum_elements(maps[1], retrieved))
    sums = torch.cat([between.sum(2), between.sum(1)], 1)
    nothing = torch.zeros_like(between[:, 0, 0])
    return Interactions(
        n_query=query.n_players,
        empty=nothing,
        full=between.sum((1, 2)) if similarity is None else _check_scores_of_pairs(similarity, nothing),
        without_query=nothing,
        without_retrieved=nothing,
        n_evaluations=torch.zeros(len(between), dtype=torch.long, device="cpu"),
        first_order=torch.zeros_like(sums),
        marginal=sums / 2,
        given_other=sums,
        between=between,
        query_players=query,
        retrieved_players=retrieved,
    )


def _divide_maps(maps: Sequence[Tensor], feature_mask: IntegerMasks) -> tuple[Players, Players]:
    """The parts of both images.

    Raises:
        ValueError: a mask does not fit, or all pairs do not fit into memory.
    """
    masks = unpack_pair(feature_mask, "feature_mask")
    query, retrieved = (
        cells(one, 1) if mask is None else parse_mask(mask, one[:, :1], f"the {name} mask")
        for name, one, mask in zip(SIDES, maps, masks, strict=True)
    )
    subject = f"the pairs of {query.n_players} and {retrieved.n_players} parts"
    n_bytes = len(maps[0]) * query.n_players * retrieved.n_players * maps[0].element_size()
    refuse_beyond_memory(n_bytes, subject, "Group them by `feature_mask`, or take the relevance of a layer.", maps[0].device)
    return query, retrieved


def _check_relevance(query_maps: object, retrieved_maps: object) -> list[Tensor]:
    """The maps in one precision.

    Raises:
        ValueError: they are no maps of the same pairs and dimensions.
    """
    checked = []
    for name, maps in zip(SIDES, (query_maps, retrieved_maps), strict=True):
        if not isinstance(maps, Tensor) or maps.dim() < 3 or not maps.is_floating_point() or 0 in maps.shape:
            raise ValueError(
                f"Expected {name} maps [B, C, H, W] or [B, C, n], one for each dimension of the embedding, got {describe_value(maps)}. "
                "Stack them along axis 1."
            )
        checked.append(promote_half(check_finite(maps, f"the {name} maps")))
    if checked[0].shape[:2] != checked[1].shape[:2]:
        shapes = " and ".join(str(tuple(maps.shape)) for maps in checked)
        raise ValueError(
            f"Expected maps of the same pairs of images and the same dimensions, got {shapes}. Compute both for every dimension."
        )
    dtype = torch.promote_types(checked[0].dtype, checked[1].dtype)
    return [maps.to(checked[0].device, dtype) for maps in checked]


def _check_scores_of_pairs(similarity: object, like: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    if not isinstance(similarity, Tensor) or similarity.shape != like.shape:
        expected = f"Expected the similarity [B] of each of {len(like)} pairs"
        raise ValueError(f"{expected}, got {describe_value(similarity)}. Pass `model(query, retrieved)`.")
    return check_finite(similarity.detach().to(like), "the similarity")


def _sum_elements(maps: Float[Tensor, "batch channels ..."], players: Players) -> Float[Tensor, "batch channels players"]:
    """The sum of each map over the elements of each part; elements with the id -1 are left out."""
    owners = players.ids.expand(len(maps), 1, *maps.shape[2:]).flatten(2) % (players.n_players + 1)  # the id -1 becomes the last
    maps = maps.flatten(2)
    total = maps.new_zeros(*maps.shape[:2], players.n_players + 1)
    return total.scatter_add(2, owners.expand_as(maps), maps)[:, :, :-1]
