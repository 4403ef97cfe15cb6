"""Projection without the matrix equals projection through it."""

import pytest
import torch
import torch.nn.functional as F
from conftest import images, opaque, random_tensor, seeded, smooth_game, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.attr.gradient import make_path
from captum_pairwise.estimators.paths.continuous_index import WEIGHTS, gauss_index
from captum_pairwise.estimators.paths.integrated import integrate_hessians
from captum_pairwise.estimators.paths.projected import project_weights, swap_images
from captum_pairwise.results.interactions import DIRECTIONS

MASKS = (cp.grid(12, 12, 2, 2), cp.grid(12, 12, 2, 3))


@pytest.mark.parametrize("weight", ["hessian", "taylor"])
@pytest.mark.parametrize("kind", ["towers", "opaque", "no forward mode"])
def test_both_directions_equal_products_with_the_matrix(weight, kind):
    towers, index = smooth_game(5, 4, 0), gauss_index(WEIGHTS[weight], 6)
    between = integrate_hessians(towers, index, make_path("gausslegendre", 1)).between
    game = {"towers": towers, "opaque": opaque(towers), "no forward mode": backward_only(towers)}[kind]
    there, back = random_tensor(5), random_tensor(4, seed=1)
    torch.testing.assert_close(project_weights(game, there, index), there @ between[0], rtol=0, atol=1e-13)
    torch.testing.assert_close(project_weights(swap_images(game), back, index), between[0] @ back, rtol=0, atol=1e-13)


