"""The outputs that layers return: a tensor, or a tuple, list or mapping (`ModelOutput` of transformers) whose first tensor is explained."""

import copy
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, cast

from torch import Tensor


def get_first_tensor(returned: object) -> Tensor | None:
    """The first tensor that a layer returned, or None if there is no tensor.

    >>> import torch
    >>> get_first_tensor((None, torch.tensor([1.0]), torch.tensor([2.0])))
    tensor([1.])
    """
    return next((member for member in _list_members(returned) if isinstance(member, Tensor)), None)


def replace_first_tensor(returned: object, output: Tensor) -> object:
    """The same container with another first tensor.

    >>> import torch
    >>> replace_first_tensor((None, torch.tensor([1.0]), "other"), torch.tensor([5.0]))
    (None, tensor([5.]), 'other')
    """
    members = _list_members(returned)
    index = _find_tensor(members)
    return _repack(returned, [*members[:index], output, *members[index + 1 :]])


def clone_tensors(returned: object) -> object:
    """The same container with a copy of every tensor."""
    return _repack(returned, [member.clone() if isinstance(member, Tensor) else member for member in _list_members(returned)])


def make_packer(returned: object, n_examples: int) -> Callable[[Tensor, int], object] | None:
    """The function `(outputs [rows, ...], example) -> container` that packs outputs for one example as the layer would return them.

    It repeats the other tensors of the container for each row. None if they have no entry for each example, or are no tensors.
    """
    members = _list_members(returned)
    if get_first_tensor(returned) is None:
        return None
    index = _find_tensor(members)
    others = [*members[:index], *members[index + 1 :]]
    if not all(other is None or (isinstance(other, Tensor) and other.dim() and len(other) == n_examples) for other in others):
        return None

    def pack(outputs: Tensor, example: int) -> object:
        repeated = [other[[example] * len(outputs)] if isinstance(other, Tensor) else other for other in others]
        return _repack(returned, [*repeated[:index], outputs, *repeated[index:]])

    return pack


def read_version(value: object) -> int:
    """The number of in-place changes of a tensor; -1 if it does not count them, or is no tensor."""
    return value._version if isinstance(value, Tensor) and not value.is_inference() else -1


def _list_members(returned: object) -> Sequence[object]:
    if isinstance(returned, MutableMapping):
        return list(returned.values())
    return returned if isinstance(returned, (tuple, list)) else [returned]


def _find_tensor(members: Sequence[object]) -> int:
    """The index of the first tensor."""
    return next(k for k, member in enumerate(members) if isinstance(member, Tensor))


def _repack(returned: object, members: list[object]) -> object:
    """A container of the same kind with other members."""
    if isinstance(returned, MutableMapping):
        mapping = cast(MutableMapping, copy.copy(returned))
        for key, member in zip(list(returned), members, strict=True):  # `ModelOutput` has no `update`
            mapping[key] = member
        return mapping
    if isinstance(returned, (tuple, list)):
        kind: Any = type(returned)
        return kind(*members) if hasattr(kind, "_fields") else kind(members)  # a named tuple takes its members one by one
    return members[0]
