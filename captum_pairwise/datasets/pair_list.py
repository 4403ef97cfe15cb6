"""Pairs of images in a CSV file: `query,retrieved,category,query_mask,retrieved_mask,label`, the paths relative to one folder."""

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from captum_pairwise.datasets.masks import refuse_label
from captum_pairwise.datasets.safe_paths import inside, refuse_links_out
from captum_pairwise.files.atomic import write_atomically


@dataclass(frozen=True)
class Pair:
    """Two images that belong together; both of what `category` names.

    Attributes:
        query: the reference, a training image in the paper (§A.2).
        retrieved: the image to be explained, a validation image.
        category: what both show, in words.
        query_mask: where the query shows it: an image of the same proportions with one number a pixel.
        retrieved_mask: where the retrieved image does.
        label: the number of the category in both masks, where 255 is void; None where every other number than 0 is.

    Raises:
        ValueError: the label is no number of a mask.
    """

    query: Path
    retrieved: Path
    category: str = ""
    query_mask: Path | None = None
    retrieved_mask: Path | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        refuse_label(self.label)


COLUMNS = [field.name for field in fields(Pair)]
REQUIRED = ["query", "retrieved"]
MOST_OF_A_LINE = 2**20  # characters
MOST_OF_A_CELL = 200  # in a message
MOST_DIGITS = 9
PATHS = [*REQUIRED, "query_mask", "retrieved_mask"]


def write_pairs(pairs: Iterable[Pair], file: str | Path, root: str | Path | None = None) -> None:
    """Write pairs to a CSV file, which appears when it is complete.

    Args:
        pairs: as many as there are; they are not kept.
        file: replaced if it is there.
        root: the folder that paths in the file are relative to; None means that of the file.

    Raises:
        ValueError: a path lies outside `root`, or is no text.
    """
    file = Path(file)
    folder = os.path.abspath(file.parent if root is None else root)
    with write_atomically(file) as draft, draft.open("w", encoding="utf-8", newline="") as written:
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(COLUMNS)
        try:
            writer.writerows([_cell(getattr(pair, column), folder) for column in COLUMNS] for pair in pairs)
        except UnicodeEncodeError as error:
            raise ValueError(f"Expected names that can be written in UTF-8, got {error.object!r:.300}. Rename the files.") from error


def _cell(value: object, folder: str) -> object:
    """What stands in the file for a value: of a path, how to get there from the folder."""
    if not isinstance(value, Path):
        return value
    try:
        text = Path(os.path.abspath(value)).relative_to(folder).as_posix()
    except ValueError:
        raise ValueError(f"Expected every path inside the root {folder}, got {value}. Pass a `root` that holds all images.") from None
    refuse_links_out(value, Path(folder))
    return text


def read_pairs(file: str | Path, root: str | Path | None = None, check: bool = True) -> list[Pair]:
    """The pairs in a CSV file, as `iterate_pairs` yields them."""
    return list(iterate_pairs(file, root, check))


def iterate_pairs(file: str | Path, root: str | Path | None = None, check: bool = True) -> Iterator[Pair]:
    """One pair of a CSV file after the other, however many there are.

    Args:
        file: in UTF-8; columns other than `query` and `retrieved` may be absent, cells in them empty.
        root: the folder that paths in the file are relative to; None means that of the file.
        check: whether every image and mask must be there.

    Yields:
        pairs, in the order of the file.

    Raises:
        ValueError: the file has other columns, or a row that is no pair, leads out of `root` or, with `check`, names what is not there.
    """
    file = Path(file)
    folder = file.parent if root is None else Path(root)
    with file.open(encoding="utf-8-sig", newline="") as opened:  # Excel begins with a mark of UTF-8
        rows = csv.reader(_lines(opened), strict=True)
        columns: list[str] | None = None
        try:
            for row in rows:
                if columns is None:
                    columns = _columns(row)
                elif row:
                    yield _pair(columns, row, folder, check)
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{_sentence(error)} Look at {_place(error, rows.line_num)} of {file}.") from error
        if columns is None:
            raise ValueError(f"Expected {file} to begin with the line {','.join(COLUMNS)}, got an empty file. Write it with `write_pairs`.")


def _lines(opened: TextIO) -> Iterator[str]:
    """The lines of a file, none of them longer than memory allows.

    Yields:
        one after the other, each with its end.
    """
    while line := opened.readline(MOST_OF_A_LINE):
        if len(line) == MOST_OF_A_LINE and not line.endswith("\n"):
            raise ValueError(f"Expected lines of at most {MOST_OF_A_LINE} characters, got a longer one. Write a pair in each line.")
        yield line


def _sentence(error: Exception) -> str:
    """What is wrong with a row."""
    if isinstance(error, UnicodeDecodeError):
        return f"Expected text in UTF-8, got other bytes ({error}). Save it as UTF-8, without NUL."
    if isinstance(error, csv.Error):
        return (
            f"Expected cells between commas, in quotes where they hold one, got a row that is none ({error}). Write it with `write_pairs`."
        )
    return str(error)


def _place(error: Exception, line: int) -> str:
    """Where the row is; text is decoded ahead of the lines."""
    return f"what comes after line {line}" if isinstance(error, UnicodeDecodeError) else f"line {max(line, 1)}"


def _columns(header: list[str]) -> list[str]:
    if "\0" in "".join(header):
        raise ValueError("Expected text in UTF-8, got NUL, as UTF-16 has it. Save it as UTF-8.")
    is_pairs = set(REQUIRED) <= set(header) <= set(COLUMNS) and len(set(header)) == len(header)
    if not is_pairs:
        raise ValueError(
            f"Expected the columns {','.join(COLUMNS)}, of which the first two must be there, got {','.join(header)[:MOST_OF_A_CELL]}. "
            "Save it as UTF-8, with commas."
        )
    return header


def _pair(columns: list[str], row: list[str], folder: Path, check: bool) -> Pair:
    if len(row) != len(columns):
        raise ValueError(f"Expected {len(columns)} cells, as many as columns, got {len(row)}. Put cells with a comma in quotes.")
    cells = dict(zip(columns, row, strict=True))
    missing = [name for name in REQUIRED if not cells[name]]
    if missing:
        raise ValueError(f"Expected a path in the column {missing[0]}, got nothing. Leave the row out.")
    paths = {name: inside(folder, cells[name], check) for name in PATHS if cells.get(name)}
    return Pair(**paths, category=cells.get("category", ""), label=_label(cells.get("label", "")))


def _label(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise ValueError(f"Expected a label from 0 to 254, or nothing, got {text[:MOST_OF_A_CELL]!r}. Write the number in the masks.")
    return int(text) if text else None
