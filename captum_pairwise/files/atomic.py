"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `file` once all is on the disk; after an exception nothing has changed.

    Args:
        file: its folder is made if it is not there.

    Yields:
        a path beside it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(file: Path) -> None:
    """Remove what processes left that died while they wrote to a path; for whoever alone writes there."""
    for draft in file.parent.glob(f"{escape(file.name)}.*.tmp"):
        draft.unlink(missing_ok=True)
