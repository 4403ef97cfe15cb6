"""Every class gives the same on a model that is scripted, traced or inside `DataParallel`, on GPUs too, or says why it cannot."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch
from captum.attr import LayerAttribution
from conftest import compile_script, flat, images, make, on_wrapper, tiny_encoder
from test_conformity import OF_PAIRS, OPAQUE, built, case, close, parametrize_cases
from torch import Tensor, nn

import captum_pairwise as cp

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
INPUT = [cls for cls in OF_PAIRS if not issubclass(cls, LayerAttribution)]
LAYER = [cls for cls in OF_PAIRS if issubclass(cls, LayerAttribution)]
AFFINE = [cls for cls in LAYER if cls in (cp.LayerSAM, cp.LayerPairwiseSAM)]
Torchscript = Callable[..., torch.jit.ScriptModule]
torchscripts = pytest.mark.parametrize("torchscript", [lambda module, _: compile_script(module), torch.jit.trace], ids=["script", "trace"])


@torchscripts
@pytest.mark.parametrize("cls", INPUT)
def test_torchscript_encoders_agree(cls: type, torchscript: Torchscript, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    compiled = cp.SimilarityWrapper(torchscript(tiny_encoder(), images(1)[0]))
    close(cls(compiled).attribute(images(2), **arguments), method.attribute(images(2), **arguments))


@torchscripts
@parametrize_cases([case(cls, target=1) for cls in OPAQUE if cls in INPUT])
def test_torchscript_functions_agree(config: dict, torchscript: Torchscript) -> None:
    (method, arguments), (compiled, _) = built(config), built(config, lambda model: torchscript(model, images(1)))
    close(compiled.attribute(**arguments), method.attribute(**arguments))


class Both(nn.Module):
    """A similarity of two halves of encoders for each image, none of them in a wrapper."""

    def __init__(self, query: cp.SplitEncoder, retrieved: cp.SplitEncoder) -> None:
        super().__init__()
        self.query, self.retrieved = query, retrieved

    def forward(self, query: Tensor, retrieved: Tensor) -> Tensor:
        return nn.functional.cosine_similarity(self.query(query), self.retrieved(retrieved))


def halves(encoder: nn.Sequential, torchscript: Torchscript = lambda module, _: module) -> cp.SplitEncoder:
    """The encoder as two modules, each of them by TorchScript; the first in a module that takes hooks."""
    features, tail = encoder[:3], nn.Sequential(*encoder[3:], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    image = images(1)[0]
    return cp.SplitEncoder(nn.Sequential(torchscript(features, image)), torchscript(tail, features(image).detach()))


NOT_AFFINE = [cls for cls in LAYER if cls not in AFFINE]
BUILDS = [*product(NOT_AFFINE, [cp.SimilarityWrapper]), *product([cls for cls in NOT_AFFINE if cls in OPAQUE], [Both])]


@torchscripts
@pytest.mark.parametrize(("cls", "build"), BUILDS)
def test_layers_between_torchscript_halves_agree(cls: type, torchscript: Torchscript, build: Callable) -> None:
    found, arguments = [], make(cls, cp.SimilarityWrapper(tiny_encoder()))[1]
    if "layer_mask" in arguments:
        arguments = {"layer_mask": (cp.grid(5, 5, 2, 1), cp.grid(5, 5, 1, 2))}
    for how in (torchscript, lambda module, _: module):
        encoders = [halves(tiny_encoder(seed), how) for seed in range(2)]
        found.append(cls(build(*encoders), [one.features for one in encoders]).attribute(images(2), **arguments))
    close(*found)


@torchscripts
@pytest.mark.parametrize("cls", AFFINE)
def test_a_torchscript_tail_is_refused_by_closed_forms(cls: type, torchscript: Torchscript) -> None:
    encoders = [halves(tiny_encoder(seed), torchscript) for seed in range(2)]
    with pytest.raises(ValueError, match="Expected only pooling and linear layers after the layer"):
        cls(cp.SimilarityWrapper(*encoders), [one.features for one in encoders]).attribute(images(2))


@torchscripts
@pytest.mark.parametrize("cls", LAYER)
def test_a_layer_of_torchscript_is_refused(cls: type, torchscript: Torchscript) -> None:
    encoder = torchscript(tiny_encoder(), images(1)[0])
    for layer in (encoder, getattr(encoder, "4")):
        with pytest.raises(ValueError, match=r"takes hooks, got TorchScript.*nn.Sequential\(half\)"):
            cls(cp.SimilarityWrapper(encoder), layer)


class Copy(torch.autograd.Function):
    """As `DataParallel` moves rows: without a forward mode, and without a rule for `vmap`."""

    @staticmethod
    def forward(ctx: object, rows: Tensor) -> Tensor:
        return rows.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return Copy.apply(gradient)


class Scattered(nn.Module):
    """`DataParallel` over two devices, imitated on one: a thread for each half of the rows."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *images: Tensor) -> Tensor:
        with_grad = torch.is_grad_enabled()

        def run(rows: tuple[Tensor, ...]) -> Tensor:
            with torch.set_grad_enabled(with_grad):
                return self.module(*rows)

        halves = zip(*(Copy.apply(batch).chunk(2) for batch in images), strict=True)
        with ThreadPoolExecutor() as threads:
            return torch.cat(list(threads.map(run, halves)))


@parametrize_cases([case(cls, target=1) for cls in OPAQUE if cls in INPUT])
def test_rows_may_be_scattered_over_threads(config: dict) -> None:
    (method, arguments), (scattered, _) = built(config), built(config, Scattered)
    close(scattered.attribute(**arguments), method.attribute(**arguments))


PLACES = [
    pytest.param("cpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="DataParallel takes the GPUs where there are some")),
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]


def move_tensors(value: object, place: str) -> object:
    """The tensors in the arguments of `attribute` on a device."""
    if isinstance(value, dict):
        return {name: move_tensors(one, place) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(move_tensors(one, place) for one in value)
    return value.to(place) if isinstance(value, Tensor) else value


@pytest.mark.parametrize("place", PLACES)
@parametrize_cases([case(cls, target=target) for cls, target in product([cls for cls in OPAQUE if cls in INPUT], (1, [0, 2]))])
def test_data_parallel_agrees(config: dict, place: str) -> None:
    """Over all GPUs there are; without one `DataParallel` calls its module."""
    (method, arguments), (parallel, _) = built(config), built(config, lambda model: nn.DataParallel(model.to(place)))
    found = parallel.attribute(**move_tensors(arguments, place))
    config["model"].cpu()
    torch.testing.assert_close(flat(found).cpu(), flat(method.attribute(**arguments)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("cls", OF_PAIRS)
def test_data_parallel_of_a_wrapper_agrees(cls: type, place: str, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    expected = flat(method.attribute(images(2), **arguments))
    parallel, _ = on_wrapper(cls, model, nn.DataParallel(model.to(place)))
    found = parallel.attribute(move_tensors(images(2), place), **arguments)
    torch.testing.assert_close(flat(found).cpu(), expected, rtol=0, atol=1e-9)
