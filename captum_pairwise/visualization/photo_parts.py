"""A picture and the players that own its pixels."""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Players, paint, player_centres
from captum_pairwise.visualization.overlays import check_image_players
from captum_pairwise.visualization.photos import Photo, reduce_photo


@dataclass(frozen=True)
class PhotoParts:
    """A photo, or a picture of another input, and the players that own its pixels.

    Attributes:
        photo: RGB in [0, 1].
        players: of a batch of one.
        noun: the name of the input in sentences.
        is_wide: True if it takes the whole width of a page.
        names: of the parts; empty for a photo, whose parts have numbers.
        slices: the numbers of the slices or frames that it shows.
    """

    photo: Photo
    players: Players
    noun: str = "photo"
    is_wide: bool = False
    names: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()

    def paint(self, values: Float[Tensor, " players"]) -> Float[np.ndarray, "height width"]:
        """Map of credits over the pixels. Each part has one flat colour, a cell too: its credit says nothing about places within it."""
        maps = paint(values.detach().cpu().double()[None], self.players.ids).mean(1, keepdim=True)
        return F.interpolate(maps, self.photo.shape[:2], mode="nearest")[0, 0].numpy()

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


def locate_in_photo(players: Players, photos: Float[np.ndarray, "batch height width 3"], example: int, noun: str = "photo") -> PhotoParts:
    """One photo of a batch with its parts. A batch of one photo serves all pairs.

    Raises:
        ValueError: the number of photos is not the number of pairs, or the players do not lie in an image.
    """
    check_image_players(players)
    n_pairs = len(players.ids)
    if len(photos) not in (1, n_pairs):
        raise ValueError(f"Expected photos of {n_pairs} pairs, as in the interactions, got {len(photos)}. Pass the same batch.")
    photo = reduce_photo(photos[example if len(photos) > 1 else 0])
    return PhotoParts(photo, Players(players.ids[example][None].cpu(), players.shape), noun)
