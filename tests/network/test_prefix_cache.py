"""The modules before a layer are cached for each example, and skipped only if this does not change the result."""

import pytest
import torch
from conftest import random_tensor
from torch import nn

from captum_pairwise.network.layer_view import view_layer
from captum_pairwise.network.layers import record_calls, replace_output
from captum_pairwise.network.prefix_cache import record_prefix, skip_prefix

INPUTS = random_tensor(2, 3, 4)


class Deep(nn.Module):
    """Three blocks with control flow that torch.fx cannot follow, and any step between the first and the second."""

    def __init__(self, between=lambda net, x: x):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)).double()
        self.between, self.activation, self.shared = between, nn.ReLU(inplace=True), nn.Linear(4, 4).double()
        for seed, parameter in enumerate(self.parameters()):
            parameter.data = random_tensor(*parameter.shape, seed=seed)

    def forward(self, x):
        x = self.between(self, self.blocks[0](x))
        x = self.blocks[2](self.blocks[1](x))
        return x.mean(1) if x.isfinite().all() else x


def run_in_place(net, x):
    net.activation(x)  # works in place, its result is not used
    return x


def run_twice(net, x):
    return torch.cat([net.shared(x), net.shared(2 * x)[:, :1]], 1)


BETWEEN = {"nothing": lambda net, x: x, "in-place module as a statement": run_in_place, "a module used twice": run_twice}


@pytest.mark.parametrize("name", BETWEEN)
@pytest.mark.parametrize("negative", [False, True])
@torch.no_grad()
def test_a_rerun_without_the_prefix_is_the_whole_rerun(name, negative):
    encoder = Deep(BETWEEN[name])
    inputs = INPUTS * torch.tensor([1, -1 if negative else 1])[:, None, None]
    layer = encoder.blocks[1]
    view = view_layer(encoder, layer, inputs)
    for example in range(2):
        outputs = random_tensor(4, *view.output.shape[1:], seed=example)
        with replace_output(layer, outputs):
            expected = encoder(inputs[example].expand(4, -1, -1))
        torch.testing.assert_close(view.tail.run(outputs, example), expected)
    assert not any("forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks for module in encoder.modules())


@torch.no_grad()
def test_only_what_follows_the_layer_runs_again():
    encoder = Deep()
    view, parts = view_layer(encoder, encoder.blocks[1], INPUTS), [encoder.blocks[k][0] for k in range(3)]
    with record_calls(parts) as calls:
        view.tail.run(view.output, 0)
    assert [len(one) for one in calls] == [0, 0, 1] and view.tail.reruns and not view.tail.reruns_prefix


@torch.no_grad()
def test_hooked_reused_and_in_place_modules_are_not_cached():
    encoder = Deep(lambda net, x: run_twice(net, run_in_place(net, x)))
    encoder.blocks[0].register_forward_hook(lambda *_: None)
    assert set(record_prefix(encoder, encoder.blocks[2], INPUTS)) == {*encoder.blocks[0], encoder.blocks[1], encoder.blocks[2]}


@torch.no_grad()
def test_a_skipped_module_returns_the_rows_of_the_example():
    encoder = Deep()
    prefix = record_prefix(encoder, encoder.blocks[1], INPUTS)
    for example in range(2):
        expected = encoder.blocks[0](INPUTS[example]).expand(3, -1, -1)
        with skip_prefix(prefix, example, 3):
            torch.testing.assert_close(encoder.blocks[0](torch.zeros(3, 3, 4)), expected)


@torch.no_grad()
def test_modules_after_a_hooked_layer_are_not_cached():
    encoder = Deep()
    encoder.blocks[1].register_forward_hook(lambda *_: None)
    assert set(record_prefix(encoder, encoder.blocks[1], INPUTS)) == {encoder.blocks[0], *encoder.blocks[1]}
    view, outputs = view_layer(encoder, encoder.blocks[1], INPUTS), random_tensor(4, 3, 4, seed=9)
    torch.testing.assert_close(view.tail.run(outputs, 0), encoder.blocks[2](outputs).mean(1))


@pytest.mark.parametrize("name", BETWEEN)
def test_inference_mode_makes_no_difference(name):
    encoder = Deep(BETWEEN[name])
    with torch.no_grad():
        expected = view_layer(encoder, encoder.blocks[1], INPUTS).tail.run(random_tensor(4, 4, 4), 1)
        known = set(record_prefix(encoder, encoder.blocks[1], INPUTS))
    with torch.inference_mode():
        view = view_layer(encoder, encoder.blocks[1], INPUTS.clone())
        assert torch.equal(view.tail.run(random_tensor(4, 4, 4), 1), expected)
        assert set(record_prefix(encoder, encoder.blocks[1], INPUTS.clone())) == known


def test_gradient_flows_through_the_tail_of_a_rerun():
    encoder = Deep()
    view, outputs = view_layer(encoder, encoder.blocks[1], INPUTS), random_tensor(4, 3, 4).requires_grad_()
    (found,) = torch.autograd.grad(view.tail.run(outputs, 0).square().sum(), outputs)
    (expected,) = torch.autograd.grad(encoder.blocks[2](outputs).mean(1).square().sum(), outputs)
    torch.testing.assert_close(found, expected)


def test_forwards_are_restored_after_a_failure():
    encoder = Deep()
    prefix = record_prefix(encoder, encoder.blocks[1], INPUTS)
    with pytest.raises(ArithmeticError), skip_prefix(prefix, 0, 1):
        raise ArithmeticError
    assert not any("forward" in vars(module) for module in encoder.modules())


class _Marked(nn.Module):
    """A module that stores a number for a later one, so skipping it would change the result."""

    def forward(self, x):
        self.seen = x.sum(1, keepdim=True)
        return x


def test_a_prefix_with_side_effects_is_not_skipped():
    class Noted(nn.Module):
        def __init__(self):
            super().__init__()
            self.note, self.layer, self.last = _Marked(), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            hidden = self.layer(self.note(x)) if x.sum() > -1e9 else x  # cannot be traced
            return self.last(hidden) * self.note.seen

    encoder, inputs = Noted(), torch.rand(2, 4)
    with torch.no_grad():
        view = view_layer(encoder, encoder.layer, inputs)
        rows = torch.rand(3, 4)
        torch.testing.assert_close(view.tail.run(rows, 0), encoder.last(rows) * inputs[0].sum())
    assert encoder.note not in record_prefix(encoder, encoder.layer, inputs)
