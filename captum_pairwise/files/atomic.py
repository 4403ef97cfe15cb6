"""Atomic writes: a file is complete, or it does not change."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path


@contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Yield a draft path that replaces `file` when all is on the disk; after an exception `file` is as before.

    Args:
        file: the file to write; its folder is made if needed.

    Yields:
        the draft, in the same folder.
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
    """Remove the drafts of processes that died while they wrote to a path. No other process may write there meanwhile."""
    for draft in file.parent.glob(f"{escape(file.name)}.*.tmp"):
        draft.unlink(missing_ok=True)
