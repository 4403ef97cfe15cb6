"""Affine towers whose tail averages the positions of a layer's output: all players of a batch from the means of their cells."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from captum_pairwise.games.checks import promote_half
from captum_pairwise.games.game import Affine
from captum_pairwise.games.sides import Side
from captum_pairwise.players.regions import NEVER_LEAVES

Embed = Callable[[Tensor], Tensor]
ROUNDING = 64  # differences of two embeddings in units of the last digit, relative to their norm
LARGEST_EPS = 1e-6  # rounding in half precision would hide that a tail weighs positions


def pool_players(side: Side, embed: Embed, channel_axis: int) -> list[list[Affine]] | None:
    """For each example and each background, the embedding as an affine function of the presences.

    The tail sees a map only through the mean of its positions. So one small batch of means replaces a whole map for each player.

    Args:
        side: the side of a batch.
        embed: an affine function from outputs of the layer `[rows, ...]` to embeddings.
        channel_axis: the axis of the channels of the layer's output.

    Returns:
        The functions; None if the tail does not average the positions, if players share a position, or if examples have different numbers
        of players.
    """
    counts = {len(side.ids(example)) for example in range(len(side.present))}
    has_positions = side.present.dim() > 2 and side.players.ids.shape[channel_axis] == 1
    if len(counts) > 1 or not has_positions or not _averages_positions(embed, side.present, channel_axis):
        return None
    owners, n_players = _number_players(side, channel_axis), counts.pop()
    members = torch.nn.functional.one_hot(owners, n_players + 1).to(side.present)
    none = embed(_as_map(side.present.new_zeros(1, side.present.shape[channel_axis]), side.present, channel_axis))
    functions: list[list[Affine]] = [[] for _ in side.present]
    for absent in side.absent:
        changes = _as_positions(side.present - absent, channel_axis)
        shares = members.mT @ changes / changes.shape[1]  # of the mean of all positions; the last row belongs to positions that never leave
        starts = _as_positions(absent, channel_axis).mean(1) + shares[:, -1]
        offsets = embed(_as_map(starts, side.present, channel_axis))
        moves = embed(_as_map(shares[:, :-1].flatten(0, 1), side.present, channel_axis)) - none
        for example, affine in enumerate(functions):
            part = slice(example * n_players, (example + 1) * n_players)
            affine.append(Affine(promote_half(offsets[example]), promote_half(moves[part])))
    return functions


def _averages_positions(embed: Embed, outputs: Tensor, channel_axis: int) -> bool:
    """True if an affine tail gives a random map and the mean of its positions the same embedding: it then does so for every map."""
    random = torch.randn(outputs[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu").to(outputs)
    mean = _as_map(_as_positions(random, channel_axis).mean(1), outputs, channel_axis)
    try:
        of_mean, none = embed(torch.cat([mean, torch.zeros_like(mean)])).split(1)
    except RuntimeError:  # the tail takes only maps of the layer's own size
        return False
    of_map = embed(random)
    eps = torch.finfo(of_map.dtype).eps
    return eps < LARGEST_EPS and bool((of_map - of_mean).norm() <= ROUNDING * eps * (of_map - none).norm())


def _number_players(side: Side, channel_axis: int) -> Int[Tensor, "batch positions"]:
    """The number of each position's player among the players of its example; the number of players where an element never leaves."""
    shape = [-1 if axis == channel_axis else size for axis, size in enumerate(side.present.shape)]
    ids = _as_positions(side.players.ids.expand(shape), channel_axis)[..., 0]
    return torch.stack(
        [
            torch.where(owners == NEVER_LEAVES, len(side.ids(example)), torch.searchsorted(side.ids(example), owners.contiguous()))
            for example, owners in enumerate(ids)
        ]
    )


def _as_positions(outputs: Tensor, channel_axis: int) -> Shaped[Tensor, "batch positions channels"]:
    return outputs.movedim(channel_axis, -1).flatten(1, -2)


def _as_map(channels: Float[Tensor, "rows channels"], like: Tensor, channel_axis: int) -> Tensor:
    """Outputs of the layer with a single position."""
    return channels[(slice(None), *[None] * (like.dim() - 2))].movedim(-1, channel_axis)
