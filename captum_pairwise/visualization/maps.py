"""First-order maps of several methods over the same photos."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.metrics.pixels import maps_of
from captum_pairwise.visualization.heatmaps import overlay
from captum_pairwise.visualization.photos import Array, as_tensor, frame, show, to_photos, together
from captum_pairwise.visualization.scales import MEANING, largest, signed_bar

SIDES = ("query", "retrieved")
PANEL = 2.1  # inches of a photo's width
Maps = Float[np.ndarray, "batch height width"]


def heatmap_figure(
    images: Array | tuple[Array, Array],
    maps: Mapping[str, Array | tuple[Array, Array]],
    title: str = "",
    *,
    one_scale: bool = False,
    units: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the maps of several methods over a batch of pairs, or of single images: rows are photos, columns are methods.

    Args:
        images: the photos, `(query, retrieved)` or one batch, each RGB `[B, 3, H, W]` in [0, 1].
        maps: by the name of a method `(query_map, retrieved_map)`, or one map for one batch, each `[B, C, h, w]` or `[B, h, w]`: see
            `pixel_maps`.
        title: a line above.
        one_scale: give all methods the same scale, where what they measure can be compared.
        units: what a method measures, by its name, where that is no similarity.

    Raises:
        ValueError: there is no map, or maps or photos do not fit.
    """
    photos = together(images, SIDES) if isinstance(images, tuple) else [to_photos(images)]
    heats = _heats(maps, photos)
    rows = [(side, example) for example in range(len(photos[0])) for side in range(len(photos))]
    heights = [photos[side].shape[1] / photos[side].shape[2] for side, _ in rows]
    width, height = PANEL * (1 + len(heats)), PANEL * sum(heights) + 0.2 * len(rows) + 1.2
    figure = Figure(figsize=(max(width, 5.5), height), layout="constrained", dpi=110)
    figure.suptitle(title)
    figure.supxlabel(MEANING if len(photos) == 2 else MEANING.replace("the two images", "the image and the other"), size="small")
    axes = figure.subplots(len(rows), 1 + len(heats), squeeze=False, height_ratios=heights)
    frame(axes)
    for panels, (side, example) in zip(axes, rows, strict=True):
        name = SIDES[side] if len(photos) == 2 else ""
        panels[0].set_ylabel(f"{name} {example + 1}".strip() if len(photos[0]) > 1 else name)
        show(panels[0], photos[side][example])
    units, scales = units or {}, {name: largest(of_sides) for name, of_sides in heats.items()}
    if one_scale:
        scales = dict.fromkeys(scales, max(scales.values()))
    for column, (name, of_sides) in zip(axes.T[1:], heats.items(), strict=True):
        _draw_method(column, [(photos[side][example], of_sides[side][example]) for side, example in rows], scales[name], name)
        if not one_scale:
            signed_bar(figure, column, scales[name], units.get(name, "similarity"), "bottom", shrink=0.9)
    if one_scale:
        signed_bar(figure, axes[:, 1:].flat, max(scales.values()), next(iter(units.values()), "similarity"), "bottom")
    return figure


def _draw_method(column: np.ndarray, pictures: list[tuple[np.ndarray, np.ndarray]], scale: float, name: str) -> None:
    for panel, (photo, heat) in zip(column, pictures, strict=True):
        show(panel, overlay(photo, heat, scale))
    top: Axes = column[0]
    top.set_title(name)


def _heats(maps: object, photos: list[np.ndarray]) -> dict[str, list[Maps]]:
    """By the name of a method its maps over the pixels of each photo."""
    if not isinstance(maps, Mapping) or not maps:
        came = "none" if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"Expected maps by the name of their method, got {came}. Pass for example {{'SAM': maps}}.")
    heats = {}
    for name, found in maps.items():
        sides = found if isinstance(found, tuple) else (found,)
        if len(sides) != len(photos):
            wanted = "a pair (query_map, retrieved_map)" if len(photos) == 2 else "one map, as images are one batch,"
            raise ValueError(f"Expected {wanted} for {name!r}, got {len(sides)}. Pass maps as the images are passed.")
        heats[name] = [pixel_maps(one, batch, f"the maps of {name!r}") for one, batch in zip(sides, photos, strict=True)]
    return heats


def pixel_maps(maps: object, photos: np.ndarray, name: str) -> Maps:
    """Maps over the pixels of photos `[B, H, W, 3]`, interpolated bilinearly where they have another size.

    Channels are added, but where all are the same, as credit painted on all channels of a part is, one of them is the credit.

    Args:
        maps: `[B, C, h, w]` or `[B, h, w]`.
        photos: what they are about.
        name: what errors call the maps.

    Raises:
        ValueError: they do not fit.
    """
    found = as_tensor(maps) if isinstance(maps, Array) else maps
    if isinstance(found, Tensor) and found.dim() == 4 and 0 not in found.shape and bool((found == found[:, :1]).all()):
        found = found[:, :1]
    return maps_of(found, (photos.shape[1], photos.shape[2]), name, len(photos)).double().numpy()
