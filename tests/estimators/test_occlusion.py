import warnings

import pytest
import torch
from conftest import SIZES, WINDOWS, boxes, images, opaque, pair_of_sizes, relu_game, seeded, tiny_encoder
from model_cases import PROOF_ROWS

import captum_pairwise as cp
from captum_pairwise.estimators import occlusion as sbsm
from captum_pairwise.estimators.occlusion import draw_window_pairs, measure_rises
from captum_pairwise.games.game import CallableGame, TwoTowerGame

ALL = 10**6


def random_distribution(*shape):
    signal = torch.rand(*shape, generator=seeded(9), dtype=torch.float64)
    return signal / signal.sum((1, 2), keepdim=True)


def uneven_masks():
    """Parts of unequal size, with an unused id and with pixels without a part."""
    query, retrieved = cp.grid(*SIZES[0], 2, 2), cp.grid(*SIZES[1], 3, 2)
    query, retrieved = query + (query > 2).long(), retrieved.clone()
    retrieved[..., :2, :3] = -1
    return query, retrieved


def slow_matrix(forward, query, retrieved, drawn, fill=(0.0, 0.0), backwards=False):
    """The pixel matrix of one pair of images: eq. 11, and the weighted average of the masks that overlap with a pixel."""
    masks, occluded = [boxes(*size, *WINDOWS.values()) for size in SIZES], [[], []]
    for pair in drawn.T.tolist():
        for rows, image, mask, window, colour in zip(occluded, (query, retrieved), masks, pair, fill, strict=True):
            rows.append(torch.where(mask[window] == 1, colour, image))
    weights = (forward(*map(torch.cat, occluded)) - forward(query, retrieved)).clamp(min=0)
    over_query, over_retrieved = (mask[windows].flatten(1) for mask, windows in zip(masks, drawn, strict=True))
    joint = torch.einsum("k,kp,kq->pq", weights, over_query, over_retrieved)
    over = weights @ over_retrieved if backwards else (weights @ over_query)[:, None]
    return torch.where(over > 0, joint / over, 0.0)


@pytest.fixture(params=["towers", "opaque", "callable head"])
def forward(request):
    encoder = tiny_encoder()
    if request.param == "callable head":
        return cp.SimilarityWrapper(encoder, similarity=lambda u, w: (u - w).abs().sum(1).neg().exp())
    model = cp.SimilarityWrapper(encoder)
    return model if request.param == "towers" else lambda q, r: model(q, r)


