"""Counterfactual maps: differences of similarities for inputs, layers, and a gallery."""

import captum.attr as ca
import pytest
import torch
from conftest import images, random_tensor, seeded, tiny_encoder
from formulas import shapley_value
from torch import nn

import captum_pairwise as cp

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))
KERNEL = (cp.KernelShapley, {"feature_mask": MASKS})
LAYER = [(cp.LayerKernelSAM, {}), (cp.LayerIGSAM, {"n_steps": 60})]


def three_images():
    return (*images(2), images(2, seed=5)[1])


def make(cls, model):
    return cls(model, model.query_encoder[4]) if issubclass(cls, ca.LayerAttribution) else cls(model)


@pytest.mark.parametrize(("cls", "arguments"), [KERNEL, *LAYER])
def test_credits_sum_to_the_difference_of_the_similarities(cls, arguments, model):
    query, better, worse = three_images()
    found = cp.counterfactual(make(cls, model), query, better, worse, **arguments)
    margin, blurred = model(query, better) - model(query, worse), cp.blur_baseline(query)
    per_player = [of_image.mean(1) if cls is cp.KernelShapley else of_image[:, 0] for of_image in found]
    if cls is cp.KernelShapley:  # every pixel carries its part's whole credit
        masks = (MASKS[0], MASKS[1], MASKS[1])
        per_player = [one / torch.bincount(ids.flatten())[ids[0, 0]] for one, ids in zip(per_player, masks, strict=True)]
    query_value, better_value, of_worse = (one.sum((1, 2)) for one in per_player)
    atol = 1e-6 if cls is cp.LayerIGSAM else 1e-12  # its quadrature
    torch.testing.assert_close(better_value, margin, rtol=0, atol=atol)
    torch.testing.assert_close(of_worse, -margin, rtol=0, atol=atol)
    torch.testing.assert_close(query_value, margin - (model(blurred, better) - model(blurred, worse)), rtol=0, atol=atol)


def test_each_part_gets_its_shapley_value_in_the_difference(model):
    """The query's parts with both results whole, and the better result's parts over the worse result."""
    query, better, worse = (batch[:1] for batch in three_images())
    found = cp.counterfactual(cp.KernelShapley(model), query, better, worse, feature_mask=MASKS)
    blurred = cp.blur_baseline(query)

    def shown(image, behind, ids, players):
        return torch.where(torch.isin(ids, torch.tensor(sorted(players), dtype=torch.long)), image, behind)

    def query_value(players):
        mixed = shown(query, blurred, MASKS[0], players)
        return (model(mixed, better) - model(mixed, worse)).item()

    def better_value(players):
        return model(query, shown(better, worse, MASKS[1], players)).item()

    for credit, value, ids in ((found.of_query, query_value, MASKS[0]), (found.of_better, better_value, MASKS[1])):
        n_players = int(ids.max()) + 1
        exact = torch.tensor([shapley_value(value, player, n_players) for player in range(n_players)], dtype=torch.float64)
        torch.testing.assert_close(credit[0, 0], exact[ids[0, 0]], rtol=0, atol=1e-12)


def test_sam_uses_the_features_of_the_other_result_as_background():
    """Eq. 3 with b the features of the worse result; the query keeps SAM's own background, 0."""
    encoder, (query, better, worse) = tiny_encoder(), three_images()
    x, y, b = (encoder(batch) for batch in (query, better, worse))
    found = cp.counterfactual(cp.LayerSAM(cp.SimilarityWrapper(encoder, similarity="dot"), encoder[4]), query, better, worse)
    cells = x[0, 0].numel()
    better_value = torch.einsum("bc,bchw->bhw", x.mean((2, 3)), y - b) / cells
    query_value = torch.einsum("bc,bchw->bhw", (y - b).mean((2, 3)), x) / cells
    for credit, expected in zip(found, (query_value, better_value, -better_value), strict=True):
        torch.testing.assert_close(credit[:, 0], expected, rtol=0, atol=1e-12)


def test_equal_places_of_both_results_get_no_credit(model):
    query, better, worse = three_images()
    left = torch.arange(12) < 6
    masks = {"feature_mask": (MASKS[0], cp.grid(12, 12, 1, 2))}
    found = cp.counterfactual(cp.KernelShapley(model), query, better, torch.where(left, better, worse), **masks)
    for credit in (found.of_better, found.of_worse):
        assert credit[..., left].abs().max() < 1e-12 and credit[..., ~left].abs().min() > 1e-6


def test_the_query_s_map_is_a_difference_over_the_same_coalitions(model):
    query, better, worse = three_images()
    method, arguments = cp.KernelShapley(model), {"feature_mask": (cp.grid(12, 12, 4, 4), MASKS[1]), "n_samples": 60}
    found = cp.counterfactual(method, query, better, worse, generator=seeded(3), **arguments)
    apart = [method.attribute((query, result), generator=seeded(3), **arguments)[0] for result in (better, worse)]
    torch.testing.assert_close(found.of_query, apart[0] - apart[1], rtol=0, atol=0)
    nobody = cp.counterfactual(method, query, better, better, generator=seeded(3), **arguments)
    assert (nobody.of_query == 0).all()


