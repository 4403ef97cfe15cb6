"""GradCAM violates the dummy axiom where Shapley values cannot (paper A.4): a similarity that is blind to half of the retrieved map."""

import pytest
import torch
from captum.attr import LayerGradCam
from conftest import seeded, tiny_encoder
from torch import nn

import captum_pairwise as cp

FAIR = {
    "LayerKernelSAM": lambda model, layers, pair: cp.LayerKernelSAM(model, layers).attribute(pair)[1],
    "LayerIGSAM": lambda model, layers, pair: cp.LayerIGSAM(model, layers).attribute(pair)[1],
}
PAIR = tuple(torch.rand(2, 3, 12, 14, generator=seeded(k), dtype=torch.float64) for k in range(2))  # maps are 3 × 4


class RightHalf(nn.Module):
    """`y ⊙ M`, with `M` zero on the left half."""

    def forward(self, maps):
        return maps * (torch.arange(maps.shape[3]) >= maps.shape[3] // 2)


def half_blind():
    """`cos(GAP(x), GAP(y ⊙ M))` of the maps of two encoders with the same weights, and the layers that return `x` and `y`."""
    query, retrieved = tiny_encoder(), cp.SplitEncoder(tiny_encoder(), RightHalf())
    return cp.SimilarityWrapper(query, retrieved), (query, retrieved.features)


def dummy_half(maps):
    return maps[..., : maps.shape[-1] // 2]


def test_the_left_half_is_a_dummy():
    model, (_, layer) = half_blind()
    hook = layer.register_forward_hook(lambda module, inputs, maps: torch.cat([torch.randn_like(dummy_half(maps)), maps[..., 2:]], 3))
    changed = model(*PAIR)
    hook.remove()
    torch.testing.assert_close(changed, model(*PAIR), rtol=0, atol=0)


def test_grad_cam_gives_dummies_the_credit_of_its_formula():
    """`Σ_c y_c GAP(∇_y d)`: the slopes of the right half, averaged, meet the activations of the left."""
    model, (encoder, layer) = half_blind()
    found = LayerGradCam(model.given_query(PAIR[0]), layer).attribute(PAIR[1])
    u, maps = encoder(PAIR[0]).mean((2, 3)), layer(PAIR[1])
    visible = maps.detach().clone().requires_grad_()
    w = torch.cat([torch.zeros_like(dummy_half(visible)), visible[..., 2:]], 3).mean((2, 3))
    ((u * w).sum(1) / (u.norm(dim=1) * w.norm(dim=1))).sum().backward()
    torch.testing.assert_close(found, (visible.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True), rtol=0, atol=1e-12)
    by_tower = LayerGradCam(model, layer).attribute(PAIR)
    torch.testing.assert_close(found, by_tower, rtol=0, atol=1e-12)
    assert (dummy_half(found).abs() > 1e-3 * found.abs().max()).all()


@pytest.mark.parametrize("fair", FAIR.values(), ids=FAIR)
def test_shapley_methods_give_dummies_no_credit(fair):
    found = fair(*half_blind(), PAIR)
    assert found.shape == (2, 1, 3, 4)
    torch.testing.assert_close(dummy_half(found), torch.zeros(2, 1, 3, 2).double(), rtol=0, atol=1e-12)
    assert (found[..., 2:].abs() > 1e-6).all()


def test_gradient_methods_give_dummies_exactly_zero():
    model, layers = half_blind()
    found = cp.LayerIntegratedHessians(model, layers, within=True).interactions(PAIR)
    assert (dummy_half(cp.LayerIGSAM(model, layers).attribute(PAIR)[1]) == 0).all()
    assert (dummy_half(found.between.reshape(2, 12, 3, 4)) == 0).all() and (
        dummy_half(found.retrieved_marginal.reshape(2, 3, 4)) == 0
    ).all()
