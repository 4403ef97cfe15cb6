"""Signs that a network was not trained: weights as their initialisation leaves them."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from captum_pairwise.network.thread_hooks import this_thread_only

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
FEWEST_WEIGHTS, MOST_WEIGHTS = 500, 100_000  # fewer do not show how they are spread; more are not needed
FEWEST_LAYERS = 4  # fewer may have the standard deviation of an initialisation by chance
INSIDE, SPREAD = 1 + 1e-6, 0.05  # of a bound, and of a standard deviation
CONSTANTS = (0.01, 0.02)  # standard deviations of initialisations that do not depend on the size of a layer


def find_untrained(encoder: nn.Module, *inputs: Tensor) -> str | None:
    """The warning that a network, or its last layer, has the weights of its initialisation; None if it looks trained.

    Training moves the weights of normalisation layers away from 1, their biases and statistics away from 0, and the spread of other
    weights away from that of their initialisation. Only layers that the network runs count.

    Args:
        encoder: the network.
        inputs: a batch for it, or one for each of its arguments.
    """
    modules = _list_used(encoder, [batch[:1] for batch in inputs])
    norms = [module for module in modules if isinstance(module, NORMS) and _list_state(module)]
    layers = [module for module in modules if isinstance(module, LAYERS) and module.weight.numel() >= FEWEST_WEIGHTS]
    uniform = [_is_uniform(layer) for layer in layers]
    if norms and all(map(_is_untouched, norms)):
        return "the network has random weights"
    if not norms and layers and (all(uniform) or (len(layers) >= FEWEST_LAYERS and all(map(_has_initial_spread, layers)))):
        return "the network has random weights"
    if layers and uniform[-1] and isinstance(layers[-1], nn.Linear):
        return "the last layer of the network has random weights"
    return None


@torch.no_grad()
def _list_used(encoder: nn.Module, inputs: Sequence[Tensor]) -> list[nn.Module]:
    """The layers that run, in this order."""
    used: dict[nn.Module, None] = {}

    def record(module: nn.Module, _inputs: object, _returned: object) -> None:
        used.setdefault(module)

    with ExitStack() as hooks:
        for module in encoder.modules():
            if isinstance(module, (*LAYERS, *NORMS)):
                hooks.enter_context(module.register_forward_hook(this_thread_only(record)))
        encoder(*inputs)
    return list(used)


def _list_state(norm: nn.Module) -> list[tuple[Tensor, tuple[float, ...]]]:
    """The parameters and statistics of a normalisation layer, each with its initial values: the last weight of a branch may start at 0."""
    initial = {"bias": (0.0,), "weight": (1.0, 0.0), "running_mean": (0.0,), "running_var": (1.0,)}
    return [(value, starts) for name, starts in initial.items() if isinstance(value := getattr(norm, name, None), Tensor)]


def _is_untouched(norm: nn.Module) -> bool:
    return all(any(bool((value == start).all()) for start in starts) for value, starts in _list_state(norm))


@torch.no_grad()
def _sample_weights(layer: nn.Module) -> Tensor:
    """Evenly spaced weights: enough to see their spread."""
    weights = layer.get_parameter("weight").flatten()
    return weights[:: -(-len(weights) // MOST_WEIGHTS)].double()


def _is_uniform(layer: nn.Module) -> bool:
    """True if the weights are uniform between plus and minus one over the root of the fan-in, PyTorch's default."""
    weights, bound = _sample_weights(layer), layer.get_parameter("weight")[0].numel() ** -0.5
    return bool(weights.abs().max() <= bound * INSIDE) and bool((weights.std() * 3**0.5 / bound - 1).abs() < SPREAD)


def _has_initial_spread(layer: nn.Module) -> bool:
    """True if the standard deviation of the weights is that of a common initialisation (He, Glorot, LeCun, or a constant)."""
    weight, spread = layer.get_parameter("weight"), _sample_weights(layer).std().item()
    fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
    variances = [2 / fan_in, 2 / fan_out, 2 / (fan_in + fan_out), 1 / fan_in, 1 / (3 * fan_in)]
    expected = [*(variance**0.5 for variance in variances), *CONSTANTS]
    return any(abs(spread / deviation - 1) < SPREAD for deviation in expected)
