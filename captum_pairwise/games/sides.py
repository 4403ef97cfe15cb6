"""What a coalition looks like: the sides of a batch of pairs, with every absent player replaced by its baseline."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.games.checks import clone_if_inference
from captum_pairwise.games.game import Game, one_image_games
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.batching import Chunk, get_memory_bytes
from captum_pairwise.players.baselines import Baseline, background_members
from captum_pairwise.players.regions import NEVER_LEAVES, Layout, Players, apply_layout, cells, default_players, map_cells, parse_mask
from captum_pairwise.players.windows import Windows
from captum_pairwise.results.interactions import SIDES, Interactions, renumber_players, stack_interactions

PairOf = tuple[Baseline, Baseline]
Masks = tuple[Tensor | Layout | None, Tensor | Layout | None]


@dataclass(frozen=True)
class Request:
    """What a user asks for, beside the model and the images, in Captum's words.

    Attributes:
        baselines: a pair, one per image, in input space.
        feature_mask: a pair of integer masks over the inputs.
        players: who plays in inputs without a mask.
        layer_baselines: a pair in the space of the layer's output; takes the place of `baselines`.
        layer_mask: a pair over the layer's output, each an integer mask, or a function that lays its tokens out as a map.
        windows: windows over both images, which then leave in place of players.
        target: which output of a forward function that is no `SimilarityWrapper`.
        additional_forward_args: what that function gets beside the images.
        chunk: the most rows in one forward pass; None fits it to memory.
        description: what a progress bar says; None shows no bar.
        notices: what the user was told in this call, see `Chunk`.
    """

    baselines: PairOf = (None, None)
    feature_mask: Masks = (None, None)
    players: Callable[[Tensor], Players] = default_players
    layer_baselines: PairOf = (None, None)
    layer_mask: Masks = (None, None)
    windows: tuple[Windows | None, Windows | None] = (None, None)
    target: TargetType = None
    additional_forward_args: object = None
    chunk: int | None = None
    description: str | None = None
    notices: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"Expected perturbations_per_eval (internal_batch_size) of at least 1, got {self.chunk}.")

    def chunk_of(self, size: int) -> Chunk:
        """A chunk of this size, or of that asked for, in this call."""
        return Chunk(size if self.chunk is None else self.chunk, self.notices)

    def by_default(self, baseline: Baseline) -> "Request":
        """The same request, with this baseline for an image for which none is asked."""
        query, retrieved = (baseline if one is None else one for one in self.baselines)
        return replace(self, baselines=(query, retrieved))


@dataclass(frozen=True)
class Side:
    """One side of a batch of pairs: what its players show when present, and when absent.

    Attributes:
        present: the images, or a layer's output for them.
        absent: the members of the background distribution, each shaped like `present`.
        players: who owns what.
        windows: what leaves in place of players, or None; the coordinates of the game are then their bands.
        place: where the players lie in an image, if not as they do in `present`: tokens laid out as a map.
    """

    present: Tensor
    absent: list[Tensor]
    players: Players
    windows: Windows | None = None
    place: Players | None = None

    @property
    def shown(self) -> Players:
        """The players as they lie in the image."""
        return self.players if self.place is None else self.place

    def n_coordinates(self, example: int) -> int:
        """How many coordinates this side of the game has."""
        return len(self.ids(example)) if self.windows is None else self.windows.n_bands

    def ids(self, example: int) -> Int[Tensor, " players"]:
        """The players that have a part in this image."""
        ids = self.players.ids[example].unique()
        return ids[ids != NEVER_LEAVES]

    def is_same(self, one: int, other: int) -> bool:
        """Whether two examples show the same when present and when absent, with the same players."""
        return all(torch.equal(tensor[one], tensor[other]) for tensor in (self.present, *self.absent, self.players.ids))

    def scatter(self, values: list[Tensor]) -> Float[Tensor, "batch ..."]:
        """Lay out one vector per pair, over the players that have a part in it, as the players are."""
        credits = values[0].new_zeros(len(values), self.players.n_players)
        for example, credit in enumerate(values):
            credits[example, self.ids(example)] = credit
        return credits.reshape(len(values), *self.players.shape)

    def mixers(self, example: int) -> list[Callable[[Tensor], Tensor]]:
        """For each background, the function from presences `[rows, players]` to mixed tensors `[rows, ...]`."""
        presence = _presence(self._position(example)) if self.windows is None else self.windows.presence
        return [_mixer(self.present[example], absent[example], presence) for absent in self.absent]

    def departures(self, example: int) -> Float[Tensor, " players"]:
        """The sum of squared differences that each player's absence makes, the mean over backgrounds; in float64 on the CPU."""
        position = self._position(example).expand_as(self.present[example]).flatten().cpu()
        sums = torch.zeros(len(self.ids(example)) + 1, dtype=torch.float64)
        for absent in self.absent:
            difference = self.present[example].cpu().double() - absent[example].cpu().double()
            sums.scatter_add_(0, position, difference.square().flatten())
        return sums[:-1] / len(self.absent)

    def _position(self, example: int) -> Int[Tensor, "..."]:
        """The column of presences of each element's player; one more for what never leaves."""
        ids, owner = self.ids(example), self.players.ids[example]
        return torch.where(owner == NEVER_LEAVES, len(ids), torch.searchsorted(ids, owner.contiguous()))


