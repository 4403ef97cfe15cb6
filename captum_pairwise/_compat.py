"""The one place that imports what Captum keeps private; `tests/test_compat.py` pins each signature."""

from captum._utils.common import (
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _run_forward,
    _select_targets,
)
from captum._utils.models.linear_model import SkLearnRidge
from captum._utils.typing import TargetType
from captum.attr._utils.approximation_methods import approximation_parameters
from captum.log.dummy_log import log_usage

expand_additional_forward_args = _expand_additional_forward_args
expand_target = _expand_target
format_additional_forward_args = _format_additional_forward_args
run_forward = _run_forward
select_targets = _select_targets

__all__ = [
    "SkLearnRidge",
    "TargetType",
    "approximation_parameters",
    "expand_additional_forward_args",
    "expand_target",
    "format_additional_forward_args",
    "log_usage",
    "run_forward",
    "select_targets",
]
