"""VESM against its four steps, written with autograd through the whole network."""

import pytest
import torch
from captum.attr import NoiseTunnel
from conftest import images, tiny_encoder
from model_cases import pool
from torch import nn

import captum_pairwise as cp

MODES = ["positive", "negative", "triplet"]
LAYERS = [0, 1, 2, 3, 4]
NEGATIVE = images(2, seed=7)[1]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def attribute(model, layer, inputs, mode="positive", **more):
    negative = {"negative": NEGATIVE} if mode == "triplet" else {}
    return cp.LayerVESM(model, layer).attribute(inputs, mode=mode, **negative | more)


def weights(model, query, retrieved, mode):
    """Steps 1 and 2: directions of the embeddings, and how near they are in each channel."""
    f, g, h = (nn.functional.normalize(model.embed_query(batch), dim=1).detach() for batch in (query, retrieved, NEGATIVE))
    return {"positive": 1 - (f - g).abs(), "negative": (f - g).abs(), "triplet": (1 - (f - g).abs()) * (f - h).abs()}[mode]


def four_steps(model, index, query, retrieved, mode, rectified):
    """The map of each image by a hook on the layer of the whole network, one image at a time."""
    w, maps = weights(model, query, retrieved, mode), []
    for batch in (query, retrieved):
        rows = []
        for example in range(len(batch)):
            kept = []
            hook = model.query_encoder[index].register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
            score = (w[example] * pool(model.query_encoder(batch[example : example + 1]))[0]).sum()  # step 3
            hook.remove()
            (gradient,) = torch.autograd.grad(score, kept[0])
            alpha = [gradient[0, c].mean() for c in range(gradient.shape[1])]  # step 4
            rows.append(sum(a * channel for a, channel in zip(alpha, kept[0][0].detach(), strict=True)))
        maps.append(torch.stack(rows)[:, None])
    return tuple(torch.where(one > 0, one, 0) if rectified else one for one in maps)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("index", LAYERS)
@pytest.mark.parametrize("rectified", [True, False])
def test_maps_equal_the_four_steps(model, index, mode, rectified):
    found = attribute(model, model.query_encoder[index], images(2), mode, relu_attributions=rectified)
    close(found, four_steps(model, index, *images(2), mode, rectified))
    assert rectified or all((one != 0).any() for one in found)


@pytest.mark.parametrize("mode", MODES)
def test_before_global_average_pooling_maps_are_weighted_channels(model, mode):
    """`(1/HW) Σ_c w_c A_c`."""
    w = weights(model, *images(2), mode)
    activations = [model.query_encoder(batch).detach() for batch in images(2)]
    expected = tuple(torch.einsum("bc,bchw->bhw", w, one)[:, None] / 9 for one in activations)
    close(attribute(model, model.query_encoder[4], images(2), mode, relu_attributions=False), expected)
    close(attribute(model, model.query_encoder[4], images(2), mode), tuple(one.relu() for one in expected))


def test_only_the_embeddings_matter_not_the_head(similarity):
    encoder = tiny_encoder()
    found = [attribute(cp.SimilarityWrapper(encoder, similarity=head), encoder[2], images(2)) for head in ("cosine", similarity)]
    close(*found)


def test_two_encoders_each_with_its_own_layer():
    encoders = tiny_encoder(0), tiny_encoder(1)
    model = cp.SimilarityWrapper(*encoders)
    query, retrieved = images(2)
    found = attribute(model, (encoders[0][2], encoders[1][4]), (query, retrieved), relu_attributions=False)
    f, g = model.embed_query(query), model.embed_retrieved(retrieved)
    w = 1 - (f / f.norm(dim=1, keepdim=True) - g / g.norm(dim=1, keepdim=True)).abs()
    close(found[1], torch.einsum("bc,bchw->bhw", w, encoders[1](retrieved))[:, None].detach() / 9)
    activations = encoders[0][:3](query)
    slopes = torch.autograd.grad((w.detach() * pool(encoders[0][3:](activations))).sum(), activations)[0].mean((2, 3))
    close(found[0], torch.einsum("bc,bchw->bhw", slopes, activations)[:, None].detach())


