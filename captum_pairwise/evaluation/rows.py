"""What a study measures, a row for each run, kept in a file that outlives an interruption."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from captum_pairwise.files.atomic import write_atomically

AnyRow = TypeVar("AnyRow")  # a frozen dataclass of text and numbers


class Journal(Generic[AnyRow]):
    """Rows in a CSV file, each on the disk when `append` returns; a line that was cut off is dropped when the file is opened again.

    Any number of processes may read, see `read_rows`.

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
            whole = len(_whole_lines(path))
            if whole < path.stat().st_size:
                os.truncate(path, whole)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_line(_columns(kind)))

    def append(self, row: AnyRow) -> None:
        """Write one row, in one piece."""
        with self.path.open("ab") as file:
            file.write(_line(_values(row)))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def read_rows(path: Path, kind: Callable[..., AnyRow]) -> list[AnyRow]:
    """The whole rows of a file, none if there is no file; a last line that was cut off, or is being written, is left out.

    Raises:
        ValueError: the file has other columns, or a damaged row.
    """
    lines = _cells(path) if path.exists() else []
    if lines and lines[0] != _columns(kind):
        raise ValueError(f"Expected the columns {_columns(kind)} in {path}, got {lines[0]}. Choose another folder, or remove the file.")
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


def _cells(path: Path) -> list[list[str]]:
    """The whole rows of a file as text, those of the header too."""
    try:
        return list(csv.reader(io.StringIO(_whole_lines(path).decode(), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"Expected rows of text in UTF-8 in {path}, got other bytes ({error}). Choose another folder, or remove the file."
        ) from error


def write_rows(path: Path, rows: list[AnyRow], kind: Callable[..., AnyRow]) -> None:
    """Write a file of rows, which is there whole or as it was before."""
    with write_atomically(path) as draft:
        draft.write_bytes(b"".join(map(_line, [_columns(kind), *map(_values, rows)])))


def _columns(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _values(row: Any) -> list:
    return [getattr(row, column) for column in _columns(row)]


def _line(values: list) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
