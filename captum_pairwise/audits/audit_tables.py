"""The tables of an audit as CSV and Parquet, for an analysis of one's own."""

from collections.abc import Iterable, Mapping
from typing import Any

from captum_pairwise.audits.audit_result import Audit
from captum_pairwise.audits.clustered_mean import ClusteredMean
from captum_pairwise.audits.part_removal import RemovalResult
from captum_pairwise.audits.shortcuts import ClusterSummary
from captum_pairwise.audits.tag_shares import TagShare
from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.files.optional_packages import import_optional


def write_audit_tables(audit: Audit) -> None:
    """Write the tables `tags`, `clusters`, `removals` and `failed` to the folder of an audit."""
    tables = {
        "tags": map(_spread_share, audit.tags),
        "clusters": map(_describe_cluster, audit.clusters),
        "removals": map(_describe_removal, audit.removals),
        "failed": audit.rows.failed.to_pylist(),
    }
    arrow, csv, parquet = (import_optional(name, "an audit", "audit") for name in ("pyarrow", "pyarrow.csv", "pyarrow.parquet"))
    for name, rows in tables.items():
        listed: list[Mapping[str, Any]] = list(rows)
        table = arrow.Table.from_pylist(listed)
        for ending, write in (("csv", csv.write_csv), ("parquet", parquet.write_table)):
            file = audit.folder / f"{name}.{ending}"
            if not listed:
                file.unlink(missing_ok=True)
                continue
            with write_atomically(file) as draft:
                write(table, draft)


def _spread_share(share: TagShare) -> dict[str, Any]:
    means = (("credit", share.credit), ("area", share.area), ("pair_credit", share.pair_credit))
    counts = {"n_pairs": share.credit.n_pairs, "n_queries": share.credit.n_queries}
    return {"split": share.split, "value": share.value, "tag": share.tag, **_spread_means(means), "ratio": share.ratio, **counts}


def _describe_cluster(cluster: ClusterSummary) -> dict[str, Any]:
    means = (("credit", cluster.credit), ("credit_in_correct", cluster.correct), ("credit_in_wrong", cluster.wrong))
    names = ("number", "is_suspect", "strength", "recurrence", "n_queries", "n_images", "n_groups", "place")
    examples = "; ".join(f"{file} part {part}" for file, part in cluster.examples)
    return {**{name: getattr(cluster, name) for name in names}, **_spread_means(means), "examples": examples}


def _describe_removal(removal: RemovalResult) -> dict[str, Any]:
    names = ("name", "n_images", "n_lists", "n_changed")
    accuracy = dict(zip(("accuracy_before", "accuracy_after"), removal.accuracy, strict=True))
    return {**{name: getattr(removal, name) for name in names}, **accuracy}


def _spread_means(means: Iterable[tuple[str, ClusteredMean]]) -> dict[str, float]:
    """Two columns for each mean: the mean, and its standard error."""
    return {
        f"{name}{ending}": value for name, mean in means for ending, value in (("", mean.mean), ("_standard_error", mean.standard_error))
    }
