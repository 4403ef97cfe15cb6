"""The counterfactual proof: the same search without some parts of all images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.grid_tags import tag_places
from captum_pairwise.audits.nearest_images import Nearest, PhotoEmbeddings, find_nearest
from captum_pairwise.audits.part_clusters import PartCluster
from captum_pairwise.audits.removed_directions import find_direction, project_out

CHOSEN = 0.5  # weight of a tag from which on a part is removed

Groups = dict[str, str]
ShownParts = list[Bool[Tensor, "clusters parts"]]  # of each photo


@dataclass(frozen=True)
class RemovalResult:
    """The effect of some parts on a search.

    Attributes:
        name: of the parts.
        n_images: the images that lost parts.
        n_lists: the queries.
        n_changed: the queries whose hits are other images than before.
        accuracy: the share of correct hits before and after; NaN without groups.
        before: the search with all parts.
        after: the search without them.
    """

    name: str
    n_images: int
    n_lists: int
    n_changed: int
    accuracy: tuple[float, float]
    before: Nearest
    after: Nearest


def search_without_tag(model: AuditedModel, photos: PhotoEmbeddings, tag: str, top: int, groups: Groups) -> RemovalResult:
    """Remove the parts with a tag from all images, queries and gallery, and search again.

    Args:
        model: the model.
        photos: the search with all parts.
        tag: one that needs no mask, see `check_tag`.
        top: the number of hits.
        groups: of each file; a hit is correct if it is of the group of its query.
    """
    changed, n_images = _embed_without(model, photos, (_choose_tagged(model, file, tag) for file in photos.files))
    return _compare(f"the tag {tag}", n_images, photos, changed, top, groups)


def find_shown(model: AuditedModel, files: Sequence[str], clusters: Sequence[PartCluster]) -> ShownParts:
    """The parts of each photo that belong to each cluster, also those that are among the strongest parts of no pair.

    Args:
        model: a model whose parts have features.
        files: the photos.
        clusters: the clusters.
    """
    shown = []
    for file in files:
        features = cast(Tensor, model.get_image(file).parts.features)  # clusters are made of features
        rows = features.cpu().numpy()
        shown.append(torch.from_numpy(np.stack([cluster.contains(rows) for cluster in clusters])))
    return shown


def search_without_clusters(
    model: AuditedModel, photos: PhotoEmbeddings, shown: ShownParts, name: str, top: int, groups: Groups
) -> RemovalResult:
    """Remove the parts of some clusters from all images, and their effect from all embeddings, and search again.

    Other positions of the network have seen a removed part too, and a photo without it still shows that something was there. So the mean
    difference between images of a group with and without the cluster is projected out of all embeddings.

    Args:
        model: the model.
        photos: the search with all parts.
        shown: the parts of each photo that belong to each of these clusters.
        name: of the clusters, in words.
        top: the number of hits.
        groups: of each file; a hit is correct if it is of the group of its query.
    """
    changed, n_images = _embed_without(model, photos, (parts.any(0) for parts in shown))
    shows = torch.stack([parts.any(1) for parts in shown], 1)
    names = [groups.get(file, file) for file in photos.files]
    sides = []
    for rows in (changed.queries, changed.hits):
        directions = [find_direction(rows, has, names) for has in shows.to(rows.device)]
        sides.append(project_out(rows, torch.stack(directions)))
    return _compare(name, n_images, photos, replace(changed, queries=sides[0], hits=sides[1]), top, groups)


def _embed_without(model: AuditedModel, photos: PhotoEmbeddings, removed: Iterable[Bool[Tensor, " parts"]]) -> tuple[PhotoEmbeddings, int]:
    """The embeddings of photos without some parts, and the number of photos that lost some; the others keep their embeddings."""
    queries, hits, n_images = photos.queries.clone(), photos.hits.clone(), 0
    for place, (file, parts) in enumerate(zip(photos.files, removed, strict=True)):
        if parts.any() and not parts.all():  # nothing is left around a whole image
            n_images += 1
            queries[place : place + 1], hits[place : place + 1] = model.embed_file(file, parts)
    return replace(photos, queries=queries, hits=hits), n_images


def check_tag(name: str) -> None:
    """Check that a tag needs no mask.

    Raises:
        ValueError: there is no such tag.
    """
    known = [*tag_places((3, 3)), "flat"]
    if name not in known:
        raise ValueError(f"Expected a tag that needs no mask, one of {known}, got {name!r}. Pass one of these, or a cluster.")


def _choose_tagged(model: AuditedModel, file: str, name: str) -> Bool[Tensor, " parts"]:
    """The parts of a photo with a tag that needs no mask."""
    image = model.get_image(file)
    return (image.is_flat if name == "flat" else tag_places(image.parts.grid)[name]) > CHOSEN


def _compare(name: str, n_images: int, before: PhotoEmbeddings, after: PhotoEmbeddings, top: int, groups: Groups) -> RemovalResult:
    """The lists of hits of two searches."""
    results = find_nearest(before, top), find_nearest(after, top)
    hits = [[set(places) for places in nearest.places.tolist()] for nearest in results]
    n_changed = sum(first != second for first, second in zip(*hits, strict=True))
    accuracy = (measure_accuracy(results[0], groups), measure_accuracy(results[1], groups))
    return RemovalResult(name, n_images, len(before.files), n_changed, accuracy, *results)


def measure_accuracy(nearest: Nearest, groups: Groups) -> float:
    """The share of hits of the group of their query, over the queries that have one; NaN if none has."""
    places = zip(nearest.files, nearest.places.tolist(), strict=True)
    known = [[groups.get(nearest.files[hit]) == groups[file] for hit in hits] for file, hits in places if groups.get(file)]
    return float(np.mean(known)) if known else np.nan