@pytest.mark.parametrize("n_samples", [150, ALL])
def test_projections_match_the_pixel_matrix(forward, n_samples):
    query, retrieved = pair_of_sizes()
    found = cp.PairwiseSBSM(forward).window_pairs((query, retrieved), n_samples=n_samples, **WINDOWS)
    signals = [random_distribution(2, *size) for size in SIZES]
    there, back = found.project(signals[0]), found.project(signals[1], "retrieved->query")
    for example in range(2):
        pair = query[example : example + 1], retrieved[example : example + 1]
        expected = signals[0][example].flatten() @ slow_matrix(forward, *pair, found.drawn)
        torch.testing.assert_close(there[example].flatten(), expected, rtol=0, atol=1e-12)
        expected = slow_matrix(forward, *pair, found.drawn, backwards=True) @ signals[1][example].flatten()
        torch.testing.assert_close(back[example].flatten(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_samples", [150, ALL])
def test_interactions_are_the_mean_of_the_matrix_over_pixels(forward, n_samples):
    pair, masks = pair_of_sizes(1), uneven_masks()
    method = cp.PairwiseSBSM(forward)
    found = method.attribute(pair, feature_mask=masks, n_samples=n_samples, **WINDOWS)
    drawn = draw_window_pairs(*(len(boxes(*size, *WINDOWS.values())) for size in SIZES), n_samples)
    matrix = slow_matrix(forward, *pair, drawn)
    for i in range(5):
        for j in range(6):
            block = matrix[masks[0].flatten() == i][:, masks[1].flatten() == j]
            assert found[0, i, j].item() == pytest.approx(block.mean().item() if block.numel() else 0.0, abs=1e-12)
    assert (found[0, 3] == 0).all() and (found[0, :3] > 0).any(1).all() and (found <= 1).all()


def test_interactions_of_single_pixels_are_the_matrix(model):
    """If every pixel is a part, the interactions are the matrix itself."""
    pair = pair_of_sizes(1)
    masks = tuple(torch.arange(h * w).reshape(1, 1, h, w) for h, w in SIZES)
    found = cp.PairwiseSBSM(model).window_pairs(pair, feature_mask=masks, **WINDOWS)
    signal = random_distribution(1, *SIZES[0])
    torch.testing.assert_close(found.interactions().project(signal), found.project(signal).flatten(1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("fill", [(0.3, 0.9), "mean"])
def test_occluded_windows_show_the_baseline(model, fill):
    pair = pair_of_sizes(1)
    shown = tuple(cp.mean_colour(batch) for batch in pair) if fill == "mean" else fill
    baselines = (cp.mean_colour(pair[0]), lambda batch, ids: cp.mean_colour(batch)) if fill == "mean" else fill
    found = cp.PairwiseSBSM(model).window_pairs(pair, baselines=baselines, n_samples=100, **WINDOWS)
    matrix = slow_matrix(model, *pair, found.drawn, fill=shown)
    signal = random_distribution(1, *SIZES[0])
    torch.testing.assert_close(found.project(signal).flatten(), signal.flatten() @ matrix, rtol=0, atol=1e-12)


def test_matching_squares_have_the_largest_credit():
    """Two grey images with one square each: the square of the query has its largest credit with the other square."""
    query = torch.full((1, 3, 12, 12), 0.5, dtype=torch.float64)
    retrieved = query.clone()
    query[..., :4, :4], retrieved[..., 8:, 8:] = 1.0, 0.0
    found = cp.PairwiseSBSM(lambda q, r: -(q - r).square().sum((1, 2, 3))).interactions(
        (query, retrieved),
        baselines=(0.5, 0.5),
        feature_mask=(cp.grid(12, 12, 3, 3), cp.grid(12, 12, 3, 3)),
        sliding_window_shapes=4,
        strides=4,
    )
    assert found.between[0, 0].argmax().item() == 8


@pytest.mark.parametrize("kind", ["tower", "opaque"])
def test_rises_match_eq_11_with_and_without_the_table(kind, monkeypatch):
    towers = relu_game(4, 5, seed=0)
    game = towers if kind == "tower" else opaque(towers)
    query, retrieved = (torch.rand(n, m, generator=seeded(n)) < 0.5 for n, m in ((6, 4), (7, 5)))
    for n_samples in (3, 30, 42):
        monkeypatch.setattr(sbsm, "ROWS_AT_ONCE", 7 if n_samples == 3 else 2)
        drawn = draw_window_pairs(6, 7, n_samples, seeded(1))
        weights, full = measure_rises(game, query, retrieved, drawn)
        whole = towers.values(torch.ones(1, 9, dtype=torch.bool)).item()
        assert full.item() == pytest.approx(whole, abs=1e-12)
        for weight, (a, b) in zip(weights.tolist(), drawn.T.tolist(), strict=True):
            occluded = towers.values(torch.cat([query[a], retrieved[b]])[None]).item()
            assert weight == pytest.approx(max(occluded - whole, 0.0), abs=1e-12)


def test_only_drawn_windows_are_embedded():
    calls, towers = [], relu_game(4, 4, seed=0)
    game = TwoTowerGame(4, 4, lambda z: calls.append(len(z)) or towers.embed_query(z), towers.embed_retrieved)
    windows = ~torch.eye(4, dtype=torch.bool)
    measure_rises(game, windows, windows, torch.tensor([[0, 0, 2, 0], [1, 3, 3, 0]]))
    assert calls == [1 + 2]  # the full image, and each of the two windows once


def test_pairs_are_uniform_or_all_pairs_if_they_fit():
    drawn = draw_window_pairs(4, 5, 19_000, seeded(0))
    assert sorted(map(tuple, drawn.T.tolist())) == [(a, b) for a in range(4) for b in range(5)]
    drawn = draw_window_pairs(200, 100, 19_000, seeded(0))
    for row, count in zip(drawn, (200, 100), strict=True):
        share = torch.bincount(row, minlength=count) / 19_000 * count
        assert (share - 1).abs().max() < 5 * (count / 19_000) ** 0.5
    assert torch.equal(drawn, draw_window_pairs(200, 100, 19_000)) and not torch.equal(
        drawn, draw_window_pairs(200, 100, 19_000, seeded(1))
    )
    with pytest.raises(ValueError, match="n_samples of at least 1, got 0"):
        draw_window_pairs(4, 5, 0)


def test_near_duplicates_give_zeros_and_a_warning():
    model = cp.SimilarityWrapper(tiny_encoder().float())
    query = images(1)[0].float()
    masks = {"feature_mask": (cp.grid(12, 12, 2, 2),) * 2}
    with pytest.warns(UserWarning, match="No pair of windows raises the similarity") as warned:
        found = cp.PairwiseSBSM(model).window_pairs((query, query), **masks, **WINDOWS)
    assert len(warned) == 1
    assert (found.weights == 0).all() and (found.project(torch.ones(1, 12, 12)) == 0).all()
    assert (found.interactions().between == 0).all()


def test_pixels_without_weight_have_zero_projection():
    """Only one window raises the similarity. Pixels outside of it have no weight."""
    query = retrieved = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    query = query.clone()
    query[..., :2, :2] = 1.0
    found = cp.PairwiseSBSM(lambda q, r: -q.sum((1, 2, 3)) + 0 * r.sum((1, 2, 3))).window_pairs(
        (query, retrieved), sliding_window_shapes=2, strides=2
    )
    outside = torch.ones(1, 6, 6, dtype=torch.float64)
    outside[..., :2, :2] = 0
    assert (found.project(outside) == 0).all() and (found.project(1 - outside) == 4 / 9).all()


def test_each_window_of_each_image_is_embedded_once():
    encoder, rows = tiny_encoder(), []
    encoder[0].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    found = cp.PairwiseSBSM(cp.SimilarityWrapper(encoder)).window_pairs(pair_of_sizes(1), n_samples=ALL, **WINDOWS)
    n_windows = found.query_windows.n_windows + found.retrieved_windows.n_windows
    assert sum(rows) - PROOF_ROWS == n_windows + 2 == found.n_evaluations.item()  # the windows and each full image


def test_opaque_similarity_runs_once_for_each_pair():
    rows = []
    cp.PairwiseSBSM(lambda q, r: rows.append(len(q)) or (q - 0.5).square().mean((1, 2, 3))).attribute(
        images(1), n_samples=50, feature_mask=(cp.grid(12, 12, 1, 2),) * 2, **WINDOWS
    )
    assert sum(rows) == 50 + 1 + 1 + 3  # and in the proof one pair alone, and three pairs


def test_signals_of_any_size_and_type(model):
    found = cp.PairwiseSBSM(model).window_pairs(pair_of_sizes(2), n_samples=100, **WINDOWS)
    signal = torch.rand(2, 1, *SIZES[0], generator=seeded(0)) < 0.5
    projected = found.project(signal)
    assert torch.equal(projected, found.project(signal[:, 0].double()))
    larger = signal.double().repeat_interleave(2, 2).repeat_interleave(3, 3)
    torch.testing.assert_close(found.project(larger), projected, rtol=0, atol=1e-12)
    finer = torch.rand(2, 2 * SIZES[0][0], 3 * SIZES[0][1], generator=seeded(1), dtype=torch.float64)
    of_pixels = finer.unflatten(2, (-1, 3)).unflatten(1, (-1, 2)).mean((2, 4))
    torch.testing.assert_close(found.project(finer), found.project(of_pixels), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="direction to be one of"):
        found.project(signal, "back")
    for wrong in (torch.ones(2, 4), torch.ones(1, 12, 10)):
        with pytest.raises(ValueError, match=r"signal over each image, \[2, H, W\], got shape .*interactions"):
            found.project(wrong)
    assert repr(found) == "WindowPairs(pairs=2, samples=100)"


def test_class_has_no_convergence_delta(model):
    method = cp.PairwiseSBSM(model)
    assert not method.has_convergence_delta()
    found = method.interactions(pair_of_sizes(1), feature_mask=uneven_masks(), **WINDOWS)
    assert found.empty.isnan().all()
    with pytest.raises(ValueError, match="Expected marginal to have been computed"):
        _ = found.completeness_gap


def test_vectors_are_refused():
    vectors = torch.rand(1, 5), torch.rand(1, 5)
    with pytest.raises(ValueError, match=r"query images \[B, C, H, W\], because windows slide over them, got shape \(1, 5\)"):
        cp.PairwiseSBSM(lambda q, r: (q * r).sum(1)).attribute(vectors)


def test_progress_bar(model, capsys):
    arguments = {"feature_mask": uneven_masks(), "n_samples": 10, **WINDOWS}
    cp.PairwiseSBSM(model).attribute(pair_of_sizes(1), **arguments)
    assert capsys.readouterr().err == ""
    cp.PairwiseSBSM(model).attribute(pair_of_sizes(1), show_progress=True, **arguments)
    assert "PairwiseSBSM" in capsys.readouterr().err


def test_rounding_errors_have_no_weight():
    game = CallableGame(1, 1, lambda z: 1 + 1e-7 * z[:, 0].float() * 0 + torch.where(z.all(1), 0.0, torch.finfo(torch.float32).eps))
    windows = torch.tensor([[False]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (measure_rises(game, windows, windows, draw_window_pairs(1, 1, 1))[0] == 0).all()
    larger = CallableGame(1, 1, lambda z: torch.where(z.all(1), 1.0, 1.001))
    assert (measure_rises(larger, windows, windows, draw_window_pairs(1, 1, 1))[0] > 0).all()


def test_default_parts_are_superpixels(model):
    photos = tuple(torch.nn.functional.interpolate(batch, (48, 40), mode="bilinear") for batch in images(1))
    n_players = [int(cp.superpixels(batch).max()) + 1 for batch in photos]
    found = cp.PairwiseSBSM(model).interactions(photos, n_samples=100)
    assert found.between.shape == (1, *n_players) and found.query_players.n_players == n_players[0]
    signal = torch.rand(1, 48, 40, generator=seeded(0))
    assert found.project(signal).shape == (1, n_players[1])


def test_a_rise_within_the_rounding_errors_of_long_embeddings_counts_as_0():
    """The terms of the product are a million times as large as the rise: float32 cannot tell it from 0."""
    query, retrieved = torch.tensor([[1000.0, -1000.0]]), torch.tensor([[1000.0, 1000.0]])
    game = TwoTowerGame(1, 1, lambda z: query.expand(len(z), -1), lambda z: retrieved - (1 - z.float()) * torch.tensor([[0.0, 5e-4]]))
    windows = torch.tensor([[False]])
    with pytest.warns(UserWarning, match="No pair of windows raises the similarity"):
        weights, full = measure_rises(game, windows, windows, draw_window_pairs(1, 1, 1))
    assert game.values(torch.tensor([[False, False]])) > full == 0 and weights.tolist() == [0]


def test_a_fall_within_the_rounding_errors_of_the_largest_value_counts_as_0():
    """The whole similarity is 0, and 1 without the first window: a fall of 1e-8 by the second one is rounding."""
    windows = sbsm.Windows(torch.ones(1, 1), torch.eye(2))
    game = CallableGame(3, 0, lambda z: torch.where(z[:, 1], torch.where(z[:, 2], 0.0, -1e-8), 1.0))
    with pytest.warns(UserWarning, match="No window lowers the similarity"):
        assert sbsm.sbsm(game, windows).tolist() == [[0, 0]]
