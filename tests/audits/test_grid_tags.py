"""Tags of parts against masks that are counted by hand."""

import numpy as np
import torch
from PIL import Image

from captum_pairwise.audits.grid_tags import tag_flat, tag_mask, tag_places


def test_the_nine_fields_share_all_parts():
    tags = tag_places((7, 5))
    fields = torch.stack([weights for name, weights in tags.items() if " " in name])
    assert len(fields) == 9 and torch.equal(fields.sum(0), torch.ones(35))
    assert tags["border"].sum() == 2 * 5 + 2 * 5
    assert tags["bottom right"].reshape(7, 5)[6, 4] == 1


def test_flat_parts_are_those_without_structure():
    pixels = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    pixels[:, :4, 4:] = 0.7
    assert tag_flat(pixels, (2, 2)).tolist() == [0, 1, 0, 0]


def test_a_mask_gives_the_covered_share_of_each_part_that_the_network_sees(tmp_path):
    mask = np.zeros((40, 80), dtype=np.uint8)
    mask[:10, 20:40] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert tag_mask(tmp_path / "mask.png", None, (2, 4)).reshape(2, 4).tolist() == [[0, 0.5, 0, 0], [0, 0, 0, 0]]
    assert tag_mask(tmp_path / "mask.png", (0.25, 0, 0.75, 1), (2, 2)).reshape(2, 2).tolist() == [[0.5, 0], [0, 0]]
