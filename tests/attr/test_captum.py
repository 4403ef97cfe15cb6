"""Captum's own classes give the same on a `SimilarityWrapper` as on plain functions of the two images, or of the two layer outputs."""

from collections.abc import Callable
from functools import partial

import captum.attr as ca
import numpy as np
import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from conftest import images, random_tensor, tiny_encoder
from torch import Tensor, nn

from captum_pairwise import SimilarityWrapper, blur_baseline

close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
LAYERS = pytest.mark.parametrize("layer", [0, 1, 2, 4])
TOWERS = pytest.mark.parametrize("tower", [0, 1], ids=["query", "retrieved"])

ENCODER = tiny_encoder()  # for the plain functions only
HALF = (torch.arange(12) >= 6).long().repeat(1, 3, 12, 1)  # two players an image: left and right
PAIR_MASK = (HALF, HALF + 2)
WINDOW = (3, 6, 6)


def cosine_of_maps(u: Tensor, w: Tensor) -> Tensor:
    u, w = u.mean((2, 3)), w.mean((2, 3))
    return (u * w).sum(1) / (u.norm(dim=1) * w.norm(dim=1))


def cosine(query: Tensor, retrieved: Tensor) -> Tensor:
    """The model as a plain function, which calls one encoder twice."""
    return cosine_of_maps(ENCODER(query), ENCODER(retrieved))


def split(layer: int) -> tuple[nn.Module, Callable]:
    """`features`, the encoder up to a layer, and the plain function `head(features(query), features(retrieved))`."""
    features, tail = ENCODER[: layer + 1], ENCODER[layer + 1 :]
    return features, lambda fq, fr: cosine_of_maps(tail(fq), tail(fr))


def attribute_each(attribute: Callable, n_examples: int = 2) -> Tensor:
    """The attribution of each example alone."""
    return torch.cat([attribute(slice(b, b + 1)) for b in range(n_examples)])


def given(query: Tensor) -> Callable:
    """One query against a batch, as a plain function."""
    return lambda retrieved: cosine(query.expand_as(retrieved), retrieved)


def seeded(function: Callable, *args: object, **kwargs: object) -> object:
    torch.manual_seed(0)
    np.random.seed(0)  # GradientShap's
    return function(*args, **kwargs)


# input-level methods; options are for n images

GRADIENT_METHODS = {
    "IntegratedGradients": (ca.IntegratedGradients, lambda n: {"n_steps": 5}),
    "Saliency": (ca.Saliency, lambda n: {}),
    "NoiseTunnel": (lambda f: ca.NoiseTunnel(ca.Saliency(f)), lambda n: {"nt_samples": 3, "stdevs": 0.0}),
}
PERTURBATION_METHODS = {
    "FeatureAblation": (ca.FeatureAblation, lambda n: {"feature_mask": PAIR_MASK[:n]}),
    "Occlusion": (ca.Occlusion, lambda n: {"sliding_window_shapes": (WINDOW,) * n, "strides": (WINDOW,) * n}),
    "ShapleyValues": (ca.ShapleyValues, lambda n: {"feature_mask": PAIR_MASK[:n]}),
}
SAMPLING_METHODS = {
    "ShapleyValueSampling": (ca.ShapleyValueSampling, lambda n: {"feature_mask": PAIR_MASK[:n], "n_samples": 3}),
    "KernelShap": (ca.KernelShap, lambda n: {"feature_mask": PAIR_MASK[:n], "n_samples": 10}),
    "Lime": (ca.Lime, lambda n: {"feature_mask": PAIR_MASK[:n], "n_samples": 10}),
}
GRADIENT_SHAP = {"GradientShap": (ca.GradientShap, lambda n: {"baselines": images(3, seed=5)[:n], "n_samples": 3, "stdevs": 0.1})}


def parametrize_methods(methods: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("method", "options"), methods.values(), ids=methods)


