"""First-order maps of several methods over the same photos."""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from captum_pairwise.metrics.pixels import maps_of
from captum_pairwise.results.interactions import SIDES
from captum_pairwise.visualization.heatmap_figure import overlay
from captum_pairwise.visualization.photos import Array, as_tensor, frame, show, to_photos, together
from captum_pairwise.visualization.scales import MEANING, bar_in, largest
from captum_pairwise.visualization.wording import plain

PANEL = 2.1  # inches of a photo's width
BAR = 0.12  # inches of a bar's height
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
        ValueError: there is no map, maps or photos do not fit, or units are of a method that is not drawn.
    """
    photos = together(images, SIDES) if isinstance(images, tuple) else [to_photos(images)]
    heats = _heats(maps, photos)
    units = _checked_units(units or {}, heats)
    scales = {name: largest(of_sides) for name, of_sides in heats.items()}
    if one_scale:
        scales = dict.fromkeys(scales, max(scales.values()))
    rows = [(side, example) for example in range(len(photos[0])) for side in range(len(photos))]
    heights = [PANEL * photos[side].shape[1] / photos[side].shape[2] for side, _ in rows]
    size = max(PANEL * (1 + len(heats)), 5.5) + 0.5, sum(heights) + 0.2 * len(rows) + 1.1
    figure = Figure(figsize=size, layout="compressed", dpi=110)
    figure.suptitle(plain(title))
    figure.supxlabel(MEANING, size="small")
    axes = figure.subplots(len(rows) + 1, 1 + len(heats), squeeze=False, height_ratios=[*heights, BAR])
    frame(axes[:-1])
    axes[-1, 0].set_axis_off()
    _draw_photos(axes[:, 0], [(photos[side][example], _row_name(photos, side, example)) for side, example in rows])
    for column, (name, of_sides) in zip(axes.T[1:], heats.items(), strict=True):
        for panel, (side, example) in zip(column, rows, strict=False):
            show(panel, overlay(photos[side][example], of_sides[side][example], scales[name]))
        column[0].set_title(plain(name))
        bar_in(column[-1], scales[name], plain(units.get(name, "similarity")))
    return figure


def _checked_units(units: Mapping[str, str], methods: Collection[str]) -> Mapping[str, str]:
    """The units, all of methods that are drawn."""
    unknown = [name for name in units if name not in methods]
    if unknown:
        raise ValueError(f"Expected units of {list(methods)}, got those of {unknown}. Name methods as the maps do.")
    return units


def _row_name(photos: list[np.ndarray], side: int, example: int) -> str:
    """Which image of which pair stands in a row."""
    names = [SIDES[side]] if len(photos) == 2 else []
    return " ".join([*(names or ["image"]), str(example + 1)] if len(photos[0]) > 1 else names)


def _draw_photos(column: np.ndarray, pictures: list[tuple[np.ndarray, str]]) -> None:
    for panel, (photo, name) in zip(column, pictures, strict=False):
        show(panel, photo)
        panel.set_ylabel(name)
    column[0].set_title("photo")


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
