"""Files that a list names: inside the folder that the list is of, or refused."""

import os
from pathlib import Path


def inside(folder: Path, text: str, check: bool = True) -> Path:
    """The path that a list gives, which leads nowhere else than into the folder.

    Args:
        folder: what the path is relative to.
        text: as the list has it.
        check: whether the file must be there, and links must lead into the folder too.

    Raises:
        ValueError: it leads elsewhere, or to nothing.
    """
    path = Path(text)
    if path.anchor or ".." in path.parts or "\0" in text:
        raise ValueError(f"Expected a path inside the root, relative to it and without '..', got {text!r}. Move the file there.")
    file = folder / path
    if check and not os.path.isfile(file):
        raise ValueError(f"Expected a file at {file}, got a path to none. Pass the `root` that the paths are relative to.")
    if check:
        refuse_links_out(file, folder)
    return file


def refuse_links_out(file: Path, folder: Path) -> None:
    """Refuse a path that ends outside a folder, by links.

    Raises:
        ValueError: it does.
    """
    target = os.path.realpath(file)
    if not target.startswith(os.path.join(os.path.realpath(folder), "")):
        raise ValueError(
            f"Expected {file} to lie inside the root, got a link to {target}. Copy the file, or pass the folder that holds it as `root`."
        )


def read_list(file: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        ValueError: it is not in UTF-8.
        OSError: it cannot be read.
    """
    try:
        return [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected {file} to be a text in UTF-8, got other bytes ({error}). Unpack the archive anew.") from error
