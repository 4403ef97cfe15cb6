"""A search in a folder of photos: the nearest others of each photo."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.audits.audited_model import AuditedImage, AuditedModel
from captum_pairwise.audits.search_pair import SearchPair, read_search_pairs
from captum_pairwise.files.images import list_images
from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.autocast import disable_autocast

ROWS = 1024  # queries that are compared at once
Choose = Callable[[str, AuditedImage], Bool[Tensor, " parts"]]


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


@torch.no_grad()
@disable_autocast()
def search_photos(model: AuditedModel, files: Sequence[str], top: int, choose: Choose | None = None) -> Nearest:
    """Embed photos, and find the nearest others of each.

    Args:
        model: a model with two embeddings and an inner product, such as a cosine.
        files: the photos.
        top: the number of hits of each.
        choose: the parts of a photo that are left out; None leaves none out.

    Raises:
        ValueError: the model has no embeddings to search, or fewer than two photos can be read.
    """
    wrapper = model.forward_func
    head = wrapper.head if isinstance(wrapper, SimilarityWrapper) else None
    if head is None or head.lift_query is None or head.lift_retrieved is None:
        raise ValueError("Expected an encoder with cosine, dot product or euclidean distance to search with. Pass pairs instead.")
    queries, hits, read, unread = [], [], [], {}
    for file in files:
        try:
            embeddings = _embed_file(model, file, choose)
        except ValueError as error:
            unread[file] = str(error)
            continue
        queries.append(promote_half(head.lift_query(embeddings[0])))
        hits.append(promote_half(head.lift_retrieved(embeddings[1])))
        read.append(file)
    if len(read) < 2:
        raise ValueError(f"Expected at least two photos to search among, got {len(read)} of {len(files)} files that can be read.")
    scores, places = _rank_others(torch.cat(queries), torch.cat(hits), min(top, len(read) - 1))
    return Nearest(read, places, scores, unread)


def _embed_file(model: AuditedModel, file: str, choose: Choose | None) -> tuple[Tensor, Tensor]:
    """The embeddings of a photo as query and as hit.

    Raises:
        ValueError: it cannot be read.
    """
    if choose is None:
        return model.embed_photo(model.reader.open(Path(file)))
    return model.embed_without(file, choose(file, model.get_image(file)))


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


def search_folder_pairs(model: AuditedModel, folder: Path, top: int) -> list[SearchPair]:
    """The pairs of each photo of a folder and its nearest others; photos in subfolders are in the group of their name.

    A file that cannot be read becomes a pair with itself, so that its row tells why.

    Raises:
        ValueError: as for `search_photos`.
    """
    files = list(map(str, list_images(folder)))
    nearest = search_photos(model, files, top)
    has_groups = len({Path(file).parent for file in files}) > 1
    groups = {file: Path(file).parent.relative_to(folder).as_posix() if has_groups else "" for file in files}
    rows = [
        {"query": query, "hit": nearest.files[place], "score": score}
        for query, places, scores in zip(nearest.files, nearest.places.tolist(), nearest.scores.tolist(), strict=True)
        for place, score in zip(places, scores, strict=True)
    ]
    rows += [{"query": file, "hit": file} for file in nearest.unread]
    return read_search_pairs({**row, "group": groups[row["query"]], "hit_group": groups[row["hit"]]} for row in rows)
