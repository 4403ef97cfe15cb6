"""A thousand pairs through the default method: each is explained once, and memory does not grow."""

import time
from functools import partial

import pytest
import torch
from conftest import LONG
from torch import nn
from tracker import can_measure_memory, measure_memory

import captum_pairwise as cp

pytestmark = pytest.mark.slow

N_PAIRS, BATCH, GROWTH = 1000, 100, 2**20


@pytest.fixture
def load():
    """A model whose layer is followed by pooling alone, so that the closed form is exact; and all pairs."""
    generator = torch.Generator().manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.GELU()).eval()  # nowhere the same for two images, as ReLU's 0 is
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    pairs = torch.rand(2, N_PAIRS, 3, 8, 12, generator=generator)
    return cp.SimilarityWrapper(encoder, similarity="dot"), encoder, pairs


def explain_batches(model, layer, pairs, n_samples):
    """Batch after batch, as a user would."""
    method, layer_baselines = cp.LayerFactorisedShapleyTaylor(model, layer), (0, 0)
    batches = zip(*(images.split(BATCH) for images in pairs), strict=True)
    return torch.cat([method.attribute(batch, n_samples=n_samples, layer_baselines=layer_baselines) for batch in batches])


def test_every_pair_is_explained_once(load, record_property):
    model, layer, pairs = load
    start = time.perf_counter()
    found = explain_batches(model, layer, pairs, 62)
    each = 1000 * (time.perf_counter() - start) / N_PAIRS
    print(f"{each:.1f} ms for a pair")
    record_property("milliseconds for a pair", each)
    expected = cp.LayerPairwiseSAM(model, layer).attribute(tuple(pairs), layer_baselines=(0, 0))
    assert len(found) == N_PAIRS == len(found.flatten(1).unique(dim=0))
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not can_measure_memory(), reason="the system does not tell the peak of a process")
def test_memory_does_not_grow(load):
    model, layer, pairs = load
    first, more = pairs[:, :BATCH], pairs if LONG else pairs[:, : 3 * BATCH]

    def grown():
        """The bytes that more batches need beyond one."""
        one, all_of_them = (partial(explain_batches, model, layer, batches, 62) for batches in (first, more))
        return measure_memory(all_of_them, one) - measure_memory(one, one)

    assert grown() < GROWTH
    kept = []
    layer.register_forward_hook(lambda _, inputs, output: kept.append(torch.cat([output] * 64)))
    assert grown() > GROWTH
