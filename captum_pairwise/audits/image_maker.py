"""From the input of the network to the parts of an image: their features, and their effect on the embedding."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from captum_pairwise.audits.grid_tags import Grid
from captum_pairwise.estimators.towers.image_tower import ImageTower, summarise_tower
from captum_pairwise.explanations.options import Options
from captum_pairwise.explanations.plan import make_plan
from captum_pairwise.games.context import ForwardContext, ForwardFunc
from captum_pairwise.games.narrowing import narrow_tower
from captum_pairwise.games.sides import LayerOptions, Side
from captum_pairwise.games.two_towers import Tower, TowerView, make_tower_views
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.layer_view import record_output
from captum_pairwise.network.layers import check_layers
from captum_pairwise.players.baselines import default_baseline
from captum_pairwise.players.regions import NEVER_LEAVES, grid

N_FEATURES = 256  # of a part: random projections of the channels of the layer
FEATURE_SEED = 0
CELLS = 7  # parts of a side of an image, for models without a layer that has places


@dataclass(frozen=True)
class ImageParts:
    """The parts of an image.

    Attributes:
        grid: their rows and columns.
        features: of each part by the layer, projected and of norm 1; None without a layer.
        tower: what the image contributes to each of its pairs; None if pairs are explained one by one.
    """

    grid: Grid
    features: Float[Tensor, "parts features"] | None
    tower: ImageTower | None


@dataclass(frozen=True)
class ImageMaker:
    """Makes the parts of images.

    Attributes:
        choices: the parts and the method in words.
        grid: the rows and columns of the parts if there is no layer.
        options: of the layer output; None if there is no layer.
        view: the encoder seen from the layer; None if there is no layer.
        lift: from embeddings to factors of the similarity, if an image is summarised once for all of its pairs; else None.
    """

    choices: str
    grid: Grid
    options: LayerOptions | None = None
    view: TowerView | None = None
    lift: Callable[[Tensor], Tensor] | None = None

    def make_parts(self, inputs: Tensor) -> ImageParts:
        """The parts of one image.

        Args:
            inputs: the input `[1, ...]` of the network.

        Raises:
            ValueError: the parts of the layer are no grid, or the embedding is not finite.
        """
        if self.view is None or self.options is None:
            return ImageParts(self.grid, None, None)
        view, baseline = self.view, default_baseline(inputs)
        # one pass of two rows for every image, so that its numbers do not depend on others
        outputs = record_output(view.encoder, view.layer, torch.cat([inputs, baseline]))
        side = replace(self.options, baseline=baseline).make_side(outputs[:1], view.channel_axis, inputs, lambda _: outputs[1:])
        if len(side.shown.shape) != 2:
            raise ValueError(f"Expected a layer whose places are rows and columns, got {side.shown.shape}. Pass another layer=.")
        tower = None if self.lift is None else _summarise_side(view, side, self.lift)
        return ImageParts((side.shown.shape[0], side.shown.shape[1]), describe_parts(side, view.channel_axis), tower)


def choose_maker(forward_func: ForwardFunc, inputs: Tensor, layer: object) -> ImageMaker:
    """The maker for a model, from the input of its first image.

    Raises:
        ValueError: the layer does not fit.
    """
    plan = make_plan(forward_func, (inputs, inputs), choose_options(forward_func, inputs, layer)).last
    module, choices = getattr(plan.method, "layer", None), " ".join(plan.choices)
    if module is None or not isinstance(forward_func, SimilarityWrapper) or not forward_func.is_tied:
        return ImageMaker(choices, (CELLS, CELLS))
    options = LayerOptions("query", None, None, plan.arguments["layer_mask"][0])
    layers, head = check_layers(module), forward_func.head
    context = ForwardContext()
    view = make_tower_views(forward_func, layers[0], (inputs, inputs), (options, options), context, not head.frozen_norm)[0]
    is_summarised = view.tail.is_affine and head.lift_query is not None and head.lift_query is head.lift_retrieved
    words = " Each image is summarised once for all of its pairs." if is_summarised else ""
    return ImageMaker(choices + words, (CELLS, CELLS), options, view, head.lift_query if is_summarised else None)


def choose_options(forward_func: ForwardFunc, inputs: Tensor, layer: object) -> Options:
    """The options of a pair: the cells of a grid are its parts, if the model has no layer with places."""
    options = Options(layer=layer)
    if layer is not None:
        return options
    if isinstance(forward_func, SimilarityWrapper):
        plan = make_plan(forward_func, (inputs, inputs), options)
        if getattr(plan.method, "layer", None) is not None:
            return options
    mask = grid(inputs.shape[2], inputs.shape[3], CELLS, CELLS).to(inputs.device)
    return Options(feature_mask=(mask, mask))


def _summarise_side(view: TowerView, side: Side, lift: Callable[[Tensor], Tensor]) -> ImageTower:
    """The summary of an image behind an affine tail."""
    tower = Tower(side, view.embed, ForwardContext().make_chunk(side.present[0]), None, True, view.channel_axis)
    functions = tower.make_functions(0)
    narrow = narrow_tower(functions)
    function = functions[0] if narrow is None else narrow.functions[0]
    n_channels = function(torch.ones(1, len(side.ids(0)), dtype=torch.bool, device=side.present.device)).shape[1]
    basis = torch.eye(n_channels, dtype=torch.float32, device=side.present.device) if narrow is None else narrow.basis.to(side.present)
    return summarise_tower(lambda z: lift(function(z)), len(side.ids(0)), basis)


def describe_parts(side: Side, channel_axis: int | None) -> Float[Tensor, "parts features"] | None:
    """The mean output of the layer in each part, projected to fewer numbers and divided by its norm; None for unknown channels."""
    if channel_axis is None:
        return None
    outputs = side.present.movedim(channel_axis, -1)[0].flatten(0, -2).float()
    owners = _list_owners(side, channel_axis)
    is_part = owners != NEVER_LEAVES
    sums = outputs.new_zeros(side.players.n_players, outputs.shape[1]).index_add_(0, owners[is_part], outputs[is_part])
    projected = sums @ _draw_projection(outputs.shape[1]).to(sums)
    return torch.nn.functional.normalize(projected, dim=1)


def _list_owners(side: Side, channel_axis: int) -> Int[Tensor, " positions"]:
    """The part of each position of the layer's output."""
    return side.players.ids[0].movedim(channel_axis - 1, -1)[..., 0].flatten()


@cache
def _draw_projection(n_channels: int) -> Float[Tensor, "channels features"]:
    generator = torch.Generator().manual_seed(FEATURE_SEED)
    return torch.randn(n_channels, N_FEATURES, generator=generator, dtype=torch.float32, device="cpu")
