"""The search without some parts, against the search of photos that are changed by hand."""

import numpy as np
import pytest
import torch
from audit_cases import make_tiny
from PIL import Image

from captum_pairwise.audits.audited_model import AuditedModel
from captum_pairwise.audits.nearest_images import embed_photos
from captum_pairwise.audits.part_clusters import PartCluster
from captum_pairwise.audits.part_removal import find_shown, search_without_clusters, search_without_tag
from captum_pairwise.audits.removed_directions import find_direction, project_out
from captum_pairwise.audits.removed_parts import find_rest, mirror_places, remove_parts

SIZE = 32


def save_photos(folder, n_photos):
    files = []
    for number in range(n_photos):
        files.append(str(folder / f"{number}.png"))
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(files[-1])
    return files


def rank(embeddings, top):
    scores = torch.nn.functional.cosine_similarity(embeddings[:, None], embeddings[None], dim=2).fill_diagonal_(-2)
    return scores.topk(top)


def read_inputs(model, files):
    return torch.cat([model.transform(Image.open(file))[None] for file in files])


def test_the_border_is_cut_off_all_photos(tmp_path):
    model, files = make_tiny(), save_photos(tmp_path, 6)
    audited = AuditedModel(model)
    result = search_without_tag(audited, embed_photos(audited, files), "border", 2, {file: "a" for file in files})
    inputs = read_inputs(model, files)
    inner = torch.nn.functional.interpolate(inputs[:, :, 8:24, 8:24], (SIZE, SIZE), mode="bilinear")
    with torch.no_grad():
        before, after = rank(model(inputs), 2), rank(model(inner), 2)
    assert torch.equal(result.after.places, after.indices)
    torch.testing.assert_close(result.after.scores, after.values)
    n_changed = sum(set(a) != set(b) for a, b in zip(before.indices.tolist(), after.indices.tolist(), strict=True))
    assert (result.n_images, result.n_lists, result.n_changed, result.accuracy) == (6, 6, n_changed, (1.0, 1.0))


def test_a_cluster_leaves_the_images_that_show_it_and_all_embeddings(tmp_path):
    model, files = make_tiny(), save_photos(tmp_path, 6)
    audited = AuditedModel(model)
    groups = {file: str(number // 3) for number, file in enumerate(files)}
    features = audited.get_image(files[0]).parts.features.numpy()
    origin = features.mean(0)
    centre = (features[5] - origin) / np.linalg.norm(features[5] - origin)
    cluster = PartCluster(origin, centre, 1e-3, np.arange(1))
    chosen = torch.from_numpy(cluster.contains(features))
    assert chosen.nonzero().tolist() == [[5]]
    photos = embed_photos(audited, files)
    shown = find_shown(audited, files, [cluster])
    assert shown[0].tolist() == [chosen.tolist()] and not torch.stack(shown[1:]).any()
    result = search_without_clusters(audited, photos, shown, "c", 2, groups)
    inputs = read_inputs(model, files)
    inputs[:1] = remove_parts(inputs[:1], chosen.reshape(4, 4))
    with torch.no_grad():
        embeddings = model(inputs)
    unit = torch.nn.functional.normalize(embeddings[0] - embeddings[1:3].mean(0), dim=0)
    expected = rank(embeddings - (embeddings @ unit)[:, None] * unit, 2)
    assert result.n_images == 1 and torch.equal(result.after.places, expected.indices)
    torch.testing.assert_close(result.after.scores, expected.values)


def test_pixels_are_mirrored_at_the_nearest_other_pixel():
    mask = np.zeros((9, 11), dtype=bool)
    mask[2:5, 6:] = True
    rows, columns = mirror_places(mask)
    outside = np.argwhere(~mask)
    for row, column in np.argwhere(mask):
        shown = np.array([rows[row, column], columns[row, column]])
        assert not mask[tuple(shown)]
        distance = np.linalg.norm(outside - [row, column], axis=1).min()
        assert np.linalg.norm(shown - [row, column]) in (pytest.approx(distance), pytest.approx(2 * distance))
    assert np.array_equal(np.stack([rows, columns])[:, ~mask], np.indices(mask.shape)[:, ~mask])


@pytest.mark.parametrize(
    ("chosen", "rows", "columns"),
    [
        (np.pad(np.zeros((5, 5), dtype=bool), 1, constant_values=True), (1, 6), (1, 6)),
        (np.eye(7, dtype=bool), (0, 7), (0, 7)),
        (np.tile(np.arange(7) > 3, (7, 1)), (0, 7), (0, 4)),
    ],
    ids=["ring", "diagonal", "right"],
)
def test_full_edges_are_cut_off(chosen, rows, columns):
    assert find_rest(chosen) == (slice(*rows), slice(*columns))


def test_a_photo_shows_none_of_its_removed_pixels():
    inputs = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    inputs[:, :, 10:20, 10:30] = 7
    chosen = torch.zeros(4, 4, dtype=torch.bool)
    chosen[1, 1:3] = True
    removed = remove_parts(inputs, chosen)
    assert removed.max() < 1
    changed = (removed != inputs).any(1)[0]
    assert changed[10:20, 10:30].all() and changed.sum() == 10 * 20
    assert torch.equal(remove_parts(inputs, torch.ones(4, 4, dtype=torch.bool)), inputs)


def test_an_added_vector_is_the_direction_between_images_of_a_group():
    generator = torch.Generator().manual_seed(0)
    subjects, added = torch.randn(4, 16, generator=generator), torch.randn(16, generator=generator)
    embeddings = subjects.repeat_interleave(3, 0)
    shows = torch.tensor([True, False, False] * 3 + [True] * 3)  # the last group has no image without it
    embeddings = embeddings + shows[:, None] * added
    names = [str(number // 3) for number in range(12)]
    direction = find_direction(embeddings, shows, names)
    torch.testing.assert_close(direction, added)
    without = project_out(embeddings, direction[None])
    torch.testing.assert_close(without, project_out(subjects.repeat_interleave(3, 0), added[None]))
    assert not find_direction(embeddings, torch.zeros(12, dtype=torch.bool), names).any()
    assert torch.equal(project_out(embeddings, torch.zeros(1, 16)), embeddings)
