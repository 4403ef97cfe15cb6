"""Find the axis of the channels in the tensors of a network, by the operations that made them."""

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

CONVOLUTIONS = {f"conv{kind}{n}d": n for n in (1, 2, 3) for kind in ("", "_transpose")}  # and the number of positional axes
SECOND_AXIS = ("batch_norm", "group_norm", "instance_norm")
LAST_AXIS = ("linear", "embedding", "rms_norm", "multi_head_attention_forward", "gru", "lstm", "rnn_tanh", "rnn_relu", "addmm")
MATRIX_PRODUCTS = ("matmul", "__matmul__", "mm", "einsum", "bmm", "baddbmm", "tensordot", "scaled_dot_product_attention")
WITHOUT_AXIS = (*MATRIX_PRODUCTS, "cdist", "rot90", "stack", "pixel_shuffle", "pixel_unshuffle")  # steps after which it is unknown
RESHAPES = ("view", "reshape", "flatten", "unflatten", "squeeze", "_unsafe_view", "view_as", "reshape_as")
MOVES = ("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "unsqueeze", "__get__")
REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "std", "var", "logsumexp", "select", "unbind", "__getitem__")
PARTS = ("cat", "concat", "concatenate", "split", "chunk", "tensor_split", "narrow", "glu", "pad", "__getitem__")  # of the channels, too
SIZES = (1009, 1013, 1019, 1021, 1031, 1033)  # different sizes, by which an axis is found again


@final
class ChannelTracker(TorchFunctionMode):
    """A context that notes the axis of the channels of each tensor that a network makes.

    Convolutions, linear layers, normalisations, embeddings and attention say which axis of their result holds the channels; the steps after
    them keep this axis, move it or lose it. TorchScript and compiled code lose it.

    >>> with ChannelTracker() as tracker:
    ...     tokens = torch.nn.Conv2d(3, 8, 4, stride=4)(torch.zeros(1, 3, 8, 8)).flatten(2).transpose(1, 2)
    >>> tokens.shape, tracker.get_axis(tokens)
    (torch.Size([1, 4, 8]), 2)
    """

    def __init__(self) -> None:
        super().__init__()
        self._axes = WeakTensorKeyDictionary()

    def get_axis(self, tensor: Tensor) -> int | None:
        """The axis of the channels, or None if it is unknown."""
        return self._axes.get(tensor)

    def __torch_function__(self, func: Any, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call `func`, and note the axes of its results."""
        kwargs = kwargs or {}
        operands = [(operand, self._axes[operand]) for operand in _list_tensors((args, kwargs)) if operand in self._axes]
        shapes = [tuple(operand.shape) for operand, _ in operands]  # a step in place may change them
        returned = func(*args, **kwargs)
        for output in _list_tensors(returned):
            axis = _find_axis(func, args, kwargs, [axis for _, axis in operands], shapes, output)
            if axis is not None:
                self._axes[output] = axis
            elif output in self._axes:
                del self._axes[output]
        return returned


def _list_tensors(nested: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(nested) if isinstance(leaf, Tensor) and leaf.dim() > 1]


def _find_axis(
    func: Any, args: tuple, kwargs: dict[str, Any], axes: Sequence[int], shapes: Sequence[tuple[int, ...]], output: Tensor
) -> int | None:
    """The axis of the channels of a result, from the axes of the operands, or None."""
    name = getattr(func, "__name__", "")
    name = name if name.endswith("__") else name.removesuffix("_")  # `transpose_` moves an axis as `transpose` does
    if name in CONVOLUTIONS:
        return output.dim() - 1 - CONVOLUTIONS[name]
    is_row_norm = name == "layer_norm" and len(kwargs.get("normalized_shape", args[1:2] and args[1])) == 1
    is_last = name in LAST_AXIS or is_row_norm or (name in ("matmul", "__matmul__") and _is_matrix(args))
    if is_last or name in SECOND_AXIS:
        axis = output.dim() - 1 if is_last else 1
        is_other = (before != axis and len(shape) == output.dim() for before, shape in zip(axes, shapes, strict=True))
        return None if any(is_other) else axis  # a layer that mixes the positions of a map, such as a mixer of tokens
    if not axes or name in WITHOUT_AXIS:
        return None
    if name in RESHAPES:
        return _find_in_memory(shapes[0], axes[0], tuple(output.shape))
    if name in MOVES or name in REDUCTIONS:
        moved = _follow_move(func, args, kwargs, axes[0], len(shapes[0]))
        if moved is not None or name not in PARTS:
            return moved
    return _keep_axis(name, axes, shapes, tuple(output.shape))


def _is_matrix(args: tuple) -> bool:
    return len(args) > 1 and isinstance(args[1], Tensor) and args[1].dim() == 2


def _keep_axis(name: str, axes: Sequence[int], shapes: Sequence[tuple[int, ...]], size: tuple[int, ...]) -> int | None:
    """The common axis of all operands with as many axes as the result, for steps that act on each element or position."""
    common = {
        axis
        for axis, shape in zip(axes, shapes, strict=True)
        if len(shape) == len(size) and (name in PARTS or shape[axis] in (1, size[axis]))
    }
    return common.pop() if len(common) == 1 else None


def _find_in_memory(before: tuple[int, ...], axis: int, after: tuple[int, ...]) -> int | None:
    """The axis of a reshaped tensor with the same size and the same number of elements before it, if there is exactly one."""
    matches = [k for k, size in enumerate(after) if size == before[axis] and prod(after[:k]) == prod(before[:axis])]
    return matches[0] if len(matches) == 1 else None


def _follow_move(func: Callable[..., Any], args: tuple, kwargs: dict[str, Any], axis: int, n_axes: int) -> int | None:
    """The new place of an axis, from the same step on a tensor with different sizes and no memory."""
    if n_axes > len(SIZES):
        return None
    probe = torch.empty(SIZES[:n_axes], device="meta", dtype=torch.float32)
    try:
        moved = func(probe, *args[1:], **kwargs)
    except Exception:  # such as an index in a tensor, or an image beyond these sizes
        return None
    outputs = [tuple(output.shape) for output in _list_tensors(moved)]
    return outputs[0].index(SIZES[axis]) if outputs and SIZES[axis] in outputs[0] else None
