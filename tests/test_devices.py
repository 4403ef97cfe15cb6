"""All tensors of a call are on the device of its inputs, and no number depends on the default device or dtype of torch."""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import second_device
import torch
from device_cases import list_calls, list_tensors
from own_methods import list_own_classes
from second_device import CPU
from test_architecture import MODULES
from torch.testing import assert_close

from captum_pairwise.testing.battery import PASSES

# functions of torch that make a tensor from numbers alone, on the default device; and the ones whose dtype is the default dtype
REAL = {"empty", "eye", "linspace", "logspace", "normal", "ones", "rand", "randn", "zeros"}
FACTORIES = {
    "arange",
    "as_tensor",
    "asarray",
    "full",
    "randint",
    "randperm",
    "scalar_tensor",
    "tensor",
    "tril_indices",
    "triu_indices",
} | REAL
# a module's buffers lie where its parameters lie, and these are made on the default device
EXCEPTIONS = {("models.backbones", "torch.tensor(mean)"), ("models.backbones", "torch.tensor(std)")}


def list_factory_calls(tree: ast.AST) -> Iterator[tuple[str, str, set[str | None]]]:
    """Name, source and keywords of each call of a factory of torch."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FACTORIES:
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
                yield node.func.attr, ast.unparse(node), {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("name", MODULES)
def test_every_new_tensor_names_its_device(name):
    calls = [call for call in list_factory_calls(MODULES[name]) if (name, call[1]) not in EXCEPTIONS]
    assert not [source for _, source, keywords in calls if "device" not in keywords]
    assert not [source for factory, source, keywords in calls if factory in REAL and "dtype" not in keywords]


def test_every_exception_is_a_call():
    assert EXCEPTIONS == {(name, source) for name, tree in MODULES.items() for _, source, _ in list_factory_calls(tree)} & EXCEPTIONS


CALLS = list_calls(CPU)


@cache
def run_on_the_cpu(name: str) -> list[torch.Tensor]:
    """The results of a call with PyTorch's own defaults."""
    return list_tensors(CALLS[name]())


@contextmanager
def other_default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("setting", [torch.float16, torch.float64, torch.device("meta")], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_defaults_of_torch_change_nothing(name, setting):
    expected = run_on_the_cpu(name)
    with other_default_dtype(setting) if isinstance(setting, torch.dtype) else setting:
        actual = list_tensors(CALLS[name]())
    assert expected
    assert_close(actual, expected)


needs_python_devices = pytest.mark.skipif(not second_device.IS_AVAILABLE, reason="a device written in Python needs a newer torch")


@needs_python_devices
@pytest.mark.parametrize("cls", list_own_classes(), ids=lambda cls: cls.__name__)
def test_every_method_runs_on_a_second_device(cls, process):
    (outcome,) = process.submit(second_device.check_on_second_device, cls).result().outcomes
    assert outcome.status == PASSES, outcome.message


@needs_python_devices
@pytest.mark.parametrize("name", CALLS)
def test_every_call_runs_on_a_second_device(name, process):
    """All results are the same, on the device of the images."""
    tensors, devices = process.submit(second_device.call_on_second_device, name).result()
    assert set(devices) == {second_device.NAME}
    assert_close(tensors, run_on_the_cpu(name), rtol=1e-4, atol=1e-5)


@needs_python_devices
def test_a_second_device_refuses_tensors_on_the_cpu(process):
    with pytest.raises(RuntimeError, match="Expected all tensors on the same device"):
        process.submit(second_device.multiply_with_the_cpu).result()
