"""The rows of an audit in memory, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from captum_pairwise.audits.search_pair import SIDES
from captum_pairwise.audits.shard_files import RowFolder
from captum_pairwise.files.optional_packages import import_optional

MOST_PARTS = 200_000  # of all pairs: more are left out by whole pairs, in the order of their keys
UNKNOWN = np.nan


@dataclass(frozen=True)
class PartTable:
    """The strongest parts of the pairs, an entry for each part of each pair.

    Attributes:
        pair: the number of the pair among the explained ones.
        side: 0 for the query, 1 for the hit.
        image: the number of the image among `files`.
        part: the number of the part.
        credit: its share of the credit of the pair.
        row: the number of its features. A part of an image has the same features in all of its pairs.
        features: of each part.
        files: the images.
    """

    pair: Int[np.ndarray, " entries"]
    side: Int[np.ndarray, " entries"]
    image: Int[np.ndarray, " entries"]
    part: Int[np.ndarray, " entries"]
    credit: Float[np.ndarray, " entries"]
    row: Int[np.ndarray, " entries"]
    features: Float[np.ndarray, "rows features"]
    files: list[str]


@dataclass(frozen=True)
class AuditRows:
    """The explained pairs of an audit in the order of their keys, and the others.

    Attributes:
        table: of pyarrow, the explained pairs.
        failed: of pyarrow, the keys, files and sentences of the others.
    """

    table: Any
    failed: Any

    def __len__(self) -> int:
        return self.table.num_rows

    def get(self, column: str) -> list[Any]:
        """A column as a list, which is made once."""
        if column not in self._lists:
            self._lists[column] = self.table[column].to_pylist()
        return self._lists[column]

    @cached_property
    def _lists(self) -> dict[str, list[Any]]:
        return {}

    @cached_property
    def is_correct(self) -> Float[np.ndarray, " pairs"]:
        """1 for correct hits, 0 for wrong ones, NaN where nothing says so."""
        return np.array([UNKNOWN if value is None else float(value) for value in self.get("is_correct")])

    @cached_property
    def queries(self) -> Int[np.ndarray, " pairs"]:
        """The number of the query of each pair."""
        return np.unique(np.array(self.get("query"), dtype=str), return_inverse=True)[1]

    @cached_property
    def groups(self) -> list[str]:
        """The group of each query; a query without one is a group of its own."""
        return [group or query for group, query in zip(self.get("group"), self.get("query"), strict=True)]

    @cached_property
    def grids(self) -> Int[np.ndarray, "sides pairs axes"]:
        """The rows and columns of the parts of both sides of each pair."""
        return np.array([self.get(f"{side}_grid") for side in SIDES])

    @cached_property
    def parts(self) -> PartTable:
        """The strongest parts of as many pairs as fit."""
        return _flatten_parts(self.table)


def load_rows(folder: RowFolder, keys: Sequence[str]) -> AuditRows:
    """The rows of these pairs; the last one of a pair that has several.

    Raises:
        ValueError: a pair has no row.
    """
    arrow, compute = import_optional("pyarrow", "an audit", "audit"), import_optional("pyarrow.compute", "an audit", "audit")
    table = arrow.concat_tables(folder.read_tables())
    wanted, places = set(keys), {}
    failed = compute.not_equal(table["error"], "").to_pylist()
    for place, key in enumerate(table["key"].to_pylist()):
        if key in wanted and (key not in places or failed[places[key]]):
            places[key] = place
    if len(places) < len(wanted):
        raise ValueError(f"Expected a row for each of {len(wanted)} pairs, got {len(places)}. Run the audit again; it goes on.")
    table = table.take([places[key] for key in sorted(places)])
    is_explained = compute.equal(table["error"], "")
    return AuditRows(table.filter(is_explained), table.filter(compute.invert(is_explained)).select(["key", "query", "hit", "error"]))


def _flatten_parts(table: Any) -> PartTable:
    """One entry for each part of each pair."""
    lists = table["parts"].combine_chunks()
    counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    n_pairs = int(np.searchsorted(counts.cumsum(), MOST_PARTS, side="right"))
    n_pairs = len(counts) if counts.sum() <= MOST_PARTS else n_pairs
    entries = lists.slice(0, n_pairs).flatten()
    pair = np.repeat(np.arange(n_pairs), counts[:n_pairs])
    side = (np.array(entries.field("side").to_pylist(), dtype=str) == SIDES[1]).astype(int)
    names = np.array([table[name].slice(0, n_pairs).to_pylist() for name in SIDES], dtype=str).reshape(2, -1)
    files, numbers = np.unique(names, return_inverse=True)
    image, part = numbers.reshape(2, -1)[side, pair], entries.field("part").to_numpy(zero_copy_only=False)
    _, first, row = np.unique(np.stack([image, part], 1), axis=0, return_index=True, return_inverse=True)
    credit = entries.field("credit").to_numpy(zero_copy_only=False).astype(np.float64)
    features = entries.field("features").take(first).flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return PartTable(
        pair, side, image, part, credit, row.reshape(-1), features.reshape(len(first), -1 if len(first) else 1), files.tolist()
    )
