"""A search in a folder of photos: the nearest others of each photo."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.search_pair import SearchPair, read_search_pairs
from captum_pairwise.files.images import list_images
from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.heads import Lift
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import disable_autocast

ROWS = 1024  # queries that are compared at once


@dataclass(frozen=True)
class PhotoEmbeddings:
    """The embeddings of photos.

    Attributes:
        files: the photos that can be read.
        queries: their embeddings as queries.
        hits: their embeddings as hits.
        lifts: map queries and hits to vectors whose inner products are the similarities.
        unread: the sentence for each file that cannot be read.
    """

    files: list[str]
    queries: Float[Tensor, "photos channels"]
    hits: Float[Tensor, "photos channels"]
    lifts: tuple[Lift, Lift]
    unread: dict[str, str]


@dataclass(frozen=True)
class Nearest:
    """The nearest others of each photo.

    Attributes:
        files: the photos that can be read.
        places: of the nearest among `files`, the best first.
        scores: their similarities.
        unread: the sentence for each file that cannot be read.
    """

    files: list[str]
    places: Int[Tensor, "photos top"]
    scores: Float[Tensor, "photos top"]
    unread: dict[str, str]


def embed_photos(model: AuditedModel, files: Sequence[str]) -> PhotoEmbeddings:
    """The embeddings of photos.

    Args:
        model: a model with two embeddings and an inner product, such as a cosine.
        files: the photos.

    Raises:
        ValueError: the model has no embeddings to search, or fewer than two photos can be read.
    """
    wrapper = model.forward_func
    head = wrapper.head if isinstance(wrapper, SimilarityWrapper) else None
    if head is None or head.lift_query is None or head.lift_retrieved is None:
        raise ValueError("Expected an encoder with cosine, dot product or euclidean distance to search with. Pass pairs instead.")
    pairs, read, unread = [], [], {}
    for file in files:
        try:
            pairs.append(model.embed_file(file))
            read.append(file)
        except ValueError as error:
            unread[file] = str(error)
    if len(read) < 2:
        raise ValueError(f"Expected at least two photos to search among, got {len(read)} of {len(files)} files that can be read.")
    queries, hits = (promote_half(torch.cat(rows)) for rows in zip(*pairs, strict=True))
    return PhotoEmbeddings(read, queries, hits, (head.lift_query, head.lift_retrieved), unread)


@torch.no_grad()
@disable_autocast()
def find_nearest(photos: PhotoEmbeddings, top: int) -> Nearest:
    """The nearest others of each photo.

    Args:
        photos: the photos.
        top: the number of hits of each.
    """
    lift_query, lift_hit = photos.lifts
    scores, places = _rank_others(lift_query(photos.queries), lift_hit(photos.hits), min(top, len(photos.files) - 1))
    return Nearest(photos.files, places, scores, photos.unread)


def _rank_others(queries: Tensor, hits: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The highest inner products of each row with the rows of the others."""
    scores, places = [], []
    for start in range(0, len(queries), ROWS):
        products = queries[start : start + ROWS] @ hits.mT
        own = torch.arange(len(products), device=products.device)
        products[own, own + start] = -torch.inf
        best = products.topk(top)
        scores.append(best.values.cpu())
        places.append(best.indices.cpu())
    return torch.cat(scores), torch.cat(places)


def embed_folder(model: AuditedModel, folder: Path) -> PhotoEmbeddings:
    """The embeddings of the photos in a folder and its subfolders.

    Raises:
        ValueError: as for `embed_photos`.
    """
    return embed_photos(model, list(map(str, list_images(folder))))


def list_nearest_pairs(photos: PhotoEmbeddings, folder: Path, top: int) -> list[SearchPair]:
    """The pairs of each photo of a folder and its nearest others; photos in subfolders are in the group of their name.

    A file that cannot be read becomes a pair with itself, so that its row tells why.
    """
    nearest, files = find_nearest(photos, top), [*photos.files, *photos.unread]
    has_groups = len({Path(file).parent for file in files}) > 1
    groups = {file: Path(file).parent.relative_to(folder).as_posix() if has_groups else "" for file in files}
    rows = [
        {"query": query, "hit": nearest.files[place], "score": score}
        for query, places, scores in zip(nearest.files, nearest.places.tolist(), nearest.scores.tolist(), strict=True)
        for place, score in zip(places, scores, strict=True)
    ]
    rows += [{"query": file, "hit": file} for file in nearest.unread]
    return read_search_pairs({**row, "group": groups[row["query"]], "hit_group": groups[row["hit"]]} for row in rows)
