"""The parts of one photo: where they are, and how they are marked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.results.interactions import SIDES, Credits, Interactions
from captum_pairwise.visualization.heatmap_figure import refuse_placeless, to_pixels
from captum_pairwise.visualization.photos import together

PART_COLOURS = ["#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#0072B2"]  # Okabe and Ito, for the colour-blind


@dataclass(frozen=True)
class PhotoParts:
    """One photo, and whose its pixels are.

    Attributes:
        photo: RGB in [0, 1].
        players: of a batch of one.
    """

    photo: Float[np.ndarray, "height width 3"]
    players: Players

    def spread(self, values: Float[Tensor, " players"]) -> Float[np.ndarray, "height width"]:
        """Credits over the pixels; those of cells are interpolated."""
        return self._painted(values, self.players)

    def painted(self, values: Float[Tensor, " players"]) -> Float[np.ndarray, "height width"]:
        """Credits over the pixels with hard edges, also those of cells; 0 where nobody is."""
        return self._painted(values, Players(self.players.ids, (self.players.n_players,)))

    def _painted(self, values: Tensor, players: Players) -> np.ndarray:
        return to_pixels(values.detach().cpu().double()[None], players, self.photo.shape[:2])[0].numpy()

    def centres(self) -> Float[np.ndarray, "players 2"]:
        """Where the middle of each part is, as (column, row) in pixels; NaN for a player without a part."""
        ids, n_players = self.players.ids[0], self.players.n_players
        owners = torch.where(ids == NEVER_LEAVES, n_players, ids).flatten()
        counts = torch.bincount(owners, minlength=n_players + 1)
        found = []
        for axis, size in ((2, self.photo.shape[1]), (1, self.photo.shape[0])):
            shape = [1, 1, 1]
            shape[axis] = ids.shape[axis]
            middles = (torch.arange(ids.shape[axis], dtype=torch.float64) + 0.5) * size / ids.shape[axis] - 0.5
            sums = torch.zeros(n_players + 1, dtype=torch.float64).index_add_(0, owners, middles.reshape(shape).expand(ids.shape).flatten())
            found.append(sums / counts)
        return torch.stack(found, 1)[:n_players].numpy()


def parts_of(interactions: Interactions, images: object, example: int) -> tuple[PhotoParts, PhotoParts]:
    """The query photo and the retrieved one of one pair of a batch, with their parts.

    Raises:
        ValueError: the interactions do not know their players, a credit is not finite, or photos or the number of the pair do not fit.
    """
    places, photos = places_of(interactions), together(images, SIDES)
    check_example(interactions, example)
    refuse_unknown(interactions, example)
    query, retrieved = (on_photo(side, batch, example) for batch, side in zip(photos, places, strict=True))
    return query, retrieved


def on_photo(players: Players, photos: Float[np.ndarray, "batch height width 3"], example: int) -> PhotoParts:
    """The photo of one pair of a batch, and its parts; a batch of one photo is for all.

    Raises:
        ValueError: there are not as many photos as pairs, or the players do not lie in an image.
    """
    refuse_placeless(players)
    n_pairs = len(players.ids)
    if len(photos) not in (1, n_pairs):
        raise ValueError(f"Expected photos of {n_pairs} pairs, as there are interactions of, got {len(photos)}. Pass the same batch.")
    return PhotoParts(photos[example if len(photos) > 1 else 0], Players(players.ids[example][None].cpu(), players.shape))


def check_example(interactions: Interactions, example: int) -> None:
    """Refuse the number of a pair that is not there.

    Raises:
        ValueError: there is no such pair.
    """
    n_pairs = len(interactions.full)
    if example not in range(-n_pairs, n_pairs):
        raise ValueError(f"Expected example from 0 to {n_pairs - 1}, got {example}. It is the number of a pair in the batch.")


def refuse_unknown(credits: Credits, example: int, names: Iterable[str] = ("between", "marginal"), whose: str = "") -> None:
    """Refuse credits of one pair that are not finite, among the blocks that are known.

    Raises:
        ValueError: one is not.
    """
    for name in names:
        block = getattr(credits, name)
        if block is not None and not torch.isfinite(block[example]).all():
            raise ValueError(f"Expected finite credits, got NaN or infinity in `{name}`{whose}. Look at the images and the network.")


def places_of(interactions: Interactions) -> tuple[Players, Players]:
    """Where the players of both images are.

    Raises:
        ValueError: the interactions do not know.
    """
    query, retrieved = interactions.query_players, interactions.retrieved_players
    if query is None or retrieved is None:
        raise ValueError(
            "Expected interactions that know where their players are, got some without players. Take what `interactions(...)` of a method "
            "returns."
        )
    return query, retrieved


def strongest_parts(between: Float[Tensor, "query retrieved"], n_parts: int) -> list[tuple[int, int]]:
    """Query players with the strongest match each, `(query player, its match)`, no two with the same match.

    >>> strongest_parts(torch.tensor([[3.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), 2)
    [(0, 0), (2, 1)]
    """
    strength, match = between.max(1)
    parts: dict[int, int] = {}
    for player in strength.argsort(descending=True).tolist():
        parts.setdefault(int(match[player]), player)
    return [(player, found) for found, player in parts.items()][:n_parts]


def mark(panel: Axes, parts: PhotoParts, numbered: Sequence[int], linewidth: float = 2.5, above: Axes | Figure | None = None) -> None:
    """Outline each player, and number it at its middle; a player without a part has neither.

    Args:
        panel: shows the photo.
        parts: of the photo.
        numbered: the players, in the order of their numbers.
        linewidth: of the outlines.
        above: where the numbers belong, if they are to lie above more than the panel.
    """
    centres = parts.centres()
    for number, player in enumerate(numbered):
        if not np.isfinite(centres[player]).all():
            continue
        colour = PART_COLOURS[number % len(PART_COLOURS)]
        chosen = torch.zeros(parts.players.n_players)
        chosen[player] = 1
        outline(panel, parts.painted(chosen) > 0.5, colour, linewidth)
        box = {"boxstyle": "circle", "facecolor": colour, "edgecolor": "white"}
        look = {"color": "white", "ha": "center", "va": "center", "weight": "bold", "bbox": box, "zorder": 5}
        column, row = centres[player].tolist()
        (above or panel).text(column, row, str(number + 1), transform=panel.transData, **look)


def outline(panel: Axes, inside: np.ndarray, colour: str, linewidth: float = 2.5) -> None:
    """Draw a line around a part of a photo, also where it meets the border."""
    limits = panel.get_xlim(), panel.get_ylim()
    for edge in find_contours(np.pad(inside.astype(float), 1), 0.5):
        rows, columns = edge.T - 1
        halo = [withStroke(linewidth=linewidth + 1.5, foreground="white")]
        panel.plot(columns, rows, color=colour, linewidth=linewidth, path_effects=halo)
    panel.set(xlim=limits[0], ylim=limits[1])
