"""Pairs of images in a CSV file with the columns of `Pair`, the paths relative to one folder."""

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TextIO

from captum_pairwise.datasets.known_truth import PROTOCOLS, Points, format_points, parse_points, refuse_protocol
from captum_pairwise.datasets.masks import refuse_label
from captum_pairwise.datasets.safe_paths import join_inside, refuse_links_out
from captum_pairwise.files.atomic import write_atomically


@dataclass(frozen=True)
class Pair:
    """Two images that show the same category.

    Attributes:
        query: the reference, a training image in the paper (§A.2).
        retrieved: the image to explain, a validation image.
        category: the name of the class that both show.
        query_mask: the class in the query: an image of the same proportions with one number a pixel.
        retrieved_mask: the class in the retrieved image.
        label: the number of the class in both masks, where 255 is void; None: all numbers except 0 are the class.
        protocol: how explanations of the pair are measured. `"object"`: by the object in the masks, if there are any. `"mosaic"`: regions
            with the same number in both masks show the same thing. `"planted"`: such regions hold the same pixels, and `before` does not
            have them. `"points"`: by `points`.
        before: for `"planted"`, the retrieved image before patches of the query were pasted into it.
        points: for `"points"`, matched points: row and column in the query, and in the retrieved image, as shares of height and width.

    Raises:
        ValueError: the label is not a number of a mask, or the pair lacks something that its protocol needs.

    >>> pair = Pair(Path("query.jpg"), Path("result.jpg"), category="cat")
    >>> pair.protocol, pair.query_mask
    ('object', None)

    See also `write_pairs` and `read_pairs`.
    """

    query: Path
    retrieved: Path
    category: str = ""
    query_mask: Path | None = None
    retrieved_mask: Path | None = None
    label: int | None = None
    protocol: str = PROTOCOLS[0]
    before: Path | None = None
    points: Points = ()

    def __post_init__(self) -> None:
        refuse_label(self.label)
        refuse_protocol(self.protocol, vars(self))


COLUMNS = [field.name for field in fields(Pair)]
REQUIRED = ["query", "retrieved"]
PATHS = [*REQUIRED, "query_mask", "retrieved_mask", "before"]
MAX_LINE = 2**20  # characters
MAX_QUOTE = 200  # characters of a cell in a message
MAX_DIGITS = 9


def write_pairs(pairs: Iterable[Pair], file: str | Path, root: str | Path | None = None) -> None:
    """Write pairs to a CSV file, which appears when it is complete.

    Args:
        pairs: any number; they are written one by one.
        file: an existing file is replaced.
        root: the folder that paths in the file are relative to; None means the folder of the file.

    Raises:
        ValueError: a path lies outside `root`, or a name cannot be written in UTF-8.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     pairs = [Pair(Path(folder, "query.jpg"), Path(folder, "result.jpg"), category="cat")]
    ...     write_pairs(pairs, f"{folder}/pairs.csv")
    ...     read_pairs(f"{folder}/pairs.csv", check=False) == pairs
    True

    See also `read_pairs` and `iterate_pairs`.
    """
    file = Path(file)
    folder = os.path.abspath(file.parent if root is None else root)
    with write_atomically(file) as draft, draft.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        try:
            writer.writerows([_format_cell(getattr(pair, column), folder) for column in COLUMNS] for pair in pairs)
        except UnicodeEncodeError as error:
            raise ValueError(f"Expected names that can be written in UTF-8, got {error.object!r:.300}. Rename the files.") from error


def _format_cell(value: object, folder: str) -> object:
    """The cell of a value; a path becomes relative to the folder."""
    if isinstance(value, tuple):
        return format_points(value)
    if not isinstance(value, Path):
        return value
    try:
        text = Path(os.path.abspath(value)).relative_to(folder).as_posix()
    except ValueError:
        raise ValueError(f"Expected every path inside the root {folder}, got {value}. Pass a `root` that holds all images.") from None
    refuse_links_out(value, Path(folder))
    return text


