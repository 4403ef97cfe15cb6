"""Tensors in safetensors files of this package, read without trust in their content."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor


def read_tensors(file: str | Path, key: str, what: str) -> tuple[dict[str, Tensor], str]:
    """The tensors in a safetensors file, and the text under `key` in its metadata, which marks the kind of file.

    Args:
        file: its path.
        key: the key in the metadata.
        what: the expected content in words, for error messages.

    Raises:
        ValueError: the file is of another kind, or is damaged.
        FileNotFoundError: there is no file.
    """
    try:
        with safe_open(file, "pt") as opened:
            note = (opened.metadata() or {}).get(key)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise make_file_error(file, what, str(error)) from error
    if note is None:
        raise make_file_error(file, what, "it holds something else")
    return tensors, note


def make_file_error(file: str | Path, what: str, reason: str) -> ValueError:
    """The error for a file of another kind, or a damaged file."""
    return ValueError(f"Expected {file} to be {what}, got other or damaged content: {reason.rstrip('.')}. Name or make another file.")
