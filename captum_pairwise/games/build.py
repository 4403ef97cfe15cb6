"""Validate the arguments of a call and build its games."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from itertools import chain

import torch
from torch import nn

from captum_pairwise.games.black_box import make_joint_input_pairs, make_joint_layer_pairs
from captum_pairwise.games.checks import check_finite, check_images, refuse_training, unpack_pair
from captum_pairwise.games.context import Baselines, ForwardContext, ForwardFunc, Masks
from captum_pairwise.games.game import Affine
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import LayerOptions, make_input_side
from captum_pairwise.games.two_towers import (
    Tower,
    TowerView,
    make_input_towers,
    make_layer_towers,
    make_tower_pairs,
    make_tower_views,
)
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.batching import MemoryNotice
from captum_pairwise.network.layers import Layers, check_layers
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.layouts import LayoutNames, parse_layouts
from captum_pairwise.players.regions import Players, cells
from captum_pairwise.players.volumes import default_players
from captum_pairwise.players.windows import Size, Windows, height_and_width, sliding_windows
from captum_pairwise.results.interactions import SIDES

UNIT_NORM = 1e-3  # the allowed difference of a norm from 1, in half precision too
_SHARED: ContextVar[dict[tuple, tuple[Pairs, tuple]] | None] = ContextVar("shared pairs", default=None)


@contextmanager
def share_pairs() -> Iterator[None]:
    """A context in which `build_layer_pairs` returns the same pairs for the same objects: no image runs through the network twice.

    Yields:
        nothing.
    """
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def find_wrapper(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    """The `SimilarityWrapper` behind a forward function: itself, its `forward`, or one inside `DataParallel`; or None."""
    owner = getattr(forward_func, "__self__", forward_func)
    if isinstance(owner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        owner = owner.module
    is_forward = owner is forward_func or getattr(forward_func, "__name__", "forward") == "forward"
    return owner if isinstance(owner, SimilarityWrapper) and is_forward else None


def check_wrapper(forward_func: ForwardFunc, context: ForwardContext) -> SimilarityWrapper | None:
    """The wrapper, or None for any other function, after the checks that need no image."""
    model = find_wrapper(forward_func)
    refuse_training(forward_func, context.is_stochastic)
    if model is not None and model.is_stochastic and not context.is_stochastic:
        raise ValueError(
            "Expected an encoder without randomness, because this method does not average over draws, got SimilarityWrapper(..., "
            "stochastic=True). Take a method with standard errors, such as LayerKernelSAM or LayerFactorisedShapleyTaylor."
        )
    if model is not None and context.additional_forward_args is not None:
        raise ValueError("Expected no additional_forward_args, because a SimilarityWrapper takes the two images alone. Leave them out.")
    return model


def build_input_pairs(
    forward_func: ForwardFunc,
    inputs: object,
    context: ForwardContext,
    baselines: Baselines = None,
    feature_mask: Masks = None,
    *,
    default_baseline: Baseline = None,
    players: Callable[[torch.Tensor], Players] = default_players,
    windows: tuple[Windows | None, Windows | None] = (None, None),
) -> Pairs:
    """Games whose players are parts of the images.

    Args:
        forward_func: the model, or any function of the two images.
        inputs: the two batches of images.
        context: the target, the other arguments of the function, and the limit of a forward pass.
        baselines: a pair, one for each image.
        feature_mask: a pair of integer masks over the images.
        default_baseline: the baseline of an image without one.
        players: divides images without a mask.
        windows: windows over both images, which are then occluded instead of players.

    Raises:
        ValueError: an argument does not fit; the message names it.
    """
    model, images = check_wrapper(forward_func, context), check_images(inputs)
    options = zip(unpack_pair(baselines, "baselines"), unpack_pair(feature_mask, "feature_mask"), windows, strict=True)
    sides = [
        replace(make_input_side(name, batch, default_baseline if baseline is None else baseline, mask, players), windows=over)
        for name, batch, (baseline, mask, over) in zip(SIDES, images, options, strict=True)
    ]
    if model is None:
        return make_joint_input_pairs(forward_func, sides, context)
    return make_tower_pairs(model.head, make_input_towers(model, sides, context), context)


def build_window_pairs(
    forward_func: ForwardFunc,
    inputs: object,
    context: ForwardContext,
    shapes: Size,
    strides: Size,
    baselines: Baselines = None,
    feature_mask: Masks = None,
    *,
    players: Callable[[torch.Tensor], Players] = default_players,
) -> tuple[Pairs, tuple[Windows, Windows]]:
    """Games whose players are bands of the images, and the windows where the bands cross; the default baseline is 0.

    Raises:
        ValueError: an argument does not fit; the message names it.
    """
    shape, stride = height_and_width(shapes, "sliding_window_shapes"), height_and_width(strides, "strides")
    images = check_images(inputs)
    for name, batch in zip(SIDES, images, strict=True):
        if batch.dim() != 4:
            raise ValueError(
                f"Expected {name} images [B, C, H, W], because windows slide over them, got shape {tuple(batch.shape)}. Methods with a "
                "feature_mask take any inputs."
            )
    query, retrieved = (sliding_windows(batch.shape[2], batch.shape[3], shape, stride) for batch in images)
    options = {"default_baseline": 0, "players": players, "windows": (query, retrieved)}
    return build_input_pairs(forward_func, inputs, context, baselines, feature_mask, **options), (query, retrieved)


def _split_options(baselines: Baselines, layer_baselines: Baselines, layer_mask: Masks, layout: LayoutNames) -> list[LayerOptions]:
    """The options of each image."""
    pairs = {"baselines": baselines, "layer_baselines": layer_baselines, "layer_mask": layer_mask}
    options = zip(SIDES, *(unpack_pair(value, name) for name, value in pairs.items()), parse_layouts(layout), strict=True)
    return [LayerOptions(*values) for values in options]


def build_layer_pairs(
    forward_func: ForwardFunc,
    layer: Layers,
    inputs: object,
    context: ForwardContext,
    baselines: Baselines = None,
    layer_baselines: Baselines = None,
    layer_mask: Masks = None,
    layout: LayoutNames = None,
    divide: Callable[[torch.Tensor, int], Players] = cells,
) -> Pairs:
    """Games whose players are cells of a layer's output; only the network after the layer runs for each coalition.

    Args:
        forward_func: the model, or any function of the two images.
        layer: a layer, or a pair of layers, one for each image.
        inputs: the two batches of images, or of token ids.
        context: the target, the other arguments of the function, and the limit of a forward pass.
        baselines: a pair in the space of the images.
        layer_baselines: a pair in the space of the layer's output; replaces `baselines`.
        layer_mask: a pair over the layer's output, each an integer mask, or a function that lays out its tokens as a map.
        layout: the axes of the layer's output, or a pair; None finds them.
        divide: makes the players of an output without a mask from the output and the axis of its channels.

    Raises:
        ValueError: an argument does not fit; the message names it.
    """
    space, shared = (baselines, layer_baselines, layer_mask, layout, divide), _SHARED.get()
    if shared is None or context.is_stochastic or context.description is not None:  # no progress bar is shown twice
        return _make_layer_pairs(forward_func, layer, inputs, context, *space)
    arguments = (forward_func, *check_layers(layer), inputs, *space, context.target, context.additional_forward_args)
    key = (context.max_rows, *map(id, arguments))
    if key not in shared:  # the arguments are kept, so that no other object gets the identity of one of them
        shared[key] = _make_layer_pairs(forward_func, layer, inputs, context, *space), arguments
    return shared[key][0]


def _make_layer_pairs(
    forward_func: ForwardFunc,
    layer: Layers,
    inputs: object,
    context: ForwardContext,
    baselines: Baselines,
    layer_baselines: Baselines,
    layer_mask: Masks,
    layout: LayoutNames,
    divide: Callable[[torch.Tensor, int], Players],
) -> Pairs:
    """The games of `build_layer_pairs`, from runs of the network."""
    model, images = check_wrapper(forward_func, context), check_images(inputs, takes_ids=True)
    options = [replace(side, divide=divide) for side in _split_options(baselines, layer_baselines, layer_mask, layout)]
    if model is None:
        return make_joint_layer_pairs(forward_func, layer, images, options, context)
    return make_tower_pairs(model.head, make_layer_towers(model, layer, images, options, context), context)


def build_affine_pairs(
    forward_func: ForwardFunc,
    layer: Layers,
    inputs: object,
    baselines: Baselines,
    layer_baselines: Baselines,
    layer_mask: Masks,
    layout: LayoutNames,
) -> tuple[Pairs, list[tuple[list[Affine], list[Affine]]]]:
    """The games of `build_layer_pairs`, and both towers of each as affine functions, one for each background.

    An image without any baseline has the baseline 0 in the space of the layer's output.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or a step after the layer is not affine.
    """
    context = ForwardContext()
    model, images = check_wrapper(forward_func, context), check_images(inputs, takes_ids=True)
    if model is None:
        raise ValueError("Expected a SimilarityWrapper, because a closed form needs both towers apart. Pass `SimilarityWrapper(encoder)`.")
    options = [
        replace(side, layer_baseline=0) if side.layer_baseline is None and side.baseline is None else side
        for side in _split_options(baselines, layer_baselines, layer_mask, layout)
    ]
    towers = make_layer_towers(model, layer, images, options, context)
    for tower in towers:
        if not tower.is_affine:
            raise ValueError(f"Expected only pooling and linear layers after the layer (Prop. 4.1 and 5.1){_name_cause(model, tower)}")
    affine = [_make_finite_affine(tower, name) for tower, name in zip(towers, SIDES, strict=True)]
    return make_tower_pairs(model.head, towers, context), list(zip(*affine, strict=True))


def _name_cause(model: SimilarityWrapper, tower: Tower) -> str:
    """The rest of a sentence: the reason why a tower is not affine, and the remedy."""
    ends = torch.cat([tower.side.present[:1], tower.side.absent[0][:1]])
    norms = torch.linalg.vector_norm(tower.embed(ends, 0).double(), dim=1)
    if not bool((norms - 1).abs().max() < UNIT_NORM):
        return ". Pick the last layer before pooling, or use LayerFactorisedShapleyTaylor."
    if model.head.frozen_norm is False:
        return ", got an encoder that normalises its embeddings. Take similarity='cosine', which equals their dot product."
    return ", got an encoder that normalises its embeddings in a way that is not seen. Pass it without that step, which no cosine needs."


def _make_finite_affine(tower: Tower, name: str) -> list[list[Affine]]:
    """For each pair, one affine function for each background."""
    members = [tower.make_affine(example) for example in range(len(tower.side.present))]
    for member in chain.from_iterable(members):
        check_finite(member(member.moves.new_ones(1, len(member.moves))), f"the {name} embeddings")
    return members


def build_layer_views(
    forward_func: ForwardFunc, layer: Layers, inputs: object, layout: LayoutNames, notice: MemoryNotice, needs_norm: bool = True
) -> tuple[SimilarityWrapper, list[TowerView]]:
    """The model, and the tower of each batch of images seen from the layer; call it outside inference mode to differentiate.

    Without `needs_norm` the embeddings may have another norm.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or an argument does not fit.
    """
    context = ForwardContext(notice=notice)
    model, images = check_wrapper(forward_func, context), check_images(inputs, takes_ids=True)
    if model is None:
        raise ValueError("Expected a SimilarityWrapper, because this method uses both embeddings. Pass `SimilarityWrapper(encoder)`.")
    options = _split_options(None, None, None, layout)
    with torch.no_grad():
        return model, make_tower_views(model, layer, images, options, context, needs_norm)
