import pytest
import torch
from torch import nn

import captum_pairwise as cp
from captum_pairwise.evaluation.tables.row_cache import RowCache, content_keys


class CountingEncoder(nn.Module):
    """The mean colour of each image; records how many images came in each call."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        return images.mean((2, 3))


def test_each_distinct_image_is_embedded_once():
    cache, images = RowCache(CountingEncoder()), torch.rand(3, 3, 4, 4)
    assert torch.equal(cache(images[[0, 1, 0]]), images[[0, 1, 0]].mean((2, 3)))
    assert torch.equal(cache(images[[2, 1]]), images[[2, 1]].mean((2, 3)))
    assert cache.encoder.sizes == [2, 1] and cache.n_rows == 3


def test_both_images_of_a_similarity_share_the_cache():
    model, images = cp.SimilarityWrapper(RowCache(CountingEncoder())), torch.rand(3, 3, 4, 4)
    model(images[:2], images[1:])
    assert model.query_encoder.n_rows == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_changed_bit_changes_the_key(dtype):
    images = torch.rand(2, 3, 4, 4).to(dtype)
    changed = images.clone()
    changed[1, 2, 3, 3] = torch.nextafter(changed[1, 2, 3, 3], torch.ones((), dtype=dtype))
    keys, changed_keys = content_keys(images), content_keys(changed)
    assert keys[0] == changed_keys[0] and keys[1] != changed_keys[1]
    assert content_keys(-images)[0] != keys[0]  # in the highest bits alone


def test_the_same_numbers_in_another_shape_are_another_image():
    images = torch.rand(1, 3, 2, 8)
    turned = images.reshape(1, 3, 8, 2)
    assert content_keys(images) != content_keys(turned)
    rows = nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten())
    cache = RowCache(rows)
    assert torch.equal(cache(images), rows(images)) and torch.equal(cache(turned), rows(turned))
