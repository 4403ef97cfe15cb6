"""Layers of an opaque function of both images: parts of a batch, and layers that see both images."""

import pytest
import torch
from conftest import images, tiny_encoder
from torch import nn

import captum_pairwise as cp


def test_every_part_of_a_batch_gets_its_own_targets_and_arguments():
    """Memory for one row: the outputs of the layers are recorded one pair at a time."""
    first, second = tiny_encoder(0), tiny_encoder(1)

    def forward(query, retrieved, scale):
        if len(query) > 1:
            raise MemoryError
        score = nn.functional.cosine_similarity(first(query * scale[:, None, None, None]).mean((2, 3)), second(retrieved).mean((2, 3)))
        return torch.stack([score, score.square()], 1)

    pair, scale, masks = images(2), torch.tensor([2.0, 0.5], dtype=torch.float64), (cp.grid(5, 5, 1, 2), cp.grid(5, 5, 2, 1))
    method = cp.LayerExactShapleyTaylor(forward, (first[2], second[2]))
    with pytest.warns(UserWarning, match="Memory ran out"):
        together = method.attribute(pair, target=[1, 0], additional_forward_args=scale, layer_mask=masks)
    for example, target in enumerate((1, 0)):
        part = slice(example, example + 1)
        arguments = {"target": target, "additional_forward_args": scale[part], "layer_mask": masks, "perturbations_per_eval": 1}
        torch.testing.assert_close(together[part], method.attribute((pair[0][part], pair[1][part]), **arguments), rtol=0, atol=1e-12)


def test_a_layer_after_the_images_meet_is_refused():
    first, second = tiny_encoder(0), tiny_encoder(1)

    def forward(query, retrieved):
        return nn.functional.cosine_similarity(first(query).mean((2, 3)), second(query * retrieved).mean((2, 3)))

    with pytest.raises(ValueError, match="Expected a layer that sees one image"):
        cp.LayerExactShapleyTaylor(forward, (first[4], second[4])).attribute(images(2))
