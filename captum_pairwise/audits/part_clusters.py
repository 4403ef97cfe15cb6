"""What a search matches on: clusters of the strongest parts of all pairs, by the features of the layer."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from captum_pairwise.audits.audit_rows import PartTable

MOST_CLUSTERED = 4000  # parts, since time grows with their square; the others join the nearest cluster
FEWEST_MEMBERS = 6
LEAST_COSINE = 0.2  # mean over all pairs of parts of two clusters that are joined
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
    """The clusters of parts by average linkage. A part belongs to the nearest cluster that reaches it, or to none.

    A part of an image counts once, however many pairs it is in.
    """
    rows = np.arange(len(parts.features))
    if len(rows) > MOST_CLUSTERED:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST_CLUSTERED, replace=False))
    if len(rows) <= FEWEST_MEMBERS:
        return []
    origin = parts.features[rows].mean(0)
    directions = _point_from_origin(parts.features, origin)
    chosen = directions[rows]
    labels = scipy.cluster.hierarchy.fcluster(scipy.cluster.hierarchy.average(_measure_cosines(chosen)), 1 - LEAST_COSINE, "distance")
    members = [chosen[labels == label] for label in range(1, labels.max() + 1) if (labels == label).sum() >= FEWEST_MEMBERS]
    centres = [directions_of.mean(0) for directions_of in members]
    reaches = [float(np.quantile(np.linalg.norm(one - centre, axis=1), REACH)) for one, centre in zip(members, centres, strict=True)]
    owner = _assign_nearest(directions, centres, reaches)[parts.row]
    clusters = zip(centres, reaches, (np.flatnonzero(owner == k) for k in range(len(centres))), strict=True)
    return [PartCluster(origin, centre, reach, entries) for centre, reach, entries in clusters if len(entries)]


def _measure_cosines(directions: Features) -> Float[np.ndarray, " pairs"]:
    """One minus the cosine of every two directions, in the order of SciPy."""
    return scipy.spatial.distance.squareform((1 - directions @ directions.T).clip(min=0), checks=False)


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
