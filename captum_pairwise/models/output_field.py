"""The embedding in the output of an encoder that returns several things."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

OutputField = str | int | Callable[[Any], Tensor]
OutputFields = OutputField | tuple[OutputField | None, OutputField | None] | None


class SelectedOutput(nn.Module):
    """One field of the output of an encoder. It also has the attributes of that encoder.

    Args:
        encoder: returns a `ModelOutput` of transformers, a mapping, a tuple or a list.
        field: the name or the index of a field, or a function from the output to a tensor.
    """

    encoder: nn.Module

    def __init__(self, encoder: nn.Module, field: OutputField) -> None:
        super().__init__()
        self.encoder, self.field = encoder, field

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("encoder"), name)

    def forward(self, images: Any) -> Any:
        """The field for a batch."""
        return select_output(self.encoder(images), self.field)

    def embed_present(self, inputs: Tensor, presence: Tensor, by: str) -> Any:
        """The field for one input with some of its parts, if the encoder removes parts inside its network."""
        encoder: Any = self.encoder
        return select_output(encoder.embed_present(inputs, presence, by), self.field)


def select_output(output: Any, field: OutputField) -> Any:
    """A field of the output of an encoder.

    Raises:
        ValueError: the output has no such field.
    """
    if callable(field):
        return field(output)
    if isinstance(output, Tensor):
        raise ValueError(f"Expected an output with the field {field!r}, got a tensor {describe_output(output)}. Leave `output` out.")
    try:  # named tuples and other objects have fields as attributes
        return getattr(output, field) if isinstance(field, str) and not isinstance(output, Mapping) else output[field]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        fields = describe_output(output)
        raise ValueError(f"Expected an output with the field {field!r}, got {fields}. Pass output= with one of its fields.") from error


def parse_output(output: Any) -> tuple[OutputField | None, OutputField | None]:
    """The field for each of two encoders, from one field or a pair.

    Raises:
        ValueError: it is no name, index or function.
    """
    fields = output if isinstance(output, tuple) else (output, output)
    is_known = [field is None or callable(field) or (isinstance(field, (str, int)) and not isinstance(field, bool)) for field in fields]
    if len(fields) != 2 or not all(is_known):
        raise ValueError(
            f"Expected output to be the name or the index of a field, a function of the encoder's output, or a pair of these, got "
            f"{output!r}. Pass one of these."
        )
    return fields[0], fields[1]


def select_field(encoder: nn.Module, field: OutputField | None) -> nn.Module:
    """The encoder itself, or with a field its selected output."""
    return encoder if field is None else SelectedOutput(encoder, field)


def list_fields(output: Any) -> list[tuple[str | int, object]]:
    """The names (or indices) and the members of a container; nothing for another object."""
    fields = output._asdict() if hasattr(output, "_asdict") else output  # a named tuple
    return list(fields.items() if isinstance(fields, Mapping) else enumerate(fields) if isinstance(fields, (tuple, list)) else ())


def describe_output(output: object) -> str:
    """The shape of a tensor; the type of a container, and the name or index and the shape of each member."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    members = [
        f"{name}: {tuple(member.shape) if isinstance(member, Tensor) else type(member).__name__}" for name, member in list_fields(output)
    ]
    return f"{type(output).__name__} with {', '.join(members)}" if members else type(output).__name__
