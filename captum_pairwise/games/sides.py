"""The two sides of a batch of pairs: images or layer outputs in which each absent player is replaced by its baseline."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.games.checks import clone_if_inference
from captum_pairwise.players.baselines import Baseline, background_members
from captum_pairwise.players.layouts import describe_layouts, get_channel_axis
from captum_pairwise.players.position_layouts import apply_layout
from captum_pairwise.players.regions import NEVER_LEAVES, Layout, Players, cells, map_cells, parse_mask
from captum_pairwise.players.windows import Windows


@dataclass(frozen=True)
class Side:
    """One side of a batch of pairs: its values where players are present, and where they are absent.

    Attributes:
        present: the images, or a layer's output for them.
        absent: the members of the background distribution, each shaped like `present`.
        players: the player of each element.
        windows: the windows that are occluded instead of players, or None; the coordinates of the game are then their bands.
        place: the players as they lie in an image, if not as in `present`: tokens laid out as a map.
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

    def count_coordinates(self, example: int) -> int:
        """The number of coordinates of this side of the game."""
        return len(self.ids(example)) if self.windows is None else self.windows.n_bands

    def ids(self, example: int) -> Int[Tensor, " players"]:
        """The players that have an element in this image."""
        ids = self.players.ids[example].unique()
        return ids[ids != NEVER_LEAVES]

    def is_same(self, first: int, second: int) -> bool:
        """True if two examples have the same values, present and absent, and the same players."""
        return all(torch.equal(tensor[first], tensor[second]) for tensor in (self.present, *self.absent, self.players.ids))

    def scatter(self, values: list[Tensor]) -> Float[Tensor, "batch ..."]:
        """Arrange the vector of player values of each pair in the layout of the players."""
        scattered = values[0].new_zeros(len(values), self.players.n_players)
        for example, credit in enumerate(values):
            scattered[example, self.ids(example)] = credit
        return scattered.reshape(len(values), *self.players.shape)

    def make_mixers(self, example: int) -> list[Callable[[Tensor], Tensor]]:
        """For each background, the function from presences `[rows, players]` to mixed tensors `[rows, ...]`."""
        presence = _make_presence(self._position(example)) if self.windows is None else self.windows.presence
        return [_make_mixer(self.present[example], absent[example], presence) for absent in self.absent]

    def measure_changes(self, example: int) -> Float[Tensor, " players"]:
        """The sum of squared changes caused by the absence of each player, averaged over backgrounds; in float64 on the CPU."""
        position = self._position(example).expand_as(self.present[example]).flatten().cpu()
        sums = torch.zeros(len(self.ids(example)) + 1, dtype=torch.float64, device="cpu")
        for absent in self.absent:
            difference = self.present[example].cpu().double() - absent[example].cpu().double()
            sums.scatter_add_(0, position, difference.square().flatten())
        return sums[:-1] / len(self.absent)

    def _position(self, example: int) -> Int[Tensor, "..."]:
        """The column of presences of each element's player; one more column for elements that never leave."""
        ids, owner = self.ids(example), self.players.ids[example]
        return torch.where(owner == NEVER_LEAVES, len(ids), torch.searchsorted(ids, owner.contiguous()))


def _make_presence(position: Int[Tensor, "..."]) -> Callable[[Tensor], Tensor]:
    columns, shape = position.flatten(), position.shape
    return lambda z: torch.nn.functional.pad(z, (0, 1), value=1.0).index_select(1, columns).view(-1, *shape)  # added: always 1


def _make_mixer(present: Tensor, absent: Tensor, presence: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    present, absent = clone_if_inference(present), clone_if_inference(absent)

    # exactly `absent` at z = 0 and `present` at z = 1; many times faster than `torch.where`
    return lambda z: torch.lerp(absent, present, presence(z.to(present)))


def make_input_side(
    name: str, images: Tensor, baseline: Baseline, mask: Tensor | Layout | None, players: Callable[[Tensor], Players]
) -> Side:
    """The side of a batch whose players are parts of the images; `players` divides images without a mask."""
    parts = parse_mask(mask, images, f"the {name} feature_mask") if mask is not None else players(images)
    return Side(images, background_members(baseline, images, f"the {name} baseline", parts.ids), parts)


@dataclass(frozen=True)
class LayerOptions:
    """The options of the user for one side whose players are parts of a layer's output; `name` is used in error messages.

    `divide` makes the players of an output without a mask from the output and the axis of its channels.
    """

    name: str
    baseline: Baseline
    layer_baseline: Baseline
    mask: Tensor | Layout | None
    layout: str | None = None
    divide: Callable[[Tensor, int], Players] = cells

    def get_channel_axis(self, output: Tensor, axis: int | None) -> int | None:
        """The axis of the channels in the layer's output by the layout that the user named, or else `axis`."""
        named = get_channel_axis(self.layout, output, f"the {self.name} layer's output")
        return axis if named is None else named

    def make_side(self, output: Tensor, axis: int | None, images: Tensor, record: Callable[[Tensor], Tensor]) -> Side:
        """The side of a batch.

        Args:
            output: the layer's output.
            axis: the axis of its channels, or None if it is unknown.
            images: the images.
            record: maps other images to the layer's output.
        """
        players, place = _divide_output(output, axis, self.mask, f"the {self.name} layer_mask", self.divide)
        if self.layer_baseline is not None:
            absent = background_members(self.layer_baseline, output, f"the {self.name} layer_baselines", players.ids)
        else:
            absent = [_record_member(record, member) for member in background_members(self.baseline, images, f"the {self.name} baseline")]
        return Side(output, absent, players, place=place)


def _record_member(record: Callable[[Tensor], Tensor], member: Tensor) -> Tensor:
    """The layer's output for a member of the background; one run serves all examples that share the same image."""
    if len(member) == 1 or member.stride(0) != 0:
        return record(member)
    output = record(member[:1])
    return output.expand(len(member), *output.shape[1:])


def _divide_output(
    output: Tensor, axis: int | None, mask: Tensor | Layout | None, name: str, divide: Callable[[Tensor, int], Players]
) -> tuple[Players, Players | None]:
    """The players of a layer's output, and their place in the image or volume unless the output itself is a map `[B, C, ...]`."""
    if isinstance(mask, Tensor) or (mask is not None and not callable(mask)):
        return parse_mask(mask, output, name), None
    if callable(mask):
        players = apply_layout(output, mask, name, axis)
    else:
        players = divide(output, require_axis(axis, output))
    is_map = len(players.shape) > 1 and players.ids.shape[1:] != (1, *players.shape)
    return players, map_cells(players) if is_map else None


def require_axis(axis: int | None, output: Tensor) -> int:
    """The axis of the channels.

    Raises:
        ValueError: it is unknown.
    """
    if axis is None:
        raise ValueError(
            f"Expected a layer whose channels can be told from its modules, got an output {tuple(output.shape)}. Pass "
            f"{describe_layouts(output)} to the method, or a layer_mask."
        )
    return axis
