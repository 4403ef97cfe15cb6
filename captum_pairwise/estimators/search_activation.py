"""Search activation maps: Shapley and Shapley–Taylor indices in closed form, for affine towers and a dot product."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.games.game import Affine
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.results.interactions import Interactions, make_interactions, split_blocks


@disable_autocast()
def search_activation(queries: Sequence[Affine], retrieveds: Sequence[Affine], frozen_norm: bool) -> Interactions:
    """The Shapley–Taylor indices of `<u(z), w(z)>` for two affine towers (paper eq. 8).

    Two players of different images interact by `<moves_i, moves_j>`; two players of one image do not interact. The cosine is not of this
    form: SAM divides by both norms, frozen at the full images, and is then not efficient. `empty`, `full`, `without_query` and
    `without_retrieved` are the true similarities, so `completeness_gap` and `map_gaps` show the difference. They are NaN if an
    embedding is zero, which has no cosine.

    Args:
        queries: the tower of the query, one for each background.
        retrieveds: the tower of the retrieved image, one for each background.
        frozen_norm: True if the similarity is the cosine.

    >>> unit = torch.ones(1)
    >>> search_activation([Affine(unit, 2 * unit[None])], [Affine(unit, 3 * unit[None])], frozen_norm=False).between
    tensor([[[6.]]])
    """
    query, retrieved = _average_towers(queries), _average_towers(retrieveds)
    u, w = _full_embedding(query), _full_embedding(retrieved)
    scale = _frozen_scale(u, w, frozen_norm)
    empty = _mean_similarity([tower.offset for tower in queries], [tower.offset for tower in retrieveds], frozen_norm)
    maps, (full, without_query, without_retrieved) = _map_images(queries, retrieveds, frozen_norm)
    first, n_query = torch.cat([query.moves @ retrieved.offset, retrieved.moves @ query.offset]), len(query.moves)
    second = u.new_zeros(1, len(first), len(first))
    second[0, :n_query, n_query:] = query.moves @ retrieved.moves.T * scale
    blocks = {"first_order": first[None] * scale, "given_other": torch.cat(maps)[None], **split_blocks(second, n_query)}
    apart = {"without_query": without_query[None], "without_retrieved": without_retrieved[None]}
    return make_interactions(torch.stack([empty, full]), n_query, n_evaluations=2, **blocks, **apart)


@disable_autocast()
def activation_maps(
    queries: Sequence[Affine], retrieveds: Sequence[Affine], frozen_norm: bool
) -> tuple[Float[Tensor, " query"], Float[Tensor, " retrieved"], Float[Tensor, "2"]]:
    """The Shapley values of each image's players while the other image is present (paper eq. 3), with arguments as above.

    Returns:
        The values of the query, the values of the retrieved image, and for each image the sum of its values minus the change of the
        similarity by all its players.
    """
    maps, (full, without_query, without_retrieved) = _map_images(queries, retrieveds, frozen_norm)
    changes = full - torch.stack([without_query, without_retrieved])
    return *maps, torch.stack([maps[0].sum(), maps[1].sum()]) - changes


def _map_images(
    queries: Sequence[Affine], retrieveds: Sequence[Affine], frozen_norm: bool
) -> tuple[tuple[Float[Tensor, " query"], Float[Tensor, " retrieved"]], tuple[Tensor, Tensor, Tensor]]:
    """The maps of both images, and the true similarities of the images, without the query, and without the retrieved image."""
    query, retrieved = _average_towers(queries), _average_towers(retrieveds)
    u, w = _full_embedding(query), _full_embedding(retrieved)
    scale = _frozen_scale(u, w, frozen_norm)
    without_query = _mean_similarity([tower.offset for tower in queries], [w], frozen_norm)
    without_retrieved = _mean_similarity([u], [tower.offset for tower in retrieveds], frozen_norm)
    maps = query.moves @ w * scale, retrieved.moves @ u * scale
    return maps, (_mean_similarity([u], [w], frozen_norm), without_query, without_retrieved)


def _average_towers(towers: Sequence[Affine]) -> Affine:
    """The average over the backgrounds. The closed forms are linear in the background."""
    return Affine(torch.stack([tower.offset for tower in towers]).mean(0), torch.stack([tower.moves for tower in towers]).mean(0))


def _full_embedding(tower: Affine) -> Float[Tensor, " channels"]:
    return tower.offset + tower.moves.sum(0)


def _frozen_scale(u: Tensor, w: Tensor, frozen_norm: bool) -> Float[Tensor, ""]:
    """One over both norms, or 1 without them."""
    scale = 1 / (u.norm() * w.norm()) if frozen_norm else torch.ones_like(u[0])
    if not scale.isfinite():
        raise ValueError("Expected embeddings that are not zero, because cosine similarity has no value there. Use `similarity='dot'`.")
    return scale


def _mean_similarity(us: Sequence[Tensor], ws: Sequence[Tensor], frozen_norm: bool) -> Float[Tensor, ""]:
    """The mean similarity over all pairs. It is NaN if an embedding is zero, which has no cosine."""
    u, w = torch.stack(list(us)), torch.stack(list(ws))
    products = u @ w.T
    return (products / (u.norm(dim=1)[:, None] * w.norm(dim=1)) if frozen_norm else products).mean()