class _Identity(torch.autograd.Function):
    """The identity, without a derivative in forward mode, but with a second one in reverse mode."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope


def backward_only(game):
    return type(game)(5, 4, lambda z: _Identity.apply(game.embed_query(z)), lambda z: _Identity.apply(game.embed_retrieved(z)))


@pytest.mark.parametrize("direction", ["query->retrieved", "retrieved->query"])
@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_mask_over_a_layer_equals_its_matrix_product(index, direction, model):
    layer, pair = model.query_encoder[index], images(2)
    mask = torch.rand(2, 24, 24, generator=seeded(3), dtype=torch.float64)
    matrix = cp.LayerIntegratedHessians(model, layer, weight="taylor").interactions(pair, n_steps=6)
    found, side = cp.project_attention(model, layer, pair, mask, direction=direction), matrix.retrieved_players.shape
    assert found.shape == (2, *side)
    torch.testing.assert_close(found.flatten(1), matrix.project(mask, direction), rtol=0, atol=1e-12)


def test_parts_of_images_and_every_pixel(model):
    pair, weights = images(2), random_tensor(2, 4)
    matrix = cp.IntegratedHessians(model).interactions(pair, n_steps=5, feature_mask=MASKS)
    found = cp.project_attention(model, None, pair, weights, n_steps=5, weight="hessian", feature_mask=MASKS)
    torch.testing.assert_close(found, matrix.project(weights), rtol=0, atol=1e-12)
    # pixels, summed over the parts: a mask that is the same all over a part is a weight for the part
    of_pixels = cp.project_attention(model, None, pair, weights[:, MASKS[0][0, 0]], n_steps=5, weight="hessian")
    assert of_pixels.shape == (2, 12, 12)
    sums = torch.zeros(2, 6).double().index_add_(1, MASKS[1].flatten(), of_pixels.flatten(1))
    torch.testing.assert_close(sums, found, rtol=0, atol=1e-12)


def test_several_layers_are_the_sum_of_their_normalised_maps(model):
    layers, pair, mask = [model.query_encoder[4], None, model.query_encoder[2]], images(2), torch.ones(2, 12, 12)
    found, expected = cp.project_attention_through(model, layers, pair, mask), torch.zeros(2, 12, 12).double()
    for layer in layers:
        one = cp.project_attention(model, layer, pair, mask)
        drawn = F.interpolate(one[:, None], (12, 12), mode="bilinear")[:, 0]
        expected += drawn / drawn.abs().flatten(1).max(1).values[:, None, None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("direction", ["query->retrieved", "retrieved->query"])
def test_the_sum_of_several_layers_has_the_size_of_the_other_image(direction, model):
    pair = images(1)[0], F.interpolate(images(1)[1], (16, 14), mode="bilinear")
    mask = torch.rand(1, 8, 8, generator=seeded(3), dtype=torch.float64)
    found = cp.project_attention_through(model, [model.query_encoder[4], None], pair, mask, direction=direction)
    assert found.shape[1:] == pair[direction == "query->retrieved"].shape[2:]


def test_players_that_differ_between_the_pairs_of_a_batch(model):
    ids = cp.grid(12, 12, 2, 2).repeat(2, 1, 1, 1)
    ids[1][ids[1] == 2] = -1
    weights = random_tensor(2, 4)
    found = cp.project_attention(model, None, images(2), weights, feature_mask=(ids, MASKS[1]))
    matrix = cp.IntegratedHessians(model, weight="taylor").interactions(images(2), n_steps=6, feature_mask=(ids, MASKS[1]))
    torch.testing.assert_close(found, matrix.project(weights), rtol=0, atol=1e-12)


def test_other_inputs_than_images_and_a_plain_callable():
    towers = [torch.nn.Sequential(torch.nn.Linear(size, 4), torch.nn.Tanh()).double() for size in (3, 5)]
    wrapper, pair, weights = cp.SimilarityWrapper(*towers), (random_tensor(2, 3), random_tensor(2, 5, seed=1)), random_tensor(2, 3, seed=2)
    found = cp.project_attention(wrapper, None, pair, weights)
    assert found.shape == (2, 5)
    torch.testing.assert_close(cp.project_attention(lambda q, r: wrapper(q, r), None, pair, weights), found, rtol=0, atol=1e-12)


def test_no_attention_projects_to_zero(model):
    assert (cp.project_attention_through(model, [model.query_encoder[4]], images(1), torch.zeros(1, 12, 12)) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"direction": "sideways"}, "Expected direction to be one of"),
        ({"weight": "flat"}, "Expected weight to be one of"),
        ({"n_steps": 0}, "Expected n_steps"),
        ({"attention": torch.ones(1, 7)}, r"a weight for each part \(1, 9\), got \(1, 7\)"),
        ({"attention": torch.ones(2, 12, 12)}, r"an attention \[1, H, W\], or a weight for each part \(1, 9\), got \(2, 12, 12\)"),
        ({"attention": torch.ones(1, 1, 12, 12)}, r"Expected attention to be a mask \[B, H, W\].*got .* of shape \(1, 1, 12, 12\)"),
        ({"feature_mask": MASKS}, "Expected feature_mask without a layer"),
        ({"layer": None, "layer_mask": MASKS}, "Expected feature_mask without a layer"),
        ({"layer": None, "layer_baselines": (0, 0)}, "Expected feature_mask without a layer"),
        ({"attention": torch.full((1, 9), torch.nan)}, "NaN"),
    ],
)
def test_bad_arguments_are_refused(model, arguments, message):
    given = {"attention": torch.ones(1, 9), "layer": model.query_encoder[4]} | arguments
    with pytest.raises(ValueError, match=message):
        cp.project_attention(model, inputs=images(1), **given)


@pytest.mark.parametrize(
    ("layers", "more", "message"), [([], {}, "Expected a list of layers"), ([None], {"layer_masks": []}, "an entry for each of 1 layers")]
)
def test_bad_lists_of_layers_are_refused(model, layers, more, message):
    with pytest.raises(ValueError, match=message):
        cp.project_attention_through(model, layers, images(1), torch.ones(1, 12, 12), **more)


def test_an_image_without_a_mask_has_pixels_as_parts(model):
    found = cp.project_attention(model, None, images(1), torch.ones(1, 4), feature_mask=(MASKS[0], None))
    assert found.shape == (1, 12, 12)
    back = cp.project_attention(model, None, images(1), torch.ones(1, 12, 12), feature_mask=(MASKS[0], None), direction="retrieved->query")
    assert back.shape == (1, 4)


def test_the_caller_may_be_in_inference_mode(model):
    expected = cp.project_attention(model, model.query_encoder[2], images(1), torch.ones(1, 12, 12))
    assert not expected.requires_grad
    with torch.inference_mode():
        found = cp.project_attention(model, model.query_encoder[2], images(1), torch.ones(1, 12, 12))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_a_tiny_encoder_at_float32_is_near_float64(model):
    expected = cp.project_attention(model, None, images(1), torch.ones(1, 12, 12))
    low = cp.SimilarityWrapper(tiny_encoder().float())
    found = cp.project_attention(low, None, tuple(one.float() for one in images(1)), torch.ones(1, 12, 12))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("index", [None, 2], ids=["pixels", "a layer"])
def test_internal_batch_size_bounds_the_rows_of_a_pass(index):
    encoder, rows = tiny_encoder(), []
    encoder[4].register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    model, mask = cp.SimilarityWrapper(encoder), torch.rand(1, 12, 12, generator=seeded(3), dtype=torch.float64)
    for size, is_bounded in ((None, False), (3, True)):
        rows.clear()
        cp.project_attention(model, None if index is None else encoder[index], images(1), mask, n_steps=9, internal_batch_size=size)
        assert (max(rows) <= 3) is is_bounded


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("zeros", [(0, 0), (0, None), (None, 0)])
def test_a_baseline_without_direction_is_refused_as_by_integrated_hessians(zeros, direction):
    """The slopes of a cosine grow without limit towards an embedding of zero, and the quadrature would miss them."""
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Softplus(), nn.Conv2d(4, 5, 3, bias=False)).double()
    attention = images(2)[0][:, 0]
    for similarity in ("cosine", "dot"):
        model = cp.SimilarityWrapper(encoder, similarity=similarity)
        calls = (
            lambda model=model: cp.project_attention(model, encoder[2], images(2), attention, layer_baselines=zeros, direction=direction),
            lambda model=model: cp.LayerIntegratedHessians(model, encoder[2]).attribute(images(2), layer_baselines=zeros),
        )
        for call in calls:
            if similarity == "cosine":
                with pytest.raises(ValueError, match="Expected nonzero embeddings for the cosine"):
                    call()
            else:
                assert call().isfinite().all()


def test_a_baseline_without_direction_is_refused_in_the_images_and_without_forward_mode():
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, embeddings):
            return embeddings * 2

        @staticmethod
        def backward(ctx, slopes):
            return slopes * 2

    class Doubled(nn.Module):
        def forward(self, maps):
            return Reverse.apply(maps)

    encoder = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()).double()
    for network in (encoder, nn.Sequential(encoder, Doubled())):
        with pytest.raises(ValueError, match="Expected nonzero embeddings for the cosine"):
            cp.project_attention(cp.SimilarityWrapper(network), None, images(2), images(2)[0][:, 0], (0, None), direction=DIRECTIONS[1])
