"""Embeddings of many images."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.datasets.embedding_store import EmbeddingStore
from captum_pairwise.datasets.readers import read_in_batches
from captum_pairwise.games.checks import promote_half
from captum_pairwise.models.backbones import ImageEncoder
from captum_pairwise.models.heads import pool
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
    """The embedding of each image, on the CPU; maps are averaged.

    Args:
        files: at least one image.
        encoder: in evaluation mode.
        batch_size: images that go through the encoder together.
        cache: a safetensors file that remembers the embeddings of one encoder, by path, size and time of each image. A run that was killed
            goes on from the parts beside it.
        n_workers: processes that read images; 0 means this one.
        show_progress: whether there is a progress bar.

    Raises:
        ValueError: the encoder is in training mode, an image cannot be read, or its embedding has no direction.
    """
    if any(module.training for module in encoder.modules()):
        raise ValueError("Expected an encoder in evaluation mode, as an embedding must not depend on its batch. Call `encoder.eval()`.")
    store = EmbeddingStore(None, "") if cache is None else EmbeddingStore(Path(cache), fingerprint(encoder))
    keys = [_key(file) for file in files]
    new = {key: file for key, file in zip(keys, files, strict=True) if key not in store.rows}
    read = ImageEncoder(nn.Identity(), size=encoder.size).preprocess  # without weights, on the CPU: for other processes
    batches = read_in_batches(read, list(new.values()), batch_size, n_workers, "embeddings" if show_progress else None)
    left, chunk = list(new), Chunk(batch_size)
    for batch in batches:
        done, left = left[: len(batch)], left[len(batch) :]
        store.add(done, _embeddings(encoder, torch.cat(batch), [new[key] for key in done], chunk))
    store.merge()
    return torch.stack([store.rows[key] for key in keys])


def fingerprint(encoder: ImageEncoder) -> str:
    """A digest of all that an embedding depends on but the image: structure, preprocessing and weights."""
    digest = hashlib.sha256(f"{encoder!r} {encoder.preprocessing}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _key(file: Path) -> int:
    """A number for a file, told by path, size and time; of 64 bits, in which two of a million files meet by a chance of 3e-8."""
    known = file.stat()
    digest = hashlib.blake2b(f"{file.absolute()} {known.st_size} {known.st_mtime_ns}".encode(errors="surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big", signed=True)


@torch.inference_mode()
def _embeddings(encoder: ImageEncoder, pixels: Tensor, files: list[Path], chunk: Chunk) -> Float[Tensor, "images channels"]:
    """Those of one batch, each with a direction."""
    embeddings = Evaluator(lambda some: promote_half(pool(encoder(some.to(encoder.mean)))).cpu(), chunk)(pixels)
    norms = torch.linalg.vector_norm(embeddings, dim=1)
    for file, norm in zip(files, norms.tolist(), strict=True):
        if not 0 < norm < float("inf"):
            raise ValueError(
                f"Expected an embedding with a direction, but that of {file} has the norm {norm}. Look at the encoder's weights."
            )
    return embeddings
