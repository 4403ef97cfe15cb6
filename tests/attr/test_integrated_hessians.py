"""Integrated Hessians of images and layers: against the literal formula on masked images, Captum, SAM and the discrete index."""

import captum.attr as ca
import pytest
import torch
from conftest import images, random_tensor, seeded, tiny_encoder
from formulas import gauss_legendre
from torch import nn

import captum_pairwise as cp
from captum_pairwise.attr.gradient import make_path
from captum_pairwise.estimators.paths.continuous_index import WEIGHTS, gauss_index, random_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_hessians
from captum_pairwise.games.build import build_input_pairs
from captum_pairwise.games.context import ForwardContext
from captum_pairwise.results.index import NAMES, Index, parse_index
from captum_pairwise.results.interactions import stack_interactions

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))


def smooth_encoder(seed=0):
    """The tiny encoder with a smooth function in place of ReLU."""
    return nn.Sequential(*(nn.Softplus(beta=3) if isinstance(part, nn.ReLU) else part for part in tiny_encoder(seed)))


def blend_parts(image, baseline, mask, presence):
    """An image whose parts are as present as `presence` says, `[n]`."""
    z = presence[mask]
    return z * image + (1 - z) * baseline


def literal(model, pair, n_nodes):
    """`∫ -t ln t ∂²_ij + ∂²_ji dt` between the images by autograd through both faded images; `t = s²` makes the logarithm harmless."""
    baselines, sizes = tuple(map(cp.blur_baseline, pair)), (4, 6)
    total = torch.zeros(10, 10, dtype=torch.float64)
    for s, weight in gauss_legendre(n_nodes):
        t = s * s

        def value(z):
            query, retrieved = (blend_parts(*one) for one in zip(pair, baselines, MASKS, z.split(sizes), strict=True))
            return model(query, retrieved)[0]

        hessian = torch.autograd.functional.hessian(value, torch.full((10,), t, dtype=torch.float64))
        total += weight * 2 * s * -t * torch.tensor(t).log() * hessian
    return 2 * total[:4, 4:]


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "two encoders", "callable head", "plain callable"])
def test_parts_of_images_get_the_integral(kind):
    encoder, pair = smooth_encoder(), tuple(one[:1] for one in images(1))
    wrapper = cp.SimilarityWrapper(encoder)
    forward = {
        "two encoders": cp.SimilarityWrapper(encoder, smooth_encoder(1)),
        "callable head": cp.SimilarityWrapper(encoder, similarity=lambda u, w: (u - w).square().sum(1).neg().exp()),
        "plain callable": lambda query, retrieved: wrapper(query, retrieved),
    }.get(kind) or cp.SimilarityWrapper(encoder, similarity=kind)
    found = cp.IntegratedHessians(forward).attribute(pair, n_steps=24, feature_mask=MASKS)
    expected = literal(forward, pair, n_nodes=40)
    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("weight", ["hessian", "taylor"])
@pytest.mark.parametrize("within", [False, True])
def test_marginals_equal_captums_integrated_gradients(weight, within):
    model, pair = cp.SimilarityWrapper(smooth_encoder()), images(2)
    found = cp.IntegratedHessians(model, weight=weight, within=within).interactions(pair, n_steps=24, feature_mask=MASKS)
    of_pixels = ca.IntegratedGradients(model).attribute(pair, baselines=tuple(map(cp.blur_baseline, pair)))
    for one, mask, marginal in zip(of_pixels, MASKS, (found.query_marginal, found.retrieved_marginal), strict=True):
        sums = torch.zeros_like(marginal).index_add_(1, mask.flatten(), one.sum(1).flatten(1))
        torch.testing.assert_close(marginal, sums, rtol=0, atol=1e-6)
    assert found.completeness_gap.abs().max() < 1e-5


def test_pooling_and_dot_product_give_sam_and_half_of_it():
    encoder, pair = tiny_encoder(), images(2)
    model, baselines = cp.SimilarityWrapper(encoder, similarity="dot"), tuple(map(cp.blur_baseline, images(2)))
    sam = cp.LayerPairwiseSAM(model, encoder[4]).attribute(pair, baselines=baselines)
    for weight, factor in (("taylor", 1), ("hessian", 0.5)):
        found = cp.LayerIntegratedHessians(model, encoder[4], weight=weight).attribute(pair, n_steps=2)
        torch.testing.assert_close(found, factor * sam, rtol=0, atol=1e-12)


def test_the_taylor_weight_is_near_the_discrete_index_under_cosine(model):
    method, exact = (
        cp.LayerIntegratedHessians(model, model.query_encoder[4], weight="taylor"),
        cp.LayerExactShapleyTaylor(model, model.query_encoder[4]),
    )
    found, expected = (one.flatten() for one in (method.attribute(images(1)), exact.attribute(images(1), n_samples=2**9)))
    assert (found - expected).norm() < 0.1 * expected.norm()


