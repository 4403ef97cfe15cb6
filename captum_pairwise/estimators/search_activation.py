"""Search activation maps: Shapley and Shapley–Taylor indices in closed form, for affine towers and a dot product."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.game import Affine
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.results.interactions import Interactions


@disable_autocast()
def search_activation(queries: Sequence[Affine], retrieveds: Sequence[Affine], frozen_norm: bool) -> Interactions:
    """The Shapley–Taylor indices of `<u(z), w(z)>` for two affine towers (paper eq. 8).

    Two players of different images interact by `<moves_i, moves_j>`, two of one image not at all. Under cosine similarity the game
    is not of this form: SAM divides by both norms, frozen at the full images, and is then not efficient. `empty` and `full` are those
    of the true similarity, so that `completeness_gap` tells; `empty` is NaN where an embedding is zero and has no cosine.

    Args:
        queries: the query's tower, one for each background.
        retrieveds: the retrieved image's.
        frozen_norm: whether the similarity is the cosine.

    >>> one = torch.ones(1)
    >>> search_activation([Affine(one, 2 * one[None])], [Affine(one, 3 * one[None])], frozen_norm=False).between
    tensor([[[6.]]])
    """
    query, retrieved = _mean(queries), _mean(retrieveds)
    u, w = _full(query), _full(retrieved)
    scale = _frozen(u, w, frozen_norm)
    first = torch.cat([query.moves @ retrieved.offset, retrieved.moves @ query.offset])
    n_query, n_retrieved = len(query.moves), len(retrieved.moves)
    return Interactions(
        n_query=n_query,
        empty=_mean_similarity([one.offset for one in queries], [one.offset for one in retrieveds], frozen_norm)[None],
        full=_similarity(u, w, frozen_norm)[None],
        first_order=first[None] * scale,
        between=(query.moves @ retrieved.moves.T)[None] * scale,
        within_query=u.new_zeros(1, n_query, n_query),
        within_retrieved=u.new_zeros(1, n_retrieved, n_retrieved),
        n_evaluations=torch.tensor([2]),
    )


@disable_autocast()
def activation_maps(
    queries: Sequence[Affine], retrieveds: Sequence[Affine], frozen_norm: bool
) -> tuple[Float[Tensor, " query"], Float[Tensor, " retrieved"], Float[Tensor, "2"]]:
    """The Shapley values of each image's players while the other image is whole (paper eq. 3), arguments as above.

    Returns:
        The query's values, the retrieved image's, and for each the sum of its values less what its players bring to the similarity.
    """
    query, retrieved = _mean(queries), _mean(retrieveds)
    u, w = _full(query), _full(retrieved)
    scale = _frozen(u, w, frozen_norm)
    maps = query.moves @ w * scale, retrieved.moves @ u * scale
    full = _similarity(u, w, frozen_norm)
    without = (
        _mean_similarity([one.offset for one in queries], [w], frozen_norm),
        _mean_similarity([u], [one.offset for one in retrieveds], frozen_norm),
    )
    excess = torch.stack([values.sum() - (full - empty) for values, empty in zip(maps, without, strict=True)])
    return *maps, excess


def _mean(members: Sequence[Affine]) -> Affine:
    """The average over a background distribution: the closed forms are linear in the background."""
    return Affine(torch.stack([one.offset for one in members]).mean(0), torch.stack([one.moves for one in members]).mean(0))


def _full(tower: Affine) -> Float[Tensor, " channels"]:
    return tower.offset + tower.moves.sum(0)


def _scale(u: Tensor, w: Tensor, frozen_norm: bool) -> Tensor:
    return 1 / (u.norm() * w.norm()) if frozen_norm else torch.ones_like(u[0])


def _frozen(u: Tensor, w: Tensor, frozen_norm: bool) -> Tensor:
    scale = _scale(u, w, frozen_norm)
    if not scale.isfinite():
        raise ValueError(
            "Expected images whose embeddings are not zero, because cosine similarity has no value there. Use `similarity='dot'`."
        )
    return scale


def _similarity(u: Tensor, w: Tensor, frozen_norm: bool) -> Tensor:
    return u @ w * _scale(u, w, frozen_norm)  # 0 · ∞ is NaN: a zero embedding has no cosine


def _mean_similarity(us: Sequence[Tensor], ws: Sequence[Tensor], frozen_norm: bool) -> Tensor:
    return torch.stack([_similarity(u, w, frozen_norm) for u in us for w in ws]).mean()
