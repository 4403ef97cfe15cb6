"""Parts of one photo, and their places."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_pairwise.players.regions import NEVER_LEAVES, Players, paint, player_centres
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.overlays import check_image_players
from captum_pairwise.visualization.photos import Photo, check_photo_batches, reduce_photo


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
    return PhotoParts(reduce_photo(photos[example if len(photos) > 1 else 0]), Players(players.ids[example][None].cpu(), players.shape))


def check_pair(interactions: Interactions, example: int, blocks: Iterable[str] = ("between", "given_other"), method: str = "") -> None:
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
    return _choose_distinct(between.max(1).values, between.argmax(1), n_parts)


def lowering_parts(between: Float[Tensor, "query retrieved"], n_parts: int) -> list[tuple[int, int]]:
    """Query players whose pairs lower the similarity most, as `(query player, its most negative pair)`. No two have the same partner.

    >>> lowering_parts(torch.tensor([[-3.0, 9.0], [-2.0, -2.5], [1.0, 1.0]]), 2)
    [(1, 1), (0, 0)]
    """
    lowered = (-between).clamp(min=0).sum(1)
    chosen = _choose_distinct(lowered, between.argmin(1), int((lowered > 0).sum()))
    return [pair for pair in chosen if between[pair] < 0][:n_parts]


def _choose_distinct(strength: Float[Tensor, " query"], partner: Int[Tensor, " query"], n_parts: int) -> list[tuple[int, int]]:
    """The strongest players with their partners; of players with one partner, the strongest."""
    players: dict[int, int] = {}
    for player in strength.argsort(descending=True).tolist():
        players.setdefault(int(partner[player]), player)
    return [(player, partner) for partner, player in players.items()][:n_parts]