class Patches(nn.Module):
    """Tokens `[B, 16, 3]` of a 12×12 image, mixed, and their mean."""

    def __init__(self):
        super().__init__()
        self.tokens, self.mix = nn.Linear(27, 3).double(), nn.Linear(3, 5).double()

    def forward(self, x):
        tokens = self.tokens(nn.functional.unfold(x, 3, stride=3).mT)
        return self.mix(tokens.tanh()).mean(1)


def test_tokens_are_positions():
    torch.manual_seed(0)
    encoder, pair = Patches(), images(2)
    model = cp.SimilarityWrapper(encoder)
    found = attribute(model, encoder.tokens, pair, relu_attributions=False)
    f, g = map(encoder, pair)
    w = (1 - (f / f.norm(dim=1, keepdim=True) - g / g.norm(dim=1, keepdim=True)).abs()).detach()
    for batch, one in zip(pair, found, strict=True):
        tokens = encoder.tokens(nn.functional.unfold(batch, 3, stride=3).mT)
        slopes = torch.autograd.grad((w * encoder.mix(tokens.tanh()).mean(1)).sum(), tokens)[0].mean(1)
        close(one, torch.einsum("bc,btc->bt", slopes, tokens)[:, None].detach())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("index", [0, 4])
def test_gradients_are_enabled_inside_no_grad(model, guard, index):
    expected = attribute(model, model.query_encoder[index], images(2), "triplet")
    with guard():
        pair = tuple(batch.clone() for batch in images(2))
        close(attribute(model, model.query_encoder[index], pair, "triplet"), expected)
        assert not torch.is_grad_enabled()


class Residual(nn.Module):
    """A skip around the layer, and steps in place after it; `sums` says whether `torch.fx` can follow."""

    def __init__(self, sums):
        super().__init__()
        self.first, self.layer = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 4, 3, padding=1).double()
        self.sums = sums

    def forward(self, x):
        if self.sums and x.sum() < -1e9:
            return x
        side = self.first(x)
        return (self.layer(side).relu_() + side).mul_(2)


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_a_side_branch_and_a_network_that_cannot_be_split(sums, guard, recwarn):
    torch.manual_seed(1)
    encoder, pair = Residual(sums), images(2)
    with guard():
        found = attribute(cp.SimilarityWrapper(encoder), encoder.layer, tuple(b.clone() for b in pair), relu_attributions=False)
    f, g = (pool(encoder(batch)) for batch in pair)
    w = (1 - (f / f.norm(dim=1, keepdim=True) - g / g.norm(dim=1, keepdim=True)).abs()).detach()
    for batch, one in zip(pair, found, strict=True):
        side = encoder.first(batch).detach()
        activations = encoder.layer(side)
        slopes = torch.autograd.grad((w * (activations.relu() + side).mul(2).mean((2, 3))).sum(), activations)[0].mean((2, 3))
        close(one, torch.einsum("bc,bchw->bhw", slopes, activations)[:, None].detach())
    assert not recwarn  # one more pass is nothing to warn of


def test_one_negative_image_serves_all_pairs_and_noise_tunnel(model):
    method, one = cp.LayerVESM(model, model.query_encoder[2]), NEGATIVE[:1]
    expected = method.attribute(images(2), "triplet", one.expand(2, -1, -1, -1))
    close(method.attribute(images(2), "triplet", one), expected)
    tunnelled = NoiseTunnel(method).attribute(images(2), nt_samples=3, stdevs=0.0, mode="triplet", negative=one)
    close(tunnelled, expected)


def test_there_is_no_convergence_delta(model):
    method = cp.LayerVESM(model, model.query_encoder[2])
    assert not method.has_convergence_delta()
    with pytest.raises(NotImplementedError, match="if `has_convergence_delta"):
        method.compute_convergence_delta()


def test_parameters_get_no_gradient_and_user_hooks_stay(model):
    """Frozen or not, and with hooks of the user's own."""
    model.query_encoder[0].weight.requires_grad_(False)
    kept = []
    model.query_encoder[4].register_forward_hook(lambda *_: kept.append(1))
    attribute(model, model.query_encoder[2], images(2))
    assert kept and all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.query_encoder.parameters()] == [False] + [True] * 5
