"""Pairs from relevance maps: against a literal loop, and against networks whose relevance is conserved."""

import pytest
import torch
from conftest import MASKS, assert_refused, images, random_tensor
from torch import nn

import captum_pairwise as cp


def gradient_times_input(encoder, batch):
    """LRP-0 of a network of ReLUs without biases (Ancona et al. 2018): a map for each dimension of the embedding, colours summed."""
    batch = batch.clone().requires_grad_()
    embedding = encoder(batch)
    maps = [torch.autograd.grad(embedding[:, k].sum(), batch, retain_graph=True)[0] * batch for k in range(embedding.shape[1])]
    return torch.stack([one.sum(1).detach() for one in maps], 1)


def bias_free(*, is_linear=False):
    """A network without biases: `f(a x) = a f(x)`."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.Identity() if is_linear else nn.ReLU(), nn.Flatten(), nn.Linear(100, 5, bias=False)
    )
    return network.double()


def test_pairs_match_a_literal_loop():
    query, retrieved = random_tensor(2, 3, 2, 2), random_tensor(2, 3, 5, seed=1)
    found = cp.pairs_from_maps(query, retrieved, torch.tensor([1.0, 2.0]))
    for example in range(2):
        for i in range(4):
            for j in range(5):
                expected = sum(query[example, k, i // 2, i % 2] * retrieved[example, k, j] for k in range(3))
                assert found.between[example, i, j].item() == pytest.approx(expected.item(), abs=1e-14)
    sums = found.between.sum((1, 2))
    torch.testing.assert_close(found.completeness_gap, torch.tensor([1.0, 2.0]).double() - sums, rtol=0, atol=1e-13)
    assert (found.first_order == 0).all() and found.within_query is None and found.index is None
    assert (cp.pairs_from_maps(query, retrieved).completeness_gap.abs() < 1e-13).all()  # without a similarity the gap says nothing


def test_masks_sum_the_relevance_of_their_parts():
    query, retrieved = random_tensor(2, 3, 12, 12), random_tensor(2, 3, 12, 12, seed=1)
    masks = (MASKS[0].clone(), MASKS[1].expand(2, -1, -1, -1).clone())
    masks[0][0, 0, :3] = -1
    masks[1][1, 0, :6] = 5  # the parts of the second image differ
    found = cp.pairs_from_maps(query, retrieved, feature_mask=masks)
    assert found.between.shape == (2, 4, 6)
    for example in range(2):
        for i in range(4):
            for j in range(6):
                ours, theirs = (masks[0][0, 0] == i), (masks[1][example, 0] == j)
                expected = (query[example][:, ours].sum(1) * retrieved[example][:, theirs].sum(1)).sum()
                assert found.between[example, i, j].item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_relevance_of_a_network_without_biases_is_conserved(similarity):
    encoder, pair = bias_free(), images(2)
    model, maps = cp.SimilarityWrapper(encoder, similarity=similarity), [gradient_times_input(encoder, one) for one in pair]
    if similarity == "cosine":
        maps = [one / encoder(batch).detach().norm(dim=1)[:, None, None, None] for one, batch in zip(maps, pair, strict=True)]
    found = cp.pairs_from_maps(*maps, model(*pair).detach(), feature_mask=MASKS)
    assert (found.completeness_gap.abs() < 1e-12).all() and (found.full.abs() > 1e-4).all()
    for gap in found.map_gaps:
        assert (gap.abs() < 1e-12).all()
    everything, nothing = torch.ones(1, 10).bool(), torch.zeros(1, 10).bool()
    torch.testing.assert_close(found.predict(torch.cat([everything, nothing])), torch.stack([found.full, 0 * found.full], 1))


def test_relevance_of_a_linear_network_is_the_exact_index():
    encoder, pair = bias_free(is_linear=True), images(2)
    model, maps = cp.SimilarityWrapper(encoder, similarity="dot"), [gradient_times_input(encoder, one) for one in pair]
    expected = cp.ExactShapleyTaylor(model).interactions(pair, baselines=(0, 0), feature_mask=MASKS)
    found = cp.pairs_from_maps(*maps, model(*pair).detach(), feature_mask=MASKS)
    for name in ("between", "first_order", "marginal", "given_other"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-12)


def test_the_gap_reports_relevance_that_a_rule_loses():
    encoder, pair = bias_free(), images(1)
    model, maps = cp.SimilarityWrapper(encoder, similarity="dot"), [gradient_times_input(encoder, one) for one in pair]
    found = cp.pairs_from_maps(0.5 * maps[0], maps[1], model(*pair).detach())
    torch.testing.assert_close(found.completeness_gap, model(*pair).detach() / 2, rtol=0, atol=1e-12)


def test_maps_of_pixels_are_drawn_as_images():
    found = cp.pairs_from_maps(random_tensor(1, 3, 4, 6), random_tensor(1, 3, 5, 5, seed=1))
    assert found.query_players.shape == (4, 6) and found.retrieved_players.shape == (5, 5)
    assert found.project(torch.ones(1, 4, 6)).shape == (1, 25)


def test_half_precision_is_summed_in_single():
    maps = random_tensor(1, 600, 4).half()
    found = cp.pairs_from_maps(maps, maps)
    assert found.between.dtype == torch.float32
    torch.testing.assert_close(found.between[0], torch.einsum("kip,kjp->ij", *[maps[0].float()[..., None]] * 2))


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"query_maps": torch.ones(1, 3)}, r"Expected query maps \[B, C, H, W\] or \[B, C, n\].*got torch.float32 of shape \(1, 3\)"),
        ({"query_maps": [[1.0]]}, "Expected query maps .* got list"),
        ({"retrieved_maps": torch.ones(1, 3, 4).long()}, "Expected retrieved maps .* got torch.int64"),
        ({"retrieved_maps": torch.ones(1, 4, 5)}, r"of the same pairs of images and the same dimensions, got \(1, 3, 4\) and \(1, 4, 5\)"),
        ({"query_maps": torch.full((1, 3, 4), torch.nan)}, "Expected finite numbers, got NaN or infinity in row 0 of the query maps"),
        ({"similarity": torch.ones(2)}, r"Expected the similarity \[B\] of each of 1 pairs, got torch.float32 of shape \(2,\)"),
        ({"feature_mask": (torch.zeros(1, 1, 3).long(), None)}, r"Expected the query mask to be broadcastable to \(1, 1, 4\)"),
        ({"feature_mask": torch.zeros(1, 1, 4).long()}, "Expected feature_mask to be a pair"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, sentence):
    arguments = {"query_maps": torch.ones(1, 3, 4), "retrieved_maps": torch.ones(1, 3, 4)} | changed
    assert_refused(lambda: cp.pairs_from_maps(**arguments), sentence)


def test_pairs_beyond_memory_are_refused():
    maps = torch.ones(1, 1, 1).expand(1, 1, 2_000_000)
    assert_refused(lambda: cp.pairs_from_maps(maps, maps), "Expected fewer players: the pairs of 2000000 and 2000000 parts need")
