"""Rows of one pair in an opaque forward function, with the target and the other arguments of this pair."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captum_pairwise._compat import expand_additional_forward_args, expand_target, format_additional_forward_args, run_forward
from captum_pairwise.games.context import ForwardContext


def refuse_other_lengths(context: ForwardContext, n_pairs: int) -> None:
    """Refuse a target or additional arguments that do not have one entry per pair.

    Raises:
        ValueError: an argument has another length.
        AssertionError: the target has, as in Captum.
    """
    for argument in format_additional_forward_args(context.additional_forward_args) or ():
        if isinstance(argument, Tensor) and argument.dim() and len(argument) != n_pairs:
            raise ValueError(
                f"Expected additional_forward_args with {n_pairs} entries, one per pair, got shape {tuple(argument.shape)}. Keep a tensor "
                "that all pairs share inside the forward function."
            )
    target = context.target
    if (isinstance(target, list) or (isinstance(target, Tensor) and target.numel() > 1)) and len(target) != n_pairs:
        raise AssertionError(f"Expected one target for all examples, or one for each of the {n_pairs}, got {len(target)}.")


def slice_arguments(context: ForwardContext, part: slice) -> tuple[Any, tuple | None]:
    """The target and the additional arguments of a part of the batch."""
    target: Any = context.target
    if (isinstance(target, Tensor) and target.numel() > 1) or (isinstance(target, list) and len(target) > 1):
        target = target[part]
    arguments = format_additional_forward_args(context.additional_forward_args) or ()
    return target, tuple(a[part] if isinstance(a, Tensor) and a.dim() else a for a in arguments) or None


def run_example(forward_func: Callable[..., object], context: ForwardContext, *rows: Tensor, example: int) -> object:
    """Run the user's function on rows that all come from one pair, with the target and the arguments of this pair."""
    target, arguments = slice_arguments(context, slice(example, example + 1))
    n_rows = len(rows[0])
    expanded = expand_additional_forward_args(arguments, n_rows) if arguments else None
    return run_forward(forward_func, rows, expand_target(target, n_rows), expanded)
