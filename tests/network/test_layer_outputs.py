"""Layers that return tuples: the first tensor is explained, and the other members do not change."""

from collections import OrderedDict, namedtuple

import pytest
import torch
from conftest import random_tensor
from torch import nn

import captum_pairwise as cp
from captum_pairwise.network.layer_outputs import get_first_tensor, make_packer, replace_first_tensor
from captum_pairwise.network.layer_view import record_output, view_layer
from captum_pairwise.network.layers import replace_output

Named = namedtuple("Named", ["nothing", "tokens", "weights"])
PACKS = {
    "tuple": lambda tokens, weights: (tokens, weights),
    "list": lambda tokens, weights: [tokens, weights],
    "none first": lambda tokens, weights: (None, tokens, weights),
    "named": lambda tokens, weights: Named(None, tokens, weights),
    "mapping": lambda tokens, weights: OrderedDict(tokens=tokens, weights=weights),
    "nested": lambda tokens, weights: (tokens, (weights, weights)),
    "the same twice": lambda tokens, weights: (tokens, tokens),
}
TOKENS = random_tensor(2, 5, 4)


class Packing(nn.Module):
    """A layer that returns its output in a container, with weights that depend on the input."""

    def __init__(self, pack):
        super().__init__()
        self.inner, self.pack = nn.Linear(4, 4).double(), pack

    def forward(self, tokens):
        return self.pack(self.inner(tokens).tanh(), tokens.square().sum(2))


def unpack(returned):
    """The output of a packing layer, and its weights."""
    members = [member for member in (returned.values() if isinstance(returned, dict) else returned) if member is not None]
    weights = members[1][0] if isinstance(members[1], tuple) else members[1]
    return members[0], weights if weights.dim() == 2 else weights.sum(2)


class Encoder(nn.Module):
    """Uses both outputs of its layer, with control flow that torch.fx cannot follow."""

    def __init__(self, pack):
        super().__init__()
        self.before, self.layer = nn.Linear(4, 4).double(), Packing(pack)

    def forward(self, tokens):
        output, weights = unpack(self.layer(self.before(tokens)))
        if output.isnan().any():
            raise ArithmeticError
        return (output * weights[..., None]).mean(1).tanh()


def expected(encoder, outputs, example):
    """The encoder written out, with the layer's output replaced and the weights of this example."""
    before = encoder.before(TOKENS[example : example + 1])
    second = unpack(encoder.layer(before))[1]
    return (outputs * second[..., None]).mean(1).tanh()


@pytest.mark.parametrize("name", PACKS)
@torch.no_grad()
def test_only_the_first_tensor_of_a_layer_is_replaced(name):
    encoder, outputs = Encoder(PACKS[name]), random_tensor(3, 5, 4, seed=1)
    view = view_layer(encoder, encoder.layer, TOKENS)
    torch.testing.assert_close(view.output, encoder.layer.inner(encoder.before(TOKENS)).tanh())
    assert view.tail.reruns
    for example in range(2):
        torch.testing.assert_close(view.tail.run(outputs, example), expected(encoder, outputs, example))


class Traced(nn.Module):
    """An encoder that torch.fx can trace, which uses the output and the weights of attention."""

    def __init__(self):
        super().__init__()
        self.before, self.attention = nn.Linear(4, 4).double(), nn.MultiheadAttention(4, 2, batch_first=True).double()

    def forward(self, tokens):
        tokens = self.before(tokens)
        output, weights = self.attention(tokens, tokens, tokens)
        return (output.transpose(1, 2) @ weights).mean(2)


@torch.no_grad()
def test_attention_is_traced_with_the_weights_of_each_example():
    encoder = Traced().eval()
    view, outputs = view_layer(encoder, encoder.attention, TOKENS), random_tensor(3, 5, 4, seed=2)
    assert not view.tail.reruns
    for example in range(2):
        with replace_output(encoder.attention, outputs):
            rerun = encoder(TOKENS[example].expand(3, -1, -1))
        torch.testing.assert_close(view.tail.run(outputs, example), rerun)
        weights = encoder.attention(*[encoder.before(TOKENS[[example]])] * 3)[1]
        torch.testing.assert_close(rerun, (outputs.mT @ weights).mean(2))


class FirstOf(nn.Module):
    """Returns the first output of its layer, unchanged or after an in-place step."""

    def __init__(self, in_place):
        super().__init__()
        self.layer, self.in_place = Packing(PACKS["tuple"]), in_place

    def forward(self, tokens):
        output = self.layer(tokens)[0]
        return output.mul_(2) if self.in_place else output


