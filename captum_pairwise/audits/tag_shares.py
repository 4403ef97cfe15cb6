"""Where the credit goes: the share of each tag, for all pairs, by label, by group, and by the words of the table."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from captum_pairwise.audits.audit_rows import AuditRows
from captum_pairwise.audits.clustered_mean import ClusteredMean, average_by_query
from captum_pairwise.audits.pair_row import Row

ALL, LABEL, GROUP = "all pairs", "hits", "group"
MOST_VALUES = 200  # of a column by which pairs are split


@dataclass(frozen=True)
class TagShare:
    """The credit of a tag in some pairs.

    Attributes:
        split: the column by which the pairs are split.
        value: its value in these pairs.
        tag: the tag.
        credit: the share of the credit of both sides that parts with the tag have.
        area: the share of the area that they have.
        pair_credit: the share of the credit of pairs of parts of which at least one has the tag.
    """

    split: str
    value: str
    tag: str
    credit: ClusteredMean
    area: ClusteredMean
    pair_credit: ClusteredMean

    @property
    def ratio(self) -> float:
        """The credit relative to the area: 1 if the tag does not matter."""
        return self.credit.mean / self.area.mean if self.area.mean > 0 else np.nan


def share_tags(rows: AuditRows) -> list[TagShare]:
    """The share of every tag in every part of the pairs."""
    per_pair = rows.get("tags")
    names = list(dict.fromkeys(tag["tag"] for tags in per_pair for tag in tags))
    shares = []
    for name in names:
        found = [next((tag for tag in tags if tag["tag"] == name), None) for tags in per_pair]
        has_tag = np.array([tag is not None for tag in found])
        columns = {
            column: np.array([np.nan if tag is None else _average_sides(tag, column) for tag in found])
            for column in ("credit", "area", "pair_credit")
        }
        for split, value, chosen in _split_rows(rows):
            kept = chosen & has_tag
            if kept.any():
                means = {column: average_by_query(values[kept], rows.queries[kept]) for column, values in columns.items()}
                shares.append(TagShare(split, value, name, **means))
    return shares


def _average_sides(tag: Row, column: str) -> float:
    return tag[column] if column in tag else (tag[f"query_{column}"] + tag[f"hit_{column}"]) / 2


def _split_rows(rows: AuditRows) -> Iterator[tuple[str, str, Bool[np.ndarray, " pairs"]]]:
    """Split the pairs by each column.

    Yields:
        the column, a value of it, and the pairs that have it.
    """
    yield ALL, "", np.ones(len(rows), dtype=bool)
    for value, label in (("correct", 1), ("wrong", 0)):
        yield LABEL, value, rows.is_correct == label
    columns = {GROUP: rows.get("group")}
    for place, words in enumerate(rows.get("words")):
        for name, value in words:
            columns.setdefault(name, [""] * len(rows))[place] = value
    for name, values in columns.items():
        cells = np.array(values, dtype=str)
        distinct = [value for value in np.unique(cells).tolist() if value]
        for value in distinct if len(distinct) <= MOST_VALUES else ():
            yield name, value, cells == value
