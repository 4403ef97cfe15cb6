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
    return tmp_path / "cached/of[tiny].safetensors"


@contextmanager
def counted(encoder: ImageEncoder, limit: float = float("inf")) -> Iterator[list[int]]:
    """How many images go through the encoder, which is cut off behind the limit."""
    counts: list[int] = []

    def count(_, inputs):
        if sum(counts) >= limit:
            raise KeyboardInterrupt
        counts.append(len(inputs[0]))

    hook = encoder.register_forward_pre_hook(count)
    yield counts
    hook.remove()


def n_embedded(files: list[Path], encoder: ImageEncoder, cache: Path, batch_size: int = 2) -> int:
    with counted(encoder) as counts:
        rows = embed(files, encoder, batch_size=batch_size, cache=cache, show_progress=False)
    assert_close(rows, plain(files, encoder))
    return sum(counts)


def plain(files: list[Path], encoder: ImageEncoder) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([encoder(encoder.preprocess(file))[0].mean((1, 2)) for file in files])


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_embeddings_are_the_means_of_maps(files, batch_size, n_workers):
    encoder = tiny_image_encoder()
    assert_close(embed(files, encoder, batch_size=batch_size, n_workers=n_workers, show_progress=False), plain(files, encoder))
    vectors = ImageEncoder(nn.Sequential(encoder.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=encoder.size).double().eval()
    assert_close(embed(files, vectors, show_progress=False), plain(files, encoder))


def test_only_what_is_new_is_embedded(files, cache):
    encoder = tiny_image_encoder()
    assert n_embedded(files[:6], encoder, cache) == 6
    assert n_embedded(files[:6], encoder, cache) == 0
    assert n_embedded(files[4:9], encoder, cache) == 3
    assert n_embedded([files[8], files[0], files[8]], encoder, cache) == 0  # in another order, and twice
    assert n_embedded([files[10], files[10]], encoder, cache) == 1
    assert n_embedded(files, encoder, cache) == 1
    assert os.listdir(cache.parent) == [cache.name]


def test_an_image_that_changed_is_embedded_anew(files, cache):
    encoder = tiny_image_encoder()
    n_embedded(files, encoder, cache)
    save_photo(files[3], 99)
    os.utime(files[5], ns=(1, 1))
    assert n_embedded(files, encoder, cache) == 2


def test_another_encoder_begins_anew(files, cache):
    encoder = tiny_image_encoder()
    assert n_embedded(files, encoder, cache) == N_IMAGES
    assert n_embedded(files, tiny_image_encoder(), cache) == 0
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-6
    assert n_embedded(files, encoder, cache) == N_IMAGES
    assert n_embedded(files[:2], tiny_image_encoder(), cache) == 2


def test_the_fingerprint_tells_whatever_changes_an_embedding():
    base = tiny_image_encoder()
    others = [tiny_image_encoder(1), tiny_image_encoder(size=(16, 17)), tiny_image_encoder().float()]
    others.append(ImageEncoder(base.features, mean=(0.0, 0.0, 0.0), size=(16, 16)).double().eval())
    others.append(ImageEncoder(nn.Sequential(base.features[0], nn.GELU(), base.features[2]), size=(16, 16)).double().eval())
    assert fingerprint(base) == fingerprint(tiny_image_encoder())
    assert len({fingerprint(encoder) for encoder in (base, *others)}) == 6


@pytest.mark.parametrize("done", [0, 2, 6, 10])
def test_a_run_that_was_killed_goes_on(files, cache, monkeypatch, done):
    monkeypatch.setattr(embedding_store, "PART", 4)
    encoder = tiny_image_encoder()
    with counted(encoder, done) as counts, pytest.raises(KeyboardInterrupt):
        embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    assert sum(counts) == done and not cache.exists()
    kept = done // 4 * 4  # in whole parts
    assert n_embedded(files, encoder, cache) == N_IMAGES - kept
    assert os.listdir(cache.parent) == [cache.name]


def test_parts_follow_those_of_a_run_that_was_killed(files, cache, monkeypatch):
    monkeypatch.setattr(embedding_store, "PART", 2)
    encoder = tiny_image_encoder()
    for limit in (4, 4):
        with counted(encoder, limit), pytest.raises(KeyboardInterrupt):
            embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    assert len(os.listdir(cache.parent)) == 4
    assert n_embedded(files, encoder, cache) == N_IMAGES - 8


@pytest.mark.parametrize("part", [4, 100])
def test_what_is_cut_off_while_it_is_written_is_not_there(files, cache, monkeypatch, part):
    encoder = tiny_image_encoder()
    n_embedded(files[:3], encoder, cache)
    before = cache.read_bytes()

    def half(tensors, file, metadata):
        save_file(tensors, file, metadata)
        os.truncate(file, os.path.getsize(file) // 2)
        raise OSError("No space left on device")

    monkeypatch.setattr(embedding_store, "PART", part)
    monkeypatch.setattr(embedding_store, "save_file", half)
    with pytest.raises(OSError, match=r"No space"):
        embed(files, encoder, batch_size=2, cache=cache, show_progress=False)
    monkeypatch.undo()
    assert cache.read_bytes() == before and os.listdir(cache.parent) == [cache.name]
    assert n_embedded(files, encoder, cache) == N_IMAGES - 3


def test_parts_of_another_encoder_are_forgotten(files, cache, monkeypatch):
    monkeypatch.setattr(embedding_store, "PART", 2)
    with counted(other := tiny_image_encoder(1), 4), pytest.raises(KeyboardInterrupt):
        embed(files, other, batch_size=2, cache=cache, show_progress=False)
    assert n_embedded(files, tiny_image_encoder(), cache) == N_IMAGES
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


def test_a_file_of_something_else_is_left_alone(files, tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "weights.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors in here, whatever the name says")
    for name in ("weights", "text"):
        before = (tmp_path / f"{name}.safetensors").read_bytes()
        with pytest.raises(ValueError, match=rf"{name}.safetensors to be a cache of embeddings.*Name another file"):
            embed(files, tiny_image_encoder(), cache=tmp_path / f"{name}.safetensors", show_progress=False)
        assert (tmp_path / f"{name}.safetensors").read_bytes() == before


def test_images_that_cannot_be_read_are_named(files):
    files[4].write_bytes(files[4].read_bytes()[:60])
    with pytest.raises(ValueError, match=r"Expected .*4.png to be an image"):
        embed(files, tiny_image_encoder(), show_progress=False)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_embeddings_without_a_direction_are_refused(files, value):
    encoder = tiny_image_encoder()
    with torch.no_grad():
        encoder.features[2].weight.zero_()
        encoder.features[2].bias.fill_(value)
    with pytest.raises(ValueError, match=r"norm above 0 of the embedding of .*0.png"):
        embed(files, encoder, show_progress=False)


def test_encoders_in_training_mode_are_refused(files):
    with pytest.raises(ValueError, match=r"evaluation mode"):
        embed(files, tiny_image_encoder().train(), show_progress=False)
