"""Vision transformers: tokens laid out as a map are players with places in the image."""

import math

import matplotlib
import pytest
import torch
import torchvision
from conftest import random_tensor, seeded
from formulas import gauss_legendre
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import captum_pairwise as cp
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.players.regions import average, cells

matplotlib.use("Agg")
PATCHES = cp.token_grid(2, 2)


def vision_transformer():
    """A small vision transformer of torchvision without its head: 16×16 images, 1 + 2×2 tokens."""
    built = torchvision.models.VisionTransformer(16, 8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32)
    built.heads = nn.Identity()
    for seed, parameter in enumerate(built.parameters()):
        parameter.data = random_tensor(*parameter.shape, seed=seed) * (parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.3)
    return built.double().eval()


VIT = vision_transformer()
MODEL, BLOCK = cp.SimilarityWrapper(VIT), VIT.encoder.layers[1]
PAIR = tuple(torch.rand(2, 3, 16, 16, generator=seeded(k), dtype=torch.float64) for k in range(2))
LAYOUTS = {
    "token_grid": PATCHES,
    "reshape_transform": lambda tokens: tokens[:, 1:].reshape(tokens.shape[0], 2, 2, tokens.shape[2]).permute(0, 3, 1, 2),
    "a row": lambda tokens: tokens[:, 1:],
    "a mask": torch.arange(-1, 4)[None, :, None],
}


def exact(layer_mask, **arguments):
    return cp.LayerExactShapleyTaylor(MODEL, BLOCK).interactions(PAIR, layer_mask=(layer_mask, layer_mask), **arguments)


