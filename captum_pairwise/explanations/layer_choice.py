"""Choose the layer to explain: the last one that still has places and that all information passes."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from captum_pairwise.explanations.bottlenecks import Bottlenecks
from captum_pairwise.explanations.patch_grid import find_grid
from captum_pairwise.models.embedder import Embedder, check_output
from captum_pairwise.models.words.token_encoder import TokenEncoder
from captum_pairwise.network.channel_axis import ChannelTracker
from captum_pairwise.network.layer_outputs import get_first_tensor, replace_first_tensor
from captum_pairwise.network.thread_hooks import this_thread_only
from captum_pairwise.players.position_layouts import MapBlocks, TokenGrid
from captum_pairwise.players.regions import Layout

FEWEST_PLACES = 4
ADAPTED = ("network.", "encoder.")  # names of the network inside an adapter, and inside one that selects an output
MOST_PATCHES = 256  # of a page, which are then explained in blocks
LEAST_SHARE = 0.5  # of the places that have to move the embedding
POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)  # a small map has fewer places than their result


@dataclass(frozen=True)
class LayerChoice:
    """A layer and its parts.

    Attributes:
        layer: a module of the encoder.
        name: its name in the encoder.
        mask: the `layer_mask` of its parts; None makes each place a part.
        parts: the parts in words.
        n_parts: their number, 0 if it is unknown.
        size: the number of places along each axis of a map whose cells are the parts; empty for other parts.
    """

    layer: nn.Module
    name: str
    mask: Tensor | Layout | None
    parts: str
    n_parts: int
    size: tuple[int, ...] = ()


@dataclass
class _Call:
    """One output of a module in a forward pass."""

    name: str
    module: nn.Module
    output: Tensor
    edge: GradientEdge | None
    axis: int | None = None
    n_calls: int = 1


def choose_layer(embedder: Embedder, images: Tensor) -> LayerChoice | None:
    """The last layer with places before pooling or the class token, or None if the encoder has none.

    A layer qualifies if it has at least four places, runs once, most of its places move the embedding, and the embedding depends on the
    input through it alone: not a branch beside a skip connection, and not the last block where only the class token is used.

    Args:
        embedder: the encoder with its pooling.
        images: a batch; the first one is used.

    Raises:
        ValueError: the encoder returns neither embeddings nor a map.
    """
    encoder = embedder.encoder
    if isinstance(encoder, TokenEncoder):
        return _divide_words(encoder, encoder.embedding_layer, images)
    patch_layer = getattr(encoder, "patch_layer", None)
    if patch_layer is not None:
        return describe_layer(embedder, patch_layer, images, MOST_PATCHES)
    is_inference = any(parameter.is_inference() for parameter in encoder.parameters())  # these have no gradients
    if is_inference or not images.is_floating_point():
        return None
    with torch.inference_mode(False), torch.enable_grad():
        image = images[:1].detach().clone().requires_grad_()
        calls, output = _record_places(encoder, image)
        output = check_output(output)
        return _choose_call(encoder, calls, image, output) if output.requires_grad else None


def _choose_call(encoder: nn.Module, calls: Sequence[_Call], image: Tensor, output: Tensor) -> LayerChoice | None:
    """The last output with places that the whole output of the network depends on, and at most of its places."""
    direction = torch.linspace(-1, 1, output.numel(), device=output.device, dtype=torch.float32).reshape(output.shape)
    total = (output.float() * direction).sum()
    bottlenecks = Bottlenecks(image, total)
    refused: set[torch.Size] = set()
    for call in reversed(calls):
        if call.edge is None or call.edge not in bottlenecks or isinstance(call.module, POOLS) or call.output.shape in refused:
            continue
        (slope,) = torch.autograd.grad(total, call.edge, retain_graph=True, allow_unused=True)
        if slope is None or not slope.any():
            return None  # nor does anything before it change the output
        moves = slope.movedim(call.axis or 1, -1)[0].ne(0).any(-1)
        if moves.double().mean().item() > LEAST_SHARE:
            choice = _divide_layer(encoder, call, image)
            if choice is not None:
                return choice
            refused.add(call.output.shape)
    return None


def describe_layer(embedder: Embedder, layer: nn.Module, images: Tensor, most: int | None = None) -> LayerChoice:
    """The parts of a layer that the user or the encoder named.

    Args:
        embedder: the encoder with its pooling.
        layer: a module of it.
        images: a batch.
        most: the most patches that are parts of their own; more are joined to blocks. None joins none.
    """
    encoder = embedder.encoder
    if isinstance(encoder, TokenEncoder):
        return _divide_words(encoder, layer, images)
    with torch.no_grad():
        calls = [call for call in _record_places(encoder, images[:1])[0] if call.module is layer]
        choice = _divide_layer(encoder, calls[-1], images[:1], most) if calls else None
    return LayerChoice(layer, _find_name(encoder, layer), None, "its places", 0) if choice is None else choice


def find_named_layer(encoder: object, name: str) -> nn.Module:
    """The module with this name, in the encoder or in the network inside an adapter.

    Raises:
        ValueError: there is none, or the model is no module.
    """
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"Expected a module as layer, because the model is a function, got the name {name!r}. Pass the module itself.")
    modules = dict(encoder.named_modules())
    name = next((prefix + name for prefix in ("", *ADAPTED) if prefix + name in modules), name)
    if name not in modules or not name:
        ends = [other for other in modules if other.endswith(name.rsplit(".", 1)[-1])] or list(modules)[1:]
        raise ValueError(f"Expected the name of a layer of {type(encoder).__name__}, got {name!r}. Some of its layers: {ends[-5:]}.")
    return modules[name]


def _find_name(encoder: nn.Module, layer: nn.Module) -> str:
    return next((name for name, module in encoder.named_modules() if module is layer and name), type(layer).__name__)


def _record_places(encoder: nn.Module, image: Tensor) -> tuple[list[_Call], object]:
    """The outputs of all modules that ran once and have places, in the order in which they were finished, and the network's output."""
    calls: dict[nn.Module, _Call] = {}

    def record(name: str, module: nn.Module, _inputs: object, returned: object) -> object:
        output = get_first_tensor(returned)
        if module in calls:
            calls[module].n_calls += 1
        elif output is not None and output.requires_grad:
            copied = output.clone()  # so that steps in place, and other outputs of the module, do not pass this point of the graph
            calls[module] = _Call(name, module, copied, get_gradient_edge(copied))
            return replace_first_tensor(returned, copied)
        elif output is not None:
            calls[module] = _Call(name, module, output, None)
        return returned

    without_hooks = (nn.Identity, torch.jit.ScriptModule)  # an identity says nothing to the user, and TorchScript takes no hooks
    modules = [(name, module) for name, module in encoder.named_modules() if name and not isinstance(module, without_hooks)]
    with ExitStack() as hooks, ChannelTracker() as tracker:
        for name, module in modules:
            hooks.enter_context(module.register_forward_hook(this_thread_only(partial(record, name))))
        returned = encoder(image.clone())  # a copy, because the network may change its input in place
        for call in calls.values():
            call.axis = tracker.get_axis(call.output)
    once = [call for call in calls.values() if call.n_calls == 1 and len(call.output) == len(image)]  # windows may be rows, too
    return [call for call in once if _count_places(call) >= FEWEST_PLACES], returned


