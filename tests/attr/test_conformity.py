"""Checks of Captum's own test suite for every class: cases in the schema of `captum.testing`, and drivers for them."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from captum.attr import LayerAttribution, NoiseTunnel, PerturbationAttribution
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max
from captum.testing.attr.helpers.gen_test_utils import gen_test_name, get_target_layer, parse_test_config
from conftest import INPUT_FIRST_ORDER, fail, flat, images, make, on_wrapper, random_tensor, state_of, tiny_encoder
from torch import Tensor, nn

import captum_pairwise as cp

close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
CLASSES = [method for method in map(vars(cp).get, cp.__all__) if hasattr(method, "attribute")]
FACTORISED = [cp.FactorisedInteractions, cp.FactorisedShapleyTaylor, cp.LayerFactorisedInteractions, cp.LayerFactorisedShapleyTaylor]
NEED_TOWERS = [*FACTORISED, cp.LayerPairwiseSAM, cp.LayerSAM, cp.LayerVESM]
OF_ONE_IMAGE = [cp.LayerIGCAM]
OPAQUE = [cls for cls in CLASSES if cls not in NEED_TOWERS]
OF_PAIRS = [cls for cls in CLASSES if cls not in OF_ONE_IMAGE]
HALVES = {"feature_mask": (cp.grid(12, 12, 2, 1), cp.grid(12, 12, 1, 2)), "layer_mask": (cp.grid(3, 3, 2, 1), cp.grid(3, 3, 1, 2))}
every_pairwise_class = pytest.mark.parametrize("cls", OF_PAIRS)


class OfTwo(nn.Module):
    """Six similarities of each pair, `[B, 6]`, or as a table `[B, 3, 2]`; no wrapper, and an encoder for each image."""

    def __init__(self) -> None:
        super().__init__()
        self.query_encoder, self.retrieved_encoder = tiny_encoder(0), tiny_encoder(1)

    def forward(self, query: Tensor, retrieved: Tensor, is_table: bool = False) -> Tensor:
        scores = torch.tanh(self.query_encoder(query).mean((2, 3)) * self.retrieved_encoder(retrieved).mean((2, 3)))
        return scores.reshape(-1, 3, 2) if is_table else scores


class OfOne(nn.Module):
    """Six numbers of each image, as `OfTwo`."""

    def __init__(self) -> None:
        super().__init__()
        self.query_encoder = tiny_encoder(0)

    def forward(self, image: Tensor, is_table: bool = False) -> Tensor:
        scores = torch.tanh(self.query_encoder(image).mean((2, 3)))
        return scores.reshape(-1, 3, 2) if is_table else scores


def case(cls: type, name: str = "plain", noise_tunnel: bool = False, **arguments: object) -> dict:
    """An entry of a configuration as in `captum.testing.attr.helpers.test_config`."""
    of_one, is_layer = cls in OF_ONE_IMAGE, issubclass(cls, LayerAttribution)
    model = OfOne() if of_one else OfTwo()
    usual = {} if of_one else make(cls, model)[1]  # with fewer players than usual, because there are many cases
    parts = {"inputs": images(2)[0] if of_one else images(2), **usual, **{name: HALVES[name] for name in usual if name in HALVES}}
    layers = "query_encoder.4" if of_one else ["query_encoder.4", "retrieved_encoder.4"]
    return {
        "name": name,
        "algorithms": [cls],
        "model": model,
        "attribute_args": parts | arguments,
        "layer": layers if is_layer else None,
        "noise_tunnel": noise_tunnel,
    }


def built(config: dict, wrap: Callable = lambda model: model) -> tuple:
    """The method of an entry, and its arguments; `wrap` makes the forward function of the model."""
    (cls,), model, arguments, layer, noise_tunnel, _ = parse_test_config(config)
    method = cls(wrap(model), *([] if layer is None else [get_target_layer(model, layer)]))
    return NoiseTunnel(method) if noise_tunnel else method, arguments


def parametrize_cases(config: list[dict]) -> pytest.MarkDecorator:
    names = [
        gen_test_name(entry["name"], entry["model"].__class__.__name__, *entry["algorithms"], entry["noise_tunnel"]) for entry in config
    ]
    return pytest.mark.parametrize("config", config, ids=names)


# targets

TARGETS = {
    "int": (1, [1, 1]),
    "tensor of one": (torch.tensor([2]), [2, 2]),
    "tensor": (torch.tensor([5, 0]), [5, 0]),
    "list": ([0, 3], [0, 3]),
    "tuple": ((1, 0), [(1, 0), (1, 0)]),
    "list of tuples": ([(2, 1), (0, 1)], [(2, 1), (0, 1)]),
}


def make_target_case(cls: type, name: str, noise_tunnel: bool = False, **more: object) -> dict:
    target, of_each = TARGETS[name]
    table = {"additional_forward_args": True} if isinstance(of_each[0], tuple) else {}
    return case(cls, name, noise_tunnel, target=target, **table, **more)


def alone(inputs: Tensor | tuple[Tensor, ...], example: int) -> Tensor | tuple[Tensor, ...]:
    one = slice(example, example + 1)
    return inputs[one] if isinstance(inputs, Tensor) else tuple(batch[one] for batch in inputs)


@parametrize_cases([make_target_case(cls, name) for cls in OPAQUE for name in TARGETS])
def test_each_example_has_its_own_target(config: dict) -> None:
    method, arguments = built(config)
    together, (_, of_each) = flat(method.attribute(**arguments)), TARGETS[config["name"]]
    del arguments["target"]
    is_table = (arguments.pop("additional_forward_args", False),)
    for example, target in enumerate(of_each):
        chosen = (slice(None), *target) if isinstance(target, tuple) else (slice(None), target)
        method, _ = built(config, lambda model, chosen=chosen: lambda *inputs: model(*inputs, *is_table)[chosen])
        expected = method.attribute(**arguments | {"inputs": alone(arguments["inputs"], example)})
        close(together[example : example + 1], flat(expected))


@pytest.mark.parametrize("target", [[3], torch.tensor([3])], ids=["list", "tensor"])
@parametrize_cases([case(cls) for cls in OPAQUE])
def test_a_batch_of_one_takes_a_list_of_one_target(config: dict, target: list | Tensor) -> None:
    method, arguments = built(config)
    arguments = arguments | {"inputs": alone(arguments["inputs"], 0)}
    close(method.attribute(**arguments, target=target), method.attribute(**arguments, target=3))


BAD_TARGETS = {
    "too many indices": (9999,) * 20,  # what test_hook_removal.py of Captum gives
    "a longer list": [0, 1, 2],
    "a shorter list": [0],
    "a longer tensor": torch.tensor([0, 1, 2]),
    "a table": torch.tensor([[0, 1], [1, 0]]),
}


@parametrize_cases([case(cls, name, target=target) for cls in OPAQUE for name, target in BAD_TARGETS.items()])
def test_a_bad_target_is_an_assertion_error_and_leaves_no_hook(config: dict) -> None:
    method, arguments = built(config)
    before = state_of(config["model"])
    with pytest.raises(AssertionError):
        method.attribute(**arguments)
    assert state_of(config["model"]) == before


@pytest.mark.parametrize("cls", [cls for cls in OF_PAIRS if cls not in (cp.LayerSAM, cp.LayerPairwiseSAM, cp.LayerVESM)])
def test_a_wrapper_refuses_a_target(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    before = state_of(model)
    with pytest.raises(AssertionError):
        method.attribute(images(2), target=0, **arguments)
    assert state_of(model) == before


# hooks


@pytest.mark.parametrize("n_calls", [1, 2])
@parametrize_cases([case(cls, target=1) for cls in OPAQUE])
def test_no_hook_remains_in_a_plain_module(config: dict, n_calls: int) -> None:
    method, arguments = built(config)
    model, calls = config["model"], []
    before = state_of(model)
    method.attribute(**arguments)
    assert state_of(model) == before
    failing = model.query_encoder[4].register_forward_hook(lambda *_: calls.append(1) or (len(calls) == n_calls and fail()) or None)
    before = state_of(model)
    with pytest.raises(ZeroDivisionError):
        method.attribute(**arguments)
    assert state_of(model) == before and len(calls) == n_calls
    failing.remove()


@pytest.mark.parametrize("cls", NEED_TOWERS)
def test_two_tower_methods_refuse_a_plain_function(cls: type) -> None:
    method, arguments = built(case(cls))
    with pytest.raises(ValueError, match="Expected a SimilarityWrapper"):
        method.attribute(**arguments)


# NoiseTunnel

PER_EXAMPLE = {"nt_samples": 2, "stdevs": 0.0}


def baselines_of(cls: type) -> dict:
    return {"baselines": images(2, seed=7)[0] if cls in OF_ONE_IMAGE else images(2, seed=7)}


@parametrize_cases(
    [make_target_case(cls, name, True, **PER_EXAMPLE, **baselines_of(cls)) for cls in OPAQUE for name in ("tensor", "list of tuples")]
)
def test_noise_tunnel_expands_targets_and_baselines(config: dict) -> None:
    tunnel, arguments = built(config)
    plain, _ = built(config | {"noise_tunnel": False})
    expected = flat(plain.attribute(**{name: value for name, value in arguments.items() if name not in PER_EXAMPLE}))
    for kind, value in {"smoothgrad": expected, "smoothgrad_sq": expected**2, "vargrad": torch.zeros_like(expected)}.items():
        close(flat(tunnel.attribute(nt_type=kind, **arguments)), value)
    close(flat(tunnel.attribute(nt_samples_batch_size=1, **arguments)), expected)


@every_pairwise_class
def test_noise_tunnel_without_noise_on_a_wrapper(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    credit = flat(method.attribute(images(2), **arguments))
    for kind, expected in {"smoothgrad": credit, "smoothgrad_sq": credit**2}.items():
        close(flat(NoiseTunnel(method).attribute(images(2), nt_type=kind, **PER_EXAMPLE, **arguments)), expected)


# metrics


@every_pairwise_class
def test_sensitivity_is_the_relative_change_under_a_perturbation(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)

    def darker(pair: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(0.9 * batch for batch in pair)

    def explain(pair: tuple[Tensor, ...]) -> tuple[Tensor]:  # one tensor: the metric wants as many as there are inputs, or a tuple
        return (flat(method.attribute(pair, **arguments)),)

    (plain,), (perturbed,) = explain(images(2)), explain(darker(images(2)))
    found = sensitivity_max(explain, images(2), perturb_func=darker, n_perturb_samples=2)
    close(found, (perturbed - plain).norm(dim=1) / plain.norm(dim=1))


@pytest.mark.parametrize("cls", [*INPUT_FIRST_ORDER, cp.SBSM])
def test_captums_infidelity_takes_first_order_maps(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    pair, noise = images(2), tuple(random_tensor(1, 3, 12, 12, seed=seed) / 20 for seed in (8, 9))
    credits, changed = method.attribute(pair, **arguments), tuple(batch - one for batch, one in zip(pair, noise, strict=True))
    found = infidelity(model, lambda _: (tuple(one.expand(2, -1, -1, -1) for one in noise), changed), pair, credits, n_perturb_samples=1)
    claimed = sum((one * credit).sum((1, 2, 3)) for one, credit in zip(noise, credits, strict=True))
    close(found, (claimed - (model(*pair) - model(*changed))).square().detach())


@pytest.mark.parametrize("kind", ["coalitions", "presences"])
@pytest.mark.parametrize("side", [0, 1], ids=["query", "retrieved"])
@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_infidelity_of_eq_3_is_zero(times: int, side: int, kind: str) -> None:
    """The game of Prop. 4.1 is linear in the presences: the map explains all of it; 0 or 2 times the map misses the whole change."""
    encoder, pair = tiny_encoder(), images(2)
    model, baselines = cp.SimilarityWrapper(encoder, similarity="dot"), tuple(map(cp.blur_baseline, pair))
    credit = cp.LayerSAM(model, encoder[4]).attribute(pair, baselines)[side]
    (here, there), absent = (encoder(pair[side]), encoder(pair[1 - side])), encoder(baselines[side])
    drawn = torch.rand(8, 2, 1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    presences = (drawn > 0.5).double() if kind == "coalitions" else drawn

    def value(z: Tensor) -> Tensor:
        """The similarity with each position as present as `z` says; Captum repeats every example in turn."""
        n = len(z) // 2
        shown, other, without = (maps.repeat_interleave(n, 0) for maps in (here, there, absent))
        return ((without + z * (shown - without)).mean((2, 3)) * other.mean((2, 3))).sum(1)

    leaving = infidelity_perturb_func_decorator(True)(lambda _: presences.transpose(0, 1).flatten(0, 1))
    found = infidelity(value, leaving, torch.ones(2, 1, 3, 3).double(), times * credit, n_perturb_samples=8)
    changes = torch.stack([value(torch.ones(2, 1, 3, 3)) - value(z) for z in presences])
    # three sums (two values and a sum of credits) of 9 positions times 6 channels, and the pooled channels of the other image
    size = (((absent.abs() + (here - absent).abs()).mean((2, 3))) * there.abs().mean((2, 3))).sum(1).max().item()
    rounding = 3 * (9 * 6 + 9) * torch.finfo(torch.float64).eps * size
    torch.testing.assert_close(found, ((times - 1) ** 2 * changes.square().mean(0)).detach(), rtol=1e-9, atol=rounding**2)
    assert (changes.square().mean(0) > 1e-6).all()


# Captum's shape


@every_pairwise_class
def test_a_bound_method_is_a_forward_function(cls: type, model: cp.SimilarityWrapper) -> None:
    (method, arguments), (bound, _) = on_wrapper(cls, model), on_wrapper(cls, model, model.forward)
    close(bound.attribute(images(2), **arguments), method.attribute(images(2), **arguments))


@parametrize_cases([case(cls, target=1) for cls in OPAQUE])
def test_a_bound_method_of_a_plain_module_is_a_forward_function(config: dict) -> None:
    (method, arguments), (bound, _) = built(config), built(config, lambda model: model.forward)
    close(bound.attribute(**arguments), method.attribute(**arguments))


@pytest.mark.parametrize("cls", CLASSES)
def test_attribute_has_wrapped_and_multiplies_by_inputs(cls: type) -> None:
    method, _ = built(case(cls))
    assert callable(method.attribute.__wrapped__) and method.multiplies_by_inputs


@pytest.mark.parametrize("cls", [cls for cls in OF_PAIRS if issubclass(cls, PerturbationAttribution)])
def test_perturbation_methods_never_build_a_graph(cls: type, model: cp.SimilarityWrapper) -> None:
    (method, arguments), modes = on_wrapper(cls, model), []
    model.query_encoder[4].register_forward_hook(lambda *_: modes.append(torch.is_grad_enabled()))
    with torch.enable_grad():
        method.attribute(images(2), **arguments)
    assert set(modes) == {False}