def test_a_baseline_of_the_query_and_one_worse_result_for_all(model):
    query, better, worse = three_images()
    method, arguments = cp.LayerKernelSAM(model, model.query_encoder[4]), {"layer_mask": (cp.grid(3, 3, 2, 2), cp.grid(3, 3, 2, 2))}
    found = cp.counterfactual(method, query, better, worse[:1], baseline=0.5, **arguments)
    expected = method.attribute((query, better), (0.5, worse[:1].expand_as(better)), **arguments)
    torch.testing.assert_close(found.of_better, expected[1], rtol=0, atol=0)
    other = method.attribute((query, worse[:1].expand_as(better)), (0.5, None), **arguments)
    torch.testing.assert_close(found.of_query, expected[0] - other[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("cls", [cp.FactorisedShapleyTaylor, cp.LayerFactorisedShapleyTaylor])
def test_pairs_use_the_worse_result_as_background(cls, model):
    """All pairs and parts sum to what both images add over the query's blur and the worse result."""
    query, better, worse = three_images()
    arguments = {"feature_mask": MASKS} if cls is cp.FactorisedShapleyTaylor else {}
    found = make(cls, model).interactions((query, better), (None, worse), n_samples=2**9, **arguments)
    torch.testing.assert_close(found.empty, model(cp.blur_baseline(query), worse), rtol=0, atol=1e-12)
    assert found.completeness_gap.abs().max() < 1e-10


def test_misuse_is_refused(model):
    query, better, worse = three_images()
    with pytest.raises(ValueError, match="Expected a first-order method"):
        cp.counterfactual(cp.FactorisedShapleyTaylor(model), query, better, worse, feature_mask=MASKS)
    for method in (cp.SBSM(model), cp.LayerVESM(model, model.query_encoder[4])):
        with pytest.raises(ValueError, match="Expected a first-order method with a convergence delta"):
            cp.counterfactual(method, query, better, worse)
    for name, value in (("baselines", (None, worse)), ("return_convergence_delta", True)):
        with pytest.raises(ValueError, match=f"Expected arguments without {name}"):
            cp.counterfactual(cp.KernelShapley(model), query, better, worse, **{name: value})
    with pytest.raises(ValueError, match="Expected `worse` to be shaped like `better`"):
        cp.counterfactual(cp.KernelShapley(model), query, better, worse[..., :10], feature_mask=MASKS)


# over a gallery


@pytest.mark.parametrize("target", [(2, 0), [(2, 0), (1, 2)]], ids=["a pair", "a pair for each query"])
def test_a_pair_of_gallery_items_as_target_is_the_difference(target, model):
    query, gallery = images(2)[0], images(3)[1]
    ahead, behind = zip(*(target if isinstance(target, list) else [target] * 2), strict=True)

    def margin(batch):
        rows = [len(batch) // 2 * list(items) for items in (ahead, behind)]  # Captum repeats all examples, and then all again
        return model(batch, gallery[rows[0]]) - model(batch, gallery[rows[1]])

    margins = model.given_gallery(gallery).margins()
    found, delta = ca.IntegratedGradients(margins).attribute(query, target=target, n_steps=5, return_convergence_delta=True)
    expected, expected_delta = ca.IntegratedGradients(margin).attribute(query, n_steps=5, return_convergence_delta=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(delta, expected_delta, rtol=0, atol=1e-12)


def test_a_layer_of_the_user_s_encoder_explains_a_margin():
    """IG-CAM of the margin is the query's IG-SAM map for one item minus its map for the other."""
    encoder, (query, better, worse) = tiny_encoder(), three_images()
    model = cp.SimilarityWrapper(encoder)
    margins = model.given_gallery(torch.cat([better[:1], worse[:1]])).margins()
    found = cp.LayerIGCAM(margins, encoder[4]).attribute(query[:1], target=(0, 1))
    why = cp.counterfactual(cp.LayerIGSAM(model, encoder[4]), query[:1], better[:1], worse[:1])
    torch.testing.assert_close(found, why.of_query, rtol=0, atol=1e-12)


# dissimilarity (paper A.15): credit below 0 stays below 0


def test_parts_that_lower_the_similarity_have_negative_credit():
    """A retrieved image whose left half is the query's, and whose right half is its opposite."""
    weight = random_tensor(6, 3, 1, 1).abs()
    encoder = nn.Conv2d(3, 6, 1, bias=False).double()
    encoder.weight.data = weight
    query = images(1)[0]
    retrieved = torch.where(torch.arange(12) < 6, query, -query)
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    zero, halves = (0.0, 0.0), (cp.grid(12, 12, 1, 2),) * 2
    maps = {
        "SAM": cp.LayerSAM(model, encoder).attribute((query, retrieved), zero)[1],
        "KSAM": cp.LayerKernelSAM(model, encoder).attribute((query, retrieved), zero, n_samples=400)[1],
        "IG-SAM": cp.LayerIGSAM(model, encoder).attribute((query, retrieved), zero, n_steps=3)[1],
        "KSHAP": cp.KernelShapley(model).attribute((query, retrieved), zero, feature_mask=halves)[1],
        "pairs": cp.LayerPairwiseSAM(model, encoder).attribute((query, retrieved), zero).sum((1, 2))[:, None],
        "projection": cp.project_attention(model, encoder, (query, retrieved), torch.ones(1, 12, 12), baselines=zero)[:, None],
    }
    for name, credit in maps.items():
        assert (credit[..., :6] > 0).all() and (credit[..., 6:] < 0).all(), name
