"""Paths from lists: they must stay inside the folder of the list."""

import os
from pathlib import Path


def join_inside(folder: Path, text: str, check: bool = True) -> Path:
    """The path of a file in a folder, from a path relative to the folder.

    Args:
        folder: the path is relative to it.
        text: the path in the list.
        check: True requires that the file exists, and that links stay inside the folder, too.

    Raises:
        ValueError: the path leads out of the folder, or the file does not exist.
    """
    path = Path(text)
    if path.anchor or ".." in path.parts or "\0" in text:
        raise ValueError(f"Expected a path inside the root, relative to it and without '..', got {text!r}. Move the file there.")
    file = folder / path
    if check and not os.path.isfile(file):
        raise ValueError(f"Expected a file at {file}, got none. Pass the `root` that the paths are relative to.")
    if check:
        refuse_links_out(file, folder)
    return file


def refuse_links_out(file: Path, folder: Path) -> None:
    """Refuse a path that leaves a folder through a link.

    Raises:
        ValueError: the target is outside the folder.
    """
    target = os.path.realpath(file)
    if not target.startswith(os.path.join(os.path.realpath(folder), "")):
        raise ValueError(
            f"Expected {file} to lie inside the root, got a link to {target}. Copy the file, or pass the folder that holds it as `root`."
        )


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        ValueError: the file is not in UTF-8.
        OSError: it cannot be read.
    """
    try:
        return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected {file} to be a text in UTF-8, got other bytes ({error}). Unpack the archive anew.") from error
