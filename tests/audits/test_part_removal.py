"""The search without some parts, and the photos that are filled."""

import numpy as np
import torch
from audit_cases import make_tiny
from PIL import Image

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.filled_photo import fill_parts
from captum_pairwise.audits.nearest_images import search_photos
from captum_pairwise.audits.part_removal import apply_hysteresis, choose_tag, remove_parts_and_search


def save_photos(folder, n_photos):
    files = []
    for number in range(n_photos):
        files.append(str(folder / f"{number}.png"))
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(files[-1])
    return files


def test_parts_are_left_out_of_the_mean_of_the_map(tmp_path):
    model, files = make_tiny(), save_photos(tmp_path, 6)
    audited = AuditedModel(model)
    before = search_photos(audited, files, 2)
    result = remove_parts_and_search(audited, before, choose_tag("border"), "the border", {file: "a" for file in files})
    with torch.no_grad():
        maps = torch.cat([model.features(model.transform(Image.open(file))[None]) for file in files])
    inner = maps[:, :, 1:3, 1:3].mean((2, 3))
    scores = torch.nn.functional.cosine_similarity(inner[:, None], inner[None], dim=2).fill_diagonal_(-2)
    expected = scores.topk(2)
    assert torch.equal(result.after.places, expected.indices)
    torch.testing.assert_close(result.after.scores, expected.values)
    n_changed = sum(set(a) != set(b) for a, b in zip(before.places.tolist(), expected.indices.tolist(), strict=True))
    assert (result.n_images, result.n_lists, result.n_changed, result.accuracy) == (6, 6, n_changed, (1.0, 1.0))


def test_the_neighbours_of_seeds_belong_to_them_if_they_nearly_do():
    seeds, candidates = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    seeds[0, 0] = True
    candidates[[1, 2, 0], [1, 1, 3]] = True
    grown = apply_hysteresis(seeds, candidates)
    assert sorted(zip(*map(list, np.nonzero(grown)), strict=True)) == [(0, 0), (1, 1), (2, 1)]


def test_filled_parts_show_only_the_colours_around_them():
    photo = Image.new("RGB", (40, 40), (10, 200, 30))
    photo.paste((255, 0, 0), (20, 20, 40, 40))
    chosen = torch.tensor([[False, False], [False, True]])
    assert np.unique(np.asarray(fill_parts(photo, chosen, None)).reshape(-1, 3), axis=0).tolist() == [[10, 200, 30]]
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    changed = (np.asarray(fill_parts(Image.fromarray(pixels), chosen, (0.5, 0.5, 1, 1))) != pixels).any(2)
    assert changed[30:, 30:].mean() > 0.9 and changed.sum() == changed[30:, 30:].sum()  # a quarter of what the network sees
