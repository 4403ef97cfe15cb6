"""Derivatives of batches of points, compared with `torch.autograd.functional` for single points."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest
import torch
from conftest import random_tensor
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from captum_pairwise.estimators.paths.derivatives import differentiable, directional, hessian_products, jacobians, point_gradients
from captum_pairwise.network.batching import Chunk


def network(n_inputs: int, n_outputs: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_inputs, 8), nn.Tanh(), nn.Linear(8, n_outputs)).double()


def test_threads_take_derivatives_one_after_the_other():
    """PyTorch has one level of forward mode for all threads, and one switch of its fast path."""
    points, directions, are_ready = random_tensor(2, 3, seed=1), random_tensor(2, 3, seed=2), Barrier(2, timeout=60)

    def differentiate(_: int) -> Tensor:
        are_ready.wait()
        with differentiable():
            return directional(lambda rows: (sleep(0.1), rows.sin())[1], points, directions)

    fastpath = torch.backends.mha.get_fastpath_enabled()
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(differentiate, range(2)):
            torch.testing.assert_close(found, points.cos() * directions)
    assert torch.backends.mha.get_fastpath_enabled() == fastpath


class Doubled(torch.autograd.Function):
    """An operation without forward mode."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


class Tripled(torch.autograd.Function):
    """An operation with forward mode in the old style, which `torch.func` does not accept."""

    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, slope):
        return 3 * slope

    @staticmethod
    def jvp(ctx, tangent):
        return 3 * tangent