def read_pairs(file: str | Path, root: str | Path | None = None, check: bool = True) -> list[Pair]:
    """All pairs of a CSV file, see `iterate_pairs`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_pairs([Pair(Path(folder, "query.jpg"), Path(folder, "result.jpg"), category="cat")], f"{folder}/pairs.csv")
    ...     read_pairs(f"{folder}/pairs.csv", check=False)[0].category
    'cat'

    See also `write_pairs`.
    """
    return list(iterate_pairs(file, root, check))


def iterate_pairs(file: str | Path, root: str | Path | None = None, check: bool = True) -> Iterator[Pair]:
    """Read the pairs of a CSV file one by one, in constant memory.

    Args:
        file: in UTF-8; all columns except `query` and `retrieved` may be missing, and their cells may be empty.
        root: the folder that paths in the file are relative to; None means the folder of the file.
        check: True requires that every image and mask exists.

    Yields:
        pairs, in the order of the file.

    Raises:
        ValueError: the columns are different, a row is not a pair, or a path leads out of `root` or, with `check`, to no file.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_pairs([Pair(Path(folder, f"{k}.jpg"), Path(folder, "result.jpg")) for k in range(3)], f"{folder}/pairs.csv")
    ...     [pair.query.name for pair in iterate_pairs(f"{folder}/pairs.csv", check=False)]
    ['0.jpg', '1.jpg', '2.jpg']

    See also `write_pairs` and `read_pairs`.
    """
    file = Path(file)
    folder = file.parent if root is None else Path(root)
    with file.open(encoding="utf-8-sig", newline="") as stream:  # Excel writes a byte order mark
        rows = csv.reader(_read_bounded_lines(stream), strict=True)
        try:
            columns = next(rows, [])
            _check_columns(columns)
            yield from (_parse_row(columns, row, folder, check) for row in rows if row)
        except UnicodeDecodeError as error:
            message = f"Expected text in UTF-8, got other bytes ({error}). Save it as UTF-8, without NUL."
            raise ValueError(f"{message} Look at the text after line {rows.line_num} of {file}.") from error  # text is decoded ahead
        except (ValueError, csv.Error) as error:
            damage = f"Expected cells between commas, quoted if they hold a comma, got a damaged row ({error}). Use `write_pairs`."
            message = damage if isinstance(error, csv.Error) else error
            raise ValueError(f"{message} Look at line {max(rows.line_num, 1)} of {file}.") from error


def _read_bounded_lines(stream: TextIO) -> Iterator[str]:
    """Read lines, and refuse lines too long for memory.

    Yields:
        the lines, each with its end.
    """
    while line := stream.readline(MAX_LINE):
        if len(line) == MAX_LINE and not line.endswith("\n"):
            raise ValueError(f"Expected lines of at most {MAX_LINE} characters, got a longer line. Write a pair in each line.")
        yield line


def _check_columns(header: list[str]) -> None:
    if not set(REQUIRED) <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        columns, text = ",".join(COLUMNS), ",".join(header)[:MAX_QUOTE]
        raise ValueError(f"Expected the columns {columns}, where the first two are required, got {text!r}. Save it as UTF-8 with commas.")


def _parse_row(columns: list[str], row: list[str], folder: Path, check: bool) -> Pair:
    if len(row) != len(columns):
        raise ValueError(f"Expected {len(columns)} cells, one for each column, got {len(row)}. Put cells with a comma in quotes.")
    cells = dict(zip(columns, row, strict=True))
    missing = [name for name in REQUIRED if not cells[name]]
    if missing:
        raise ValueError(f"Expected a path in the column {missing[0]}, got nothing. Remove the row.")
    paths = {name: join_inside(folder, cells[name], check) for name in PATHS if cells.get(name)}
    label = cells.get("label", "")
    if label and not (label.isascii() and label.isdigit() and len(label) <= MAX_DIGITS):
        raise ValueError(f"Expected a label from 0 to 254, or nothing, got {label[:MAX_QUOTE]!r}. Write the number in the masks.")
    return Pair(
        **paths,
        category=cells.get("category", ""),
        label=int(label) if label else None,
        protocol=cells.get("protocol", "") or PROTOCOLS[0],
        points=parse_points(cells.get("points", "")),
    )
