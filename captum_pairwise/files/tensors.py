"""Tensors in safetensors files that this package wrote, read as if anybody had."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor


def read_tensors(file: str | Path, key: str, what: str) -> tuple[dict[str, Tensor], str]:
    """The tensors in a safetensors file, and what its metadata say under `key`, by which its kind is known.

    Args:
        file: where it is.
        key: of the metadata.
        what: it should be, in words.

    Raises:
        ValueError: it is no such file, or is damaged.
        FileNotFoundError: there is none.
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


def make_file_error(file: str | Path, what: str, why: str) -> ValueError:
    """The error of a file that is not what it should be."""
    return ValueError(
        f"Expected {file} to be {what}, got one that is none, or is damaged: {why.rstrip('.')}. Name another file, or make it anew."
    )