@pytest.mark.parametrize("in_place", [False, True])
@torch.no_grad()
def test_an_encoder_that_returns_the_layer_output_needs_no_tail(in_place):
    encoder = FirstOf(in_place)
    view, outputs = view_layer(encoder, encoder.layer, TOKENS), random_tensor(3, 5, 4, seed=3)
    assert view.tail.is_affine is not in_place
    torch.testing.assert_close(view.output, encoder.layer.inner(TOKENS).tanh())
    torch.testing.assert_close(view.tail.run(outputs, 0), outputs * (2 if in_place else 1))
    assert torch.equal(outputs, random_tensor(3, 5, 4, seed=3))


@torch.no_grad()
def test_opaque_functions_take_layers_that_return_tuples():
    """An opaque function of two towers gets the same credits as the two towers."""
    encoders = Encoder(PACKS["tuple"]), Encoder(PACKS["named"])
    layers, inputs = tuple(encoder.layer for encoder in encoders), (TOKENS, random_tensor(2, 5, 4, seed=4))

    def opaque(query, retrieved):
        return torch.cosine_similarity(encoders[0](query), encoders[1](retrieved))

    known = cp.LayerExactShapleyTaylor(cp.SimilarityWrapper(*encoders), layers).attribute(inputs)
    assert known.abs().max() > 1e-3
    torch.testing.assert_close(cp.LayerExactShapleyTaylor(opaque, layers).attribute(inputs), known)


def test_recording_and_replacing_do_not_change_the_originals():
    returned = (None, torch.ones(2), "kept")
    assert replace_first_tensor(returned, torch.zeros(2))[2] == "kept" and returned[1].sum() == 2
    mapping = OrderedDict(nothing=None, tokens=torch.ones(2))
    assert replace_first_tensor(mapping, torch.zeros(2))["tokens"].sum() == 0 and mapping["tokens"].sum() == 2
    assert get_first_tensor("none") is None and get_first_tensor((None, ())) is None
    encoder = Encoder(PACKS["tuple"])
    assert record_output(encoder, encoder.layer, TOKENS).shape == (2, 5, 4)
    assert not encoder.layer._forward_hooks


def test_packer_repeats_the_other_tensors_of_one_example():
    outputs = random_tensor(3, 5, 4, seed=5)
    first, second, nothing = make_packer((TOKENS, TOKENS, None), 2)(outputs, 1)
    assert first is outputs and nothing is None
    assert torch.equal(second, TOKENS[[1, 1, 1]])
    for unknown in ("word", 3, TOKENS[0], (TOKENS,), torch.tensor(1.0)):
        assert make_packer((TOKENS, unknown), 2) is None


def test_a_layer_with_an_unused_first_tensor_is_refused():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            return self.recurrent(x)[1][0][-1]  # the last state; the layer's first output is the list of all states

    encoder = Last().eval()
    pair = torch.rand(1, 5, 3), torch.rand(1, 5, 3)
    with pytest.raises(ValueError, match=r"use the first tensor that the layer .LSTM. returns"):
        cp.LayerFactorisedShapleyTaylor(cp.SimilarityWrapper(encoder), encoder.recurrent).attribute(pair)


class Halves(nn.Module):
    """Both signs of its input apart: the first is zero for an example of negative numbers only."""

    def forward(self, numbers):
        return numbers.relu(), (-numbers).relu()


class Joined(nn.Module):
    def __init__(self, weight, after=None):
        super().__init__()
        self.halves, self.weight, self.after = Halves(), weight, nn.Identity() if after is None else after

    def forward(self, numbers):
        positive, negative = self.halves(numbers)
        return self.after(self.weight * positive + negative) + 1


AFTER = {"identity": nn.Identity(), "normalised": nn.LayerNorm(3, elementwise_affine=False), "dead ReLU": nn.Threshold(0.5, 0.0)}


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("order", [slice(None), [1, 0], [0], [0, 0]])
def test_a_first_tensor_of_zeros_is_explained_in_any_place_of_the_batch(order, name):
    encoder, numbers = Joined(1.0, AFTER[name]), torch.tensor([[-2.0, -2.0, -2.0], [1.0, 2.0, 3.0]])[order]
    tail = view_layer(encoder, encoder.halves, numbers).tail
    replaced = random_tensor(2, 3, seed=2).float() * 4
    for example in range(len(numbers)):
        expected = AFTER[name](replaced + (-numbers[example]).relu()) + 1
        torch.testing.assert_close(tail.run(replaced, example), expected)


def test_a_first_tensor_without_effect_is_refused():
    encoder = Joined(0.0)
    for numbers in (torch.tensor([[-2.0, -2.0, -2.0], [1.0, 2.0, 3.0]]), torch.tensor([[1.0, 2.0, 3.0]])):
        with pytest.raises(ValueError, match="does not depend on it"):
            view_layer(encoder, encoder.halves, numbers)
