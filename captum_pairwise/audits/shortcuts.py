"""Clusters of parts, ranked by how much they look like shortcuts: much credit that recurs over queries of unrelated groups."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from captum_pairwise.audits.audit_rows import AuditRows
from captum_pairwise.audits.clustered_mean import ClusteredMean, average_by_query
from captum_pairwise.audits.grid_tags import tag_places
from captum_pairwise.audits.part_clusters import PartCluster, cluster_parts

LEAST_STRENGTH = 0.003  # credit times the effective number of further groups, of a suspect; planted ones have .0076 and more
LEAST_RECURRENCE = 0.3  # further groups: 0 if all credit is in one group, 1 if it is shared evenly by two
N_EXAMPLES = 12
OFTEN = 0.5  # of the credit, for a place that is named


@dataclass(frozen=True)
class ClusterSummary:
    """What a cluster of parts does in the search.

    Attributes:
        number: its place in the ranking, from 1.
        cluster: the parts.
        credit: its share of the credit of a pair, on the mean of all pairs.
        correct: the same over correct hits.
        wrong: the same over wrong hits.
        n_queries: the number of queries in whose pairs it is among the strongest parts.
        n_images: the number of images in which it is among the strongest parts.
        n_groups: the number of groups that these images are of.
        recurrence: the effective number of groups that its credit comes from, minus 1.
        is_suspect: True if it carries much credit in several groups, and more in wrong hits than in correct ones; None if no column
            tells groups.
        place: where in the images it is, in words; empty if it is everywhere.
        examples: images and parts that show it, of as many groups as possible.
    """

    number: int
    cluster: PartCluster
    credit: ClusteredMean
    correct: ClusteredMean
    wrong: ClusteredMean
    n_queries: int
    n_images: int
    n_groups: int
    recurrence: float
    is_suspect: bool | None
    place: str
    examples: list[tuple[str, int]]

    @property
    def strength(self) -> float:
        """What the ranking goes by: the credit times the effective number of further groups."""
        return self.credit.mean * self.recurrence


@dataclass(frozen=True)
class _ImageGroups:
    """The group of each image of the part table."""

    rows: AuditRows

    @cached_property
    def names(self) -> list[str]:
        """A name for each image: the group of the query or of the hit; an image without one is a group of its own."""
        groups: dict[str, str] = {}
        for side, column in (("query", "group"), ("hit", "hit_group")):
            groups |= {file: group for file, group in zip(self.rows.get(side), self.rows.get(column), strict=True) if group}
        return [groups.get(file, file) for file in self.rows.parts.files]

    @cached_property
    def are_known(self) -> bool:
        """True if a column tells groups, and there are at least two."""
        return any(self.rows.get("group")) and len(set(self.names)) > 1


def rank_clusters(rows: AuditRows) -> list[ClusterSummary]:
    """The clusters of the strongest parts, the likeliest shortcut first."""
    groups = _ImageGroups(rows)
    summaries = [_summarise_cluster(rows, cluster, groups) for cluster in cluster_parts(rows.parts)]
    order = sorted(summaries, key=lambda one: (-one.strength, -one.credit.mean))
    return [ClusterSummary(**{**vars(one), "number": number}) for number, one in enumerate(order, 1)]


def _summarise_cluster(rows: AuditRows, cluster: PartCluster, groups: _ImageGroups) -> ClusterSummary:
    parts, entries = rows.parts, cluster.entries
    shares = np.bincount(parts.pair[entries], parts.credit[entries], len(rows)) / 2  # both sides of a pair have a whole each
    means = [average_by_query(shares[chosen], rows.queries[chosen]) for chosen in _split_pairs(rows)]
    of_group: dict[str, float] = {}
    for image, credit in zip(parts.image[entries].tolist(), parts.credit[entries].tolist(), strict=True):
        of_group[groups.names[image]] = of_group.get(groups.names[image], 0.0) + credit
    weights = np.array(list(of_group.values()))
    recurrence = float(weights.sum() ** 2 / (weights**2).sum() - 1)
    return ClusterSummary(
        number=0,
        cluster=cluster,
        credit=means[0],
        correct=means[1],
        wrong=means[2],
        n_queries=len(np.unique(rows.queries[parts.pair[entries]])),
        n_images=len(np.unique(parts.image[entries])),
        n_groups=len(of_group),
        recurrence=recurrence,
        is_suspect=_is_suspect(means, recurrence) if groups.are_known else None,
        place=_name_place(rows, cluster),
        examples=_choose_examples(rows, cluster, groups),
    )


def _split_pairs(rows: AuditRows) -> list[np.ndarray]:
    """All pairs, the correct and the wrong ones."""
    return [np.ones(len(rows), dtype=bool), rows.is_correct == 1, rows.is_correct == 0]


def _is_suspect(means: list[ClusteredMean], recurrence: float) -> bool:
    """True for much credit in several groups, which is higher in wrong hits than in correct ones if labels are known."""
    credit, correct, wrong = means
    is_recurrent = recurrence >= LEAST_RECURRENCE and credit.mean * recurrence >= LEAST_STRENGTH
    return is_recurrent and not wrong.mean <= correct.mean  # NaN without labels


def _name_place(rows: AuditRows, cluster: PartCluster) -> str:
    """The place that has at least half of the credit of a cluster; the border only if it has more than its share of all parts."""
    parts, entries = rows.parts, cluster.entries
    of_place: dict[str, float] = {}
    grids = rows.grids[parts.side[entries], parts.pair[entries]]
    for grid in np.unique(grids, axis=0):
        own = entries[(grids == grid).all(1)]
        credits = np.bincount(parts.part[own], parts.credit[own], grid.prod())
        for name, weights in tag_places((int(grid[0]), int(grid[1]))).items():
            of_place[name] = of_place.get(name, 0.0) + float(weights.numpy() @ credits)
    total = parts.credit[entries].sum()
    border = of_place.pop("border", 0.0)
    name, credit = max(of_place.items(), key=lambda one: one[1])
    if credit >= OFTEN * total:
        return "in the centre" if name == "centre" else f"at the {name}"
    return "at the border" if border >= (1 + OFTEN) / 2 * total else ""


def _choose_examples(rows: AuditRows, cluster: PartCluster, groups: _ImageGroups) -> list[tuple[str, int]]:
    """One part of each image, near the centre of the cluster, taking turns among groups."""
    parts, seen, by_group = rows.parts, set[int](), dict[str, list[int]]()
    distances = cluster.measure_distances(parts.features[parts.row[cluster.entries]])
    for entry in cluster.entries[distances.argsort(kind="stable")].tolist():
        if parts.image[entry] not in seen:
            seen.add(int(parts.image[entry]))
            by_group.setdefault(groups.names[parts.image[entry]], []).append(entry)
    turns = [(turn, entry) for entries in by_group.values() for turn, entry in enumerate(entries)]
    chosen = [entry for _, entry in sorted(turns, key=lambda one: one[0])[:N_EXAMPLES]]
    return [(parts.files[parts.image[entry]], int(parts.part[entry])) for entry in chosen]


def measure_difference(summary: ClusterSummary) -> tuple[float, float]:
    """The credit of a cluster in wrong hits minus that in correct hits, and its standard error; NaN if there are no labels."""
    wrong, correct = summary.wrong, summary.correct
    return wrong.mean - correct.mean, float(np.hypot(wrong.standard_error, correct.standard_error))
