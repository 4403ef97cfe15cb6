"""Softplus in place of every ReLU inside a context: a network with ReLUs has no curvature, a smooth network has one."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def smooth_relu(beta: float) -> TorchFunctionMode:
    """A context in which every ReLU of any network is `s(x) = log(1 + exp(beta x)) / beta`, which tends to the ReLU as `beta` grows.

    Integrated Hessians need it (Janizek et al. 2021): second derivatives of a network with ReLUs are 0 wherever they exist.

    ReLU6 and hard tanh become `min + s(x - min) - s(x - max)`, leaky ReLUs `a x + (1 - a) s(x)`: as modules, functions, methods and nodes
    of a graph, in place or not. The models themselves do not change. TorchScript, other threads (`DataParallel`) and other functions with
    a kink, such as PReLU, are not smoothed.

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
    return _SmoothMode(beta)


@final
class _SmoothMode(TorchFunctionMode):
    """Calls the smooth counterpart of each function that has one."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def __torch_function__(self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call `func`, or its counterpart."""
        kwargs = kwargs or {}
        counterpart = COUNTERPARTS.get(func)
        x = args[0] if args else kwargs.get("input")
        # `torch.fx` passes proxies here: the graph records the ReLU, and is smoothed when it runs
        if counterpart is None or not isinstance(x, Tensor) or not x.is_floating_point():
            return func(*args, **kwargs)
        return counterpart(self.beta, *args, **kwargs)


def _softplus(x: Tensor, beta: float) -> Tensor:
    """`log(1 + exp(beta x)) / beta`, with accurate derivatives on both sides.

    `F.softplus` alone is the identity above a threshold, and has the second derivative 0 there. It is used below 0 only.
    """
    return torch.where(x > 0, x + F.softplus(-x, beta), F.softplus(x, beta))


def _apply(smooth: Callable[[Tensor], Tensor], x: Tensor, inplace: bool) -> Tensor:
    """`smooth(x)`, written into `x` if `inplace`; autograd then keeps a copy of `x`, which itself changes."""
    return x.copy_(smooth(x.clone())) if inplace else smooth(x)


def _relu(beta: float, input: Tensor, inplace: bool = False) -> Tensor:
    return _apply(lambda x: _softplus(x, beta), input, inplace)


def _hardtanh(beta: float, input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    return _apply(lambda x: min_val + _softplus(x - min_val, beta) - _softplus(x - max_val, beta), input, inplace)


def _relu6(beta: float, input: Tensor, inplace: bool = False) -> Tensor:
    return _hardtanh(beta, input, 0.0, 6.0, inplace)


def _leaky_relu(beta: float, input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return _apply(lambda x: negative_slope * x + (1 - negative_slope) * _softplus(x, beta), input, inplace)


def _list_callables(name: str) -> list[Callable]:
    """All functions and methods of this name that a network may call."""
    functions = [getattr(owner, name) for owner in (torch, Tensor, F, torch.ops.aten) if hasattr(owner, name)]
    return [*functions, getattr(torch.ops.aten, name).default] if hasattr(torch.ops.aten, name) else functions


SMOOTH = {"relu": _relu, "relu6": _relu6, "hardtanh": _hardtanh, "leaky_relu": _leaky_relu}
COUNTERPARTS: dict[Callable, Callable[..., Tensor]] = {
    **{function: smooth for name, smooth in SMOOTH.items() for function in _list_callables(name)},
    **{function: partial(smooth, inplace=True) for name, smooth in SMOOTH.items() for function in _list_callables(f"{name}_")},
}