def test_relu_networks_are_incomplete_only_within_images():
    """Pairs between the images need no second derivative; pairs within miss the kinks, and the gap reports this."""
    model, pair = cp.SimilarityWrapper(tiny_encoder(), similarity="dot"), images(1)
    between, whole = (
        cp.IntegratedHessians(model, within=within).interactions(pair, n_steps=50, feature_mask=MASKS) for within in (False, True)
    )
    torch.testing.assert_close(between.between, whole.between, rtol=0, atol=1e-12)
    assert (whole.within_query == 0).all() and (whole.within_retrieved == 0).all()
    assert between.completeness_gap.abs() < 0.01 * (whole.full - whole.empty).abs() < whole.completeness_gap.abs()


def test_softplus_makes_the_index_complete():
    relu, pair = tiny_encoder(), images(1)
    softplus = nn.Sequential(*(nn.Softplus(beta=5) if isinstance(part, nn.ReLU) else part for part in relu))
    found, expected = (
        cp.IntegratedHessians(cp.SimilarityWrapper(encoder), within=True, softplus_beta=beta).interactions(
            pair, n_steps=24, feature_mask=MASKS
        )
        for encoder, beta in ((relu, 5.0), (softplus, None))
    )
    for name in ("full", "empty", "first_order", "between", "within_query", "within_retrieved"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-9)
    assert found.completeness_gap.abs() < 1e-5 and (found.within_query != 0).any()


def test_expected_hessians_have_standard_errors(model):
    method = cp.LayerIntegratedHessians(model, model.query_encoder[4])
    gauss, drawn = method.interactions(images(1)), method.interactions(images(1), method="expected", n_samples=500, generator=seeded(0))
    assert gauss.standard_error is None and drawn.standard_error is not None
    off = (drawn.between - gauss.between).abs()
    assert (off < 4 * drawn.standard_error.between + 1e-9).all() and (off > 0).any()
    torch.testing.assert_close(drawn.marginal, gauss.marginal)


@pytest.mark.parametrize(
    ("made", "given", "message"),
    [
        ({"weight": "jacobian"}, {}, "Expected weight to be one of"),
        ({"index": "owen"}, {}, "Expected index to be one of"),
        ({"index": "banzhaf", "p": 1.5}, {}, "Expected p to be a probability"),
        ({"index": "shapley", "weight": "taylor"}, {}, "Expected a weight or an index, got weight='taylor' and index='shapley'"),
        ({"weight": "independent", "within": True}, {}, "Expected no `within` with weight='independent'"),
        ({"weight": "independent"}, {"method": "expected"}, "Expected method='gauss' for 'independent'"),
        ({"index": "banzhaf"}, {"method": "expected"}, "Expected method='gauss' for 'banzhaf'"),
        ({"softplus_beta": 0.0}, {}, "Expected beta to be a positive number"),
        ({}, {"method": "gausslegendre"}, "Expected method to be one of"),
        ({}, {"n_samples": 20}, "method='expected', got 20"),
        ({}, {"method": "expected", "n_samples": 1}, "n_samples of at least 2"),
        ({}, {"n_steps": 0}, "n_steps"),
        ({}, {"internal_batch_size": 0}, r"\(internal_batch_size\) .* of at least 1"),
    ],
)
def test_bad_arguments_are_refused(model, made, given, message):
    with pytest.raises(ValueError, match=message):
        cp.LayerIntegratedHessians(model, model.query_encoder[4], **made).attribute(images(1), **given)


class CutOff(nn.Module):
    """An encoder without a gradient, like many embedding services."""

    def __init__(self):
        super().__init__()
        self.body = smooth_encoder()

    def forward(self, x):
        return self.body(x).detach()


@pytest.mark.parametrize(
    "explain",
    [
        lambda model: cp.IntegratedHessians(model).attribute(images(1), feature_mask=MASKS),
        lambda model: cp.IntegratedHessians(model, within=True).attribute(images(1), feature_mask=MASKS),
        lambda model: cp.LayerIGSAM(model, model.query_encoder.body[2]).attribute(images(1)),
        lambda model: cp.project_attention(model, None, images(1), torch.ones(1, 12, 12)),
        lambda model: cp.LayerIGCAM(model.query_encoder, model.query_encoder.body[2]).attribute(images(1)[0], target=(0, 1, 1)),
    ],
)
def test_a_network_without_derivatives_is_refused(explain):
    with pytest.raises(ValueError, match="no gradient arrives"):
        explain(cp.SimilarityWrapper(CutOff()))


def test_one_image_without_influence_is_no_error():
    towers = [smooth_encoder(), nn.Sequential(smooth_encoder(1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 6).double())]
    with torch.no_grad():
        towers[1][3].weight.zero_()  # every retrieved image is the same
    found = cp.IntegratedHessians(cp.SimilarityWrapper(*towers)).interactions(images(1), feature_mask=MASKS)
    assert (found.retrieved_marginal == 0).all() and found.query_marginal.any()


