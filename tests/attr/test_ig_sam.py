"""IG-SAM against Captum's layer integrated gradients, which need the two towers apart to be right."""

import captum.attr as ca
import pytest
import torch
import torchvision
from conftest import images, random_tensor, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.attr.gradient import QUADRATURES


def captums(model, layer, pair, baselines, **arguments):
    """For each image, Captum's attribution of its own tower's layer while the other image stands still, summed over channels."""
    found = []
    for k, one in enumerate(model.tower_layers(layer)):
        start = tuple(baselines[j] if j == k else pair[j] for j in range(2))
        of_layer = ca.LayerIntegratedGradients(model, one).attribute(pair, baselines=start, **arguments)
        channel = 2 if of_layer.dim() == 3 else 1
        found.append(of_layer.sum(channel).unsqueeze(1))
    return tuple(found)


@pytest.mark.parametrize("index", [0, 2, 4])
def test_both_maps_equal_captums(index, similarity):
    encoder, pair = tiny_encoder(), images(2)
    model, baselines = cp.SimilarityWrapper(encoder, similarity=similarity), tuple(map(cp.blur_baseline, pair))
    found, delta = cp.LayerIGSAM(model, encoder[index]).attribute(pair, return_convergence_delta=True)
    # Captum's step sizes are float32, which keeps it some 1e-8 from the integral
    torch.testing.assert_close(found, captums(model, encoder[index], pair, baselines), rtol=0, atol=1e-6)
    for k in range(2):
        without = [baselines[j] if j == k else pair[j] for j in range(2)]
        expected = found[k].flatten(1).sum(1) - (model(*pair) - model(*without))
        torch.testing.assert_close(delta[:, k], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", QUADRATURES)
def test_quadratures_equal_captums(method, model):
    pair, baselines = images(2), tuple(map(cp.blur_baseline, images(2)))
    layer = model.query_encoder[2]
    found = cp.LayerIGSAM(model, layer).attribute(pair, n_steps=7, method=method)
    torch.testing.assert_close(found, captums(model, layer, pair, baselines, n_steps=7, method=method), rtol=0, atol=1e-6)


def resnet50():
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    return network, network.layer3, 64


def vit_b_16():
    network = torchvision.models.vit_b_16(image_size=32)
    network.heads = nn.Identity()
    return network, network.encoder.layers[6], 32


@pytest.mark.slow
@pytest.mark.parametrize("build", [resnet50, vit_b_16])
def test_real_networks_with_random_weights(build):
    """Relative to the largest credit, because all images are similar for random networks. The second network has fused attention."""
    torch.manual_seed(0)
    network, layer, size = build()
    model, pair = cp.SimilarityWrapper(network.double().eval()), tuple(random_tensor(1, 3, size, size, seed=seed) for seed in range(2))
    found = cp.LayerIGSAM(model, layer).attribute(pair, n_steps=5)
    expected = captums(model, layer, pair, tuple(map(cp.blur_baseline, pair)), n_steps=5)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * theirs.abs().max().item())


def test_a_plain_callable_takes_a_layer_for_each_image():
    towers = [tiny_encoder(0), tiny_encoder(1)]
    wrapper, pair = cp.SimilarityWrapper(*towers), images(2)
    found = cp.LayerIGSAM(lambda q, r: wrapper(q, r), (towers[0][2], towers[1][2])).attribute(pair, n_steps=5)
    torch.testing.assert_close(found, cp.LayerIGSAM(wrapper, (towers[0][2], towers[1][2])).attribute(pair, n_steps=5), rtol=0, atol=1e-12)


def test_bad_steps_are_refused(model):
    method = cp.LayerIGSAM(model, model.query_encoder[4])
    with pytest.raises(ValueError, match="Expected method to be one of"):
        method.attribute(images(1), method="simpson")
    with pytest.raises(ValueError, match="Expected n_steps to be a whole number of at least 2, got 1"):
        method.attribute(images(1), method="riemann_trapezoid", n_steps=1)
    with pytest.raises(NotImplementedError, match="return_convergence_delta=True"):
        method.compute_convergence_delta()
