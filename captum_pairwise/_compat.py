"""All imports of private names of Captum; `tests/test_compat.py` checks their signatures."""

import captum._utils.common as common
from captum._utils.models.linear_model import SkLearnRidge as SkLearnRidge
from captum._utils.typing import TargetType as TargetType
from captum.attr._utils.approximation_methods import approximation_parameters as approximation_parameters
from captum.log.dummy_log import log_usage as log_usage

expand_additional_forward_args = common._expand_additional_forward_args
expand_target = common._expand_target
format_additional_forward_args = common._format_additional_forward_args
run_forward = common._run_forward
select_targets = common._select_targets
