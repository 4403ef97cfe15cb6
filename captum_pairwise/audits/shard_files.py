"""Rows on the disk: a shard of pairs is one Parquet file, which is complete or not there."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captum_pairwise.audits.pair_row import Row, make_schema
from captum_pairwise.audits.search_pair import SearchPair
from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.files.optional_packages import import_optional

ROWS, SETTINGS = "rows", "audit"
SHARD = 256  # pairs: a killed process loses fewer
DIGEST = 8


@dataclass(frozen=True)
class RowFolder:
    """The rows of an audit.

    Attributes:
        folder: of the audit; the rows are in its `rows`.
        settings: a digest of all that the rows depend on beside the pairs; rows of other settings are not read.
    """

    folder: Path
    settings: str

    def write(self, rows: Sequence[Row]) -> Path:
        """Write the rows of a shard, whose keys name the file: a second run of the same shard replaces it."""
        arrow, parquet = (import_optional(name, "an audit", "audit") for name in ("pyarrow", "pyarrow.parquet"))
        schema = make_schema().with_metadata({SETTINGS: self.settings})
        table = arrow.Table.from_pylist(list(rows), schema=schema)
        file = self.folder / ROWS / f"{_hash_keys([row['key'] for row in rows])}.parquet"
        with write_atomically(file) as draft:
            parquet.write_table(table, draft, compression="zstd")  # a part has the same features in each of its pairs
        return file

    def list_files(self) -> list[Path]:
        """The complete files of these settings."""
        parquet = import_optional("pyarrow.parquet", "an audit", "audit")
        files = sorted((self.folder / ROWS).glob("*.parquet"))
        return [file for file in files if (parquet.read_schema(file).metadata or {}).get(SETTINGS.encode()) == self.settings.encode()]

    def read_keys(self, keep_errors: bool = True) -> set[str]:
        """The keys of the pairs that have a row; without `keep_errors`, of those that were explained."""
        keys: set[str] = set()
        for table in self.read_tables(["key", "error"]):
            rows = zip(table["key"].to_pylist(), table["error"].to_pylist(), strict=True)
            keys |= {key for key, error in rows if keep_errors or not error}
        return keys

    def read_tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Read the rows, one file at a time.

        Yields:
            pyarrow tables.
        """
        parquet = import_optional("pyarrow.parquet", "an audit", "audit")
        for file in self.list_files():
            yield parquet.read_table(file, columns=None if columns is None else list(columns))

    def remove_drafts(self) -> None:
        """Remove the drafts of killed processes; no other process may write meanwhile."""
        for draft in (self.folder / ROWS).glob("*.tmp"):
            draft.unlink(missing_ok=True)


def split_shards(pairs: Sequence[SearchPair], done: set[str]) -> list[list[SearchPair]]:
    """The pairs without a row, in shards; the hits of a query stay together."""
    missing = [pair for pair in pairs if pair.key not in done]
    return [missing[start : start + SHARD] for start in range(0, len(missing), SHARD)]


def hash_settings(settings: dict[str, Any]) -> str:
    """A digest of settings."""
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=DIGEST).hexdigest()


def _hash_keys(keys: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(keys).encode(errors="surrogateescape"), digest_size=DIGEST).hexdigest()
