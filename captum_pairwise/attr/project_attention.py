"""Project an attention from one image to the other, without the matrix of pairs."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.projection_recipe import PLAIN, ProjectionRecipe, prepare_attention, scale_photos, smooth_over_superpixels
from captum_pairwise.estimators.paths.continuous_index import WEIGHTS, ContinuousIndex, gauss_index
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.projected import project_weights, sum_of_maps, swap_images
from captum_pairwise.games.build import build_input_pairs, build_layer_pairs
from captum_pairwise.games.checks import check_finite, describe_value, unpack_pair
from captum_pairwise.games.context import Baselines, ForwardContext, ForwardFunc, Masks
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.games.sides import Side
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.layers import Layers
from captum_pairwise.players.layouts import LayoutNames
from captum_pairwise.players.regions import average, grid
from captum_pairwise.results.interactions import DIRECTIONS

N_STEPS = 6


@differentiable()
def project_attention(
    forward_func: ForwardFunc,
    layer: Layers | None,
    inputs: tuple[Tensor, Tensor],
    attention: Shaped[Tensor, "batch ..."],
    baselines: Baselines = None,
    target: TargetType = None,
    additional_forward_args: object = None,
    n_steps: int = N_STEPS,
    internal_batch_size: int | None = None,
    *,
    direction: str = DIRECTIONS[0],
    weight: str = "taylor",
    feature_mask: Masks = None,
    layer_baselines: Baselines = None,
    layer_mask: Masks = None,
    layout: LayoutNames = None,
) -> Float[Tensor, "batch ..."]:
    r"""Carry an attention over one image to the parts of the other, $\sum_i a_i \phi_{ij}$, at any resolution.

    The result equals a projection through the matrix of `IntegratedHessians` with the same number of steps, but the matrix is never built:
    two towers need one forward-mode and one reverse-mode product a step, for any number of parts. Earlier layers need more steps: 6 are
    enough for the last layers of a network, pixels need about 50.

    Args:
        forward_func: a `SimilarityWrapper`, or any twice differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, a pair `(query layer, retrieved layer)`, or None for the images themselves.
        inputs: `(query, retrieved)`, two batches of equal length.
        attention: over the query: a mask `[B, H, W]`, of any size, averaged over each part; or a weight for each part `[B, n]`.
        baselines: the start of the path, as for the pairwise methods; None is the 25×25 box blur of each image.
        target: as in Captum, for a forward function that is no `SimilarityWrapper`.
        additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
        n_steps: the number of points on the path.
        internal_batch_size: the most points in one forward pass; None fits it to memory.
        direction: `"query->retrieved"`, or `"retrieved->query"` for an attention over the retrieved image.
        weight: `"taylor"` or `"hessian"`, as for `IntegratedHessians`.
        feature_mask: without a layer, a pair of integer masks over the images; None makes every pixel a part.
        layer_baselines: with a layer, as for the other layer methods.
        layer_mask: with a layer, the players of its output; None makes every cell a part.
        layout: with a layer, the axes of its output, as for the layer methods.

    Returns:
        A number for each part of the other image: `[B, H, W]` for a map or pixels, else `[B, n]`.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> from captum_pairwise import SimilarityWrapper
    >>> model = SimilarityWrapper(torch.nn.Identity(), similarity="dot")
    >>> inputs, attention = (torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])), torch.tensor([[1.0, 0.0]])
    >>> torch.allclose(project_attention(model, None, inputs, attention), torch.tensor([[3.0, 0.0]]), atol=1e-6)
    True

    See also `project_attention_through`, `Interactions.project` and `cp.visualization.projection_figure`.
    """
    _refuse_attention(attention, direction, weight)
    of_layer = (layer_baselines, layer_mask, layout)
    _refuse_options((feature_mask,) if layer is not None else of_layer)
    context = ForwardContext(target, additional_forward_args, internal_batch_size)
    if layer is None:
        pairs = build_input_pairs(forward_func, inputs, context, baselines, _fill_masks(feature_mask, inputs))
    else:
        pairs = build_layer_pairs(forward_func, layer, inputs, context, baselines, *of_layer)
    values, side = _carry_attention(pairs, attention, gauss_index(WEIGHTS[weight], n_steps), direction == DIRECTIONS[0])
    is_pixel_map = side.present.dim() == 4 and values.shape[1:] == (side.present[0, 0].numel(),)
    return values.reshape(len(values), *(side.present.shape[2:] if is_pixel_map else side.shown.shape))


def project_attention_through(
    forward_func: ForwardFunc,
    layers: Sequence[Layers | None],
    inputs: tuple[Tensor, Tensor],
    attention: Shaped[Tensor, "batch height width"],
    baselines: Baselines = None,
    n_steps: int = N_STEPS,
    *,
    direction: str = DIRECTIONS[0],
    weight: str = "taylor",
    layer_masks: Sequence[Masks] | None = None,
    layouts: Sequence[LayoutNames] | None = None,
    layer_baselines: Baselines = None,
    recipe: ProjectionRecipe = PLAIN,
) -> Float[Tensor, "batch rows columns"]:
    """The sum of the maps of `project_attention` for several layers, each resized to the pixels of the image.

    Maps of fine layers are sharp but noisy, maps of coarse layers are smooth; their sum is often better than each. To find the object of a
    mask, pass `recipe=OBJECT_RECIPE`; `ProjectionRecipe` says what its steps do to the axioms.

    Args:
        forward_func: as for `project_attention`.
        layers: modules, pairs of them, or None for pixels.
        inputs: `(query, retrieved)`, two batches of images.
        attention: a mask over the query, `[B, H, W]`.
        baselines: the start of the path.
        n_steps: the number of points on the path.
        direction: the direction, as for `project_attention`.
        weight: `"taylor"` or `"hessian"`.
        layer_masks: a `layer_mask` for each layer, such as the `token_grid` of a transformer's block, or None.
        layouts: the `layout` of each layer's output, or None.
        layer_baselines: the start of the path in the space of every layer's output, for example `(0, 0)` for a dot product.
        recipe: steps before and after the sum.

    Returns:
        `[B, H, W]`, of the other image: the sum of the maps, each divided by its largest absolute value, after the steps of the recipe.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding
    >>> inputs = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> mask, model = torch.ones(1, 2, 2), SimilarityWrapper(encoder, similarity="dot")
    >>> torch.allclose(project_attention_through(model, [encoder], inputs, mask, layer_baselines=(0, 0)), inputs[1][0] / 4)
    True

    See also `ProjectionRecipe`, `cp.metrics.label_propagation` and `cp.visualization.projection_figure`.
    """
    _refuse_layers(layers, recipe)
    _refuse_attention(attention, direction, weight)
    masks = _list_options(layer_masks, len(layers), "layer_masks")
    names = _list_options(layouts, len(layers), "layouts")
    other = inputs[direction == DIRECTIONS[0]]
    signal, maps = prepare_attention(attention, recipe), []
    for scale in recipe.scales:
        photos, starts = scale_photos(inputs, baselines, scale)
        for layer, mask, layout in zip(layers, masks, names, strict=True):
            of_layer = {"layer_baselines": layer_baselines, "layer_mask": mask, "layout": layout}
            arguments = {"n_steps": n_steps, "direction": direction, "weight": weight} | of_layer
            maps.append(_draw_map(project_attention(forward_func, layer, photos, signal, starts, **arguments), other))
    return smooth_over_superpixels(sum_of_maps(torch.stack(maps)), other, recipe.n_segments)


def _draw_map(heat_map: Tensor, photos: Tensor) -> Float[Tensor, "batch height width"]:
    """A map with a value for each pixel of the photos."""
    if heat_map.dim() != 3:
        raise ValueError("Expected layers that return maps [B, C, H, W], got one of tokens. Lay them out by `layer_masks`.")
    return F.interpolate(heat_map[:, None], photos.shape[2:], mode="bilinear")[:, 0]


def _refuse_layers(layers: object, recipe: object) -> None:
    if not isinstance(layers, (list, tuple)) or not layers:
        raise ValueError(f"Expected a list of layers, got {type(layers).__name__}. For one layer there is project_attention.")
    if not isinstance(recipe, ProjectionRecipe):
        raise ValueError(f"Expected recipe to be a ProjectionRecipe, got {recipe!r}. Pass OBJECT_RECIPE to find an object.")


def _list_options(options: Sequence | None, n_layers: int, name: str) -> Sequence:
    """An option for each layer."""
    if options is not None and len(options) != n_layers:
        raise ValueError(f"Expected {name} with an entry for each of {n_layers} layers, got {len(options)}.")
    return [None] * n_layers if options is None else options


def _refuse_options(unused: Sequence[object]) -> None:
    if any(option is not None for option in unused):
        raise ValueError("Expected feature_mask without a layer, or layer_baselines, layer_mask and layout with a layer. Omit the others.")


def _refuse_attention(attention: Tensor, direction: str, weight: str) -> None:
    if direction not in DIRECTIONS:
        raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
    if weight not in WEIGHTS:
        raise ValueError(f"Expected weight to be one of {sorted(WEIGHTS)}, got {weight!r}.")
    if not isinstance(attention, Tensor) or attention.dim() not in (2, 3):
        raise ValueError(f"Expected attention to be a mask [B, H, W], or a weight for each part [B, n], got {describe_value(attention)}.")
    check_finite(attention, "the attention")


def _fill_masks(masks: Masks, inputs: tuple[Tensor, Tensor]) -> Masks:
    """A part for each pixel of images `[B, C, H, W]` without a mask; for other inputs the default, a part for each scalar."""
    query, retrieved = (
        grid(*images.shape[2:], *images.shape[2:]) if mask is None and images.dim() == 4 else mask
        for mask, images in zip(unpack_pair(masks, "feature_mask"), inputs, strict=True)
    )
    return query, retrieved


@disable_autocast()
def _carry_attention(
    pairs: Pairs, attention: Tensor, index: ContinuousIndex, is_forward: bool
) -> tuple[Float[Tensor, "batch players"], Side]:
    """The attention carried to every player of the other side, and that side."""
    source, destination = (pairs.query, pairs.retrieved) if is_forward else (pairs.retrieved, pairs.query)
    weights = _get_weights(attention, source)
    games = (game if is_forward else swap_images(game) for game in pairs.games())
    values = [project_weights(game, weights[example, source.ids(example)], index) for example, game in enumerate(games)]
    return destination.scatter(values).reshape(len(values), -1), destination


def _get_weights(attention: Tensor, side: Side) -> Float[Tensor, "batch players"]:
    """The attention that each part gets."""
    expected, shape = (len(side.present), side.players.n_players), tuple(attention.shape)
    if attention.dim() == 3 and side.shown.ids.dim() != 4:
        raise ValueError(f"Expected a weight for each part {expected}, got a mask {shape}. Pass layer_mask=(token_grid(...), ...).")
    if len(attention) != expected[0] or (attention.dim() == 2 and shape != expected):
        raise ValueError(f"Expected an attention [{expected[0]}, H, W], or a weight for each part {expected}, got {shape}.")
    return average(attention.to(side.present), side.shown) if attention.dim() == 3 else attention
