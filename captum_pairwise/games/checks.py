"""Input validation: networks, images, and the values that networks and forward functions return."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_pairwise.games.context import Images
from captum_pairwise.network.batching import is_out_of_memory
from captum_pairwise.results.interactions import SIDES


def unpack_pair(value: object, name: str) -> tuple:
    """A pair with an entry for each image; None stands for `(None, None)`.

    Raises:
        ValueError: the argument is neither a pair nor None.
    """
    if value is None:
        return (None, None)
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(f"Expected {name} to be a pair (for the query, for the retrieved image), got {type(value).__name__}.")
    return value


def describe_value(value: object) -> str:
    """The dtype and shape of a tensor, or the type of any other value, for error messages."""
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def refuse_training(forward_func: object, is_stochastic: bool = False) -> None:
    """Refuse a network with active dropout or batch statistics: its output is not a function of one pair.

    Args:
        forward_func: the network, its `forward`, or any function, which is not checked.
        is_stochastic: True to accept dropout.

    Raises:
        ValueError: a module of the network has such a state.
    """
    owner = getattr(forward_func, "__self__", forward_func)
    modules = list(owner.modules()) if isinstance(owner, nn.Module) else []
    active = [module for module in modules if module.training and _depends_on_mode(module, is_stochastic)]
    if active:
        raise ValueError(
            f"Expected the model in evaluation mode, but its {type(active[0]).__name__} is training: the similarity would depend on the "
            "batch or on chance. Call `model.eval()`."
        )
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None for module in modules):
        raise ValueError(
            "Expected batch normalisation with running statistics, because without them a similarity depends on the rest of its batch. "
            "Build it with `track_running_stats=True`."
        )


def _depends_on_mode(module: nn.Module, is_stochastic: bool) -> bool:
    """True if a module in training mode draws at random, which a stochastic encoder may, or uses batch statistics."""
    rates = [getattr(module, name, 0) for name in ("dropout", "drop_prob")]
    if "drop" in type(module).__name__.lower() or "stochastic" in type(module).__name__.lower():
        rates.append(getattr(module, "p", 0))
    is_random = any(isinstance(rate, (int, float)) and rate > 0 for rate in rates)
    return (is_random and not is_stochastic) or isinstance(module, nn.modules.batchnorm._BatchNorm)


def check_images(inputs: object, takes_ids: bool = False) -> Images:
    """The two batches of images, detached; with `takes_ids` also token ids `[B, T]`.

    Raises:
        ValueError: they are not two floating-point tensors of the same number of examples, or hold NaN or infinity.
    """
    if not isinstance(inputs, tuple) or len(inputs) != 2 or not all(isinstance(images, Tensor) for images in inputs):
        names = f"({', '.join(type(entry).__name__ for entry in inputs)})" if isinstance(inputs, tuple) else type(inputs).__name__
        has_text = isinstance(inputs, tuple) and any(isinstance(entry, (str, list)) for entry in inputs)
        remedy = "Pass the ids of sentences, `encoder.ids(sentences)`, or call `cp.explain`" if has_text else "Pass a tuple of two"
        raise ValueError(f"Expected inputs to be a tuple (query, retrieved) of two tensors, got {names}. {remedy}.")
    query, retrieved = map(clone_if_inference, inputs)
    if query.dim() == 0 or retrieved.dim() == 0 or len(query) != len(retrieved) or len(query) == 0:
        raise ValueError(
            f"Expected equal numbers of query and retrieved images, at least one each, got shapes {tuple(query.shape)} and "
            f"{tuple(retrieved.shape)}. Repeat one to explain it against several others; pass one image as `image[None]`."
        )
    for name, images in zip(SIDES, (query, retrieved), strict=True):
        refuse_images(images, f"{name} images", takes_ids)
    return query.detach(), retrieved.detach()


def check_image(inputs: object) -> Tensor:
    """One batch of images or of token ids `[B, T]`, detached.

    Raises:
        ValueError: it is no floating-point tensor with at least one example, or holds NaN or infinity.
    """
    if not isinstance(inputs, Tensor) or inputs.dim() == 0 or len(inputs) == 0:
        raise ValueError(f"Expected inputs to be a batch of images, a tensor with at least one example, got {describe_value(inputs)}.")
    refuse_images(inputs, "images", takes_ids=True)
    return clone_if_inference(inputs).detach()


def refuse_images(images: Tensor, name: str, takes_ids: bool) -> None:
    """Refuse images that hold integers, NaN or infinity; with `takes_ids`, token ids `[B, T]` are accepted.

    Raises:
        ValueError: the images hold such numbers.
    """
    are_ids = images.dim() == 2 and images.dtype in (torch.int32, torch.int64)
    if not images.is_floating_point() and not (takes_ids and are_ids):
        is_number = images.dtype not in (torch.bool, torch.complex64, torch.complex128)
        remedy = "Convert bytes with `.float() / 255`" if is_number else "Convert them with `.float()`"
        if images.dim() < 3:
            remedy += (
                ", token ids with `.long()`"
                if takes_ids
                else ("; token ids need a method for layers, at the embedding, or a function of the presence of words")
            )
        raise ValueError(f"Expected floating-point {name}, got {images.dtype}. {remedy}.")
    check_finite(images, f"the {name}")


@contextmanager
def name_missing_batch(run: Callable[..., object], inputs: Sequence[Tensor], name: str) -> Iterator[None]:
    """If the block fails because the inputs have no batch dimension, say so.

    Token embeddings `[B, T, C]` have as many dimensions as one image `[C, H, W]`, so only the network can tell: the dimension is missing if
    `run` accepts each input as a batch of one.

    Raises:
        ValueError: the batch dimension is missing.
    """
    try:
        yield
    except Exception as error:
        if any(images.dim() > 3 for images in inputs) or is_out_of_memory(error):
            raise
        if not _returns_row(run, [images[None] for images in inputs]):
            raise
        shapes = " and ".join(str(tuple(images.shape)) for images in inputs)
        raise ValueError(f"Expected {name} with a batch dimension, got shape {shapes}. Pass `image[None]`.") from error


@torch.no_grad()
def _returns_row(run: Callable[..., object], inputs: Sequence[Tensor]) -> bool:
    try:
        output = run(*inputs)
    except Exception as error:  # the user's own code, on a shape that it may not take
        return is_out_of_memory(error)
    return isinstance(output, Tensor) and output.shape[:1] == (1,)


def clone_if_inference(tensor: Tensor) -> Tensor:
    """The tensor, cloned if inference mode made it: autograd cannot save inference tensors."""
    return tensor.clone() if tensor.is_inference() else tensor


def check_finite(rows: Tensor, name: str) -> Tensor:
    """The rows, without NaN and infinity.

    Raises:
        ValueError: a row holds one; the message names the row.
    """
    bad = (~torch.isfinite(rows)).nonzero()
    if len(bad):
        raise ValueError(f"Expected finite numbers, got NaN or infinity in row {bad[0, 0].item()} of {name}.")
    return rows


def check_values(values: object, n_rows: int, name: str = "similarity") -> Float[Tensor, " rows"]:
    """One finite value per row, at least in float32; `name` is used in error messages.

    Raises:
        ValueError: the forward function returned something else.
    """
    if not isinstance(values, Tensor) or values.shape != (n_rows,):
        raise ValueError(
            f"Expected one {name} per example from the forward function, shape ({n_rows},), got {describe_value(values)}. Return a "
            "vector, or choose one output with `target`."
        )
    return promote_half(check_finite(values, f"the output of the forward function (one {name} a coalition)"))


def promote_half(numbers: Tensor) -> Tensor:
    """The numbers in float32 or float64: half precision is enough for a network, but not for differences of its outputs."""
    return numbers if numbers.dtype in (torch.float32, torch.float64) else numbers.float()
