"""SAM: the closed forms, compared with the published sums, enumeration, and the true similarity."""

import pytest
import torch
from conftest import images, tiny_encoder
from torch import nn

import captum_pairwise as cp

LAST = 4


@pytest.fixture(params=["zero", "blur"])
def case(request):
    """An encoder, a pair of batches, their maps x, y, the maps a, b of the baselines, and the argument for the baselines."""
    encoder, pair = tiny_encoder(), images(2)
    x, y = (encoder(batch) for batch in pair)
    if request.param == "zero":
        return encoder, pair, x, y, torch.zeros_like(x), torch.zeros_like(y), None
    baselines = tuple(cp.blur_baseline(batch) for batch in pair)
    return encoder, pair, x, y, encoder(baselines[0]), encoder(baselines[1]), baselines


def frozen_norms(similarity, x, y):
    """`|GAP x| |GAP y|` for cosine, 1 for the dot product, per pair."""
    lengths = x.mean((2, 3)).norm(dim=1) * y.mean((2, 3)).norm(dim=1)
    return lengths if similarity == "cosine" else torch.ones_like(lengths)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_first_order_matches_eq_3_for_both_images(case, similarity):
    encoder, pair, x, y, a, b, baselines = case
    query, retrieved = cp.LayerSAM(cp.SimilarityWrapper(encoder, similarity=similarity), encoder[LAST]).attribute(pair, baselines)
    cells, scale = x[0, 0].numel(), frozen_norms(similarity, x, y)[:, None, None]
    eq_3_retrieved = torch.einsum("bc,bchw->bhw", x.mean((2, 3)), y - b) / cells / scale
    eq_3_query = torch.einsum("bc,bchw->bhw", y.mean((2, 3)), x - a) / cells / scale
    torch.testing.assert_close(retrieved[:, 0], eq_3_retrieved, rtol=0, atol=1e-9)
    torch.testing.assert_close(query[:, 0], eq_3_query, rtol=0, atol=1e-9)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_second_order_matches_eq_8(case, similarity):
    encoder, pair, x, y, a, b, baselines = case
    pairs = cp.LayerPairwiseSAM(cp.SimilarityWrapper(encoder, similarity=similarity), encoder[LAST]).attribute(pair, baselines)
    cells = x[0, 0].numel()
    four_terms = [("x", x, y, 1), ("ay", a, y, -1), ("xb", x, b, -1), ("ab", a, b, 1)]
    eq_8 = sum(sign * torch.einsum("bchw,bcij->bhwij", left, right) for _, left, right, sign in four_terms) / cells**2
    torch.testing.assert_close(pairs, eq_8 / frozen_norms(similarity, x, y)[:, None, None, None, None], rtol=0, atol=1e-9)


