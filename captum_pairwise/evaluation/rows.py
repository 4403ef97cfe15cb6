"""The rows of a study in a CSV file, one for each run; the file stays valid when the process is killed."""

import csv
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from captum_pairwise.files.atomic import write_atomically

AnyRow = TypeVar("AnyRow", bound=Any)  # a frozen dataclass of text and numbers


class Journal(Generic[AnyRow]):
    """Rows in a CSV file. Each is on the disk when `append` returns; an incomplete last line is dropped when the file is opened again.

    One process writes; any number of processes may read, see `read_rows`.

    Args:
        path: the file.
        kind: the dataclass of its rows, whose fields are the columns.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: Path, kind: Callable[..., AnyRow]) -> None:
        self.path = path
        self.rows = read_rows(path, kind)
        if self.rows:
            os.truncate(path, len(_read_whole_lines(path)))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_format_line(_list_columns(kind)))

    def append(self, row: AnyRow) -> None:
        """Write one row to the disk."""
        with self.path.open("ab") as file:
            file.write(_format_line(astuple(row)))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def read_rows(path: Path, kind: Callable[..., AnyRow]) -> list[AnyRow]:
    """The complete rows of a file; none if there is no file. An incomplete last line is left out.

    Raises:
        ValueError: the file has other columns, or a damaged row.
    """
    try:
        lines = list(csv.reader(io.StringIO(_read_whole_lines(path).decode(), newline=""))) if path.exists() else []
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Expected rows of text in UTF-8 in {path}, got other bytes ({error}). Move or remove the file.") from error
    if lines and lines[0] != _list_columns(kind):
        raise ValueError(f"Expected the columns {_list_columns(kind)} in {path}, got {lines[0]}. Move or remove the file.")
    makes: list[Any] = [field.type for field in fields(kind)]  # pyright: ignore[reportArgumentType]
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(kind(*(make(text) for make, text in zip(makes, line, strict=True))))
        except ValueError as error:
            raise ValueError(
                f"Expected {len(makes)} cells in row {number} of {path}, got a damaged one: {error}. Remove the row, or the file."
            ) from error
    return rows


def write_rows(path: Path, rows: list[AnyRow], kind: Callable[..., AnyRow]) -> None:
    """Write a file of rows; if the process dies, the former file stays."""
    with write_atomically(path) as draft:
        draft.write_bytes(b"".join(map(_format_line, [_list_columns(kind), *map(astuple, rows)])))


def _list_columns(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _format_line(values: Iterable[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _read_whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