def _count_places(call: _Call) -> int:
    """The number of places of an output, 0 if its channels are unknown."""
    if call.axis is None or not 3 <= call.output.dim() <= 5 or not call.output.is_floating_point():
        return 0
    return call.output[0].numel() // call.output.shape[call.axis]


def _divide_words(encoder: TokenEncoder, layer: nn.Module, ids: Tensor) -> LayerChoice:
    mask = encoder.layer_mask(ids)
    return LayerChoice(layer, _find_name(encoder, layer), mask, "words and pieces of words", int(mask.max()) + 1)


def _divide_layer(encoder: nn.Module, call: _Call, image: Tensor, most: int | None = None) -> LayerChoice | None:
    """The parts of an output: the cells of a map, or the patches of a vision transformer without the tokens before them.

    None for tokens that are no places of the image.
    """
    places = [size for axis, size in enumerate(call.output.shape) if axis not in (0, call.axis)]
    if len(places) == 1 and image.dim() in (4, 5):
        size = find_grid(encoder, call.module, image, places[0])
        if size is None:
            return None
        block = 1 if most is None else _find_block(size, most)
        mask = TokenGrid(size, n_prefix=places[0] - prod(size), block=block)
        return LayerChoice(call.module, call.name, mask, **_count_blocks(size, block, "patches"))
    counted = _count_blocks(places, 1, "cells" if len(places) > 1 else "places")
    return LayerChoice(call.module, call.name, None, **counted, size=tuple(places) if len(places) > 1 else ())


def _count_blocks(size: Sequence[int], block: int, name: str) -> dict[str, Any]:
    """`parts` and `n_parts` of blocks of places."""
    counts = [-(-side // block) for side in size]
    blocks = f"blocks of {' × '.join([str(block)] * len(size))} {name}"
    return {"parts": f"{' × '.join(map(str, counts))} {name if block == 1 else blocks}", "n_parts": prod(counts)}


def join_places(choice: LayerChoice, most: int) -> LayerChoice:
    """The same layer with blocks of neighbouring places as its parts, at most so many; unchanged if its parts are no grid."""
    if isinstance(choice.mask, TokenGrid):
        block = _find_block(choice.mask.sizes, most)
        return replace(choice, mask=replace(choice.mask, block=block), **_count_blocks(choice.mask.sizes, block, "patches"))
    if not choice.size:
        return choice
    block = _find_block(choice.size, most)
    return replace(choice, mask=MapBlocks(block), **_count_blocks(choice.size, block, "cells"))


def _find_block(size: tuple[int, ...], most: int) -> int:
    """The smallest side of blocks of patches with which there are at most so many blocks."""
    return next(block for block in range(1, max(size) + 1) if prod(-(-side // block) for side in size) <= most)