def test_dot_product_closed_forms_match_the_exact_indices(case):
    encoder, pair, *_, baselines = case
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    given = {"baselines": baselines} if baselines else {"layer_baselines": (0, 0)}
    exact = cp.LayerExactShapleyTaylor(model, encoder[LAST]).interactions(pair, **given)
    closed = cp.LayerPairwiseSAM(model, encoder[LAST]).interactions(pair, baselines)
    credits = ("first_order", "between", "within_query", "within_retrieved", "marginal", "given_other")
    for name in ("empty", "full", "without_query", "without_retrieved", *credits):
        torch.testing.assert_close(getattr(closed, name), getattr(exact, name), rtol=0, atol=1e-9)
    assert closed.completeness_gap.abs().max() < 1e-9


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_maps_of_the_second_order_are_those_of_the_first(case, similarity):
    """A map value is a position's own credit and all of its pairs with the other image."""
    encoder, pair, *_, baselines = case
    model = cp.SimilarityWrapper(encoder, similarity=similarity)
    maps, deltas = cp.LayerSAM(model, encoder[LAST]).attribute(pair, baselines, return_convergence_delta=True)
    found = cp.LayerPairwiseSAM(model, encoder[LAST]).interactions(pair, baselines)
    for own, expected in zip((found.query_map, found.retrieved_map), maps, strict=True):
        torch.testing.assert_close(own, expected.flatten(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(-torch.stack(found.map_gaps, 1), deltas, rtol=0, atol=1e-12, equal_nan=True)
    own_and_pairs = found.first_order + torch.cat([found.between.sum(2), found.between.sum(1)], 1)
    torch.testing.assert_close(found.given_other, own_and_pairs, rtol=0, atol=1e-12)


def test_cosine_reports_its_inefficiency(case):
    encoder, pair, *_, baselines = case
    model = cp.SimilarityWrapper(encoder)
    pairs, delta = cp.LayerPairwiseSAM(model, encoder[LAST]).attribute(pair, baselines, return_convergence_delta=True)
    _, deltas = cp.LayerSAM(model, encoder[LAST]).attribute(pair, baselines, return_convergence_delta=True)
    if baselines is None:  # a zero embedding has no cosine, so there is nothing to compare with
        assert delta.isnan().all() and deltas.isnan().all()
        return
    interactions = cp.LayerPairwiseSAM(model, encoder[LAST]).interactions(pair, baselines)
    credit = interactions.first_order.sum(1) + pairs.sum((1, 2, 3, 4))
    torch.testing.assert_close(delta, credit - (model(*pair) - model(*baselines)), rtol=0, atol=1e-9)
    assert delta.abs().min() > 1e-3  # the norms do change
    query, retrieved = cp.LayerSAM(model, encoder[LAST]).attribute(pair, baselines)
    brought = torch.stack([model(*pair) - model(baselines[0], pair[1]), model(*pair) - model(pair[0], baselines[1])], 1)
    torch.testing.assert_close(deltas, torch.stack([query.sum((1, 2, 3)), retrieved.sum((1, 2, 3))], 1) - brought, rtol=0, atol=1e-9)


def test_a_linear_head_after_pooling_is_folded_in():
    """VEDML: the head is applied to every position, without its bias."""
    body, head = tiny_encoder(), nn.Linear(6, 5).double()
    encoder = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    model, pair = cp.SimilarityWrapper(encoder, similarity="dot"), images(2)
    _, retrieved = cp.LayerSAM(model, body).attribute(pair)
    y = body(pair[1])
    located = torch.einsum("bchw,dc->bdhw", y, head.weight) / y[0, 0].numel()
    torch.testing.assert_close(retrieved[:, 0], torch.einsum("bd,bdhw->bhw", encoder(pair[0]), located), rtol=0, atol=1e-9)


def test_backgrounds_have_the_effect_of_their_mean():
    encoder, pair = tiny_encoder(), images(1)
    members = images(3, seed=7)
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    method = cp.LayerPairwiseSAM(model, encoder[LAST])
    found = method.attribute(pair, tuple(cp.Backgrounds(batch) for batch in members))
    each = [method.attribute(pair, (q[None], r[None])) for q in members[0] for r in members[1]]
    torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", [cp.LayerSAM, cp.LayerPairwiseSAM])
def test_models_without_a_closed_form_are_refused(method):
    encoder = tiny_encoder()
    with pytest.raises(ValueError, match="Expected only pooling and linear layers after the layer"):
        method(cp.SimilarityWrapper(encoder), encoder[2]).attribute(images(1))
    for forward in (cp.SimilarityWrapper(encoder, similarity="euclidean"), lambda q, r: (encoder(q) * encoder(r)).sum((1, 2, 3))):
        with pytest.raises(ValueError, match="closed form"):
            method(forward, encoder[LAST]).attribute(images(1))


def test_empty_value_of_backgrounds_is_the_mean_similarity():
    """With the cosine it is not the similarity of the mean."""
    encoder, pair, members = tiny_encoder(), images(1), images(3, seed=7)
    model, backgrounds = cp.SimilarityWrapper(encoder), tuple(cp.Backgrounds(batch) for batch in members)
    empty = cp.LayerPairwiseSAM(model, encoder[LAST]).interactions(pair, backgrounds).empty
    each = [model(q[None], r[None]) for q in members[0] for r in members[1]]
    torch.testing.assert_close(empty, torch.stack(each).mean(0), rtol=0, atol=1e-12)
    (_, retrieved), delta = cp.LayerSAM(model, encoder[LAST]).attribute(pair, backgrounds, return_convergence_delta=True)
    without = torch.stack([model(pair[0], r[None]) for r in members[1]]).mean(0)
    torch.testing.assert_close(delta[:, 1], retrieved.sum((1, 2, 3)) - (model(*pair) - without), rtol=0, atol=1e-12)


class ReluLinear(nn.Linear):
    """A subclass that is not affine."""

    def forward(self, x):
        return super().forward(x).relu()


def with_hook(module):
    module.register_forward_hook(lambda m, i, o: o.relu())
    return module


def with_forward(module):
    module.forward = lambda x, former=module.forward: former(x).relu()
    return module


@pytest.mark.parametrize(
    "last",
    [ReluLinear(6, 9), with_hook(nn.Linear(6, 9)), with_forward(nn.Linear(6, 9))],
    ids=["subclass", "hook", "replaced forward"],
)
def test_modules_that_only_look_affine_are_not_folded(last):
    body = tiny_encoder()
    encoder = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last.double())
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    found = cp.LayerExactShapleyTaylor(model, body).interactions(images(1))
    torch.testing.assert_close(found.full, model(*images(1)), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="Expected only pooling and linear layers"):
        cp.LayerPairwiseSAM(model, body).attribute(images(1))


def test_the_delta_of_cosine_is_the_mean_over_the_backgrounds():
    encoder, pair, members = tiny_encoder(), images(1), images(3, seed=9)
    model, backgrounds = cp.SimilarityWrapper(encoder), tuple(map(cp.Backgrounds, members))
    maps, delta = cp.LayerSAM(model, encoder[LAST]).attribute(pair, backgrounds, return_convergence_delta=True)
    without = [model(members[0], pair[1].expand_as(members[1])).mean(), model(pair[0].expand_as(members[0]), members[1]).mean()]
    for k in range(2):
        expected = maps[k].sum() - (model(*pair)[0] - without[k])
        torch.testing.assert_close(delta[0, k], expected.detach(), rtol=0, atol=1e-12)
