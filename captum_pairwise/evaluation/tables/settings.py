"""Sizes and budgets of the methods of the tables: the paper's, and small ones to try the command."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from captum_pairwise.estimators.regression.sampling import TAYLOR_SAMPLERS


@dataclass(frozen=True)
class Settings:
    """Sizes and budgets of the methods; the defaults are the paper's (§A.2).

    Attributes:
        window: side of SBSM's square windows, in pixels.
        stride: distance of SBSM's windows, in pixels.
        n_segments: approximate number of superpixels of each image.
        first: coalitions of LIME, the kernel and Partition SHAP for one image.
        second: coalitions of LIME and the kernel for two images; pairs of windows of SBSM.
        first_layer: coalitions of the kernel for one feature map.
        second_layer: coalitions of the kernel for two feature maps.
        sampling: how the kernel draws coalitions of two images, see `KernelShapleyTaylor`.
        n_steps: steps of integrated gradients.
        n_nodes: nodes of integrated Hessians. The paper draws 40 000 points of a path; a quadrature of 24 nodes is more accurate.
        n_embeddings: embeddings of each image, for the factorised estimator.
        n_layer_embeddings: embeddings of each feature map, for the factorised estimator.
    """

    window: int = 20
    stride: int = 3
    n_segments: int = 50
    first: int = 5000
    second: int = 20_000
    first_layer: int = 5000
    second_layer: int = 40_000
    sampling: str = "paper-direct"
    n_steps: int = 50
    n_nodes: int = 24
    n_embeddings: int = 2000
    n_layer_embeddings: int = 2000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"Expected {name} of at least 1, got {value}. Choose a larger number.")
        if self.sampling not in TAYLOR_SAMPLERS:
            raise ValueError(f"Expected sampling to be one of {sorted(TAYLOR_SAMPLERS)}, got {self.sampling!r}.")


QUICK_BUDGETS = {"first": 100, "second": 160, "second_layer": 10_000, "n_embeddings": 100, "n_layer_embeddings": 500}
PRESETS = {
    "paper": Settings(),
    "quick": Settings(window=56, stride=28, n_segments=8, sampling="distinct", n_steps=20, n_nodes=8, **QUICK_BUDGETS),
}


def change_settings(settings: Settings, changes: Iterable[str]) -> Settings:
    """The settings after some changes.

    Raises:
        ValueError: a change is not `name=value` of a setting.

    >>> change_settings(PRESETS["quick"], ["window=40", "sampling=paper-weighting"]).window
    40
    """
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Settings)}
    for change in changes:
        name, _, value = change.partition("=")
        try:
            changed_value = kinds[name](value)
        except (KeyError, ValueError) as error:
            raise ValueError(f"Expected name=value of a setting, one of {sorted(kinds)}, got {change!r}.") from error
        settings = replace(settings, **{name: changed_value})
    return settings
