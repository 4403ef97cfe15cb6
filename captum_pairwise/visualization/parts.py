"""Parts of one photo: their places, and their outlines and numbers on a panel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Players, player_centres
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.overlays import check_image_players, paint_pixels
from captum_pairwise.visualization.photos import Photo, check_photo_batches

PART_COLOURS = ["#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#0072B2"]  # Okabe and Ito, for colour-blind readers


@dataclass(frozen=True)
class PhotoParts:
    """One photo and the players that own its pixels.

    Attributes:
        photo: RGB in [0, 1].
        players: of a batch of one.
    """

    photo: Photo
    players: Players

    def paint(self, values: Float[Tensor, " players"]) -> Float[np.ndarray, "height width"]:
        """Map of credits over the pixels. Credits of cells are interpolated."""
        return paint_pixels(values.detach().cpu().double()[None], self.players, self.photo.shape[:2])[0].numpy()

    def mask(self, player: int) -> Bool[np.ndarray, "height width"]:
        """Pixels of a player."""
        owned = (self.players.ids == player).double().mean(1, keepdim=True)
        return F.interpolate(owned, self.photo.shape[:2], mode="nearest")[0, 0].numpy() > 0.5

    def centres(self) -> Float[np.ndarray, "players 2"]:
        """Middle of each part as (column, row) in pixels; NaN for a player without a part."""
        owners = self.players.ids.unique()
        ratio = np.array(self.photo.shape[1::-1]) / self.players.ids.shape[:1:-1]
        centres = np.full((self.players.n_players, 2), np.nan)
        centres[owners[owners != NEVER_LEAVES]] = (player_centres(self.players, 0).numpy()[:, ::-1] + 0.5) * ratio - 0.5
        return centres


def locate_parts(interactions: Interactions, images: object, example: int) -> tuple[PhotoParts, PhotoParts]:
    """Query and retrieved photo of one pair, with their parts.

    Raises:
        ValueError: the players are unknown, a credit is not finite, or the photos or the number of the pair do not fit.
    """
    players, photos = check_players(interactions), check_photo_batches(images, SIDES)
    check_pair(interactions, example)
    return locate_in_photo(players[0], photos[0], example), locate_in_photo(players[1], photos[1], example)


def locate_in_photo(players: Players, photos: Float[np.ndarray, "batch height width 3"], example: int) -> PhotoParts:
    """One photo of a batch with its parts. A batch of one photo serves all pairs.

    Raises:
        ValueError: the number of photos is not the number of pairs, or the players do not lie in an image.
    """
    check_image_players(players)
    n_pairs = len(players.ids)
    if len(photos) not in (1, n_pairs):
        raise ValueError(f"Expected photos of {n_pairs} pairs, as in the interactions, got {len(photos)}. Pass the same batch.")
    return PhotoParts(photos[example if len(photos) > 1 else 0], Players(players.ids[example][None].cpu(), players.shape))


def check_pair(interactions: Interactions, example: int, blocks: Iterable[str] = ("between", "marginal"), method: str = "") -> None:
    """Check that the pair exists, and that its credits in the computed blocks are finite.

    Args:
        interactions: of a batch of pairs.
        example: the number of the pair.
        blocks: names of the blocks to check.
        method: the method's name for the message, such as " of 'SAM'".

    Raises:
        ValueError: there is no such pair, or a credit is not finite.
    """
    n_pairs = len(interactions.full)
    if example not in range(-n_pairs, n_pairs):
        raise ValueError(f"Expected example from 0 to {n_pairs - 1}, got {example}. It is the number of a pair in the batch.")
    for name in blocks:
        block = getattr(interactions, name)
        if block is not None and not torch.isfinite(block[example]).all():
            raise ValueError(f"Expected finite credits, got NaN or infinity in `{name}`{method}. Check the images and the network.")


def check_players(interactions: Interactions) -> tuple[Players, Players]:
    """Players of both images.

    Raises:
        ValueError: they are unknown.
    """
    query, retrieved = interactions.query_players, interactions.retrieved_players
    if query is None or retrieved is None:
        raise ValueError("Expected interactions with players, got some without. Pass the result of a method's `.interactions(...)`.")
    return query, retrieved


def strongest_parts(between: Float[Tensor, "query retrieved"], n_parts: int) -> list[tuple[int, int]]:
    """Query players with the strongest match each, as `(query player, match)`. No two have the same match.

    >>> strongest_parts(torch.tensor([[3.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), 2)
    [(0, 0), (2, 1)]
    """
    strength, match = between.max(1)
    players: dict[int, int] = {}
    for player in strength.argsort(descending=True).tolist():
        players.setdefault(int(match[player]), player)
    return [(player, partner) for partner, player in players.items()][:n_parts]


def mark_parts(panel: Axes, parts: PhotoParts, numbered: Sequence[int], linewidth: float = 2.5, above: Axes | Figure | None = None) -> None:
    """Outline each player, and write its number at its middle. A player without a part gets neither.

    Args:
        panel: shows the photo.
        parts: of the photo.
        numbered: the players, in the order of their numbers.
        linewidth: of the outlines.
        above: where to draw the numbers; None for the panel. The figure draws them above all panels.
    """
    centres = parts.centres()
    for number, player in enumerate(numbered):
        column, row = centres[player].tolist()
        if isnan(column):
            continue
        colour = PART_COLOURS[number % len(PART_COLOURS)]
        draw_outline(panel, parts.mask(player), colour, linewidth)
        box = {"boxstyle": "circle", "facecolor": colour, "edgecolor": "white"}
        style = {"color": "white", "ha": "center", "va": "center", "weight": "bold", "bbox": box, "zorder": 5}
        (above or panel).text(column, row, str(number + 1), transform=panel.transData, **style)


def draw_outline(panel: Axes, inside: np.ndarray, colour: str, linewidth: float = 2.5) -> None:
    """Draw a line around an area of a photo, also along the border of the photo."""
    panel.autoscale(False)
    halo = [withStroke(linewidth=linewidth + 1.5, foreground="white")]
    for contour in find_contours(np.pad(inside.astype(float), 1), 0.5):
        rows, columns = contour.T - 1
        panel.plot(columns, rows, color=colour, linewidth=linewidth, path_effects=halo)
