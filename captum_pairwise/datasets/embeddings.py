"""Embeddings of many images."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.datasets.embedding_store import EmbeddingStore
from captum_pairwise.datasets.readers import read_in_batches
from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.embedder import Embedder
from captum_pairwise.network.batching import Chunk, Evaluator


def embed(
    files: Sequence[Path],
    encoder: ImageEncoder,
    *,
    batch_size: int = 32,
    cache: str | Path | None = None,
    n_workers: int = 0,
    show_progress: bool = True,
) -> Float[Tensor, "images channels"]:
    """The embedding of each image, on the CPU; maps are averaged over their positions.

    Args:
        files: at least one image.
        encoder: in evaluation mode.
        batch_size: images that go through the encoder together.
        cache: a safetensors file that stores the embeddings of one encoder, by path, size and time of each image. A run continues from the
            parts that a killed run has left beside it.
        n_workers: processes that read images; 0 means this process.
        show_progress: True shows a progress bar.

    Raises:
        ValueError: the encoder is in training mode, an image cannot be read, or the norm of an embedding is 0 or not finite.
    """
    read = ImageEncoder(nn.Identity(), size=encoder.size).preprocess  # without weights, on the CPU: other processes get a copy
    store = EmbeddingStore(None, "") if cache is None else EmbeddingStore(Path(cache), fingerprint(encoder, encoder.preprocessing))
    options = {"batch_size": batch_size, "n_workers": n_workers, "show_progress": show_progress}
    rows = embed_readable(files, Embedder(encoder), read, store, **options)
    return torch.stack([rows[file] for file in files])


def embed_readable(
    files: Sequence[Path],
    embedder: Embedder,
    read: Callable[[Path], Tensor | None],
    store: EmbeddingStore,
    *,
    batch_size: int = 32,
    n_workers: int = 0,
    show_progress: bool = True,
) -> dict[Path, Float[Tensor, " channels"]]:
    """The embedding of each image that can be read, on the CPU.

    Args:
        files: any number of images.
        embedder: an encoder in evaluation mode, with its pooling.
        read: the input of the encoder `[1, 3, H, W]` for a file, or None to leave the file out; other processes must be able to import it.
        store: the embeddings that are known, and where the others are written.
        batch_size: images that go through the encoder together.
        n_workers: processes that read images; 0 means this process.
        show_progress: True shows a progress bar.

    Raises:
        ValueError: the encoder is in training mode, or the norm of an embedding is 0 or not finite.
    """
    if any(module.training for module in embedder.encoder.modules()):
        raise ValueError("Expected an encoder in evaluation mode, as an embedding must not depend on its batch. Call `encoder.eval()`.")
    keys = dict(zip(files, map(_hash_file, files), strict=True))
    new = {key: file for file, key in keys.items() if key not in store.rows}
    new_keys, chunk = iter(new), Chunk(batch_size)
    for batch in read_in_batches(read, list(new.values()), batch_size, n_workers, "embeddings" if show_progress and new else None):
        rows = {key: pixels for key, pixels in zip(islice(new_keys, len(batch)), batch, strict=True) if pixels is not None}
        if rows:
            store.add(rows, _embed_batch(embedder, torch.cat(list(rows.values())), [new[key] for key in rows], chunk))
    store.merge()
    return {file: store.rows[key] for file, key in keys.items() if key in store.rows}


def fingerprint(encoder: nn.Module, preprocessing: str) -> str:
    """A digest of everything that changes the embeddings by an encoder: its structure and weights, and the steps before it in words."""
    digest = hashlib.sha256(f"{encoder!r} {preprocessing}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _hash_file(file: Path) -> int:
    """A hash of path, size and time, of 64 bits: the probability of a collision among a million files is 3e-8."""
    status = file.stat()
    digest = hashlib.blake2b(f"{file.absolute()} {status.st_size} {status.st_mtime_ns}".encode(errors="surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)


@torch.inference_mode()
def _embed_batch(embedder: Embedder, pixels: Tensor, files: list[Path], chunk: Chunk) -> Float[Tensor, "images channels"]:
    example = next(chain(embedder.encoder.parameters(), embedder.encoder.buffers()), pixels)  # its device and type
    embeddings = Evaluator(lambda rows: promote_half(embedder.embed(rows.to(example))).cpu(), chunk)(pixels)
    norms = torch.linalg.vector_norm(embeddings, dim=1)
    for file, norm in zip(files, norms.tolist(), strict=True):
        if not 0 < norm < float("inf"):
            raise ValueError(f"Expected a finite norm above 0 of the embedding of {file}, got {norm}. Look at the encoder's weights.")
    return embeddings
