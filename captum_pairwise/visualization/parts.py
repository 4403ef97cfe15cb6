"""The parts of both sides of a pair, and the strongest among them."""

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import SIDES, Interactions
from captum_pairwise.visualization.photo_parts import PhotoParts
from captum_pairwise.visualization.sheets import draw_sheet

WORTH_A_LOOK = 0.1  # of the pairs that raise the similarity: fewer that lower it are noise


def locate_parts(interactions: Interactions, images: object, example: int) -> tuple[PhotoParts, PhotoParts]:
    """Pictures of the query and of the retrieved side of one pair, with their parts.

    Raises:
        ValueError: the players are unknown, a credit is not finite, or the photos or the number of the pair do not fit.
    """
    check_players(interactions)
    if not isinstance(images, tuple) or len(images) != 2:
        actual = f"{len(images)} of them" if isinstance(images, tuple) else type(images).__name__
        raise ValueError(f"Expected a tuple of images ({', '.join(SIDES)}), got {actual}. Pass one batch for each name.")
    check_pair(interactions, example)
    sheets = [draw_sheet(side, interactions, number, example) for number, side in enumerate(images)]
    return sheets[0], sheets[1]


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
    """Query players with the strongest match each in the pairs `[n_q, n_r]`, as `(query player, match)`. No two have the same match.

    >>> strongest_parts(torch.tensor([[3.0, 1.0], [2.0, 0.0], [0.0, 1.0]]), 2)
    [(0, 0), (2, 1)]

    See also `matches_figure`.
    """
    return _choose_distinct(between.max(1).values, between.argmax(1), n_parts)


def lowering_parts(between: Float[Tensor, "query retrieved"], n_parts: int) -> list[tuple[int, int]]:
    """Query players with the pair of each that lowers the similarity most, as `(query player, partner)`. No two have the same partner.

    >>> lowering_parts(torch.tensor([[-3.0, 9.0], [-2.0, -2.5], [1.0, 1.0]]), 2)
    [(0, 0), (1, 1)]
    """
    return [pair for pair in strongest_parts(-between, n_parts) if between[pair] < 0]


def choose_sign(between: Float[Tensor, "query retrieved"], is_similar: bool) -> int:
    """-1 if the pairs that lower the similarity come first: of photos that are not similar, if they are worth a look. Otherwise 1."""
    lowered, raised = -between.clamp(max=0).sum(), between.clamp(min=0).sum()
    return -1 if not is_similar and bool(lowered > WORTH_A_LOOK * raised) else 1


def _choose_distinct(strength: Float[Tensor, " query"], partner: Int[Tensor, " query"], n_parts: int) -> list[tuple[int, int]]:
    """The strongest players with their partners; of players with one partner, the strongest."""
    players: dict[int, int] = {}
    for player in strength.argsort(descending=True).tolist():
        players.setdefault(int(partner[player]), player)
    return [(player, partner) for partner, player in players.items()][:n_parts]
