"""From the output of an encoder to its embeddings: maps and tokens are averaged over their positions."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.models.output_field import describe_output, list_fields
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
                "average its tokens, or similarity='maxsim' or a callable to compare them."
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
        f"Expected the encoder to return embeddings [B, C] or a map [B, C, H, W], got {describe_output(output)}. {_suggest_field(output)}."
    )


def _suggest_field(output: object) -> str:
    """The remedy for an output that is no tensor: a field of it, embeddings first."""
    tensors = [(name, member) for name, member in list_fields(output) if isinstance(member, Tensor) and 2 <= member.dim() <= 5]
    if not tensors:
        return "Wrap it in a module that returns one of these"
    name, _ = min(tensors, key=lambda entry: entry[1].dim())
    return f"Pass SimilarityWrapper(encoder, output={name!r}), or another field"