@parametrize_methods(GRADIENT_METHODS | GRADIENT_SHAP | PERTURBATION_METHODS | SAMPLING_METHODS)
def test_input_method_on_pairs(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    attributions, expected = (seeded(method(f).attribute, images(), **options(2)) for f in (model, cosine))
    close(attributions, expected)


def slow_integrated_gradients(score: Callable, start: tuple[Tensor, ...], end: tuple[Tensor, ...], n_steps: int) -> tuple[Tensor, ...]:
    """`(x - x') Σ_k w_k ∇f(x' + t_k (x - x'))` with Gauss–Legendre nodes, one at a time; Captum's weights are of single precision."""
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    sums = [torch.zeros_like(image) for image in end]
    for t, weight in zip((1 + nodes) / 2, np.float32(weights / 2).tolist(), strict=True):
        points = [(a + t * (b - a)).requires_grad_() for a, b in zip(start, end, strict=True)]
        for total, slope in zip(sums, torch.autograd.grad(score(*points).sum(), points), strict=True):
            total += weight * slope
    return tuple((b - a) * total for a, b, total in zip(start, end, sums, strict=True))


@pytest.mark.parametrize("wiring", ["pairs", "given_query", "given_retrieved"])
def test_integrated_gradients_of_the_pixels_over_their_blur(model: SimilarityWrapper, wiring: str) -> None:
    """The paper's §6: both images together, or the images of one side, each against its own other image."""
    (q, r), (start_q, start_r) = images(3), map(blur_baseline, images(3))
    forward, score, start, end = {
        "pairs": (model, cosine, (start_q, start_r), (q, r)),
        "given_query": (model.given_query(q), lambda x: cosine(q, x), (start_r,), (r,)),
        "given_retrieved": (model.given_retrieved(r), lambda x: cosine(x, r), (start_q,), (q,)),
    }[wiring]
    found, delta = ca.IntegratedGradients(forward).attribute(end, start, n_steps=64, return_convergence_delta=True)
    close(found, slow_integrated_gradients(score, start, end, 64))
    close(delta, sum(one.sum((1, 2, 3)) for one in found) - (score(*end) - score(*start)).detach())


def test_noise_tunnel_without_noise_is_the_method(model: SimilarityWrapper) -> None:
    method = ca.IntegratedGradients(model)
    close(ca.NoiseTunnel(method).attribute(images(), nt_samples=3, stdevs=0.0, n_steps=5), method.attribute(images(), n_steps=5))


def three_per_eval_is_one_per_eval(method: Callable, forward: nn.Module, inputs: tuple[Tensor, ...], options: Callable) -> None:
    one, three = (seeded(method(forward).attribute, inputs, perturbations_per_eval=n, **options(len(inputs))) for n in (1, 3))
    close(three, one)


@parametrize_methods(PERTURBATION_METHODS | SAMPLING_METHODS)
def test_perturbations_per_eval_on_pairs(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    three_per_eval_is_one_per_eval(method, model, images(), options)


@parametrize_methods(PERTURBATION_METHODS | SAMPLING_METHODS)
def test_perturbations_per_eval_given_one_query(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    three_per_eval_is_one_per_eval(method, model.given_query(images(1)[0]), images()[1:], options)


@parametrize_methods(PERTURBATION_METHODS)  # the sampling methods run one example at a time
def test_perturbations_per_eval_given_a_batch(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    three_per_eval_is_one_per_eval(method, model.given_query(images()[0]), images()[1:], options)


# layer methods: the head is a function of the two layer outputs


@LAYERS
def test_layer_integrated_gradients(model: SimilarityWrapper, layer: int) -> None:
    features, head = split(layer)
    pair, baselines = images(), images(seed=7)
    layers = model.tower_layers(model.query_encoder[layer])
    attributions, delta = ca.LayerIntegratedGradients(model, layers).attribute(pair, baselines, n_steps=5, return_convergence_delta=True)
    expected, expected_delta = ca.IntegratedGradients(head).attribute(
        tuple(map(features, pair)), tuple(map(features, baselines)), n_steps=5, return_convergence_delta=True
    )
    close(tuple(attributions), expected)
    close(delta, expected_delta)


def grad_cam(score: Callable, *maps: Tensor) -> list[Tensor]:
    maps = [one.detach().requires_grad_() for one in maps]
    gradients = torch.autograd.grad(score(*maps).sum(), maps)
    return [(g.mean((2, 3), keepdim=True) * one).sum(1, keepdim=True).detach() for g, one in zip(gradients, maps, strict=True)]


@LAYERS
def test_layer_grad_cam_of_each_tower(model: SimilarityWrapper, layer: int) -> None:
    features, head = split(layer)
    maps = [ca.LayerGradCam(model, one).attribute(images()) for one in model.tower_layers(model.query_encoder[layer])]
    close(maps, grad_cam(head, *map(features, images())))


def rescale(maps: Tensor) -> Tensor:
    """Scale each map to the range from 0 to 1, as the package grad-cam does."""
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (1e-7 + maps.amax((2, 3), keepdim=True))


@LAYERS
@TOWERS
def test_layer_grad_cam_equals_the_package_grad_cam(layer: int, tower: int) -> None:
    package = pytest.importorskip("pytorch_grad_cam", reason="an outside implementation: pip install 'captum-pairwise[oracles]'")
    encoder, pair = tiny_encoder(), images()
    model = SimilarityWrapper(encoder)
    one_sided = [model.given_retrieved, model.given_query][tower](pair[1 - tower])
    found = ca.LayerGradCam(one_sided, encoder[layer]).attribute(pair[tower]).detach()
    others = encoder(pair[1 - tower]).mean((2, 3)).detach()
    targets = [lambda maps, other=other: torch.cosine_similarity(maps.mean((1, 2)), other, dim=0) for other in others]
    with package.GradCAM(encoder, [encoder[layer]]) as drawer:
        drawn = torch.from_numpy(drawer(pair[tower], targets))
    pixels = rescale(nn.functional.interpolate(rescale(found.relu()), (12, 12), mode="bilinear"))
    rounding = 4 * torch.finfo(torch.float32).eps  # it resizes in float32
    torch.testing.assert_close(drawn.double(), pixels[:, 0], rtol=0, atol=rounding)


@LAYERS
def test_layer_activation_of_each_image(model: SimilarityWrapper, layer: int) -> None:
    features, _ = split(layer)
    activations = ca.LayerActivation(model, model.tower_layers(model.query_encoder[layer])).attribute(images())
    close(activations, [features(image) for image in images()])


@LAYERS
def test_layer_gradient_x_activation(model: SimilarityWrapper, layer: int) -> None:
    features, head = split(layer)
    products = ca.LayerGradientXActivation(model, model.tower_layers(model.query_encoder[layer])).attribute(images())
    close(tuple(products), ca.InputXGradient(head).attribute(tuple(features(image).detach() for image in images())))


@LAYERS
@TOWERS
def test_layer_feature_ablation_of_one_tower(model: SimilarityWrapper, layer: int, tower: int) -> None:
    features, head = split(layer)
    maps = [features(image).detach() for image in images()]
    channels = torch.arange(maps[tower].shape[1])[:, None, None]
    one = model.tower_layers(model.query_encoder[layer])[tower]
    drops = ca.LayerFeatureAblation(model, one).attribute(images(), layer_mask=channels)
    expected = ca.FeatureAblation(head).attribute(tuple(maps), feature_mask=(channels, channels + channels.numel()))
    close(drops, expected[tower])


# methods that hook every module: each must meet modules that run once, as in two encoders that share nothing

HOOKING = {
    "DeepLift": lambda model, layer: ca.DeepLift(model),
    "GuidedBackprop": lambda model, layer: ca.GuidedBackprop(model),
    "Deconvolution": lambda model, layer: ca.Deconvolution(model),
    "GuidedGradCam": ca.GuidedGradCam,
    "LayerDeepLift": ca.LayerDeepLift,
    "LayerConductance": ca.LayerConductance,
    "InternalInfluence": ca.InternalInfluence,
}


@TOWERS
@pytest.mark.parametrize("method", HOOKING.values(), ids=HOOKING)
def test_hooking_method_sees_two_encoders(model: SimilarityWrapper, method: Callable, tower: int) -> None:
    independent = SimilarityWrapper(tiny_encoder(), tiny_encoder())
    attributions, expected = (
        method(one, layers[tower]).attribute(images())
        for one, layers in (
            (model, model.tower_layers(model.query_encoder[2])),
            (independent, [independent.query_encoder[2], independent.retrieved_encoder[2]]),
        )
    )
    close(attributions, expected)


@pytest.mark.parametrize("method", HOOKING.values(), ids=HOOKING)
def test_hooking_method_without_tower_layers_is_refused(method: Callable) -> None:
    model = SimilarityWrapper(tiny_encoder())
    with pytest.raises(ValueError, match=r"`model.tower_layers\(layer\)`"):
        method(model, model.query_encoder[2]).attribute(images())
    model(*images())  # the hooks are gone


def test_deep_lift_is_complete_where_the_head_is_linear() -> None:
    q, r = images()
    model = SimilarityWrapper(tiny_encoder(), similarity="dot").given_query(q)
    attributions = ca.DeepLift(model).attribute(r)
    difference = model(r) - model(torch.zeros_like(r))
    torch.testing.assert_close(attributions.sum((1, 2, 3)), difference, rtol=1e-12, atol=0)


# encoders that the wrapper must copy anew


def test_layer_method_after_a_module_was_replaced() -> None:
    encoder = tiny_encoder()
    model = SimilarityWrapper(encoder)
    model.tower_layers(encoder[2])
    encoder[4] = tiny_encoder(1)[4]
    features, _ = split(2)
    close(ca.LayerActivation(model, encoder[2]).attribute(images()), features(images()[0]))
    close(ca.LayerActivation(model, encoder).attribute(images()), encoder(images()[0]))


def test_layer_method_on_a_graph_module() -> None:
    encoder = torch.fx.symbolic_trace(tiny_encoder())
    model = SimilarityWrapper(encoder)
    features, _ = split(2)
    layers = model.tower_layers(encoder.get_submodule("2"))
    close(ca.LayerActivation(model, layers).attribute(images()), [features(image) for image in images()])


# one side fixed


ONE_QUERY = GRADIENT_METHODS | PERTURBATION_METHODS
BATCH_OF_QUERIES = {name: method for name, method in ONE_QUERY.items() if name != "NoiseTunnel"}  # it repeats each example in turn


@parametrize_methods(ONE_QUERY)
def test_input_method_given_one_query(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    q, r = images()
    expected = attribute_each(lambda b: method(given(q[:1])).attribute((r[b],), **options(1))[0])
    close(method(model.given_query(q[:1])).attribute((r,), **options(1))[0], expected)


@parametrize_methods(BATCH_OF_QUERIES)
def test_input_method_given_a_batch_of_queries(model: SimilarityWrapper, method: Callable, options: Callable) -> None:
    q, r = images()
    expected = attribute_each(lambda b: method(given(q[b])).attribute((r[b],), **options(1))[0])
    close(method(model.given_query(q)).attribute((r,), **options(1))[0], expected)


@pytest.mark.parametrize("rows", [2, 4, 10])
def test_internal_batch_size_given_the_query(model: SimilarityWrapper, rows: int) -> None:
    q, r = images()
    method = ca.IntegratedGradients(model.given_query(q))
    expected = attribute_each(lambda b: ca.IntegratedGradients(given(q[b])).attribute(r[b], n_steps=5))
    close(method.attribute(r, n_steps=5, internal_batch_size=rows), expected)


@LAYERS
@TOWERS
def test_layer_grad_cam_takes_the_layer_of_the_user(layer: int, tower: int) -> None:
    encoder, pair = tiny_encoder(), images()
    model = SimilarityWrapper(encoder)
    one_sided = [model.given_retrieved, model.given_query][tower](pair[1 - tower])
    features, head = split(layer)
    close(ca.LayerGradCam(one_sided, encoder[layer]).attribute(pair[tower]), grad_cam(head, *map(features, pair))[tower])


@LAYERS
def test_layer_integrated_gradients_given_the_query(layer: int) -> None:
    encoder, (q, r) = tiny_encoder(), images()
    features, head = split(layer)
    one_sided = SimilarityWrapper(encoder).given_query(q)
    expected = attribute_each(
        lambda b: ca.IntegratedGradients(lambda fr: head(features(q[b]).expand_as(fr), fr)).attribute(
            features(r[b]), features(torch.zeros_like(r[b])), n_steps=5
        )
    )
    close(ca.LayerIntegratedGradients(one_sided, encoder[layer]).attribute(r, n_steps=5), expected)


@pytest.mark.parametrize("target", [2, [2, 0], torch.tensor([2, 0])], ids=["int", "list", "tensor"])
def test_target_picks_the_item_of_a_gallery(model: SimilarityWrapper, target: int | list | Tensor) -> None:
    q, gallery = images(2)[0], images(3)[1]
    items = gallery[torch.as_tensor(target).expand(2)]
    expected = attribute_each(
        lambda b: ca.IntegratedGradients(lambda query: cosine(query, items[b].expand_as(query))).attribute(q[b], n_steps=5)
    )
    close(ca.IntegratedGradients(model.given_gallery(gallery)).attribute(q, target=target, n_steps=5), expected)


# metrics


def shift(inputs: Tensor) -> tuple[Tensor, Tensor]:
    noise = torch.randn_like(inputs)
    return noise, inputs - noise


def shift_pair(pair: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    return tuple(zip(*map(shift, pair), strict=True))


def test_infidelity_of_pairs(model: SimilarityWrapper) -> None:
    attributions = ca.Saliency(cosine).attribute(images(), abs=False)
    values = [seeded(infidelity, f, shift_pair, images(), attributions, n_perturb_samples=4) for f in (model, cosine)]
    close(*values)


def test_infidelity_is_zero_for_the_map_of_a_linear_function() -> None:
    linear = nn.Linear(6, 4, bias=False).double()
    linear.weight.data = random_tensor(4, 6)
    model = SimilarityWrapper(linear, similarity="dot").given_query(random_tensor(1, 6, seed=1))
    r = random_tensor(2, 6, seed=2)
    exact = ca.Saliency(model).attribute(r, abs=False)
    without, of_exact, of_twice = (seeded(infidelity, model, shift, r, times * exact, n_perturb_samples=4) for times in range(3))
    close(of_exact, torch.zeros(2).double())
    torch.testing.assert_close(of_twice, without, rtol=1e-12, atol=0)  # an error of once the map, either way
    assert (of_twice > of_exact).all()


@pytest.mark.parametrize("one_sided", [False, True], ids=["pairs", "given_query"])
def test_sensitivity(model: SimilarityWrapper, one_sided: bool) -> None:
    q, r = images()
    functions, inputs = ((model.given_query(q[:1]), given(q[:1])), r) if one_sided else ((model, cosine), (q, r))
    values = [seeded(sensitivity_max, ca.IntegratedGradients(f).attribute, inputs, n_perturb_samples=3, n_steps=3) for f in functions]
    close(*values)
