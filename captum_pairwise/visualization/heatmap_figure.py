"""First-order maps of several methods over the same photos."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from captum_pairwise.results.interactions import SIDES
from captum_pairwise.visualization.labels import escape_text
from captum_pairwise.visualization.overlays import overlay, resize_maps
from captum_pairwise.visualization.photos import Array, check_photo_batches, check_photos, draw_photo, hide_frames
from captum_pairwise.visualization.scales import MEANING, draw_bar_in, find_scale

PANEL = 2.1  # inches of a photo's width
BAR = 0.12  # inches of a bar's height


def heatmap_figure(
    images: Array | tuple[Array, Array],
    maps: Mapping[str, Array | tuple[Array, Array]],
    title: str = "",
    *,
    one_scale: bool = False,
    units: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the maps of several methods over a batch of pairs or of single images. Each row is a photo, each column a method.

    Maps of another size than the photos are interpolated bilinearly, and channels are summed. If all channels of a map are equal, only one
    of them counts.

    Args:
        images: the photos, `(query, retrieved)` or one batch, each RGB `[B, 3, H, W]` in [0, 1].
        maps: by method name: `(query_map, retrieved_map)`, or one map if `images` is one batch; each `[B, C, h, w]` or `[B, h, w]`.
        title: the title of the figure.
        one_scale: use the same colour scale for all methods, if their units are the same.
        units: by method name: the unit of its maps, if it is not similarity.

    Raises:
        ValueError: there is no map, maps or photos do not fit, or a unit belongs to no method.
    """
    photos = check_photo_batches(images, SIDES) if isinstance(images, tuple) else [check_photos(images)]
    heats, units = _check_maps(maps, photos), units or {}
    if unknown := [name for name in units if name not in heats]:
        raise ValueError(f"Expected units of {list(heats)}, got units of {unknown}. Use the names of the maps.")
    scales = {name: find_scale(sides) for name, sides in heats.items()}
    if one_scale:
        scales = dict.fromkeys(scales, max(scales.values()))
    rows = [(side, example) for example in range(len(photos[0])) for side in range(len(photos))]
    heights = [PANEL * photos[side].shape[1] / photos[side].shape[2] for side, _ in rows]
    size = max(PANEL * (1 + len(heats)), 5.5) + 0.5, sum(heights) + 0.2 * len(rows) + 1.1
    figure = Figure(figsize=size, layout="compressed", dpi=110)
    figure.suptitle(escape_text(title))
    figure.supxlabel(MEANING, size="small")
    axes = figure.subplots(len(rows) + 1, 1 + len(heats), squeeze=False, height_ratios=[*heights, BAR])
    hide_frames(axes[:-1])
    axes[-1, 0].set_axis_off()
    _draw_photos(axes[:, 0], photos, rows)
    for column, (name, sides) in zip(axes.T[1:], heats.items(), strict=True):
        _draw_maps(column, photos, sides, rows, scales[name])
        column[0].set_title(escape_text(name))
        draw_bar_in(column[-1], scales[name], escape_text(units.get(name, "similarity")))
    return figure


def _check_maps(maps: object, photos: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """By method name, the maps over the pixels of each batch of photos."""
    if not isinstance(maps, Mapping) or not maps:
        actual = "none" if isinstance(maps, Mapping) else type(maps).__name__
        raise ValueError(f"Expected a mapping from method names to maps, got {actual}. Pass for example {{'SAM': maps}}.")
    heats = {}
    for name, values in maps.items():
        sides = values if isinstance(values, tuple) else (values,)
        if len(sides) != len(photos):
            expected = "a pair (query_map, retrieved_map)" if len(photos) == 2 else "one map, because `images` is one batch,"
            raise ValueError(f"Expected {expected} for {name!r}, got {len(sides)}. Pass the maps like the images.")
        heats[name] = [resize_maps(side, batch, f"the maps of {name!r}") for side, batch in zip(sides, photos, strict=True)]
    return heats


def _draw_photos(column: np.ndarray, photos: list[np.ndarray], rows: list[tuple[int, int]]) -> None:
    """The photo of each row, with the name of its side and, in a batch, the number of its pair."""
    for panel, (side, example) in zip(column, rows, strict=False):
        draw_photo(panel, photos[side][example])
        name = SIDES[side] if len(photos) == 2 else "image" if len(photos[0]) > 1 else ""
        panel.set_ylabel(f"{name} {example + 1}" if len(photos[0]) > 1 else name)
    column[0].set_title("photo")


def _draw_maps(column: np.ndarray, photos: list[np.ndarray], maps: list[np.ndarray], rows: list[tuple[int, int]], scale: float) -> None:
    for panel, (side, example) in zip(column, rows, strict=False):
        draw_photo(panel, overlay(photos[side][example], maps[side][example], scale))
