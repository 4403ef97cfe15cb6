"""What the classes that differentiate share: Captum's family of gradient methods, and its quadratures by name."""

import abc

import torch
from captum.attr import GradientAttribution, LayerAttribution

from captum_pairwise._compat import approximation_parameters
from captum_pairwise.attr.base import name_layers
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.network.layers import Layers


class GradientMethod(GradientAttribution, abc.ABC):
    """A method that differentiates the similarity of two images; `cls(forward_func)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
    """

    _is_complete = True  # whether credit sums to something, so that there is a delta

    def __init__(self, forward_func: ForwardFunc) -> None:
        GradientAttribution.__init__(self, forward_func)

    def has_convergence_delta(self) -> bool:
        """Whether `attribute` can return a convergence delta."""
        return self._is_complete

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether credit is a change of the similarity, not a slope of it: yes."""
        return True

    def compute_convergence_delta(self, *arguments: object, **more: object) -> None:
        """Refuse: only `attribute` knows the baselines of the layer and every credit that the delta counts.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "Pass `return_convergence_delta=True` to `attribute`, which knows all credit that was given, if `has_convergence_delta()`."
        )


class LayerGradientMethod(LayerAttribution, GradientMethod, abc.ABC):
    """A method that differentiates the similarity by what a layer returns; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
    """

    def __init__(self, forward_func: ForwardFunc, layer: Layers, device_ids: list[int] | None = None) -> None:
        name_layers(self, forward_func, layer, device_ids)
        GradientMethod.__init__(self, forward_func)


QUADRATURES = ("gausslegendre", "riemann_trapezoid", "riemann_middle", "riemann_left", "riemann_right")


def quadrature(method: str, n_steps: int) -> Path:
    """Captum's quadrature of this name, in float64.

    Raises:
        ValueError: there is no such name, or too few steps.
    """
    if method not in QUADRATURES:
        raise ValueError(f"Expected method to be one of {QUADRATURES}, got {method!r}.")
    least = 2 if method == "riemann_trapezoid" else 1
    if not isinstance(n_steps, int) or n_steps < least:
        raise ValueError(f"Expected n_steps to be a whole number of at least {least}, got {n_steps!r}.")
    step_sizes, alphas = approximation_parameters(method)
    return Path(torch.tensor(alphas(n_steps), dtype=torch.float64), torch.tensor(step_sizes(n_steps), dtype=torch.float64))
