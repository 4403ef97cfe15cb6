"""What a study measures, a row for each run, kept in a file that outlives an interruption."""

import csv
import io
import os
from dataclasses import dataclass, fields
from pathlib import Path

Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class Row:
    """One run of an estimator on a random game.

    Attributes:
        game: its name.
        pairs: which pairs are judged, `"all"` or those `"between"` the images.
        estimator: its name.
        source: the package, with its version.
        budget: what it may cost: evaluations of `v`, or network passes where a game has two towers.
        seed: that of the game, and of the draws.
        passes: what it did cost, in the unit of the budget.
        distinct: what it would have cost with every distinct coalition evaluated once; of two towers, embedded once in each.
        mse: the mean over pairs of the squared error; NaN where the budget is too small.
        relative_mse: the same over the mean square of the exact indices.
        seconds: of the estimator, values being looked up in a table.
    """

    game: str
    pairs: str
    estimator: str
    source: str
    budget: int
    seed: int
    passes: int
    distinct: int
    mse: float
    relative_mse: float
    seconds: float

    @property
    def key(self) -> Key:
        """What makes two rows the same run."""
        return self.game, self.estimator, self.budget, self.seed


COLUMNS = [field.name for field in fields(Row)]
TYPES = [field.type for field in fields(Row)]


class Journal:
    """Rows in a CSV file, each on the disk when `append` returns; a line that was cut off is dropped when the file is opened again.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = _whole_rows(path) if path.exists() and path.stat().st_size else []
        if not self.rows:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_line(COLUMNS))

    def append(self, row: Row) -> None:
        """Write one row, in one piece."""
        with self.path.open("a", newline="") as file:
            file.write(_line([getattr(row, column) for column in COLUMNS]))
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)


def _line(values: list) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _whole_rows(path: Path) -> list[Row]:
    """The rows of the file, which is cut after its last whole line."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    header, *lines = csv.reader(io.StringIO(whole.decode(), newline="")) if whole else [COLUMNS]
    if header != COLUMNS:
        raise ValueError(f"Expected the columns {COLUMNS} in {path}, got {header}. Choose another folder, or remove the file.")
    return [Row(*(make(text) for make, text in zip(TYPES, line, strict=True))) for line in lines]  # pyright: ignore[reportCallIssue]
