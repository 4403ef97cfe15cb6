"""IG-CAM of classifiers against Captum's layer integrated gradients."""

import captum.attr as ca
import pytest
import torch
from captum.metrics import sensitivity_max
from conftest import images, random_tensor, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.attr.gradient import QUADRATURES

PHOTOS = images(3)[0]
CLASSIFIER = nn.Sequential(*tiny_encoder(), nn.Softplus(), nn.Flatten(), nn.Linear(54, 5).double()).eval()
with torch.no_grad():
    CLASSIFIER[-1].weight.copy_(random_tensor(5, 54, seed=1) / 3)


def captums(layer, **arguments):
    of_layer = ca.LayerIntegratedGradients(CLASSIFIER, layer).attribute(PHOTOS, baselines=cp.blur_baseline(PHOTOS), **arguments)
    return of_layer.sum(1, keepdim=True)


@pytest.mark.parametrize("index", [0, 2, 4])
@pytest.mark.parametrize("target", [3, [0, 4, 2], torch.tensor([1, 1, 0])])
def test_the_map_equals_captums_and_is_complete(index, target):
    layer = CLASSIFIER[index]
    found, delta = cp.LayerIGCAM(CLASSIFIER, layer).attribute(PHOTOS, target=target, return_convergence_delta=True)
    torch.testing.assert_close(found, captums(layer, target=target), rtol=0, atol=1e-6)
    outputs, empty = CLASSIFIER(PHOTOS), CLASSIFIER(cp.blur_baseline(PHOTOS))
    chosen = torch.as_tensor(target).expand(3)[:, None]
    expected = found.flatten(1).sum(1) - (outputs - empty).gather(1, chosen)[:, 0]
    torch.testing.assert_close(delta, expected.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", QUADRATURES)
def test_quadratures_and_chunks_equal_captums(method):
    layer = CLASSIFIER[2]
    for size in (None, 1, 5):
        found = cp.LayerIGCAM(CLASSIFIER, layer).attribute(PHOTOS, target=1, n_steps=6, method=method, internal_batch_size=size)
        torch.testing.assert_close(found, captums(layer, target=1, n_steps=6, method=method), rtol=0, atol=1e-6)


def test_a_callable_with_arguments_of_its_own_and_no_target():
    def chosen(photos, weights):
        return (CLASSIFIER(photos) * weights).sum(1)

    weights = torch.zeros(3, 5).double()
    weights[:, 2] = 1
    found = cp.LayerIGCAM(chosen, CLASSIFIER[2]).attribute(PHOTOS, additional_forward_args=weights)
    torch.testing.assert_close(found, cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[2]).attribute(PHOTOS, target=2), rtol=0, atol=1e-12)


def test_a_mask_and_a_baseline_of_the_layer():
    method, mask = cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[4]), cp.grid(3, 3, 3, 1)
    rows = method.attribute(PHOTOS, target=0, layer_baselines=0.2, layer_mask=mask)
    assert rows.shape == (3, 1, 3)
    whole = method.attribute(PHOTOS, target=0, layer_baselines=0.2)
    torch.testing.assert_close(rows, whole.sum(3), rtol=0, atol=1e-12)


def test_a_tuple_of_one_batch_is_that_batch_as_in_captum():
    method, arguments = cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[2]), {"target": 1, "return_convergence_delta": True}
    captums_map = ca.LayerGradCam(CLASSIFIER, CLASSIFIER[2]).attribute((PHOTOS,), target=1)
    found, expected = (method.attribute(inputs, **arguments) for inputs in ((PHOTOS,), PHOTOS))
    assert isinstance(captums_map, torch.Tensor) and found[0].shape == captums_map.shape
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])


def test_sensitivity_hands_on_a_tuple_of_one_image():
    """For more images it expects a tuple back, which no layer method of Captum returns."""
    method, photo = cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[2]), PHOTOS[:1]
    values = []
    for attribute in (method.attribute, lambda inputs, **target: (method.attribute(inputs[0].reshape(-1, *PHOTOS.shape[1:]), **target),)):
        torch.manual_seed(0)
        values.append(sensitivity_max(attribute, photo, target=1, n_perturb_samples=1))
    assert torch.equal(*values) and values[0] > 0


def test_a_part_without_gradient_gets_no_credit():
    blind = nn.Sequential(*tiny_encoder(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = cp.LayerIGCAM(lambda photos: blind(photos)[:, 0], blind[4])
    model = cp.LayerIGCAM(lambda photos: (blind[:5](photos)[..., 1:] ** 2).mean((1, 2, 3)), blind[4])
    assert (method.attribute(PHOTOS) != 0).any()
    assert (model.attribute(PHOTOS)[..., 0] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": torch.tensor(1.0)}, ValueError, "Expected inputs to be a batch of images"),
        ({"inputs": (PHOTOS, PHOTOS)}, ValueError, "a batch of images, .* got tuple"),
        ({"baselines": (0.0, 1.0)}, ValueError, "images' baseline to be None, .* got tuple"),
        ({"inputs": PHOTOS[:0]}, ValueError, "at least one example"),
        ({"inputs": PHOTOS * torch.nan}, ValueError, "NaN or infinity in row 0 of the images"),
        ({"baselines": torch.zeros(1, 3, 5, 5)}, ValueError, "the images' baseline"),
        ({"layer_mask": torch.zeros(2, 2).long()}, ValueError, "the images' layer_mask"),
        ({"target": None}, ValueError, "choose one output with `target`"),
        ({"target": [0, 1]}, AssertionError, None),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_refused(arguments, error, message):
    given = {"inputs": PHOTOS, "target": 0} | arguments
    with pytest.raises(error, match=message):
        cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[2]).attribute(**given)


def test_a_pair_of_layers_is_refused():
    with pytest.raises(ValueError, match="Expected one layer"):
        cp.LayerIGCAM(CLASSIFIER, (CLASSIFIER[0], CLASSIFIER[2])).attribute(PHOTOS, target=0)


def test_internal_batch_size_bounds_the_rows_of_a_pass():
    rows = []
    with CLASSIFIER[-1].register_forward_hook(lambda _module, _inputs, output: rows.append(len(output))):
        for size, is_bounded in ((None, False), (3, True)):
            rows.clear()
            cp.LayerIGCAM(CLASSIFIER, CLASSIFIER[2]).attribute(PHOTOS[:1], target=1, n_steps=9, internal_batch_size=size)
            assert (max(rows) <= 3) is is_bounded
