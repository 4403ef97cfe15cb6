"""The audit of a search: its rows, where the credit goes, the clusters of parts, and what happens without them."""

from dataclasses import dataclass
from math import isnan
from pathlib import Path

from captum_pairwise.audits.audit_rows import AuditRows
from captum_pairwise.audits.part_removal import RemovalResult
from captum_pairwise.audits.shortcuts import ClusterSummary
from captum_pairwise.audits.tag_shares import TagShare

PAGE = "audit.html"


@dataclass(frozen=True, repr=False)
class Audit:
    """The result of an audit.

    Attributes:
        folder: with the page, the tables, and the rows.
        rows: the pairs.
        tags: the share of the credit of every tag.
        clusters: what the search matches on, the likeliest shortcut first.
        removals: the search without the parts of a cluster or of a tag.
        choices: the parts and the method in words.

    For example::

        result = cp.audit(encoder, "search.csv", "audit")
        print(result.suspects, result.removals)

    See also `audit`.
    """

    folder: Path
    rows: AuditRows
    tags: list[TagShare]
    clusters: list[ClusterSummary]
    removals: list[RemovalResult]
    choices: str

    @property
    def page(self) -> Path:
        """The report, one HTML file."""
        return self.folder / PAGE

    @property
    def n_pairs(self) -> int:
        """The number of pairs."""
        return len(self.rows) + self.n_failed

    @property
    def n_failed(self) -> int:
        """The number of pairs that could not be explained; the row of each has a sentence."""
        return self.rows.failed.num_rows

    @property
    def suspects(self) -> list[ClusterSummary]:
        """The clusters that carry much credit in several groups."""
        return [cluster for cluster in self.clusters if cluster.is_suspect]

    @property
    def verdict(self) -> list[str]:
        """What the audit found, in sentences."""
        return [self._tell_suspects(), *(tell_removal(removal) for removal in self.removals), *self._tell_failures()]

    def _tell_suspects(self) -> str:
        if not self.clusters:
            return "No clusters: the model has no layer whose parts have features, or too few pairs were explained."
        if self.clusters[0].is_suspect is None:
            return (
                "Nothing tells which photos show different subjects, so the audit names no shortcut. Put the photos of each subject into a "
                "subfolder, or add the columns group and hit_group to the table."
            )
        if not self.suspects:
            return "No shortcut was found: no cluster of parts carries much of the credit of unrelated queries."
        told = "; ".join(describe_cluster(cluster) for cluster in self.suspects)
        noun = "A shortcut was found" if len(self.suspects) == 1 else f"{len(self.suspects)} shortcuts were found"
        return f"{noun}: {told}."

    def _tell_failures(self) -> list[str]:
        failed = self.n_failed
        return [f"{failed} of {self.n_pairs} pairs could not be explained; their rows say why."] if failed else []

    def __repr__(self) -> str:
        return f"Audit({self.n_pairs} pairs, {self.n_failed} failed, {len(self.clusters)} clusters, {len(self.suspects)} suspects)"


def describe_cluster(cluster: ClusterSummary) -> str:
    """A cluster in half a sentence."""
    place = f" {cluster.place}" if cluster.place else ""
    wrong, correct = (_format_share(share.mean) for share in (cluster.wrong, cluster.correct))
    label = "" if isnan(cluster.wrong.mean) else f", {wrong} in wrong and {correct} in correct hits"
    groups = "" if cluster.is_suspect is None else f" of {_format_number(cluster.n_groups, 'group')}"
    return (
        f"cluster {cluster.number}{place} is strong in {_format_number(cluster.n_images, 'image')}{groups} and carries "
        f"{_format_share(cluster.credit.mean)} of the credit{label}"
    )


def tell_removal(removal: RemovalResult) -> str:
    """The effect of some parts in a sentence."""
    before, after = removal.accuracy
    told = (
        "" if isnan(before) or isnan(after) else f", and {_format_share(after)} of the hits are correct instead of {_format_share(before)}"
    )
    changed = f"{removal.n_changed} of {removal.n_lists} lists of hits change"
    return f"Without {removal.name}, which is removed from {removal.n_images} images, {changed}{told}."


def _format_number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _format_share(share: float) -> str:
    return f"{100 * share:.1f} %"
