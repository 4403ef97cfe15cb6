"""Embeddings in a file, which may be killed at any time without being spoilt."""

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor

from captum_pairwise.files.atomic import write_atomically
from captum_pairwise.files.tensors import make_file_error, read_tensors

PART = 1024  # embeddings; as many are lost at most
WHAT = "a cache of embeddings"
DIGITS = 6  # of the number of a part


@final
class EmbeddingStore:
    """Embeddings by the numbers of their images, in a safetensors file and, until `merge`, in parts beside it.

    Args:
        file: where they are kept; None means nowhere. There need not be one.
        encoder: what tells whose embeddings they are; others in the file are not seen, and forgotten by `merge`.

    Raises:
        ValueError: the file holds something else.
    """

    def __init__(self, file: Path | None, encoder: str) -> None:
        self.rows: dict[int, Float[Tensor, " channels"]] = {}
        self._file, self._encoder = file, encoder
        self._unwritten: dict[int, Tensor] = {}
        self._parts = [] if file is None else sorted(file.parent.glob(glob.escape(file.name) + ".part" + DIGITS * "[0-9]"))
        for kept in self._parts if file is None or not file.exists() else [file, *self._parts]:
            self.rows |= _read(kept, encoder)
            if len({row.shape for row in self.rows.values()}) > 1:
                raise make_file_error(kept, WHAT, "its embeddings are of another size than those of the other parts")

    def add(self, images: Iterable[int], embeddings: Float[Tensor, "images channels"]) -> None:
        """Remember the embeddings of these images."""
        added = dict(zip(images, embeddings, strict=True))
        self.rows |= added
        self._unwritten |= added
        if self._file is not None and len(self._unwritten) >= PART:
            number = int(self._parts[-1].name[-DIGITS:]) + 1 if self._parts else 0
            self._parts.append(self._file.with_name(f"{self._file.name}.part{number:0{DIGITS}}"))
            _write(self._parts[-1], self._unwritten, self._encoder)
            self._unwritten = {}

    def merge(self) -> None:
        """Write all into the one file, and remove the parts."""
        if self._file is None or not (self._unwritten or self._parts):
            return
        _write(self._file, self.rows, self._encoder)
        for part in self._parts:
            part.unlink()
        self._unwritten, self._parts = {}, []


def _write(file: Path, rows: dict[int, Tensor], encoder: str) -> None:
    tensors = {"images": torch.tensor(list(rows)), "embeddings": torch.stack(list(rows.values()))}
    with write_atomically(file) as draft:
        save_file(tensors, draft, {"encoder": encoder})


def _read(file: Path, encoder: str) -> dict[int, Tensor]:
    """The embeddings of this encoder in a file."""
    tensors, whose = read_tensors(file, "encoder", WHAT)
    if whose != encoder:
        return {}
    images, embeddings = tensors.get("images"), tensors.get("embeddings")
    if images is None or embeddings is None or images.dtype != torch.int64 or embeddings.dim() != 2 or images.shape != embeddings.shape[:1]:
        raise make_file_error(file, WHAT, f"it holds {[(name, tuple(tensor.shape)) for name, tensor in tensors.items()]}")
    return dict(zip(images.tolist(), embeddings, strict=True))