@pytest.mark.parametrize("n_outputs", [2, 5], ids=["reverse", "forward"])
@pytest.mark.parametrize("wrap", [lambda x: x, Doubled.apply, Tripled.apply], ids=["plain", "no forward mode", "not vectorised"])
@pytest.mark.parametrize("chunk", [1, 100])
def test_jacobians(n_outputs, wrap, chunk):
    net, points = network(3, n_outputs), random_tensor(4, 3)
    embeddings, found = jacobians(lambda z: wrap(net(z)), points, Chunk(chunk))
    expected = torch.stack([torch.autograd.functional.jacobian(lambda z: wrap(net(z)), point) for point in points]).mT
    torch.testing.assert_close(embeddings, wrap(net(points)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("wrap", [lambda x: x, Doubled.apply, Tripled.apply], ids=["plain", "no forward mode", "not vectorised"])
@pytest.mark.parametrize("n_calls", [0, 1], ids=["embeddings", "slopes"])
def test_an_error_of_the_network_is_not_taken_for_a_missing_derivative(wrap, n_calls):
    """Only the probe, at a single point, may catch errors. The network fails after some calls with all points."""
    net, points, calls = network(3, 5), random_tensor(4, 3), []

    def embed(z):
        if z.shape[-2] > 1:
            calls.append(z)
            if len(calls) > n_calls:
                raise RuntimeError("a mistake of the user")
        return wrap(net(z))

    with pytest.raises(RuntimeError, match="a mistake of the user"):
        jacobians(embed, points, Chunk(100))
    assert len(calls) == n_calls + 1


@pytest.mark.parametrize("chunk", [1, 100])
def test_gradients_and_hessian_products_of_a_function_of_the_row(chunk):
    net, points, directions, weights = network(3, 5), random_tensor(4, 3), random_tensor(4, 3, seed=1), random_tensor(4, 5, seed=2)

    def function(rows, index):
        return (net(rows) * weights[index]).sum(1).sin()

    for k, point in enumerate(points):
        one = lambda z, k=k: (net(z) * weights[k]).sum().sin()  # noqa: E731
        slope, hessian = torch.autograd.functional.jacobian(one, point), torch.autograd.functional.hessian(one, point)
        torch.testing.assert_close(point_gradients(function, points, Chunk(chunk))[k], slope, rtol=0, atol=1e-14)
        torch.testing.assert_close(
            hessian_products(function, points, directions, Chunk(chunk))[k], hessian @ directions[k], rtol=0, atol=1e-14
        )


def test_constant_functions_have_zero_derivatives():
    points, row = random_tensor(2, 3), random_tensor(4)
    assert (point_gradients(lambda rows, _: row[:1].expand(len(rows)), points, Chunk(8)) == 0).all()
    assert (hessian_products(lambda rows, _: rows.sum(1), points, points, Chunk(8)) == 0).all()
    assert (directional(lambda rows: row.expand(len(rows), 4), points, points) == 0).all()
    assert jacobians(lambda rows: row.expand(len(rows), 4), points, Chunk(8))[1].shape == (2, 3, 4)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_derivatives_are_independent_of_the_grad_mode_of_the_caller(mode):
    net, points = network(3, 5), random_tensor(2, 3)
    expected = jacobians(net, points, Chunk(8))[1].detach()
    with mode(), differentiable():
        torch.testing.assert_close(jacobians(net, points, Chunk(8))[1], expected, rtol=0, atol=1e-14)
        assert point_gradients(lambda rows, _: net(rows).sum(1), points, Chunk(8)).shape == (2, 3)


@pytest.mark.parametrize("block", [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.MultiheadAttention(8, 2, batch_first=True)])
def test_fused_attention_has_derivatives(block):
    """Without `differentiable` it has no forward mode on the CPU and no second derivatives, so the test would fail."""
    block = block.double().eval()
    tokens = random_tensor(5, 8)

    def embed(z):
        given = (z[:, :, None] * tokens,) * (3 if isinstance(block, nn.MultiheadAttention) else 1)
        out = block(*given)
        return (out[0] if isinstance(out, tuple) else out).mean(1)

    points, step = torch.full((1, 5), 0.5, dtype=torch.float64), 1e-5
    with torch.no_grad():
        units = step * torch.eye(5, dtype=torch.float64)
        numerical = (embed(points + units) - embed(points - units)) / (2 * step)
    with differentiable():
        _, slopes = jacobians(embed, points, Chunk(8))
        curvature = hessian_products(lambda rows, _: embed(rows).square().sum(1), points, torch.ones_like(points), Chunk(8))
        there, back = (point_gradients(lambda rows, _: embed(rows).square().sum(1), points + sign * step, Chunk(8)) for sign in (1, -1))
    torch.testing.assert_close(slopes[0], numerical, rtol=0, atol=1e-8)
    torch.testing.assert_close(curvature, (there - back) / (2 * step), rtol=0, atol=1e-7)


@pytest.mark.parametrize("before", [True, False])
def test_attention_fastpath_is_restored(before):
    torch.backends.mha.set_fastpath_enabled(before)
    try:
        with pytest.raises(KeyError), differentiable():
            assert not torch.backends.mha.get_fastpath_enabled()
            raise KeyError
        assert torch.backends.mha.get_fastpath_enabled() is before
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


class Once(torch.autograd.Function):
    """An operation without second derivatives, like many custom kernels."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sigmoid() * x

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        (x,) = ctx.saved_tensors
        return slope * (x.sigmoid() + x * x.sigmoid() * (1 - x.sigmoid()))


def test_second_derivatives_of_once_differentiable_operations_are_refused():
    points = random_tensor(2, 3)
    assert point_gradients(lambda rows, _: Once.apply(rows).sum(1), points, Chunk(8)).all()
    with pytest.raises(ValueError, match="differentiated twice"):
        hessian_products(lambda rows, _: Once.apply(rows).sum(1), points, points, Chunk(8))
    relus = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()  # its parameters require gradients, too
    assert hessian_products(lambda rows, _: relus(rows)[:, 0], points, points, Chunk(8)).shape == (2, 3)


def test_chunks_respect_their_size():
    sizes = []

    def function(rows, _):
        sizes.append(len(rows))
        return rows.square().sum(1)

    for derivative in (
        lambda: point_gradients(function, random_tensor(10, 3), Chunk(8)),
        lambda: hessian_products(function, *[random_tensor(10, 3)] * 2, Chunk(8)),
    ):
        sizes.clear()
        derivative()
        assert sum(sizes) == 10 and max(sizes) == 2