@pytest.mark.parametrize("weight", ["hessian", "taylor"])
def test_random_points_have_the_density_of_the_weight(weight):
    """The index is that of `random_index` for this weight and these draws."""
    model, pair = cp.SimilarityWrapper(smooth_encoder()), images(1)
    method, arguments = cp.IntegratedHessians(model, weight=weight), {"n_samples": 5, "feature_mask": MASKS}
    found = method.interactions(pair, method="expected", generator=seeded(3), **arguments)
    (game,) = build_input_pairs(model, pair, ForwardContext(), feature_mask=MASKS).games()
    with differentiable():
        expected = integrate_hessians(game, random_index(WEIGHTS[weight], 5, seeded(3)), make_path("gausslegendre", 2), is_random=True)
    torch.testing.assert_close(found.between, expected.between, rtol=0, atol=1e-12)


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("index", [parse_index(name, (0.3, 0.6)) for name in NAMES], ids=str)
def test_the_class_has_every_index(index, within):
    """The result names the index, and each pair of a batch has its numbers, the constant too."""
    model, pair = cp.SimilarityWrapper(smooth_encoder()), images(2)
    method = cp.IntegratedHessians(model, index=index.name, p=(0.3, 0.6), within=within)
    found = method.interactions(pair, n_steps=3, feature_mask=MASKS)
    assert found.index == index
    games = build_input_pairs(model, pair, ForwardContext(), feature_mask=MASKS).games()
    with differentiable():
        path = None if within else make_path("gausslegendre", 3)
        expected = stack_interactions([integrate_hessians(game, gauss_index(index, 3), path) for game in games])
    for name in ("between", "marginal", "first_order", "within_query", "constant"):
        block = getattr(expected, name)
        assert (getattr(found, name) is None) == (block is None)
        if block is not None:
            torch.testing.assert_close(getattr(found, name), block, rtol=0, atol=1e-12)


def test_taylor_is_a_name_of_the_shapley_taylor_index(model):
    layer = model.query_encoder[4]
    taylor, named, hessian = (
        cp.LayerIntegratedHessians(model, layer, **options).interactions(images(1), n_steps=2)
        for options in ({"weight": "taylor"}, {"index": "shapley-taylor"}, {})
    )
    assert torch.equal(taylor.between, named.between)
    assert taylor.index == named.index == Index("shapley-taylor") and hessian.index is None


def test_independent_paths_of_images_are_products_of_their_jacobians():
    """With norms frozen at the whole images, as exCLIP and xsbert have it: the dot product, divided by both norms."""
    encoder, pair, baselines = smooth_encoder(), images(1), tuple(map(cp.blur_baseline, images(1)))
    model = cp.SimilarityWrapper(encoder, similarity="dot")
    found = cp.IntegratedHessians(model, weight="independent").interactions(pair, n_steps=4, feature_mask=MASKS)
    integrals, norms = [], []
    for image, baseline, mask in zip(pair, baselines, MASKS, strict=True):
        n_players, total = int(mask.max()) + 1, 0

        def embed(z, of=(image, baseline, mask)):
            return encoder(blend_parts(*of, z)).mean((2, 3))[0]

        for t, weight in gauss_legendre(4):
            total = total + weight * torch.autograd.functional.jacobian(embed, torch.full((n_players,), t, dtype=torch.float64))
        integrals.append(total)
        norms.append(embed(torch.ones(n_players, dtype=torch.float64)).norm())
    frozen = (integrals[0].T / norms[0]) @ (integrals[1] / norms[1])
    torch.testing.assert_close(found.between[0] / (norms[0] * norms[1]), frozen, rtol=0, atol=1e-12)
    assert found.index is None


def test_independent_paths_take_two_towers():
    with pytest.raises(ValueError, match="Expected two towers whose similarity is an inner product"):
        cp.IntegratedHessians(lambda q, r: (q * r).sum((1, 2, 3)), weight="independent").attribute(images(1), feature_mask=MASKS)


def test_many_cells_take_few_directions_and_say_their_error():
    """81 + 81 cells before a smooth tail, with at most a twentieth of the pairs' size as error."""
    torch.manual_seed(0)
    features, tail = nn.Conv2d(3, 6, 3, stride=2), nn.Sequential(nn.Conv2d(6, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(392, 80))
    encoder = cp.SplitEncoder(features, tail).double()
    pair = random_tensor(1, 3, 19, 19), random_tensor(1, 3, 19, 19, seed=1)
    forward = cp.SimilarityWrapper(encoder)
    exact, near = (
        cp.LayerIntegratedHessians(forward, features, weight="taylor", tolerance=tolerance).interactions(pair, n_steps=3)
        for tolerance in (None, 0.05)
    )
    assert exact.standard_error is None and near.errors["between"].max() > 0
    error = (near.between - exact.between).norm() / exact.between.norm()
    assert 0 < error < 0.1
    torch.testing.assert_close(near.given_other, exact.given_other)


def test_a_tolerance_is_above_0(model):
    with pytest.raises(ValueError, match=r"Expected a tolerance above 0.*got 0\.0\. Raise it"):
        cp.IntegratedHessians(model, tolerance=0.0)