def _presence(position: Int[Tensor, "..."]) -> Callable[[Tensor], Tensor]:
    columns, shape = position.flatten(), position.shape
    return lambda z: torch.nn.functional.pad(z, (0, 1), value=1.0).index_select(1, columns).view(-1, *shape)  # the last never leaves


def _mixer(present: Tensor, absent: Tensor, presence: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    present, absent = clone_if_inference(present), clone_if_inference(absent)

    # exactly the one at z = 0 and the other at z = 1; many times faster than picking by `torch.where`
    return lambda z: torch.lerp(absent, present, presence(z.to(present)))


def input_side(images: Tensor, request: Request, k: int) -> Side:
    """The side of a batch whose players are parts of the images."""
    mask = request.feature_mask[k]
    players = parse_mask(mask, images, f"the {SIDES[k]} feature_mask") if mask is not None else request.players(images)
    absent = background_members(request.baselines[k], images, f"the {SIDES[k]} baseline", players.ids)
    return Side(images, absent, players, request.windows[k])


def layer_side(
    output: Tensor, images: Tensor, request: Request, k: int, run: Callable[[Tensor], Tensor], names: Sequence[str] = SIDES
) -> Side:
    """The side of a batch whose players are parts of a layer's output; `run` gives that output for other images."""
    players, place = _layer_players(output, request.layer_mask[k], f"the {names[k]} layer_mask")
    if request.layer_baselines[k] is not None:
        absent = background_members(request.layer_baselines[k], output, f"the {names[k]} layer_baselines", players.ids)
    else:
        absent = [run(baseline) for baseline in background_members(request.baselines[k], images, f"the {names[k]} baseline")]
    return Side(output, absent, players, place=place)


def _layer_players(output: Tensor, mask: Tensor | Layout | None, name: str) -> tuple[Players, Players | None]:
    """Who owns what of a layer's output, and where that is in the image if tokens are laid out as a map."""
    if callable(mask):
        players = apply_layout(output, mask, name)
        return players, map_cells(players) if len(players.shape) == 2 else None
    return (cells(output) if mask is None else parse_mask(mask, output, name)), None


@dataclass(frozen=True)
class Pairs:
    """The games of a batch of pairs."""

    query: Side
    retrieved: Side
    game: Callable[[int], Game]

    def games(self) -> Iterator[Game]:
        """One game per pair, over the players that have a part in it."""
        return (self.game(example) for example in range(len(self.query.present)))

    def departures(self, example: int) -> Float[Tensor, " players"]:
        """What the absence of each player adds to the mean squared difference from the pair itself.

        Players share no element, so a coalition's distance is the sum over those that it lacks.
        """
        sides = (self.query, self.retrieved)
        return torch.cat([side.departures(example) for side in sides]) / sum(side.present[example].numel() for side in sides)

    @disable_autocast()
    def explain(self, estimate: Callable[[Game], Interactions]) -> Interactions:
        """Estimate every game."""
        self.refuse_beyond_memory()
        return self.joined([estimate(game) for game in self.games()])

    def refuse_beyond_memory(self) -> None:
        """Refuse matrices of pairs that do not fit.

        Raises:
            ValueError: they do not.
        """
        n_players, present = self.query.players.n_players + self.retrieved.players.n_players, self.query.present
        needed, has = 2 * len(present) * n_players**2 * present.element_size(), get_memory_bytes(present.device)
        if needed > has:
            raise ValueError(
                f"Expected fewer players: all pairs of {n_players} need {needed / 2**30:.0f} GiB for {len(present)} pairs of images, "
                f"and there are {has / 2**30:.0f} GiB. Group them with a coarser mask, or take a deeper layer."
            )

    @disable_autocast()
    def explain_images(self, estimate: Callable[[Game, Side, int], Interactions]) -> tuple[Interactions, Interactions]:
        """Estimate the game of the query's players of every pair, and that of the retrieved image's (paper eq. 2).

        Args:
            estimate: gets the game, its side, and the number of the pair in the batch.
        """
        query, retrieved = [], []
        for example, game in enumerate(self.games()):
            of_query, of_retrieved = one_image_games(game)
            query.append(estimate(of_query, self.query, example))
            retrieved.append(estimate(of_retrieved, self.retrieved, example))
        return _joined(query, (self.query, None)), _joined(retrieved, (None, self.retrieved))

    def joined(self, estimates: Sequence[Interactions]) -> Interactions:
        """One batch of the estimates of all pairs, its players numbered as the masks do."""
        return _joined(estimates, (self.query, self.retrieved))


def _joined(estimates: Sequence[Interactions], sides: tuple[Side | None, Side | None]) -> Interactions:
    """One batch of the estimates of all pairs; a side that does not play is None."""
    nobody = torch.zeros(0, dtype=torch.long, device=estimates[0].full.device)
    query, retrieved = (side.shown if side is not None else None for side in sides)
    sizes = [players.n_players if players is not None else 0 for players in (query, retrieved)]
    batch = []
    for example, estimate in enumerate(estimates):
        ids = [side.ids(example) if side is not None else nobody for side in sides]
        batch.append(renumber_players(estimate, ids[0], ids[1], sizes[0], sizes[1]))
    return replace(stack_interactions(batch), query_players=query, retrieved_players=retrieved)
