import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from data_sets import save_photo, tiny_image_encoder
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close

from captum_pairwise.datasets import embedding_store
from captum_pairwise.datasets.embedding_store import EmbeddingStore
from captum_pairwise.datasets.embeddings import embed, fingerprint
from captum_pairwise.models.backbones import ImageEncoder

N_IMAGES = 11


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for number in range(N_IMAGES):
        save_photo(tmp_path / f"images/{number}.png", number)
    return [tmp_path / f"images/{number}.png" for number in range(N_IMAGES)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cached/of[tiny].safetensors"  # a name that `glob` would read as a pattern


@contextmanager
def count_images(encoder: ImageEncoder, limit: float = float("inf")) -> Iterator[list[int]]:
    """Collect the sizes of the batches that go through the encoder, and interrupt it after a limit of images."""
    counts: list[int] = []

    def count(_, inputs):
        if sum(counts) >= limit:
            raise KeyboardInterrupt
        counts.append(len(inputs[0]))

    hook = encoder.register_forward_pre_hook(count)
    yield counts
    hook.remove()


def embed_new(files: list[Path], encoder: ImageEncoder, cache: Path, batch_size: int = 2) -> int:
    """Embed the files, and return the number of images that were not in the cache."""
    with count_images(encoder) as counts:
        rows = embed(files, encoder, batch_size=batch_size, cache=cache, show_progress=False)
    assert_close(rows, embed_one_by_one(files, encoder))
    return sum(counts)


def embed_one_by_one(files: list[Path], encoder: ImageEncoder) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([encoder(encoder.preprocess(file))[0].mean((1, 2)) for file in files])


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_embedding_of_a_map_is_its_mean(files, batch_size, n_workers):
    encoder = tiny_image_encoder()
    assert_close(embed(files, encoder, batch_size=batch_size, n_workers=n_workers, show_progress=False), embed_one_by_one(files, encoder))
    vectors = ImageEncoder(nn.Sequential(encoder.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=encoder.size).double().eval()
    assert_close(embed(files, vectors, show_progress=False), embed_one_by_one(files, encoder))


def test_only_new_images_are_embedded(files, cache):
    encoder = tiny_image_encoder()
    assert embed_new(files[:6], encoder, cache) == 6
    assert embed_new(files[:6], encoder, cache) == 0
    assert embed_new(files[4:9], encoder, cache) == 3
    assert embed_new([files[8], files[0], files[8]], encoder, cache) == 0  # in another order, and twice
    assert embed_new([files[10], files[10]], encoder, cache) == 1
    assert embed_new(files, encoder, cache) == 1
    assert os.listdir(cache.parent) == [cache.name]


def test_a_changed_image_is_embedded_again(files, cache):
    encoder = tiny_image_encoder()
    embed_new(files, encoder, cache)
    save_photo(files[3], 99)
    os.utime(files[5], ns=(1, 1))
    assert embed_new(files, encoder, cache) == 2


def test_another_encoder_does_not_use_the_cache(files, cache):
    encoder = tiny_image_encoder()
    assert embed_new(files, encoder, cache) == N_IMAGES
    assert embed_new(files, tiny_image_encoder(), cache) == 0
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-6
    assert embed_new(files, encoder, cache) == N_IMAGES
    assert embed_new(files[:2], tiny_image_encoder(), cache) == 2


def test_the_fingerprint_depends_on_weights_size_type_preprocessing_and_structure():
    base = tiny_image_encoder()
    others = [tiny_image_encoder(1), tiny_image_encoder(size=(16, 17)), tiny_image_encoder().float()]
    others.append(ImageEncoder(base.features, mean=(0.0, 0.0, 0.0), size=(16, 16)).double().eval())
    others.append(ImageEncoder(nn.Sequential(base.features[0], nn.GELU(), base.features[2]), size=(16, 16)).double().eval())
    digests = [fingerprint(encoder, encoder.preprocessing) for encoder in (base, *others)]
    assert digests[0] == fingerprint(tiny_image_encoder(), base.preprocessing) and len(set(digests)) == 6


@pytest.mark.parametrize("done", [0, 2, 6, 10])
def test_a_run_continues_from_the_parts_of_a_killed_run(files, cache, monkeypatch, done):
    monkeypatch.setattr(embedding_store, "PART", 4)
    encoder = tiny_image_encoder()
    with count_images(encoder, done) as counts, pytest.raises(KeyboardInterrupt):
        embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    assert sum(counts) == done and not cache.exists()
    n_stored = done // 4 * 4  # whole parts
    assert embed_new(files, encoder, cache) == N_IMAGES - n_stored
    assert os.listdir(cache.parent) == [cache.name]


def test_a_second_killed_run_adds_its_parts(files, cache, monkeypatch):
    monkeypatch.setattr(embedding_store, "PART", 2)
    encoder = tiny_image_encoder()
    for limit in (4, 4):
        with count_images(encoder, limit), pytest.raises(KeyboardInterrupt):
            embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    assert len(os.listdir(cache.parent)) == 4
    assert embed_new(files, encoder, cache) == N_IMAGES - 8


@pytest.mark.parametrize("part", [4, 100])
def test_a_failed_write_leaves_no_file(files, cache, monkeypatch, part):
    encoder = tiny_image_encoder()
    embed_new(files[:3], encoder, cache)
    before = cache.read_bytes()

    def write_half(tensors, file, metadata):
        save_file(tensors, file, metadata)
        os.truncate(file, os.path.getsize(file) // 2)
        raise OSError("No space left on device")

    monkeypatch.setattr(embedding_store, "PART", part)
    monkeypatch.setattr(embedding_store, "save_file", write_half)
    with pytest.raises(OSError, match=r"No space"):
        embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    monkeypatch.undo()
    assert cache.read_bytes() == before and os.listdir(cache.parent) == [cache.name]
    assert embed_new(files, encoder, cache) == N_IMAGES - 3


def test_parts_of_another_encoder_are_removed(files, cache, monkeypatch):
    monkeypatch.setattr(embedding_store, "PART", 2)
    with count_images(other := tiny_image_encoder(1), 4), pytest.raises(KeyboardInterrupt):
        embed(files, other, batch_size=2, cache=cache, show_progress=False)
    assert embed_new(files, tiny_image_encoder(), cache) == N_IMAGES
    assert os.listdir(cache.parent) == [cache.name] and len(load_file(cache)["images"]) == N_IMAGES


class OperationCount(TorchFunctionMode):
    """Counts the operations on tensors, also those that only look at a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.n_operations = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.n_operations += 1
        return function(*args, **(kwargs or {}))


def test_reading_takes_as_many_operations_for_each_part(cache, monkeypatch):
    monkeypatch.setattr(embedding_store, "PART", 4)
    counts = []
    for part in range(6):
        EmbeddingStore(cache, "encoder").add(range(4 * part, 4 * part + 4), torch.rand(4, 3))
        with OperationCount() as operations:
            store = EmbeddingStore(cache, "encoder")
        counts.append(operations.n_operations)
        assert len(store.rows) == 4 * (part + 1)
    assert len(os.listdir(cache.parent)) == 6
    assert counts[0] > 0 and len({later - earlier for earlier, later in pairwise(counts)}) == 1


def test_a_file_with_other_content_is_refused_and_not_changed(files, tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("a text")
    for name in ("weights", "text"):
        before = (tmp_path / f"{name}.safetensors").read_bytes()
        with pytest.raises(ValueError, match=rf"{name}.safetensors to be a cache of embeddings.*Name or make another file"):
            embed(files, tiny_image_encoder(), cache=tmp_path / f"{name}.safetensors", show_progress=False)
        assert (tmp_path / f"{name}.safetensors").read_bytes() == before


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_embeddings_of_norm_0_or_infinity_are_refused(files, value):
    encoder = tiny_image_encoder()
    with torch.no_grad():
        encoder.features[2].weight.zero_()
        encoder.features[2].bias.fill_(value)
    with pytest.raises(ValueError, match=r"norm above 0 of the embedding of .*0.png"):
        embed(files, encoder, show_progress=False)


def test_an_encoder_in_training_mode_is_refused(files):
    with pytest.raises(ValueError, match=r"evaluation mode"):
        embed(files, tiny_image_encoder().train(), show_progress=False)
