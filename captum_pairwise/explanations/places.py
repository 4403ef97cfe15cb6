"""The places of parts in words and in pixels of a photo."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.explanations.contents import Box, Content, Part, Photo
from captum_pairwise.players.regions import NEVER_LEAVES, Players

ROWS, COLUMNS = ("upper", "", "lower"), ("left", "", "right")
ENDS = {"upper": "top", "lower": "bottom", "": "middle"}  # of a column in the middle
MOST_WORDS = 4  # of a group
WIDE = 0.25  # of the photo's side: the standard deviation of parts that are everywhere is 0.29


@dataclass(frozen=True)
class Places:
    """The parts of one photo or sentence.

    Attributes:
        content: the photo or the sentence.
        players: its players, of a batch of one.
    """

    content: Content
    players: Players | None

    @property
    def noun(self) -> str:
        """The name of a part."""
        return "part" if isinstance(self.content, Photo) else "word"

    @property
    def n_parts(self) -> int:
        """The number of parts; a batch may have more players, for other photos or longer sentences."""
        if not isinstance(self.content, Photo):
            return len(self.content.tokens)
        return 0 if self.players is None else int((self.players.ids[0].unique() != NEVER_LEAVES).sum())

    def describe_part(self, number: int) -> Part:
        """A part with its place."""
        if not isinstance(self.content, Photo):
            return Part(number, _quote(self.content.tokens[number]))
        box = self._find_box(number)
        if box is None:
            return Part(number, f"part {number}")
        left, top, right, bottom = box
        view_left, view_top, view_right, view_bottom = self.content.view
        width, height = view_right - view_left, view_bottom - view_top
        pixels = (view_left + left * width, view_top + top * height, view_left + right * width, view_top + bottom * height)
        return Part(number, f"the {name_place((left + right) / 2, (top + bottom) / 2)}", pixels)

    def describe_group(self, weights: Float[Tensor, " players"]) -> str:
        """The place of several parts together, in words.

        Args:
            weights: the weight of each part; parts with weight 0 do not count.
        """
        numbers = weights.nonzero()[:, 0].tolist()
        if not isinstance(self.content, Photo):
            strongest = sorted(numbers, key=lambda number: -weights[number].item())[:MOST_WORDS]
            words = ", ".join(_quote(self.content.tokens[number]) for number in strongest)
            return words if len(numbers) <= MOST_WORDS else f"above all {words}"
        centres = [self._find_centre(number) for number in numbers]
        points = torch.tensor([centre or (0.5, 0.5) for centre in centres], dtype=torch.float64, device="cpu")
        shares = (weights[numbers].double().cpu() / weights[numbers].sum().double().cpu())[:, None]
        mean = (shares * points).sum(0)
        deviation = (shares * (points - mean).square()).sum(0).sqrt()
        place = name_place(*mean.tolist())
        return "spread over the photo" if deviation.max() > WIDE else f"{'in' if place == 'middle' else 'at'} the {place}"

    def _find_centre(self, number: int) -> tuple[float, float] | None:
        box = self._find_box(number)
        return None if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)

    def _find_box(self, number: int) -> Box | None:
        """The smallest box around a part, in shares of the photo's sides."""
        if self.players is None or self.players.ids.dim() != 4 or number == NEVER_LEAVES:
            return None
        owned = (self.players.ids[0] == number).any(0)
        if not owned.any():
            return None
        rows, columns = owned.nonzero().T
        height, width = owned.shape
        return (
            columns.min().item() / width,
            rows.min().item() / height,
            (columns.max().item() + 1) / width,
            (rows.max().item() + 1) / height,
        )


def _quote(token: str) -> str:
    """A token in quotes; a piece that continues a word begins with dots."""
    return f"“…{token[2:]}”" if token.startswith("##") and len(token) > 2 else f"“{token}”"


def name_place(across: float, down: float) -> str:
    """The place of a point in words, from its shares of the photo's width and height.

    >>> name_place(0.1, 0.2), name_place(0.1, 0.5), name_place(0.5, 0.5), name_place(0.5, 0.9)
    ('upper left', 'left', 'middle', 'bottom')
    """
    row, column = ROWS[min(int(down * 3), 2)], COLUMNS[min(int(across * 3), 2)]
    return f"{row} {column}".strip() if column else ENDS[row]
