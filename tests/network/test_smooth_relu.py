"""Smooth ReLUs against softplus written out, its derivatives in closed form, and the original ReLUs."""

import math
from functools import partial

import pytest
import torch
import torch.autograd.forward_ad as fwad
import torch.nn.functional as F
from conftest import images, random_tensor, tiny_encoder
from torch import nn

from captum_pairwise.network.layer_view import view_layer
from captum_pairwise.network.smooth_relu import smooth_relu

BETA = 3.0
X = torch.cat([torch.linspace(-9, 9, 37, dtype=torch.float64), torch.tensor([0.0, -7.3, 6.1], dtype=torch.float64)])


def s(x, beta=BETA):
    return torch.logaddexp(beta * x, torch.zeros_like(x)) / beta


def leaky(x, a):
    return a * x + (1 - a) * s(x)


def graph(module):
    return torch.fx.symbolic_trace(module)


NEW = {  # calls that return a new tensor, and their expected results
    "nn.ReLU": (nn.ReLU(), s),
    "nn.ReLU6": (nn.ReLU6(), lambda x: s(x) - s(x - 6)),
    "nn.LeakyReLU": (nn.LeakyReLU(0.2), lambda x: leaky(x, 0.2)),
    "nn.Hardtanh": (nn.Hardtanh(-2.0, 1.0), lambda x: -2 + s(x + 2) - s(x - 1)),
    "F.relu": (F.relu, s),
    "F.relu6": (F.relu6, lambda x: s(x) - s(x - 6)),
    "F.leaky_relu": (F.leaky_relu, lambda x: leaky(x, 0.01)),
    "F.hardtanh": (F.hardtanh, lambda x: -1 + s(x + 1) - s(x - 1)),
    "torch.relu": (torch.relu, s),
    "torch.relu, by name": (lambda x: torch.relu(input=x), s),
    "Tensor.relu": (lambda x: x.relu(), s),
    "aten.relu": (torch.ops.aten.relu.default, s),
    "a graph of modules": (graph(nn.Sequential(nn.Identity(), nn.ReLU())), s),
    "a graph of functions": (graph(type("Functions", (nn.Module,), {"forward": lambda self, x: F.relu6(x)})()), lambda x: s(x) - s(x - 6)),
    "a graph of methods": (graph(type("Methods", (nn.Module,), {"forward": lambda self, x: x.relu()})()), s),
}
INPLACE = {
    "nn.ReLU": (nn.ReLU(inplace=True), s),
    "nn.ReLU6": (nn.ReLU6(inplace=True), lambda x: s(x) - s(x - 6)),
    "nn.LeakyReLU": (nn.LeakyReLU(0.2, inplace=True), lambda x: leaky(x, 0.2)),
    "F.relu": (partial(F.relu, inplace=True), s),
    "F.relu_": (F.relu_, s),
    "F.relu6": (partial(F.relu6, inplace=True), lambda x: s(x) - s(x - 6)),
    "F.hardtanh_": (lambda x: F.hardtanh_(x, 0.0, 6.0), lambda x: s(x) - s(x - 6)),
    "F.leaky_relu_": (F.leaky_relu_, lambda x: leaky(x, 0.01)),
    "torch.relu_": (torch.relu_, s),
    "Tensor.relu_": (lambda x: x.relu_(), s),
    "aten.relu_": (torch.ops.aten.relu_.default, s),
}
every_call = pytest.mark.parametrize(("call", "expected"), NEW.values(), ids=NEW)
every_inplace_call = pytest.mark.parametrize(("call", "expected"), INPLACE.values(), ids=INPLACE)
close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)


@every_call
def test_a_relu_is_a_softplus_inside_the_context(call, expected):
    x, sharp = X.clone(), call(X)
    with smooth_relu(BETA):
        close(call(x), expected(X))
    assert torch.equal(x, X) and torch.equal(call(x), sharp) and not torch.equal(sharp, expected(X))


@every_inplace_call
def test_in_place_stays_in_place(call, expected):
    x = X.clone()
    view = x[5:10]
    with smooth_relu(BETA):
        result = call(x)
    assert result is x
    close(x, expected(X))
    close(view, expected(X)[5:10])


