"""Contents of an explanation: photos, sentences and other inputs, their parts, and pairs of parts."""

from dataclasses import dataclass, field
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

from captum_pairwise.visualization.input_kinds import InputKind, Number

Box = tuple[Number, Number, Number, Number]  # left, top, right, bottom


@dataclass(frozen=True)
class Photo:
    """A photo as it was given.

    Attributes:
        pixels: the part that the network sees, RGB in [0, 1], at most 1024 pixels on the longer side.
        name: the name of its file, or its role.
        view: the part that the network sees, in pixels of the photo.
    """

    pixels: Float[Tensor, "1 3 height width"] = field(repr=False)
    name: str
    view: Box


@dataclass(frozen=True)
class Sentence:
    """A sentence as the network reads it.

    Attributes:
        tokens: the words and pieces of words that get credit.
        name: the sentence.
        part: the name of a part.
    """

    tokens: tuple[str, ...]
    name: str
    part: str = "word"


Content: TypeAlias = Photo | Sentence | InputKind


@dataclass(frozen=True)
class Part:
    """A part of a photo or of another input, or a token of a sentence.

    Attributes:
        number: its number in the tensors.
        words: where it is, with the units of the input, or the token in quotes.
        box: the smallest box around it, in pixels of the photo; None for other contents.
    """

    number: int
    words: str
    box: Box | None = None

    def __str__(self) -> str:
        if self.box is None:
            return self.words
        left, top, right, bottom = map(round, self.box)
        return f"{self.words} (pixels {left} to {right} across, {top} to {bottom} down)"


@dataclass(frozen=True)
class Match:
    """A part of the query and a part of the retrieved image that raise the similarity together.

    Attributes:
        query: the part of the query.
        retrieved: the part of the retrieved image.
        credit: of the pair, in units of the similarity.
        standard_error: of the credit, or None if it is unknown.
    """

    query: Part
    retrieved: Part
    credit: float
    standard_error: float | None

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.1g}"
        return f"{self.credit:+.2g}{error}: {self.query} and {self.retrieved}"
