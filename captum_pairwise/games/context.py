"""The types of the arguments of a call, and the context in which the forward function runs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.files.arguments import check_count
from captum_pairwise.network.batching import Chunk, MemoryNotice, choose_chunk_size
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.regions import Layout

Images = tuple[Tensor, Tensor]  # a batch of query images, and a batch of retrieved images of equal length
ForwardFunc = Callable[..., Tensor]  # `f(query, retrieved) -> [B]`
Baselines = tuple[Baseline, Baseline] | None
Masks = tuple[Tensor | Layout | None, Tensor | Layout | None] | None  # functions only for layers


@dataclass
class ForwardContext:
    """The settings with which one call runs the forward function; a new object for every call of `attribute`.

    Attributes:
        target: the output of a forward function that is no `SimilarityWrapper`.
        additional_forward_args: the arguments of that function after the images.
        max_rows: the most rows in one forward pass; None fits it to memory.
        description: the text of the progress bar; None shows no bar.
        is_stochastic: True to accept a function that draws at random.
        notice: the warning that memory ran out, which a call gives once.

    Raises:
        ValueError: `max_rows` is no whole number of at least 1.
    """

    target: TargetType = None
    additional_forward_args: object = None
    max_rows: int | None = None
    description: str | None = None
    is_stochastic: bool = False
    notice: MemoryNotice = field(default_factory=MemoryNotice)

    def __post_init__(self) -> None:
        if self.max_rows is not None:
            self.max_rows = check_count(self.max_rows, "perturbations_per_eval (internal_batch_size)", least=1)

    def make_chunk(self, *rows: Tensor) -> Chunk:
        """A chunk of `max_rows`, or of a size at which each of these rows fits into memory if the user set no limit."""
        return Chunk(min(map(choose_chunk_size, rows)) if self.max_rows is None else self.max_rows, self.notice)
