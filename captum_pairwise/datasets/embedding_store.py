"""Embeddings in a file; a process that is killed leaves no damaged file."""

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

PART = 1024  # embeddings in a part: a killed process loses fewer
KIND = "a cache of embeddings"
DIGITS = 6  # of the number of a part


@final
class EmbeddingStore:
    """Embeddings by image key, in a safetensors file and, until `merge`, in parts beside it.

    Args:
        file: the cache, which need not exist; None means memory only.
        encoder: identifies the encoder; embeddings of other encoders in the file are ignored, and removed by `merge`.

    Raises:
        ValueError: the file holds something else.
    """

    def __init__(self, file: Path | None, encoder: str) -> None:
        self.rows: dict[int, Float[Tensor, " channels"]] = {}
        self._file, self._encoder = file, encoder
        self._unwritten: dict[int, Tensor] = {}
        self._parts = [] if file is None else sorted(file.parent.glob(glob.escape(file.name) + ".part" + DIGITS * "[0-9]"))
        n_channels = None
        for part in self._parts if file is None or not file.exists() else [file, *self._parts]:
            images, embeddings = _read_part(part, encoder)
            if images and n_channels not in (None, embeddings.shape[1]):
                raise make_file_error(part, KIND, "its embeddings are of another size than those of the other parts")
            n_channels = embeddings.shape[1] if images else n_channels
            self.rows.update(zip(images, embeddings, strict=True))

    def add(self, images: Iterable[int], embeddings: Float[Tensor, "images channels"]) -> None:
        """Store the embeddings of these images."""
        added = dict(zip(images, embeddings, strict=True))
        self.rows |= added
        self._unwritten |= added
        if self._file is not None and len(self._unwritten) >= PART:
            number = int(self._parts[-1].name[-DIGITS:]) + 1 if self._parts else 0
            self._parts.append(self._file.with_name(f"{self._file.name}.part{number:0{DIGITS}}"))
            _write_part(self._parts[-1], self._unwritten, self._encoder)
            self._unwritten = {}

    def merge(self) -> None:
        """Write all embeddings into the one file, and remove the parts."""
        if self._file is None or not (self._unwritten or self._parts):
            return
        _write_part(self._file, self.rows, self._encoder)
        for part in self._parts:
            part.unlink()
        self._unwritten, self._parts = {}, []


def _write_part(file: Path, rows: dict[int, Tensor], encoder: str) -> None:
    tensors = {"images": torch.tensor(list(rows), device="cpu"), "embeddings": torch.stack(list(rows.values()))}
    with write_atomically(file) as draft:
        save_file(tensors, draft, {"encoder": encoder})


def _read_part(file: Path, encoder: str) -> tuple[list[int], Float[Tensor, "images channels"]]:
    """Keys and embeddings in a file; none if they are from another encoder."""
    tensors, stored_encoder = read_tensors(file, "encoder", KIND)
    if stored_encoder != encoder:
        return [], torch.empty(0, 0, dtype=torch.float32, device="cpu")
    images, embeddings = tensors.get("images"), tensors.get("embeddings")
    if images is None or embeddings is None or images.dtype != torch.int64 or embeddings.dim() != 2 or images.shape != embeddings.shape[:1]:
        raise make_file_error(file, KIND, f"it holds {[(name, tuple(tensor.shape)) for name, tensor in tensors.items()]}")
    return images.tolist(), embeddings