@every_inplace_call
def test_in_place_has_the_derivatives(call, expected):
    first, second = [], []
    for function in (call, expected):
        x = X.clone().requires_grad_()
        with smooth_relu(BETA):
            y = function(x * 1.5)
        (gradient,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
        first.append(gradient.detach())
        second.append(torch.autograd.grad(gradient.sum(), x)[0])
    close(first[0], first[1])
    close(second[0], second[1])


@every_call
@pytest.mark.parametrize("beta", [1.0, 10.0, 1e3, 1e6])
def test_error_is_below_its_bound(call, expected, beta):
    """The error is at most `log(2) / beta`."""
    sharp = call(X)
    with smooth_relu(beta):
        error = (call(X) - sharp).abs().max().item()
    assert error <= math.log(2) / beta + 1e-14


def test_the_bound_is_reached_at_the_bend():
    with smooth_relu(BETA):
        close(F.relu(torch.zeros(1).double()), torch.full((1,), math.log(2) / BETA, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_keep_their_digits_in_both_tails(dtype):
    """`σ(βx)` and `β σ(βx) σ(-βx)`, from 40 units below the bend to 40 above, and at it."""
    x = torch.linspace(-40, 40, 81, dtype=dtype).requires_grad_()
    with smooth_relu(2.0):
        y = F.relu(x / 2)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    z = x.detach().double()
    tolerance = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(y.detach().double(), torch.logaddexp(z, torch.zeros_like(z)) / 2, rtol=tolerance, atol=0)
    torch.testing.assert_close(slope.detach().double(), z.sigmoid() / 2, rtol=tolerance, atol=0)
    torch.testing.assert_close(curvature.double(), (-z.abs()).exp() / (1 + (-z.abs()).exp()).square() / 2, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_nothing_overflows(dtype):
    x = torch.tensor([-1e30, -1e4, -1.0, 0.0, 1.0, 1e4, 1e30], dtype=dtype, requires_grad=True)
    with smooth_relu(100.0):
        y = F.relu(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert y.isfinite().all() and torch.equal(y[[0, 1, 5, 6]], x.detach().relu()[[0, 1, 5, 6]])
    torch.testing.assert_close(slope.detach(), torch.tensor([0, 0, 0, 0.5, 1, 1, 1], dtype=dtype), rtol=0, atol=1e-40)
    assert curvature.isfinite().all() and curvature[3] == 25


def mlp(activation):
    w, v = random_tensor(4, 6, seed=1), random_tensor(6, 5, seed=2)
    return lambda x: (activation(activation(x @ w) @ v).square()).sum() ** 0.5


POINT, DIRECTION = random_tensor(4), random_tensor(4, seed=3)


def compute_by_double_backward(function):
    return torch.autograd.functional.hessian(function, POINT) @ DIRECTION


def compute_by_forward_over_reverse(function):
    with fwad.dual_level():
        x = fwad.make_dual(POINT.clone().requires_grad_(), DIRECTION)
        (gradient,) = torch.autograd.grad(function(x), x, create_graph=True)
        return fwad.unpack_dual(gradient).tangent.detach()


def compute_by_torch_func(function):
    return torch.func.jvp(torch.func.grad(function), (POINT,), (DIRECTION,))[1]


def compute_by_differences(function):
    h = 1e-4
    return torch.stack(
        [
            sum(a * b * function(POINT + a * h * unit + b * h * DIRECTION) for a in (1, -1) for b in (1, -1)) / (4 * h * h)
            for unit in torch.eye(4).double()
        ]
    )


@pytest.mark.parametrize("second", [compute_by_double_backward, compute_by_forward_over_reverse, compute_by_torch_func])
@pytest.mark.parametrize("relu", [torch.relu, F.relu, nn.ReLU(), lambda x: F.relu_(x), nn.ReLU(inplace=True)])
def test_second_derivatives_equal_a_network_with_softplus(second, relu):
    by_hand = second(mlp(lambda x: F.softplus(x, BETA, 500)))
    with smooth_relu(BETA):
        found = second(mlp(relu))
    close(found, by_hand)
    torch.testing.assert_close(found, compute_by_differences(mlp(s)), rtol=1e-4, atol=1e-5)
    assert (found - second(mlp(relu))).abs().min() > 1e-3


def test_forward_mode():
    with smooth_relu(BETA):
        found = torch.func.jvp(mlp(torch.relu), (POINT,), (DIRECTION,))[1]
        in_place = torch.func.jvp(mlp(lambda x: x.relu_()), (POINT,), (DIRECTION,))[1]
    close(found, torch.func.grad(mlp(s))(POINT) @ DIRECTION)
    close(in_place, found)


def test_vmap():
    with smooth_relu(BETA):
        close(torch.vmap(F.relu)(X[:, None]), s(X)[:, None])


def test_other_functions_do_not_change():
    integers, steps = torch.tensor([-2, 0, 3]), nn.Threshold(1.0, 0.0)
    with smooth_relu(BETA):
        assert torch.equal(integers.relu(), torch.tensor([0, 0, 3]))
        assert torch.equal(steps(X), torch.where(X > 1, X, 0))
        assert torch.equal(X.clamp(min=0), torch.where(X > 0, X, 0))


def test_models_do_not_change_and_errors_leave_the_context():
    encoder = tiny_encoder()
    before, sharp = [dict(vars(module)) for module in encoder.modules()], encoder(images()[0])
    with pytest.raises(RuntimeError), smooth_relu(BETA):
        encoder(images()[0][:, :1])
    assert torch.equal(encoder(images()[0]), sharp)
    with smooth_relu(BETA):
        smooth = encoder(images()[0])
    assert not torch.equal(smooth, sharp) and [dict(vars(module)) for module in encoder.modules()] == before


@pytest.mark.parametrize("inside", [True, False])
def test_a_traced_tail_is_smooth_inside_the_context_only(inside):
    encoder, (query, _) = tiny_encoder(), images()
    if inside:
        with smooth_relu(BETA):
            view = view_layer(encoder, encoder[2], query)
    else:
        view = view_layer(encoder, encoder[2], query)
    assert not view.tail.reruns
    with smooth_relu(BETA):
        close(view.tail.run(view.output, 0), encoder[4](s(view.output)))
    close(view.tail.run(view.output, 0), encoder[4](view.output.relu()))


def test_contexts_nest():
    with smooth_relu(BETA):
        with smooth_relu(50.0):
            close(F.relu(X), s(X, 50.0))
        close(F.relu(X), s(X))


def test_a_smooth_network_tends_to_the_original(model):
    sharp, errors = model(*images()), []
    for beta in (10.0, 1e3, 1e9):
        with smooth_relu(beta):
            errors.append((model(*images()) - sharp).abs().max().item())
    assert errors[0] > 10 * errors[1] and errors[1] > 10 * errors[2] and errors[2] < 1e-9


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_a_bad_beta_is_refused(beta):
    with pytest.raises(ValueError, match="Expected beta to be a positive number"):
        smooth_relu(beta)
