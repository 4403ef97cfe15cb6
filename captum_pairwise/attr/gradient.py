"""The base classes of the methods that differentiate, and Captum's quadratures by name."""

import abc
from typing import ClassVar

import torch
from captum.attr import GradientAttribution

from captum_pairwise._compat import approximation_parameters
from captum_pairwise.attr.base import DeviceIds, LayerPairAttribution
from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.context import ForwardFunc
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.layouts import LayoutNames


class GradientMethod(GradientAttribution, abc.ABC):
    """A method that differentiates the similarity of two images; `cls(forward_func)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
    """

    order: ClassVar[int]

    @property
    def multiplies_by_inputs(self) -> bool:
        """True: credit is a change of the similarity, not a slope."""
        return True

    def compute_convergence_delta(self, *arguments: object, **more: object) -> None:
        """Not supported: only `attribute` has the baselines of the layer and all credits that the delta sums.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("Pass `return_convergence_delta=True` to `attribute`, if `has_convergence_delta()` is True.")


class LayerGradientMethod(LayerPairAttribution, GradientMethod, abc.ABC):
    """A method that differentiates the similarity with respect to a layer's output; `cls(forward_func, layer)`.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.
    """

    def __init__(self, forward_func: ForwardFunc, layer: Layers, device_ids: DeviceIds = None, *, layout: LayoutNames = None) -> None:
        LayerPairAttribution.__init__(self, forward_func, layer, device_ids, layout=layout)
        GradientAttribution.__init__(self, forward_func)


QUADRATURES = ("gausslegendre", "riemann_trapezoid", "riemann_middle", "riemann_left", "riemann_right")


def make_path(method: str, n_steps: int) -> Path:
    """Captum's quadrature of this name, in float64.

    Raises:
        ValueError: the name is unknown, or there are too few steps.
    """
    if method not in QUADRATURES:
        raise ValueError(f"Expected method to be one of {QUADRATURES}, got {method!r}.")
    least = 2 if method == "riemann_trapezoid" else 1
    n_steps = check_count(n_steps, "n_steps", least)
    step_sizes, alphas = approximation_parameters(method)
    return Path(
        torch.tensor(alphas(n_steps), dtype=torch.float64, device="cpu"),
        torch.tensor(step_sizes(n_steps), dtype=torch.float64, device="cpu"),
    )
