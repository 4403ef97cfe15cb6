"""The pairs of a search, from a table, a folder, or any iterable."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from captum_pairwise.files.optional_packages import import_optional

REQUIRED = ("query", "hit")
ALIASES = {"retrieved": "hit", "result": "hit"}
MASK, TAG = "_mask", "tag_"
SIDES = ("query", "hit")
CORRECT, WRONG = {"1", "true", "yes", "correct", "right"}, {"0", "false", "no", "wrong"}
DIGEST = 8  # bytes of a key


@dataclass(frozen=True)
class SearchPair:
    """A query and one of its hits.

    Attributes:
        key: names the pair in all tables.
        query: the file of the query.
        hit: the file of the hit.
        score: of the search, or None.
        is_correct: True if the hit is what the user wanted; None if it is unknown.
        group: what the query shows, or where it comes from; may be empty.
        hit_group: the same of the hit.
        tags: words about the pair by the name of their column.
        masks: the file of each mask by its side and its tag.
    """

    key: str
    query: str
    hit: str
    score: float | None = None
    is_correct: bool | None = None
    group: str = ""
    hit_group: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    masks: dict[tuple[str, str], str] = field(default_factory=dict)


def read_search_pairs(pairs: Any) -> list[SearchPair]:
    """The pairs of a Parquet or CSV file, or of an iterable of mappings or of tuples `(query, hit)`.

    Columns: `query` and `hit`, files, relative to the folder of the table; `score`; `label`, whether the hit is correct (1 or 0, true or
    false, correct or wrong); `group` and `hit_group`, what each side shows, whose equality is the label if there is none; `key`;
    `query_NAME_mask` and `hit_NAME_mask`, files of masks for the tag NAME; `tag_NAME`, words by which tables are split. Others are ignored.

    Raises:
        ValueError: a column is missing, a cell has another form, or a key stands twice.
    """
    if isinstance(pairs, (str, Path)):
        file = Path(pairs)
        rows, folder = (_iterate_parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _iterate_csv(file)), file.parent
    else:
        rows, folder = (_name_columns(row) for row in pairs), Path()
    seen: Counter[tuple[str, str]] = Counter()
    made = [_make_pair(number, row, folder, seen) for number, row in enumerate(rows, 1)]
    twice = [key for key, times in Counter(pair.key for pair in made).items() if times > 1]
    if twice:
        raise ValueError(f"Expected a key of its own for every pair, got {twice[0]!r} twice. Change it, or leave the column out.")
    if not made:
        raise ValueError("Expected at least one pair of a query and a hit, got none. Check the table.")
    return made


def _iterate_parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    parquet = import_optional("pyarrow.parquet", "an audit", "audit")
    try:
        table = parquet.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"Expected a Parquet table in {file}, got a file that cannot be read: {error}. Write it again.") from error
    for batch in table.iter_batches():
        yield from batch.to_pylist()


def _iterate_csv(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        try:
            yield from csv.DictReader(stream, strict=True)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"Expected a CSV table in UTF-8 in {file}, got a damaged file ({error}). Save it again.") from error


def _name_columns(row: object) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if isinstance(row, (tuple, list)) and 2 <= len(row) <= 3:
        return dict(zip((*REQUIRED, "score"), row, strict=False))
    if isinstance(row, SearchPair):
        masks = {f"{side}_{name}{MASK}": file for (side, name), file in row.masks.items()}
        label = {} if row.is_correct is None else {"label": row.is_correct}
        own = {"key": row.key, "query": row.query, "hit": row.hit, "score": row.score, "group": row.group, "hit_group": row.hit_group}
        return {**own, **label, **masks, **{TAG + name: words for name, words in row.tags.items()}}
    raise ValueError(f"Expected pairs (query, hit), or mappings with these keys, got {type(row).__name__}. Pass one for each hit.")


def _make_pair(number: int, row: Mapping[str, Any], folder: Path, seen: Counter[tuple[str, str]]) -> SearchPair:
    cells = {ALIASES.get(name, name): value for name, value in row.items() if value is not None and value != "" and name is not None}
    missing = [name for name in REQUIRED if name not in cells]
    if missing:
        raise ValueError(f"Expected the columns query and hit, got no {missing[0]} in row {number}. The row has {sorted(row)[:9]}.")
    query, hit = (_join_folder(folder, cells[name]) for name in REQUIRED)
    seen[query, hit] += 1
    groups = [str(cells.get(name, "")) for name in ("group", "hit_group")]
    is_correct = _parse_label(cells.get("label"), number)
    if is_correct is None and all(groups):
        is_correct = groups[0] == groups[1]
    return SearchPair(
        key=str(cells.get("key", _hash_pair(str(cells["query"]), str(cells["hit"]), seen[query, hit]))),
        query=query,
        hit=hit,
        score=_parse_score(cells.get("score"), number),
        is_correct=is_correct,
        group=groups[0],
        hit_group=groups[1],
        tags={name.removeprefix(TAG): str(value) for name, value in cells.items() if name.startswith(TAG)},
        masks={(side, tag): _join_folder(folder, file) for name, file in cells.items() for side, tag in _parse_mask_column(name)},
    )


def _join_folder(folder: Path, name: object) -> str:
    return str(folder / str(name))


def _parse_mask_column(name: str) -> list[tuple[str, str]]:
    """The side and the tag of a column of masks, as `query_watermark_mask`; empty for other columns. `query_mask` has the tag object."""
    if not name.endswith(MASK):
        return []
    side, _, tag = name.removesuffix(MASK).partition("_")
    return [(side, tag or "object")] if side in SIDES else []


def _parse_label(value: object, number: int) -> bool | None:
    text = "" if value is None else str(value).strip().lower().removesuffix(".0")
    if text in CORRECT | WRONG:
        return text in CORRECT
    if text:
        raise ValueError(f"Expected a label 1 or 0, true or false, correct or wrong, got {text!r} in row {number}. Use group for names.")
    return None


def _parse_score(value: Any, number: int) -> float | None:
    try:
        score = None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Expected a number as score, got {value!r} in row {number}. Leave the cell empty.") from error
    return score if score is None or isfinite(score) else None


def _hash_pair(query: str, hit: str, times: int) -> str:
    """A key that depends on the files of the pair alone, and on how often it stood before."""
    return hashlib.blake2b(repr((query, hit, times)).encode(errors="surrogateescape"), digest_size=DIGEST).hexdigest()


def group_queries(pairs: Iterable[SearchPair]) -> dict[str, list[SearchPair]]:
    """The pairs of each query, in the order of the first."""
    queries: dict[str, list[SearchPair]] = {}
    for pair in pairs:
        queries.setdefault(pair.query, []).append(pair)
    return queries
