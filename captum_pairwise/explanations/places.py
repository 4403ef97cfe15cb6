"""The places of parts in words and in pixels of a photo."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.explanations.contents import Box, Content, Part, Photo, Sentence
from captum_pairwise.players.regions import NEVER_LEAVES, Players
from captum_pairwise.visualization.input_kinds import Picture, Signal
from captum_pairwise.visualization.part_places import (
    WIDE,
    AxisBox,
    describe_box,
    describe_boxes,
    find_boxes,
    find_place_ids,
    name_place,
)

MOST_WORDS = 4  # of a group


@dataclass(frozen=True)
class Places:
    """The parts of one photo, sentence or other input.

    Attributes:
        content: the photo, the sentence or the other input.
        players: its players, of a batch of one.
    """

    content: Content
    players: Players | None

    @property
    def noun(self) -> str:
        """The name of a part."""
        return self.content.part if isinstance(self.content, Sentence) else "moment" if isinstance(self.content, Signal) else "part"

    @property
    def content_noun(self) -> str:
        """The name of the content."""
        return "sentence" if isinstance(self.content, Sentence) else "photo" if isinstance(self.content, Photo) else self.content.noun

    @property
    def n_parts(self) -> int:
        """The number of parts; a batch may have more players, for other photos or longer sentences."""
        if isinstance(self.content, Sentence):
            return len(self.content.tokens)
        return 0 if self.players is None else int((self.players.ids[0].unique() != NEVER_LEAVES).sum())

    def describe_part(self, number: int) -> Part:
        """A part with its place."""
        if isinstance(self.content, Sentence):
            return Part(number, _quote(self.content.tokens[number]))
        boxes = self._find_boxes()
        box = boxes[number] if 0 <= number < len(boxes) else None
        if box is None:
            return Part(number, f"part {number}")
        if not isinstance(self.content, Photo | Picture):
            return Part(number, describe_box(self.content, box))
        (top, bottom), (left, right) = box
        words = f"the {name_place((left + right) / 2, (top + bottom) / 2)}"
        view_left, view_top, view_right, view_bottom = _find_view(self.content)
        width, height = view_right - view_left, view_bottom - view_top
        pixels = (view_left + left * width, view_top + top * height, view_left + right * width, view_top + bottom * height)
        return Part(number, words, pixels)

    def describe_group(self, weights: Float[Tensor, " players"]) -> str:
        """The place of several parts together, in words.

        Args:
            weights: the weight of each part; parts with weight 0 do not count.
        """
        numbers = weights.nonzero()[:, 0].tolist()
        if isinstance(self.content, Sentence):
            strongest = sorted(numbers, key=lambda number: -weights[number].item())[:MOST_WORDS]
            words = ", ".join(_quote(self.content.tokens[number]) for number in strongest)
            return words if len(numbers) <= MOST_WORDS else f"above all {words}"
        boxes = self._find_boxes()
        if isinstance(self.content, Photo | Picture):
            return self._describe_area([boxes[number] for number in numbers], weights[numbers])
        placed = {number: box for number in numbers if (box := boxes[number]) is not None}
        return describe_boxes(self.content, list(placed.values()), weights[list(placed)])

    def _describe_area(self, boxes: list[AxisBox | None], weights: Float[Tensor, " parts"]) -> str:
        """The place of parts of a photo."""
        middle = ((0.5, 0.5), (0.5, 0.5))
        points = torch.tensor([box or middle for box in boxes], dtype=torch.float64, device="cpu").mean(2)
        shares = (weights.double().cpu() / weights.sum().double().cpu())[:, None]
        mean = (shares * points).sum(0)
        deviation = (shares * (points - mean).square()).sum(0).sqrt()
        down, across = mean.tolist()
        place = name_place(across, down)
        return f"spread over the {self.content_noun}" if deviation.max() > WIDE else f"{'in' if place == 'middle' else 'at'} the {place}"

    def _find_boxes(self) -> list[AxisBox | None]:
        """The smallest box around each part, in shares of the content's axes; None for a part whose place is unknown."""
        if self.players is None or isinstance(self.content, Sentence):
            return []
        n_players = self.players.n_players
        if not isinstance(self.content, Photo | Picture):
            return find_boxes(find_place_ids(self.players, self.content), n_players)
        if self.players.ids.dim() != 4:
            return [None] * n_players
        return [None if box is None else box[1:] for box in find_boxes(self.players.ids[0].cpu().numpy(), n_players)]


def _find_view(content: Photo | Picture) -> Box:
    """The part of the photo that the network sees, in pixels."""
    return content.view if isinstance(content, Photo) else (0, 0, content.tensor.shape[-1], content.tensor.shape[-2])


def _quote(token: str) -> str:
    """A token in quotes; a piece that continues a word begins with dots."""
    return f"“…{token[2:]}”" if token.startswith("##") and len(token) > 2 else f"“{token}”"
