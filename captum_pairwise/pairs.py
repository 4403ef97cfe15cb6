"""The doors: from a forward function, a batch of pairs and a request to the games."""

import torch
from torch import nn

from captum_pairwise.game import Affine
from captum_pairwise.joint_games import ForwardFunc, joint_input_pairs, joint_layer_pairs
from captum_pairwise.layers import Layers
from captum_pairwise.masking import Pairs, Request, checked_images
from captum_pairwise.similarity import SimilarityWrapper
from captum_pairwise.tower_games import input_towers, layer_towers, tower_pairs


def as_wrapper(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    """The `SimilarityWrapper` behind a forward function: itself, its `forward`, or one inside `DataParallel`; or None."""
    owner = getattr(forward_func, "__self__", forward_func)
    if isinstance(owner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        owner = owner.module
    return owner if isinstance(owner, SimilarityWrapper) else None


def _refuse_training(model: object) -> None:
    """A network that draws dropout, or normalises by its batch, is no function of one pair."""
    modules = model.modules() if isinstance(model, nn.Module) else ()
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    active = [module for module in modules if module.training and isinstance(module, kinds)]
    if active:
        raise ValueError(
            f"Expected the model in evaluation mode, but its {type(active[0]).__name__} is training, which makes the similarity depend "
            "on the batch or on chance. Call `model.eval()` first."
        )


def _checked_model(forward_func: ForwardFunc) -> SimilarityWrapper | None:
    model = as_wrapper(forward_func)
    _refuse_training(model if model is not None else getattr(forward_func, "__self__", forward_func))
    if model is not None:
        model.follow()
    return model


def input_pairs(forward_func: ForwardFunc, inputs: object, request: Request) -> Pairs:
    """Games whose players are parts of the images.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    if model is None:
        return joint_input_pairs(forward_func, images, request)
    return tower_pairs(model, *input_towers(model, images, request), request)


def layer_pairs(forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request) -> Pairs:
    """Games whose players are the cells of a layer's output; of the network, only the tail after the layer is run for them.

    Raises:
        ValueError: an argument does not fit; each message says which and how.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    if model is None:
        return joint_layer_pairs(forward_func, layer, images, request)
    return tower_pairs(model, *layer_towers(model, layer, images, request), request)


def affine_pairs(forward_func: ForwardFunc, layer: Layers, inputs: object, request: Request) -> tuple[Pairs, list[tuple[Affine, Affine]]]:
    """The games of `layer_pairs`, and both towers of each as affine functions, averaged over a background distribution.

    Raises:
        ValueError: the forward function is no `SimilarityWrapper`, or a step after the layer is not affine.
    """
    model, images = _checked_model(forward_func), checked_images(inputs)
    if model is None:
        raise ValueError("Expected a SimilarityWrapper, because a closed form needs both towers apart. Pass `SimilarityWrapper(encoder)`.")
    towers = layer_towers(model, layer, images, request)
    if not all(tower.is_affine for tower in towers):
        raise ValueError(
            "Expected only pooling and linear layers after the layer, as the closed form holds for nothing else (Prop. 4.1 and 5.1). "
            "Pick the last layer before pooling, or use LayerFactorisedShapleyTaylor."
        )
    affine = [(_mean(towers[0].affine(b, request)), _mean(towers[1].affine(b, request))) for b in range(len(images[0]))]
    return tower_pairs(model, *towers, request), affine


def _mean(members: list[Affine]) -> Affine:
    return Affine(torch.stack([m.offset for m in members]).mean(0), torch.stack([m.moves for m in members]).mean(0))
