"""The private functions of Captum exist, with the parameters that the package passes."""

import inspect

import pytest
import torch

from captum_pairwise import _compat

FIRST_PARAMETERS = {
    "approximation_parameters": ["method"],
    "expand_additional_forward_args": ["additional_forward_args", "n_steps"],
    "expand_target": ["target", "n_steps"],
    "format_additional_forward_args": ["additional_forward_args"],
    "run_forward": ["forward_func", "inputs", "target", "additional_forward_args"],
    "select_targets": ["output", "target"],
}
OTHERS = {"SkLearnRidge", "TargetType", "log_usage"}


def test_every_name_is_tested() -> None:
    names = {name for name in vars(_compat) if not name.startswith("_")}
    assert names - {"common", "jaxtyping"} == {*FIRST_PARAMETERS, *OTHERS}  # shape checks add the name jaxtyping


@pytest.mark.parametrize("name", FIRST_PARAMETERS)
def test_first_parameters(name: str) -> None:
    expected, parameters = FIRST_PARAMETERS[name], inspect.signature(getattr(_compat, name)).parameters
    assert list(parameters)[: len(expected)] == expected
    assert all(parameter.default is not inspect.Parameter.empty for parameter in list(parameters.values())[len(expected) :])


@pytest.mark.parametrize(
    ("expand", "argument"),
    [(_compat.expand_target, lambda pair: pair), (_compat.expand_additional_forward_args, lambda pair: (pair,))],
    ids=["target", "additional_forward_args"],
)
def test_rows_are_tiled_step_major(expand: object, argument: object) -> None:
    pair = torch.arange(2)
    tiled = argument(torch.cat([pair] * 3))
    torch.testing.assert_close(expand(argument(pair), 3), tiled)


def test_format_makes_a_tuple() -> None:
    assert [_compat.format_additional_forward_args(args) for args in (None, 1, (1, 2))] == [None, (1,), (1, 2)]


def test_run_forward_passes_arguments_and_selects_the_target() -> None:
    inputs, table = torch.arange(2), torch.arange(6).reshape(2, 3)
    scores = _compat.run_forward(lambda a, b, more: a[:, None] + b[:, None] + more, (inputs, inputs), [2, 0], table)
    assert scores.tolist() == [table[0, 2], 2 * inputs[1] + table[1, 0]]


def test_select_targets_refuses_a_target_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match="target"):
        _compat.select_targets(torch.zeros(2), 1)


def test_log_usage_keeps_the_function_for_noise_tunnel() -> None:
    def attribute() -> None: ...

    assert _compat.log_usage()(attribute).__wrapped__ is attribute
