"""Credit of one division of the images as credit of another one, so that methods with different parts can be compared."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.players.regions import Players
from captum_pairwise.results.interactions import Interactions

Shares = Float[Tensor, "parts players"]


def count_pixels(players: Players, parts: Players) -> Float[Tensor, "parts players"]:
    """The number of pixels that each player has in each part.

    Args:
        players: cells of a map, or parts of the image.
        parts: parts of the image, whose ids are pixels `[1, 1, H, W]`.
    """
    height, width = parts.ids.shape[2:]
    owners = F.interpolate(players.ids[:1, :1].double(), (height, width), mode="nearest").long().flatten()
    counts = torch.zeros(parts.n_players, players.n_players + 1, dtype=torch.float64, device=owners.device)
    counts.index_put_((parts.ids.flatten(), owners % (players.n_players + 1)), counts.new_ones(()), accumulate=True)
    return counts[:, :-1]  # the last column is of pixels without a player, whose id is -1


def share_players(players: Players, parts: Players) -> Shares:
    """The share of each player's pixels in each part; the columns sum to 1, or to 0 for a player without pixels."""
    counts = count_pixels(players, parts)
    return counts / counts.sum(0).clamp(min=1)


def regroup_credit(credit: Float[Tensor, " players"], players: Players, parts: Players) -> Float[Tensor, " parts"]:
    """The credit of parts: of each player the share that lies in the part."""
    return share_players(players, parts) @ credit.double()


def regroup_pairs(result: Interactions, parts: tuple[Players, Players]) -> Interactions:
    """The credit of parts and pairs of parts of one pair of images; credit that the method does not compute counts as 0.

    Pairs of players inside one part become the part's own credit. Where `v(∅)` is unknown, as of SAM, the constant is `v(N)` minus all
    credit.

    Raises:
        ValueError: the players of the result are unknown.
    """
    if result.query_players is None or result.retrieved_players is None:
        raise ValueError("Expected interactions with the players of both images, got others. Explain both images.")
    shares = share_players(result.query_players, parts[0]), share_players(result.retrieved_players, parts[1])
    own, within = zip(*(_regroup_side(result, side, share) for side, share in enumerate(shares)), strict=True)
    blocks = {
        "first_order": torch.cat(own, 1),
        "between": torch.einsum("ai,mij,bj->mab", shares[0], result["between"].double(), shares[1]),
        "within_query": within[0],
        "within_retrieved": within[1],
    }
    total = blocks["first_order"].sum(1) + blocks["between"].sum((1, 2)) + sum(pairs.sum((1, 2)) / 2 for pairs in within)
    full, constant = result.full.double(), (result.empty if result.constant is None else result.constant).double()
    constant = torch.where(constant.isnan(), full - total, constant)
    empty, n_evaluations = result.empty.double(), result.n_evaluations
    return Interactions(n_query=parts[0].n_players, empty=empty, full=full, n_evaluations=n_evaluations, constant=constant, **blocks)


def _regroup_side(result: Interactions, side: int, share: Shares) -> tuple[Float[Tensor, "1 parts"], Float[Tensor, "1 parts parts"]]:
    """The own credit of the parts of one image, and the credit of its pairs."""
    own, within = share.new_zeros(1, len(share)), share.new_zeros(1, len(share), len(share))
    pairs = (result.within_query, result.within_retrieved)[side]
    if pairs is not None:
        joined = torch.einsum("ai,mij,bj->mab", share, pairs.double(), share)
        joined = (joined + joined.mT) / 2  # exactly symmetric
        own, within = joined.diagonal(dim1=1, dim2=2) / 2, joined - torch.diag_embed(joined.diagonal(dim1=1, dim2=2))
    if result.first_order is not None:
        own = own + result.first_order.double().tensor_split([result.n_query], 1)[side] @ share.T
    return own, within
