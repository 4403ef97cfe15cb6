"""Where a part of one image goes in the other, without the matrix of pairs."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.base import Baselines, Masks, requested
from captum_pairwise.autocast import without_autocast
from captum_pairwise.estimators.integrated import WEIGHTS, PathIndex, gauss_index
from captum_pairwise.estimators.projection import projected, swapped
from captum_pairwise.interactions import DIRECTIONS
from captum_pairwise.joint_games import ForwardFunc
from captum_pairwise.layers import Layers
from captum_pairwise.masking import Pairs, Side, refuse_not_finite
from captum_pairwise.pairs import input_pairs, layer_pairs
from captum_pairwise.players import average, grid
from captum_pairwise.visualization.heatmaps import to_pixels

Projected = Float[Tensor, "batch ..."]


@torch.inference_mode(False)
@torch.no_grad()
def project_attention(
    forward_func: ForwardFunc,
    layer: Layers | list[Layers | None] | None,
    inputs: tuple[Tensor, Tensor],
    attention: Shaped[Tensor, "batch ..."],
    baselines: Baselines = None,
    target: TargetType = None,
    additional_forward_args: object = None,
    n_steps: int = 6,
    internal_batch_size: int | None = None,
    *,
    direction: str = DIRECTIONS[0],
    weight: str = "taylor",
    feature_mask: Masks = None,
    layer_baselines: Baselines = None,
    layer_mask: Masks = None,
) -> Projected:
    """Carry an attention over one image to the parts of the other, `Σ_i a_i φ_ij`, at any resolution.

    The same as projecting through the matrix of `IntegratedHessians` with as many steps, which is never built: two towers take one
    forward-mode and one reverse-mode product a step, whatever the number of parts.

    Args:
        forward_func: a `SimilarityWrapper`, or any twice differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder; a pair `(query layer, retrieved layer)`; None for the pixels of the images; or a list of these.
        inputs: `(query, retrieved)`, two batches of as many examples.
        attention: over the query: a mask `[B, H, W]`, of any size, averaged over each part; or a weight for each part `[B, n]`.
        baselines: where the path starts, as for the pairwise methods; None is the 25×25 box blur of each image.
        target: as in Captum, for a forward function that is no `SimilarityWrapper`.
        additional_forward_args: likewise; a tensor has an entry per pair.
        n_steps: how many points of the path to look at.
        internal_batch_size: the most points in one forward pass; None fits it to memory.
        direction: `"query->retrieved"`, or `"retrieved->query"` for an attention over the retrieved image.
        weight: `"taylor"` or `"hessian"`, as for `IntegratedHessians`.
        feature_mask: a pair of integer masks over the images, instead of pixels.
        layer_baselines: like `baselines`, in the space of the layer's output.
        layer_mask: a pair of integer masks over the layer's output; None makes every cell a part.

    Returns:
        Of one layer a number for each part of the other image, `[B, H, W]` for a map or pixels. Of several, the sum of their maps, each
        divided by its largest absolute value and drawn over the pixels, `[B, H, W]`.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"Expected direction to be one of {DIRECTIONS}, got {direction!r}.")
    if weight not in WEIGHTS:
        raise ValueError(f"Expected weight to be one of {sorted(WEIGHTS)}, got {weight!r}.")
    refuse_not_finite(attention, "the attention")
    index, by_image = gauss_index(weight, n_steps), {"baselines": baselines, "layer_baselines": layer_baselines, "layer_mask": layer_mask}

    def of_layer(one: Layers | None) -> tuple[Tensor, Side]:
        masks = _every_pixel(inputs) if one is None and feature_mask is None else feature_mask
        request = requested(None, target, additional_forward_args, internal_batch_size, False, feature_mask=masks, **by_image)
        pairs = input_pairs(forward_func, inputs, request) if one is None else layer_pairs(forward_func, one, inputs, request)
        return _carried(pairs, attention, index, direction == DIRECTIONS[0])

    if not isinstance(layer, list):
        values, side = of_layer(layer)
        is_of_pixels = layer is None and feature_mask is None and side.present.dim() == 4
        return values.reshape(len(values), *(side.present.shape[2:] if is_of_pixels else side.players.shape))
    height, width = inputs[direction == DIRECTIONS[0]].shape[2:]
    maps = torch.stack([to_pixels(values, side.shown, (height, width)) for values, side in map(of_layer, layer)])
    return (maps / maps.abs().amax((2, 3), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)).sum(0)


def _every_pixel(inputs: tuple[Tensor, Tensor]) -> Masks:
    """A part for each pixel of images `[B, C, H, W]`; for other inputs the default, a part for each scalar."""
    query, retrieved = (grid(*one.shape[2:], *one.shape[2:]) if one.dim() == 4 else None for one in inputs)
    return query, retrieved


@without_autocast()
def _carried(pairs: Pairs, attention: Tensor, index: PathIndex, is_forward: bool) -> tuple[Float[Tensor, "batch players"], Side]:
    """The attention carried to every player of the other side, and that side."""
    source, destination = (pairs.query, pairs.retrieved) if is_forward else (pairs.retrieved, pairs.query)
    lies_in_image = source.shown.ids.dim() == 4
    weights = average(attention.to(source.present), source.shown) if attention.dim() > 2 and lies_in_image else attention
    if weights.shape != (len(source.present), source.players.n_players):
        raise ValueError(
            f"Expected an attention [B, H, W], or a weight for each part {(len(source.present), source.players.n_players)}, got "
            f"{tuple(attention.shape)}."
        )
    games = (game if is_forward else swapped(game) for game in pairs.games())
    found = [projected(game, weights[example, source.ids(example)], index) for example, game in enumerate(games)]
    return destination.scatter(found).flatten(1), destination