@pytest.mark.parametrize("name", LAYOUTS)
def test_all_layouts_of_patches_equal_brute_force(name):
    """Brute force keeps the class token, and runs the network after the block for each coalition."""
    found = exact(LAYOUTS[name], layer_baselines=(0.1, 0.1))
    z = (torch.arange(16)[:, None] >> torch.arange(4)) % 2 == 1  # player i is bit i, the query's first
    values = torch.zeros(2, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        embedded = [view_layer(VIT, BLOCK, images) for images in PAIR]
        assert not any(view.tail.reruns for view in embedded)
        for example in range(2):
            rows = [torch.where(nn.functional.pad(z, (1, 0), value=True)[..., None], view.output[example], 0.1) for view in embedded]
            u, w = (nn.functional.normalize(VIT.encoder.ln(VIT.encoder.layers[2](row))[:, 0]) for row in rows)
            values[example] = w @ u.T
    for example in range(2):
        empty, first, second = cp.shapley_taylor(values[example].flatten())
        torch.testing.assert_close(found.first_order[example], first)
        torch.testing.assert_close(found.second_order[example], second)
        torch.testing.assert_close(found.empty[example], torch.as_tensor(empty))


def test_results_are_laid_out_and_players_lie_in_the_image(tmp_path):
    method = cp.LayerExactShapleyTaylor(MODEL, BLOCK)
    pairs = method.attribute(PAIR, layer_mask=(PATCHES, PATCHES))
    found = exact(PATCHES)
    assert pairs.shape == (2, 2, 2, 2, 2) and torch.equal(pairs.flatten(3).flatten(1, 2), found.between)
    of_map = cells(torch.zeros(2, 1, 2, 2), 1)
    signal = random_tensor(2, 16, 16)
    found.save(tmp_path / "vit.safetensors")
    for one in (found, cp.Interactions.load(tmp_path / "vit.safetensors")):
        for players in (one.query_players, one.retrieved_players):
            assert torch.equal(players.ids, of_map.ids) and players.shape == (2, 2)
        expected = torch.einsum("bi,bij->bj", signal.reshape(2, 2, 8, 2, 8).mean((2, 4)).flatten(1), found.between)
        torch.testing.assert_close(one.project(signal), expected)
        torch.testing.assert_close(average(signal, one.query_players), average(signal, of_map))
        cp.visualization.pair_figure(one, PAIR).canvas.draw()


def test_first_order_maps_and_one_sided_layouts():
    query, retrieved = cp.LayerKernelSAM(MODEL, BLOCK).attribute(PAIR, layer_mask=(PATCHES, None))
    assert query.shape == (2, 1, 2, 2) and retrieved.shape == (2, 1, 5)
    rows = cp.LayerKernelSAM(MODEL, BLOCK).attribute(PAIR, layer_mask=(LAYOUTS["a mask"], None))[0]
    torch.testing.assert_close(query.flatten(1), rows.flatten(1))


def test_closed_forms_take_functions():
    """There is a closed form if the tail averages tokens. (A class token does not depend on the patches of the last block.)"""
    encoder = nn.Sequential(nn.Unflatten(2, (2, 8)), nn.Flatten(3), nn.Flatten(1, 2), nn.Linear(8, 5), _Mean()).double()
    inputs = tuple(random_tensor(2, 4, 16, seed=k) for k in range(2))
    model, layout = cp.SimilarityWrapper(encoder, similarity="dot"), cp.token_grid(2, 2, n_prefix=4)
    maps = cp.LayerSAM(model, encoder[3]).attribute(inputs, layer_mask=(layout, layout))
    assert [one.shape for one in maps] == [(2, 1, 2, 2)] * 2
    pairs = cp.LayerPairwiseSAM(model, encoder[3]).attribute(inputs, layer_mask=(layout, layout))
    tokens = [encoder[3](encoder[:3](one))[:, 4:] for one in inputs]
    torch.testing.assert_close(pairs.reshape(2, 4, 4), tokens[0] @ tokens[1].mT / 64)


class _Mean(nn.Module):
    def forward(self, tokens):
        return tokens.mean(1)


@pytest.mark.parametrize("layout", [lambda tokens: tokens[:, 1:, 0], cp.token_grid(3, 3)])
def test_wrong_layouts_are_refused(layout):
    with pytest.raises(ValueError, match="Expected"):
        exact(layout)
    with pytest.raises(ValueError, match="feature_mask to be a tensor of integer ids"):
        cp.ExactShapleyTaylor(MODEL).attribute(PAIR, feature_mask=(layout, layout))


def literal_hessian(example, n_nodes=40):
    """`Γ_ij + Γ_ji` of the patches by autograd through the whole network, tokens of its block mixed by hand."""
    pair, total = [images[example : example + 1] for images in PAIR], torch.zeros(8, 8, dtype=torch.float64)
    present, absent = ([record_output(VIT, BLOCK, image).detach() for image in batch] for batch in (pair, map(cp.blur_baseline, pair)))

    def embedding(k, z):
        z = nn.functional.pad(z, (1, 0), value=1.0)[None, :, None]
        mixed = z * present[k] + (1 - z) * absent[k]
        return VIT.encoder.ln(VIT.encoder.layers[2](mixed))[:, 0]

    def value(z):
        return nn.functional.cosine_similarity(*map(embedding, range(2), z.split(4)))[0]

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no second derivative
        for s, weight in gauss_legendre(n_nodes):
            hessian = torch.autograd.functional.hessian(value, torch.full((8,), s * s, dtype=torch.float64))
            total += weight * 2 * s * -(s**2) * math.log(s**2) * hessian
    return 2 * total


def test_integrated_hessians_of_patches_through_fused_attention():
    method = cp.LayerIntegratedHessians(MODEL, BLOCK, within=True)
    found = method.interactions(PAIR, n_steps=24, layer_mask=(PATCHES, PATCHES))
    for example in range(2):
        expected = literal_hessian(example).fill_diagonal_(0)
        torch.testing.assert_close(found.second_order[example], expected, rtol=0, atol=1e-6 * expected.abs().max().item())
    assert found.completeness_gap.abs().max() < 1e-5


def test_ig_sam_and_projection_of_patches():
    arguments, mask = {"layer_mask": (PATCHES, PATCHES)}, torch.rand(2, 16, 16, generator=seeded(5))
    (query, _), delta = cp.LayerIGSAM(MODEL, BLOCK).attribute(PAIR, return_convergence_delta=True, **arguments)
    assert query.shape == (2, 1, 2, 2) and delta.abs().max() < 1e-9
    pairs = cp.LayerIntegratedHessians(MODEL, BLOCK, weight="taylor").interactions(PAIR, n_steps=6, **arguments)
    found = cp.project_attention(MODEL, BLOCK, PAIR, mask, **arguments)
    torch.testing.assert_close(found.flatten(1), pairs.project(mask), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"a weight for each part .* got a mask"):
        cp.project_attention(MODEL, BLOCK, PAIR, mask)
    blurred = tuple(map(cp.blur_baseline, PAIR))
    drawn = cp.project_attention_through(MODEL, [BLOCK, VIT.conv_proj], PAIR, mask, blurred, layer_masks=[(PATCHES, PATCHES), None])
    assert drawn.shape == (2, 16, 16) and drawn.isfinite().all()
    drawn = cp.project_attention_through(MODEL, [BLOCK], PAIR, mask, layer_masks=[(PATCHES, PATCHES)])
    assert drawn.shape == (2, 16, 16) and drawn.abs().amax((1, 2)) == pytest.approx(torch.ones(2))
