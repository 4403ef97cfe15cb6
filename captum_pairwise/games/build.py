"""The doors: from a forward function, a batch of pairs and a request to the games."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from captum_pairwise.games.black_box import ForwardFunc, joint_image_games, joint_input_pairs, joint_layer_pairs
from captum_pairwise.games.checks import checked_image, checked_images, refuse_not_finite, refuse_training
from captum_pairwise.games.game import Affine, CallableGame
from captum_pairwise.games.sides import Pairs, Request, Side
from captum_pairwise.games.two_towers import encoders_and_layers, input_towers, layer_towers, tower_pairs
from captum_pairwise.models.one_sided import OneSided
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.layer_view import LayerView, view_layer
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.windows import Size, Windows, height_and_width, sliding_windows
from captum_pairwise.results.interactions import SIDES


def find_wrapper(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    """The `SimilarityWrapper` behind a forward function: itself, its `forward`, or one inside `DataParallel`; or None."""
    owner = getattr(forward_func, "__self__", forward_func)
    if isinstance(owner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        owner = owner.module
    is_forward = owner is forward_func or getattr(forward_func, "__name__", "forward") == "forward"
    return owner if isinstance(owner, SimilarityWrapper) and is_forward else None


def _checked_model(forward_func: ForwardFunc, request: Request) -> SimilarityWrapper | None:
    model = find_wrapper(forward_func)
    refuse_training(forward_func)
    if model is not None and request.additional_forward_args is not None:
        raise ValueError("Expected no additional_forward_args, because a SimilarityWrapper takes the two images alone. Leave them out.")
    if model is not None:
        model.follow()
    return model


def input_pairs(forward_func: ForwardFunc, inputs: object, request: Request) -> Pairs:
    """Games whose players are parts of the images.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func, request), checked_images(inputs)
    if model is None:
        return joint_input_pairs(forward_func, images, request)
    return tower_pairs(model, *input_towers(model, images, request), request)


def window_pairs(
    forward_func: ForwardFunc, inputs: object, request: Request, sliding_window_shapes: Size, strides: Size
) -> tuple[Pairs, tuple[Windows, Windows]]:
    """Games whose players are bands of the images, and the windows in which these cross; a window shows 0 where no baseline is asked for.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    shape, stride = height_and_width(sliding_window_shapes, "sliding_window_shapes"), height_and_width(strides, "strides")
    windows = _slide_windows(inputs, shape, stride)
    return input_pairs(forward_func, inputs, replace(request.by_default(0), windows=windows)), windows


def _slide_windows(inputs: object, shape: tuple[int, int], strides: tuple[int, int]) -> tuple[Windows, Windows]:
    """Windows over the query images and over the retrieved ones.

    Raises:
        ValueError: the inputs are no images.
    """
    images = checked_images(inputs)
    for name, batch in zip(SIDES, images, strict=True):
        if batch.dim() != 4:
            raise ValueError(
                f"Expected {name} images [B, C, H, W], because windows slide over them, got shape {tuple(batch.shape)}. Methods with a "
                "feature_mask take any inputs."
            )
    query, retrieved = (sliding_windows(batch.shape[2], batch.shape[3], shape, strides) for batch in images)
    return query, retrieved


def layer_pairs(forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request) -> Pairs:
    """Games whose players are the cells of a layer's output; of the network, only the tail after the layer is run for them.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func, request), checked_images(inputs, takes_ids=True)
    if model is None:
        return joint_layer_pairs(forward_func, layer, images, request)
    return tower_pairs(model, *layer_towers(model, layer, images, request), request)


def image_games(
    forward_func: ForwardFunc, layer: nn.Module, inputs: object, request: Request
) -> tuple[Side, Callable[[int], CallableGame]]:
    """Games of single images, one for each of a batch, whose players are the cells of a layer's output.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    refuse_training(forward_func)
    _refuse_fixed_batch(forward_func)
    return joint_image_games(forward_func, layer, checked_image(inputs), request)


def _refuse_fixed_batch(forward_func: ForwardFunc) -> None:
    """Refuse a similarity to a batch: the rows of one example would be matched to all of it in turn."""
    n_fixed = forward_func.n_fixed if isinstance(forward_func, OneSided) else 1
    if n_fixed != 1:
        raise ValueError(
            f"Expected a similarity to a single fixed image, because examples are explained one at a time, got one to {n_fixed} of them. "
            "Fix one image, and explain a batch of others, or take LayerIGSAM, which takes pairs."
        )


def affine_pairs(
    forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request
) -> tuple[Pairs, list[tuple[list[Affine], list[Affine]]]]:
    """The games of `layer_pairs`, and both towers of each as affine functions, one for each background.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or a step after the layer is not affine.
    """
    model, images = _checked_model(forward_func, request), checked_images(inputs, takes_ids=True)
    if model is None:
        raise ValueError("Expected a SimilarityWrapper, because a closed form needs both towers apart. Pass `SimilarityWrapper(encoder)`.")
    towers = layer_towers(model, layer, images, request)
    if not all(tower.is_affine for tower in towers):
        raise ValueError(
            "Expected only pooling and linear layers after the layer, as the closed form holds for nothing else (Prop. 4.1 and 5.1). "
            "Pick the last layer before pooling, or use LayerFactorisedShapleyTaylor."
        )
    affine = [(towers[0].affine(example, request), towers[1].affine(example, request)) for example in range(len(images[0]))]
    for name, members in zip(SIDES, zip(*affine, strict=True), strict=True):
        for member in (one for members_of_pair in members for one in members_of_pair):
            refuse_not_finite(member(torch.ones(1, len(member.moves))), f"the {name} embeddings")
    return tower_pairs(model, *towers, request), affine


def layer_views(forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request) -> tuple[SimilarityWrapper, list[LayerView]]:
    """The model, and the tower of each batch of images seen from the layer; outside inference mode, to be differentiated.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or an argument does not fit.
    """
    model, images = _checked_model(forward_func, request), checked_images(inputs, takes_ids=True)
    if model is None:
        raise ValueError(
            "Expected a SimilarityWrapper, because this method looks at both embeddings, not at their similarity. Pass "
            "`SimilarityWrapper(encoder)`."
        )
    encoders, layers = encoders_and_layers(model, layer)
    with torch.no_grad():
        return model, [view_layer(encoders[k], layers[k], images[k], request.notices) for k in range(2)]
