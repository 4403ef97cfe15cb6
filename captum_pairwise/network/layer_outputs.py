"""What a layer returns: a tensor, or a tuple, list or mapping (`ModelOutput` of transformers) whose first tensor is its output."""

import copy
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, cast

from torch import Tensor


def get_first_tensor(returned: object) -> Tensor | None:
    """The layer's output in what it returned, or None where there is no tensor.

    >>> import torch
    >>> get_first_tensor((None, torch.tensor([1.0]), torch.tensor([2.0])))
    tensor([1.])
    """
    return next((member for member in _members(returned) if isinstance(member, Tensor)), None)


def replace_first_tensor(returned: object, output: Tensor) -> object:
    """The same with another first tensor, and all else kept.

    >>> import torch
    >>> replace_first_tensor((None, torch.tensor([1.0]), "kept"), torch.tensor([5.0]))
    (None, tensor([5.]), 'kept')
    """
    members = _members(returned)
    place = _place(members)
    return _rebuilt(returned, [*members[:place], output, *members[place + 1 :]])


def clone_tensors(returned: object) -> object:
    """The same with a copy of every tensor in it."""
    return _rebuilt(returned, [member.clone() if isinstance(member, Tensor) else member for member in _members(returned)])


def make_packer(returned: object, n_examples: int) -> Callable[[Tensor, int], object] | None:
    """The function `(outputs [rows, ...], example) -> what the layer returns` for rows of one example of the batch.

    None where it cannot be known, because something other than tensors with an entry per example would have to be repeated.
    """
    if get_first_tensor(returned) is None:
        return None
    members = _members(returned)
    place = _place(members)
    before, after = members[:place], members[place + 1 :]
    if not all(member is None or _has_rows(member, n_examples) for member in (*before, *after)):
        return None

    def rows_of(outputs: Tensor, example: int) -> object:
        def repeated(others: Sequence[object]) -> list[object]:
            return [other[[example] * len(outputs)] if isinstance(other, Tensor) else other for other in others]

        return _rebuilt(returned, [*repeated(before), outputs, *repeated(after)])

    return rows_of


def _members(returned: object) -> Sequence[object]:
    if isinstance(returned, MutableMapping):
        return list(returned.values())
    return returned if isinstance(returned, (tuple, list)) else [returned]


def _place(members: Sequence[object]) -> int:
    """Where the first tensor is."""
    return next(k for k, member in enumerate(members) if isinstance(member, Tensor))


def _has_rows(member: object, n_rows: int) -> bool:
    return isinstance(member, Tensor) and member.dim() > 0 and len(member) == n_rows


def _rebuilt(returned: object, members: list[object]) -> object:
    """The same kind of container with other members."""
    if isinstance(returned, MutableMapping):
        again = cast(MutableMapping, copy.copy(returned))
        for key, member in zip(list(returned), members, strict=True):
            again[key] = member
        return again
    if isinstance(returned, (tuple, list)):  # a named tuple takes its members one by one
        kind: Any = type(returned)
        return kind(*members) if hasattr(kind, "_fields") else kind(members)
    return members[0]
