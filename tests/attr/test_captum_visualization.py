"""Captum draws every first-order result, as its tutorials do."""

from itertools import product

import numpy as np
import pytest
from captum.attr import LayerAttribution, visualization
from conftest import INPUT_FIRST_ORDER, LAYER_FIRST_ORDER, images, on_wrapper, tiny_encoder
from matplotlib.figure import Figure
from torch import Tensor

import captum_pairwise as cp

METHODS = [method.name for method in visualization.ImageVisualizationMethod]
SIGNS = [sign.name for sign in visualization.VisualizeSign]
ONE_SIGN_ONLY = ("masked_image", "alpha_scaling")


def of_photo(credit: Tensor) -> np.ndarray:
    """The map of the first example, as large as its photo, channels last as Captum wants it."""
    return LayerAttribution.interpolate(credit, (12, 12))[0].permute(1, 2, 0).numpy()


def refuses(method: str, sign: str, credit: np.ndarray) -> bool:
    """True if Captum has nothing to draw: its scale covers one sign, and masks and transparency show only one sign."""
    shown = {"positive": np.maximum(credit.sum(2), 0), "negative": np.minimum(credit.sum(2), 0)}.get(sign, credit)
    return not shown.any() or (sign == "all" and method in ONE_SIGN_ONLY)


def drawn(credit: np.ndarray, photo: np.ndarray, method: str, sign: str) -> list[np.ndarray]:
    figure = Figure()
    _, axis = visualization.visualize_image_attr(credit, photo, method, sign, plt_fig_axis=(figure, figure.subplots()), use_pyplot=False)
    return [picture.get_array() for picture in axis.images]


def check(credit: np.ndarray, photo: np.ndarray) -> None:
    for how in product(METHODS, SIGNS):
        if refuses(*how, credit):
            with pytest.raises(AssertionError):
                drawn(credit, photo, *how)
        else:
            pictures = drawn(credit, photo, *how)
            assert pictures and all(picture.shape[:2] == (12, 12) and np.isfinite(picture).all() for picture in pictures)


@pytest.mark.parametrize("cls", [*INPUT_FIRST_ORDER, *LAYER_FIRST_ORDER, cp.LayerVESM, cp.SBSM])
def test_both_images_are_drawn(cls: type, model: cp.SimilarityWrapper) -> None:
    method, arguments = on_wrapper(cls, model)
    arguments.pop("layer_mask", None)
    for credit, batch in zip(method.attribute(images(2), **arguments), images(2), strict=True):
        check(of_photo(credit), batch[0].permute(1, 2, 0).numpy())


def test_one_image_is_drawn() -> None:
    network, photos = tiny_encoder(), images(2)[0]
    credit = cp.LayerIGCAM(lambda photo: network(photo).mean((1, 2, 3)), network[4]).attribute(photos)
    check(of_photo(credit), photos[0].permute(1, 2, 0).numpy())
