"""The counterfactual proof: the same search without some parts of all images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
Choose = Callable[[AuditedModel, str], Bool[Tensor, " parts"] | None]


@dataclass(frozen=True)
class FoundCluster:
    """A cluster of parts and the files in which it is among the strongest parts."""

    cluster: PartCluster
    files: frozenset[str]


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
    changed, n_images = _embed_without(model, photos, choose_tag(tag))
    return _compare(f"the tag {tag}", n_images, photos, changed, top, groups)


def search_without_clusters(
    model: AuditedModel, photos: PhotoEmbeddings, clusters: Sequence[FoundCluster], name: str, top: int, groups: Groups
) -> RemovalResult:
    """Remove the parts of some clusters from the images that show them, and their effect from all embeddings, and search again.

    Other positions of the network have seen a removed part too, and a photo without it still shows that something was there. So the mean
    difference between images of a group with and without the cluster is projected out of all embeddings.

    Args:
        model: the model.
        photos: the search with all parts.
        clusters: the clusters.
        name: of the clusters, in words.
        top: the number of hits.
        groups: of each file; a hit is correct if it is of the group of its query.
    """
    changed, n_images = _embed_without(model, photos, choose_clusters(clusters))
    shows = torch.tensor([[file in one.files for file in photos.files] for one in clusters], device="cpu", dtype=torch.bool)
    names = [groups.get(file, file) for file in photos.files]
    sides = []
    for rows in (changed.queries, changed.hits):
        directions = [find_direction(rows, has, names) for has in shows.to(rows.device)]
        sides.append(project_out(rows, torch.stack(directions)))
    return _compare(name, n_images, photos, replace(changed, queries=sides[0], hits=sides[1]), top, groups)


def _embed_without(model: AuditedModel, photos: PhotoEmbeddings, choose: Choose) -> tuple[PhotoEmbeddings, int]:
    """The embeddings without some parts, and the number of images that lost some; the others keep their embeddings."""
    queries, hits, n_images = photos.queries.clone(), photos.hits.clone(), 0
    for place, file in enumerate(photos.files):
        chosen = choose(model, file)
        if chosen is not None and chosen.any() and not chosen.all():  # nothing is left around a whole image
            n_images += 1
            queries[place : place + 1], hits[place : place + 1] = model.embed_file(file, chosen)
    return replace(photos, queries=queries, hits=hits), n_images


def choose_clusters(clusters: Sequence[FoundCluster]) -> Choose:
    """The parts within reach of the clusters that an image shows."""

    def choose(model: AuditedModel, file: str) -> Bool[Tensor, " parts"] | None:
        shown = [one.cluster for one in clusters if file in one.files]
        features = model.get_image(file).parts.features if shown else None
        if features is None:
            return None
        rows = features.cpu().numpy()
        return torch.from_numpy(np.any([cluster.contains(rows) for cluster in shown], axis=0))

    return choose


def check_tag(name: str) -> None:
    """Check that a tag needs no mask.

    Raises:
        ValueError: there is no such tag.
    """
    known = [*tag_places((3, 3)), "flat"]
    if name not in known:
        raise ValueError(f"Expected a tag that needs no mask, one of {known}, got {name!r}. Pass one of these, or a cluster.")


def choose_tag(name: str) -> Choose:
    """The parts of every image with a tag that needs no mask."""

    def choose(model: AuditedModel, file: str) -> Bool[Tensor, " parts"]:
        image = model.get_image(file)
        return (image.is_flat if name == "flat" else tag_places(image.parts.grid)[name]) > CHOSEN

    return choose


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
