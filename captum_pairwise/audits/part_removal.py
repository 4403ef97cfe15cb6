"""The counterfactual proof: the same search without some parts of all images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
import torch
from jaxtyping import Bool
from torch import Tensor

from captum_pairwise.audits.audited_model import AuditedImage, AuditedModel
from captum_pairwise.audits.grid_tags import tag_places
from captum_pairwise.audits.nearest_images import Choose, Nearest, search_photos
from captum_pairwise.audits.part_clusters import PartCluster

WIDER = 1.35  # a part beside a part of the cluster is removed too, if its distance to the centre is at most so many reaches
CHOSEN = 0.5  # weight of a tag from which on a part is filled


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


def remove_parts_and_search(
    model: AuditedModel, before: Nearest, choose: Choose, name: str, groups: dict[str, str] | None = None
) -> RemovalResult:
    """Leave parts out of all images, queries and gallery, and search again.

    Args:
        model: the model.
        before: the search with all parts.
        choose: the parts to leave out, from a file and its image.
        name: of the parts, in words.
        groups: of each file; a hit is correct if it is of the group of its query.
    """
    n_images = 0

    def choose_and_count(file: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        nonlocal n_images
        chosen = choose(file, image)
        n_images += bool(chosen.any())
        return chosen

    after = search_photos(model, before.files, before.places.shape[1], choose_and_count)
    hits = [[set(places) for places in nearest.places.tolist()] for nearest in (before, after)]
    n_changed = sum(first != second for first, second in zip(*hits, strict=True))
    accuracy = (measure_accuracy(before, groups), measure_accuracy(after, groups))
    return RemovalResult(name, n_images, len(before.files), n_changed, accuracy, before, after)


def choose_cluster(cluster: PartCluster) -> Choose:
    """The parts of every image that belong to a cluster, and their neighbours that nearly do.

    An image without a part within reach stays as it is. In the others the parts grow, as edges do by hysteresis (Canny 1986): the parts
    around a shortcut see some of it.
    """

    def choose(_: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        grid, features = image.parts.grid, image.parts.features
        if features is None:
            return torch.zeros(grid[0] * grid[1], dtype=torch.bool, device="cpu")
        distances = cluster.measure_distances(features.cpu().numpy()).reshape(grid)
        seeds, candidates = distances <= cluster.reach, distances <= WIDER * cluster.reach
        return torch.from_numpy(apply_hysteresis(seeds, candidates)).flatten()

    return choose


def apply_hysteresis(
    seeds: Bool[np.ndarray, "rows columns"], candidates: Bool[np.ndarray, "rows columns"]
) -> Bool[np.ndarray, "rows columns"]:
    """The candidates that are connected with a seed, also across corners."""
    return scipy.ndimage.binary_propagation(seeds, np.ones((3, 3)), mask=candidates | seeds)


def choose_tag(name: str) -> Choose:
    """The parts of every image with a tag that needs no mask.

    Raises:
        ValueError: there is no such tag.
    """
    known = [*tag_places((3, 3)), "flat"]
    if name not in known:
        raise ValueError(f"Expected a tag that needs no mask, one of {known}, got {name!r}. Pass one of these, or a cluster.")

    def choose(_: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        return (image.is_flat if name == "flat" else tag_places(image.parts.grid)[name]) > CHOSEN

    return choose


def choose_any(choices: Sequence[Choose]) -> Choose:
    """The parts that any of several rules chooses."""

    def choose(file: str, image: AuditedImage) -> Bool[Tensor, " parts"]:
        return torch.stack([rule(file, image) for rule in choices]).any(0)

    return choose


def measure_accuracy(nearest: Nearest, groups: dict[str, str] | None) -> float:
    """The share of hits of the group of their query, over the queries that have one; NaN if none has."""
    if not groups:
        return np.nan
    places = zip(nearest.files, nearest.places.tolist(), strict=True)
    known = [[groups.get(nearest.files[hit]) == groups[file] for hit in hits] for file, hits in places if groups.get(file)]
    return float(np.mean(known)) if known else np.nan
