"""Precision and devices of the gradient methods: float32, float64, autocast; the CPU and a GPU where there is one."""

import pytest
import torch
from conftest import images, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.estimators.paths.derivatives import point_gradients
from captum_pairwise.network.batching import Chunk


class Attention(nn.Module):
    """A small transformer over the positions of the tiny encoder's map: attention is what has fused kernels."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = tiny_encoder()
        self.block = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True).double()
        self.eval()

    def forward(self, batch):
        return self.block(self.features(batch).flatten(2).mT).mean(1)


def ig_sam(model):
    return lambda pair: cp.LayerIGSAM(model, model.query_encoder.features).attribute(pair, n_steps=20)[0]


def hessians(model):
    return lambda pair: cp.LayerIntegratedHessians(model, model.query_encoder.features, weight="taylor").attribute(pair)


def whole_hessians(model):
    return lambda pair: cp.LayerIntegratedHessians(model, model.query_encoder.features, within=True).interactions(pair).second_order


def projection(model):
    return lambda pair: cp.project_attention(model, model.query_encoder.features, pair, torch.ones(len(pair[0]), 12, 12))


def factorised(model):
    return lambda pair: cp.LayerFactorisedShapleyTaylor(model, model.query_encoder.features).attribute(pair, n_samples=2**9)


def ig_cam(model):
    return lambda pair: cp.LayerIGCAM(model.query_encoder, model.query_encoder.features).attribute(pair[0], target=1)


def vesm(model):
    return lambda pair: cp.LayerVESM(model, model.query_encoder.features).attribute(pair)[0]


METHODS = [ig_sam, ig_cam, hessians, whole_hessians, projection, factorised, vesm]
every_method = pytest.mark.parametrize("make", METHODS)


def model_on(device, dtype):
    return cp.SimilarityWrapper(Attention().to(device, dtype))


def pair_on(device, dtype):
    return tuple(batch.to(device, dtype) for batch in images(2))


@every_method
def test_float32_is_near_float64(make):
    exact = make(model_on("cpu", torch.float64))(pair_on("cpu", torch.float64))
    found = make(model_on("cpu", torch.float32))(pair_on("cpu", torch.float32))
    assert exact.dtype == torch.float64 and found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4 * exact.abs().max().item())


@every_method
def test_autocast_returns_near_results_in_float32(make):
    exact = make(model_on("cpu", torch.float64))(pair_on("cpu", torch.float64))
    model, pair = model_on("cpu", torch.float32), pair_on("cpu", torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = make(model)(pair)
    assert found.dtype == torch.float32 and found.isfinite().all()
    assert (found != make(model)(pair)).any()  # half precision was at work
    assert (found - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
def test_towers_of_different_precision_use_the_higher_one(similarity):
    low, high = tiny_encoder(0).float(), tiny_encoder(1)
    pair, masks = (images(1)[0].float(), images(1)[1]), (cp.grid(12, 12, 2, 2),) * 2
    mixed = cp.SimilarityWrapper(low, high, similarity=similarity)
    exact = cp.SimilarityWrapper(tiny_encoder(0), tiny_encoder(1), similarity=similarity)
    for cls in (cp.FactorisedShapleyTaylor, cp.IntegratedHessians):
        found, expected = cls(mixed).attribute(pair, feature_mask=masks), cls(exact).attribute(images(1), feature_mask=masks)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@needs_cuda
@every_method
def test_cuda_agrees_with_the_cpu(make):
    found = make(model_on("cuda", torch.float64))(pair_on("cuda", torch.float64))
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), make(model_on("cpu", torch.float64))(pair_on("cpu", torch.float64)), rtol=0, atol=1e-9)


@needs_cuda
@every_method
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_cuda_autocast_with_fused_attention(make, dtype):
    exact = make(model_on("cpu", torch.float64))(pair_on("cpu", torch.float64))
    with torch.autocast("cuda", dtype):
        found = make(model_on("cuda", torch.float32))(pair_on("cuda", torch.float32))
    assert found.device.type == "cuda" and found.dtype == torch.float32
    assert (found.cpu() - exact).norm() < 0.05 * exact.norm()


def test_a_chunk_of_derivatives_that_does_not_fit_is_halved():
    sizes = []

    def function(rows, _):
        sizes.append(len(rows))
        if len(rows) > 3:
            raise RuntimeError("out of memory")
        return rows.square().sum(1)

    points = torch.arange(12.0).reshape(6, 2)
    assert torch.equal(point_gradients(function, points, Chunk(24)), 2 * points)
    assert sizes == [6, 3, 3]
