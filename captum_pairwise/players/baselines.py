"""Baselines: the values that replace the elements of an absent player."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_pairwise.players.layouts import find_input_channels
from captum_pairwise.players.regions import NEVER_LEAVES

Images = Float[Tensor, "batch channels *places"]


@dataclass(frozen=True)
class Backgrounds:
    """A distribution of baselines. The game is averaged over its members.

    If both images have one, the two are independent: the game is averaged over all combinations.

    Attributes:
        images: `[K, ...]` with each member shaped like one input, or `[K, B, ...]` with each member shaped like the batch.

    >>> from captum_pairwise import ExactShapleyTaylor
    >>> similarity, query = ExactShapleyTaylor(lambda query, retrieved: query[:, 0] * retrieved[:, 0]), torch.tensor([[2.0]])
    >>> baselines = Backgrounds(torch.tensor([[0.0], [1.0]])), 0  # credit 6 from the first, and 3 from the second
    >>> similarity.attribute((query, torch.tensor([[3.0]])), baselines)
    tensor([[[4.5000]]])

    See also `blur_baseline` and `mean_colour`.
    """

    images: Tensor


# a function of the images, or of the images and the mask of their players (None if the players are not parts of the images)
Baseline = Backgrounds | Tensor | int | float | Callable[..., Tensor] | None


def blur_baseline(image: Images, kernel_size: int = 25) -> Images:
    """Box blur of each image, volume, video or signal, with mirrored borders (the background of the paper, §A.2).

    Args:
        image: a batch of images `[B, C, H, W]`, volumes `[B, C, D, H, W]`, videos `[B, 3, T, H, W]` or `[B, T, 3, H, W]`, or signals
            `[B, C, T]`.
        kernel_size: odd width of the box in pixels, along every axis of places. It is reduced for an axis that is too short to be mirrored
            that far.

    Raises:
        ValueError: `kernel_size` is even or below 1, or the batch has other axes.

    >>> blur_baseline(torch.tensor([[[0.0, 3.0, 0.0]]]), kernel_size=3)  # a signal; its mirrored borders are 3
    tensor([[[2., 1., 2.]]])

    See also `mean_colour` and `Backgrounds`.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"Expected an odd kernel_size of at least 1, got {kernel_size}. Take the next odd number.")
    if not 3 <= image.dim() <= 5:
        raise ValueError(f"Expected a batch of images, volumes or signals to blur, got shape {tuple(image.shape)}. Pass another baseline.")
    channels = find_input_channels(image)
    blurred = image.movedim(channels, 1)
    for axis in range(2, image.dim()):  # a box filter is separable: 25 + 25 terms, not 25 · 25
        blurred = _blur_axis(blurred, axis, min(kernel_size // 2, image.movedim(channels, 1).shape[axis] - 1))
    return blurred.movedim(1, channels)


def _blur_axis(image: Tensor, axis: int, reach: int) -> Tensor:
    """The mean over 2 · reach + 1 neighbours along one axis."""
    rows = image.movedim(axis, -1)
    flat = F.pad(rows.reshape(-1, 1, rows.shape[-1]), (reach, reach), mode="reflect")
    return F.avg_pool1d(flat, 2 * reach + 1, stride=1).reshape(rows.shape).movedim(-1, axis)


def mean_colour(image: Images, feature_mask: Int[Tensor, "..."] | None = None) -> Images:
    """Images or volumes filled with their mean colour; with a mask, each player is filled with its own (the background of LIME).

    Args:
        image: a batch of images or volumes.
        feature_mask: integer ids, broadcastable to the images. Elements with id -1 keep their colours.

    >>> image = torch.tensor([[[[0.0, 1.0, 5.0, 7.0]]]])
    >>> mean_colour(image), mean_colour(image, torch.tensor([0, 0, 1, -1]))
    (tensor([[[[3.2500, 3.2500, 3.2500, 3.2500]]]]), tensor([[[[0.5000, 0.5000, 5.0000, 7.0000]]]]))

    See also `blur_baseline` and `Backgrounds`.
    """
    if feature_mask is None:
        return image.mean(tuple(range(2, image.dim())), keepdim=True).expand_as(image)
    ids = feature_mask.expand_as(image).flatten(2)
    owner = torch.where(ids == NEVER_LEAVES, ids.max() + 1, ids)
    values = image.flatten(2).to(torch.promote_types(image.dtype, torch.float32))  # half precision is too coarse for sums over many pixels
    total = values.new_zeros(*values.shape[:2], int(owner.max()) + 1)
    means = total.scatter_add(2, owner, values) / total.scatter_add(2, owner, torch.ones_like(values)).clamp(min=1)
    return torch.where(ids == NEVER_LEAVES, values, means.gather(2, owner)).to(image).reshape(image.shape)


def default_baseline(inputs: Tensor) -> Tensor:
    """The blur of images `[B, C, H, W]`, volumes and videos, and 0 for other inputs. Captum's default is 0 for all: our one difference."""
    return blur_baseline(inputs) if inputs.dim() in (4, 5) else inputs.new_zeros(inputs.shape)


def part_colour(inputs: Tensor, ids: Tensor | None) -> Tensor:
    """The default of LIME: the mean colour of each part of images `[B, C, H, W]`, volumes and videos, and 0 for other inputs."""
    if inputs.dim() not in (4, 5):
        return inputs.new_zeros(inputs.shape)
    channels = find_input_channels(inputs)
    return mean_colour(inputs.movedim(channels, 1), None if ids is None else ids.movedim(channels, 1)).movedim(1, channels)


def _refuse_for_ids(baseline: object, ids: Tensor, name: str) -> None:
    """Refuse a baseline that is not made of ids. Token ids cannot be blurred, and a number between two ids has no meaning."""
    if isinstance(baseline, Backgrounds):
        baseline = baseline.images
    if not isinstance(baseline, int) and (not isinstance(baseline, Tensor) or baseline.is_floating_point()):
        actual = baseline.dtype if isinstance(baseline, Tensor) else type(baseline).__name__
        raise ValueError(
            f"Expected {name} of token ids ({ids.dtype}) to be ids too, got {actual}. Pass e.g. the mask token's id, or layer_baselines."
        )


def _takes_mask(function: Callable[..., object]) -> bool:
    """True if a function has a second positional parameter, without a default other than None: a width of a blur is no mask."""
    try:
        parameters = inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters.values()
    except ValueError:  # some functions in C have no signature
        return False
    positional = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    has_rest = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    return has_rest if len(positional) < 2 else positional[1].default in (inspect.Parameter.empty, None)


def background_members(baseline: Baseline, masked: Tensor, name: str, ids: Tensor | None = None) -> list[Tensor]:
    """The members of a user's baseline as a distribution, each expanded to the masked batch.

    Args:
        baseline: the user's baseline.
        masked: the batch.
        name: name of the baseline in error messages.
        ids: mask of the players of the batch, for a baseline that is a function.

    Raises:
        ValueError: the baseline does not fit.
    """
    if callable(baseline):
        baseline = baseline(masked, ids) if _takes_mask(baseline) else baseline(masked)
    if not masked.is_floating_point():
        _refuse_for_ids(baseline, masked, name)
    if baseline is None:
        return [default_baseline(masked)]
    if isinstance(baseline, (int, float)):
        return [masked.new_full(masked.shape, baseline)]
    if isinstance(baseline, Backgrounds):
        members = baseline.images
        if len(members) == 0 or members.shape[1:] not in (masked.shape[1:], masked.shape):
            sizes = ", ".join(map(str, masked.shape[1:]))
            raise ValueError(f"Expected {name} to hold images [K, {sizes}], got {tuple(members.shape)}. Give at least one of this size.")
        return [member.expand_as(masked) for member in members.to(masked)]
    if not isinstance(baseline, Tensor):
        raise ValueError(f"Expected {name} to be None, a number, a tensor, Backgrounds or a function, got {type(baseline).__name__}.")
    if baseline.shape[1:] != masked.shape[1:] or len(baseline) not in (1, len(masked)):
        raise ValueError(
            f"Expected {name} to be a tensor of shape {tuple(masked.shape)} (or 1 example), got a tensor of shape {tuple(baseline.shape)}."
        )
    return [baseline.to(masked).expand_as(masked)]
