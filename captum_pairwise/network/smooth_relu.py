"""Softplus in place of every ReLU while a context lasts: a network with ReLUs has no curvature, a smoothed one has."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def smooth_relu(beta: float) -> TorchFunctionMode:
    """A context in which every ReLU of any network is `s(x) = log(1 + exp(beta x)) / beta`, which tends to it as `beta` grows.

    Integrated Hessians need it (Janizek et al. 2020): second derivatives of a network with ReLUs are 0 wherever they exist.

    ReLU6 and hard tanh are `min + s(x - min) - s(x - max)`, leaky and parametric ReLUs `a x + (1 - a) s(x)`, thresholds `t + s(x - t)`: as
    modules, functions, methods and steps of a graph, in place or not. Models are not touched. Code that never comes back to Python
    (TorchScript), other threads (`DataParallel`) and other functions with a kink are as before.

    Args:
        beta: how sharp the bend is; `s` is at most `log(2) / beta` above the ReLU.

    Raises:
        ValueError: `beta` is no positive number.

    >>> with smooth_relu(beta=1.0):
    ...     torch.nn.ReLU()(torch.zeros(1))
    tensor([0.6931])
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"Expected beta to be a positive number, got {beta}. Large values are near the ReLU.")
    return _Smoothed(beta)


@final
class _Smoothed(TorchFunctionMode):
    """Calls the counterpart of every function that has one."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def __torch_function__(self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call `func`, or its counterpart."""
        more = kwargs or {}
        counterpart = COUNTERPARTS.get(func)
        first = args[0] if args else more.get("input")
        # a graph that is traced records what the model says, and is smooth when it runs
        if counterpart is None or not isinstance(first, Tensor) or not first.is_floating_point():
            return func(*args, **more)
        return counterpart(self.beta, *args, **more)


def softplus(x: Tensor, beta: float) -> Tensor:
    """`log(1 + exp(beta x)) / beta`, with derivatives that keep their digits on both sides.

    PyTorch's own is the identity above a threshold, where its second derivative is 0; below 0 it is never near one.
    """
    return torch.where(x > 0, x + F.softplus(-x, beta), F.softplus(x, beta))


def _applied(smooth: Callable[[Tensor], Tensor], x: Tensor, inplace: bool) -> Tensor:
    """In place what is kept for the backward pass is a copy, as `x` itself changes."""
    return x.copy_(smooth(x.clone())) if inplace else smooth(x)


def _relu(beta: float, input: Tensor, inplace: bool = False) -> Tensor:
    return _applied(lambda x: softplus(x, beta), input, inplace)


def _hardtanh(beta: float, input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    return _applied(lambda x: min_val + softplus(x - min_val, beta) - softplus(x - max_val, beta), input, inplace)


def _relu6(beta: float, input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(beta, input, 0.0, 6.0, inplace)


def _leaky_relu(beta: float, input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return _applied(lambda x: negative_slope * x + (1 - negative_slope) * softplus(x, beta), input, inplace)


def _prelu(beta: float, input: Tensor, weight: Tensor) -> Tensor:
    slopes = weight.reshape(-1, *[1] * (input.dim() - 2)) if input.dim() > 1 else weight
    return slopes * input + (1 - slopes) * softplus(input, beta)


def _threshold(beta: float, input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    if threshold != value:  # a jump, no bend
        return F.threshold(input, threshold, value, inplace)
    return _applied(lambda x: threshold + softplus(x - threshold, beta), input, inplace)


def _called(name: str) -> list[Callable]:
    """All that a network may call by this name."""
    found = [getattr(owner, name) for owner in (torch, Tensor, F, torch.ops.aten) if hasattr(owner, name)]
    return [*found, getattr(torch.ops.aten, name).default] if hasattr(torch.ops.aten, name) else found


SMOOTH = {"relu": _relu, "relu6": _relu6, "hardtanh": _hardtanh, "leaky_relu": _leaky_relu, "prelu": _prelu, "threshold": _threshold}
COUNTERPARTS: dict[Callable, Callable[..., Tensor]] = {
    **{function: smooth for name, smooth in SMOOTH.items() for function in _called(name)},
    **{function: partial(smooth, inplace=True) for name, smooth in SMOOTH.items() for function in _called(f"{name}_")},
}
