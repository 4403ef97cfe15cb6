"""From the output of an encoder to its embeddings: maps and tokens are averaged over their positions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.network.model_state import describe_state
from captum_pairwise.network.output_axis import run_and_find_axis
from captum_pairwise.players.layouts import describe_layouts, get_channel_axis


@dataclass(frozen=True)
class Embedder:
    """An encoder with the pooling of its output.

    Attributes:
        encoder: the encoder.
        layout: the axes of its output, one of `LAYOUTS`; None if they are to be found.
        keeps_tokens: True to return outputs `[B, T, C]` unpooled.
        axes: the axis of the channels by the state of the encoder; the first batch finds it.
    """

    encoder: nn.Module
    layout: str | None = None
    keeps_tokens: bool = False
    axes: dict[int, int | None] = field(default_factory=dict)

    def embed(self, images: Tensor) -> Float[Tensor, "batch ..."]:
        """Embed a batch. The first batch in each state of the encoder also finds the axis of the channels."""
        if self.layout is not None or not isinstance(images, Tensor):
            return self.pool(self.encoder(images))
        state = describe_state(self.encoder)
        if state not in self.axes:
            output, self.axes[state] = run_and_find_axis(self.encoder, images)
        else:
            output = self.encoder(images)
        return self.pool(output, self.axes[state])

    def pool(self, output: object, axis: int | None = None) -> Float[Tensor, "batch ..."]:
        """The embeddings from an output of the encoder: `[B, C]` unchanged, a map averaged over its positions.

        Args:
            output: the output.
            axis: the axis of its channels, which the layout overrides; None if it is unknown.

        Raises:
            ValueError: the output is neither, or its channels are unknown.
        """
        output = check_output(output)
        if output.dim() == 2 or (output.dim() == 3 and self.keeps_tokens and self.layout is None):
            return output
        if output.dim() == 3 and self.layout is None:
            raise ValueError(
                f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {tuple(output.shape)}. Pass layout='NTC' to "
                "average its tokens, or a callable `similarity` that compares tokens."
            )
        named = get_channel_axis(self.layout, output, "the encoder's output")
        axis = axis if named is None else named
        if axis is None:
            raise ValueError(
                f"Expected an encoder whose channels can be told from its modules, got an output {tuple(output.shape)}. Pass "
                f"SimilarityWrapper(..., {describe_layouts(output)})."
            )
        return output.mean([position for position in range(1, output.dim()) if position != axis])


def check_output(output: object) -> Tensor:
    """The output of an encoder, if it is a tensor with 2 to 5 axes.

    Raises:
        ValueError: it is not.
    """
    if isinstance(output, Tensor) and 2 <= output.dim() <= 5:
        return output
    raise ValueError(
        f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {_describe_output(output)}. Wrap it in a module that "
        "returns one of these."
    )


def _describe_output(output: Any) -> str:
    """The shape of a tensor; the type of a container, and the name or index and the shape of each member."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    fields = output._asdict() if hasattr(output, "_asdict") else output  # a named tuple
    members = fields.items() if isinstance(fields, Mapping) else enumerate(fields) if isinstance(fields, (tuple, list)) else ()
    listed = ", ".join(
        f"{name}: {tuple(member.shape) if isinstance(member, Tensor) else type(member).__name__}" for name, member in members
    )
    return f"{type(output).__name__} with {listed}" if listed else type(output).__name__
