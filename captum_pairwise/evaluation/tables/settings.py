"""Sizes and budgets of the methods of the tables: the paper's, and small ones to try the command."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from captum_pairwise.estimators.regression.sampling import TAYLOR_SAMPLERS

MAY_BE_0 = ("n_exact", "n_slow")


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
        n_maps: gradient × input maps of each image, for products as of BiLRP.
        n_curve_steps: steps of insertion and deletion curves.
        n_columns: the metrics that compare methods with different parts divide each image into two rows of so many equal parts.
        n_exact: built-in pairs of each kind whose truth is exact: mosaics, planted patches, and points in warped photos.
        n_slow: pairs of each protocol that methods with a hundred or more network passes explain; 0 for all.
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
    n_maps: int = 128
    n_curve_steps: int = 20
    n_columns: int = 4
    n_exact: int = 60
    n_slow: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in MAY_BE_0 else 1
            if isinstance(value, int) and value < least:
                raise ValueError(f"Expected {name} of at least {least}, got {value}. Choose a larger number.")
        if self.sampling not in TAYLOR_SAMPLERS:
            raise ValueError(f"Expected sampling to be one of {sorted(TAYLOR_SAMPLERS)}, got {self.sampling!r}.")


FIELD_BUDGETS: dict[str, Any] = {"first": 100, "second": 160, "second_layer": 10_000, "n_embeddings": 100, "n_layer_embeddings": 300}
SMALL_SIZES: dict[str, Any] = {
    "window": 56,
    "stride": 28,
    "n_segments": 8,
    "sampling": "distinct",
    "n_steps": 20,
    "n_nodes": 8,
    "n_maps": 32,
}
QUICK_CHANGES: dict[str, Any] = {"first": 64, "second": 100, "n_embeddings": 64, "n_layer_embeddings": 150, "n_segments": 6, "n_maps": 8}
QUICK_CHANGES |= {"n_curve_steps": 4, "n_columns": 3, "n_exact": 4, "n_slow": 1}
FIELD = Settings(**SMALL_SIZES, **FIELD_BUDGETS, n_curve_steps=10, n_exact=40, n_slow=8)
PRESETS = {
    "paper": Settings(),
    "field": FIELD,
    "quick": replace(FIELD, **QUICK_CHANGES),
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
