"""What a search matches on: clusters of the strongest parts of all pairs, by the features of the layer."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from captum_pairwise.audits.audit_rows import PartTable
from captum_pairwise.files.optional_packages import import_optional

MOST_CLUSTERED = 8000  # parts for HDBSCAN, whose time grows with their square; the others join the nearest cluster
FEWEST_MEMBERS = 6
NEIGHBOURS = 3  # that make a place dense
REACH = 0.95  # quantile of the distances of members to their centre: parts within it belong to the cluster
SEED = 0
Features = Float[np.ndarray, "parts features"]


@dataclass(frozen=True)
class PartCluster:
    """Parts of images that look alike to the layer.

    Attributes:
        origin: the mean of the features of all strong parts.
        centre: the mean direction of its parts from there.
        reach: the distance of directions up to which a part belongs to it.
        entries: the rows of the part table that belong to it.
    """

    origin: Float[np.ndarray, " features"]
    centre: Float[np.ndarray, " features"]
    reach: float
    entries: Int[np.ndarray, " members"]

    def measure_distances(self, features: Features) -> Float[np.ndarray, " parts"]:
        """The distance of each part from the centre."""
        return np.linalg.norm(_point_from_origin(features, self.origin) - self.centre, axis=1)

    def contains(self, features: Features) -> Bool[np.ndarray, " parts"]:
        """True for each part within reach."""
        return self.measure_distances(features) <= self.reach


def cluster_parts(parts: PartTable) -> list[PartCluster]:
    """The clusters of parts; parts in sparse places belong to none, and a part within reach of several to the nearest.

    A part of an image counts once, however many pairs it is in.
    """
    distinct = np.unique(np.stack([parts.image, parts.part], 1), axis=0, return_index=True)[1]
    if len(distinct) > MOST_CLUSTERED:
        distinct = np.sort(np.random.default_rng(SEED).choice(distinct, MOST_CLUSTERED, replace=False))
    if len(distinct) <= FEWEST_MEMBERS:
        return []
    origin = parts.features[distinct].mean(0)
    directions, chosen = _point_from_origin(parts.features, origin), _point_from_origin(parts.features[distinct], origin)
    module = import_optional("sklearn.cluster", "the clusters of an audit", "audit")
    labels = module.HDBSCAN(min_cluster_size=FEWEST_MEMBERS, min_samples=NEIGHBOURS, copy=True).fit_predict(chosen)
    centres = [chosen[labels == label].mean(0) for label in range(labels.max() + 1)]
    reaches = [float(np.quantile(np.linalg.norm(chosen[labels == k] - centre, axis=1), REACH)) for k, centre in enumerate(centres)]
    owner = _assign_nearest(directions, centres, reaches)
    clusters = zip(centres, reaches, (np.flatnonzero(owner == k) for k in range(len(centres))), strict=True)
    return [PartCluster(origin, centre, reach, entries) for centre, reach, entries in clusters if len(entries)]


def _point_from_origin(features: Features, origin: Float[np.ndarray, " features"]) -> Features:
    """The direction of each part from the mean of all: what all parts share tells nothing."""
    moved = features - origin
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), np.finfo(moved.dtype).tiny)


def _assign_nearest(directions: Features, centres: list[Float[np.ndarray, " features"]], reaches: list[float]) -> Int[np.ndarray, " parts"]:
    """The number of the nearest centre within reach of each part; -1 for none."""
    nearest, owner = np.full(len(directions), np.inf), np.full(len(directions), -1)
    for number, (centre, reach) in enumerate(zip(centres, reaches, strict=True)):
        distances = np.linalg.norm(directions - centre, axis=1)
        is_nearer = (distances <= reach) & (distances < nearest)
        nearest[is_nearer], owner[is_nearer] = distances[is_nearer], number
    return owner
