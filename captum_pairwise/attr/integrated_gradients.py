"""Integrated gradients at a layer: search activation maps of two images, class activation maps of one."""

from typing import Any, Literal, final, overload

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.base import CompleteMethod
from captum_pairwise.attr.gradient import LayerGradientMethod, make_path
from captum_pairwise.attr.logged import log_overloaded
from captum_pairwise.attr.randomness import average_draws, make_context
from captum_pairwise.attr.views import Delta, ImageInteractions, Maps, arrange_maps, compute_delta
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_gradients
from captum_pairwise.games.black_box import build_image_games
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import Baselines, ForwardContext, Masks
from captum_pairwise.games.sides import LayerOptions
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.network.layers import check_layers
from captum_pairwise.players.baselines import Baseline
from captum_pairwise.players.layouts import parse_layouts
from captum_pairwise.players.regions import Layout


@final
class LayerIGSAM(CompleteMethod, LayerGradientMethod):
    r"""The integrated gradient of each position of each image, with the other image whole (IG-SAM, paper eq. 9 and Prop. 4.2).

    $$\phi_{hw} = \sum_c (y - b)_{chw} \int_0^1 \frac{\partial s}{\partial y_{chw}}(b + t (y - b)) \, dt$$

    for any differentiable similarity and any layer. This equals Captum's `LayerIntegratedGradients`, summed over channels, for both images
    and from a blurred background.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> import torch
    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerIGSAM(SimilarityWrapper(encoder), encoder[1])
    >>> [tuple(image.shape) for image in method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7)))]
    [(2, 1, 4, 4), (2, 1, 3, 3)]

    See also `LayerIGCAM`, `LayerKernelSAM`, and for pairs `LayerIntegratedHessians`.
    """

    order = 1

    @differentiable()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> ImageInteractions:
        """`Interactions` of the query's players and of the retrieved image's, with `marginal` and the gap; arguments as for `attribute`."""
        path = make_path(method, n_steps)
        context = make_context(self.forward_func, target, additional_forward_args, internal_batch_size)
        space = (baselines, layer_baselines, layer_mask, self.layout)

        def explain() -> ImageInteractions:
            pairs = build_layer_pairs(self.forward_func, self.layer, inputs, context, *space)
            return pairs.explain_images(lambda game, *_: integrate_gradients(game, path))

        return average_draws(self.forward_func, explain)

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Maps: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[Maps, Delta]: ...
    @overload
    def attribute(
        self, inputs: tuple[Tensor, Tensor], baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> Maps | tuple[Maps, Delta]: ...
    @log_overloaded
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Maps | tuple[Maps, Delta]:
        """One map per image, `[B, 1, H, W]` each, or `[B, 1, n]` with a mask.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            baselines: the start of the paths, as for the other layer methods: a pair in input space, each None, a number, a tensor,
                `Backgrounds`, or a function. None is the 25×25 box blur of each image.
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            n_steps: the number of points on each path.
            method: Captum's name of a quadrature: `"gausslegendre"`, or `"riemann_"` with `"trapezoid"`, `"middle"`, `"left"` or `"right"`.
            internal_batch_size: the most points in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B, 2]`: for each image the sum of its map minus its gain in similarity over
                its baseline.
            layer_baselines: like `baselines`, in the space of the layer's output; replaces them.
            layer_mask: the players of the layer's output, as for the other layer methods; None makes every cell a player.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        integral, space = (n_steps, method, internal_batch_size), {"layer_baselines": layer_baselines, "layer_mask": layer_mask}
        result = self.interactions(inputs, baselines, target, additional_forward_args, *integral, **space)
        return (arrange_maps(result), compute_delta(result)) if return_convergence_delta else arrange_maps(result)


Map = Float[Tensor, "batch 1 ..."]


@final
class LayerIGCAM(CompleteMethod, LayerGradientMethod):
    r"""The integrated gradient of each position of an image for any output of any network (the paper's A.5): a complete GradCAM.

    $$\phi_{hw} = \sum_c (y - b)_{chw} \int_0^1 \frac{\partial f}{\partial y_{chw}}(b + t (y - b)) \, dt$$

    Unlike a GradCAM map, this map sums to the gain of the output over the baseline, and positions without influence on the output get 0.

    Args:
        forward_func: a network of one image, such as a classifier, or any differentiable callable `f(images, ...)` that returns `[B]` or
            `[B, classes]`.
        layer: a module of it.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 49, 10))
    >>> LayerIGCAM(network, network[0]).attribute(torch.rand(2, 3, 9, 9), target=7).shape
    torch.Size([2, 1, 7, 7])

    See also `LayerIGSAM`.
    """

    order = 1

    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor],
        baselines: Baseline | tuple[Baseline] = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        *,
        layer_baselines: Baseline = None,
        layer_mask: Tensor | Layout | None = None,
    ) -> Map: ...
    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor],
        baselines: Baseline | tuple[Baseline] = None,
        *,
        return_convergence_delta: Literal[True],
        **options: Any,
    ) -> tuple[Map, Float[Tensor, " batch"]]: ...
    @overload
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor],
        baselines: Baseline | tuple[Baseline] = None,
        *,
        return_convergence_delta: bool,
        **options: Any,
    ) -> Map | tuple[Map, Float[Tensor, " batch"]]: ...
    @log_overloaded
    @differentiable()
    def attribute(
        self,
        inputs: Tensor | tuple[Tensor],
        baselines: Baseline | tuple[Baseline] = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baseline = None,
        layer_mask: Tensor | Layout | None = None,
    ) -> Map | tuple[Map, Float[Tensor, " batch"]]:
        """The map `[B, 1, H, W]`, or `[B, 1, n]` with a mask.

        Args:
            inputs: a batch of images, or a tuple with one batch, as Captum's metrics and `NoiseTunnel` pass it.
            baselines: the start of the paths: a number, a tensor like the images (or one example), `Backgrounds`, or a function. None is
                the 25×25 box blur of each image. A tuple with one entry is allowed too.
            target: the output to explain, as in Captum.
            additional_forward_args: as in Captum; a tensor has an entry per image.
            n_steps: the number of points on each path.
            method: Captum's name of a quadrature, as for `LayerIGSAM`.
            internal_batch_size: the most points in one forward pass; None fits it to memory.
            return_convergence_delta: also return `delta [B]`, the sum of the map minus the gain of the output over the baseline.
            layer_baselines: like `baselines`, in the space of the layer's output; replaces them.
            layer_mask: an integer mask over the layer's output, or a function that lays out its tokens; None makes every cell a player.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        path, layers = make_path(method, n_steps), check_layers(self.layer)
        if len(layers) > 1:
            raise ValueError("Expected one layer, because there is one image, got a pair. Use LayerIGSAM for two images.")
        context = ForwardContext(target, additional_forward_args, internal_batch_size)
        options = LayerOptions("images'", _unpack_single(baselines), layer_baselines, layer_mask, parse_layouts(self.layout)[0])
        side, make_game = build_image_games(self.forward_func, layers[0], _unpack_single(inputs), context, options)
        with disable_autocast():
            credits = [integrate_gradients(make_game(example, {}), path) for example in range(len(side.present))]
        maps = side.scatter([credit["marginal"][0] for credit in credits])[:, None]
        return (maps, -torch.cat([credit.completeness_gap for credit in credits])) if return_convergence_delta else maps


def _unpack_single(value: object) -> Any:
    """The entry of a tuple with one entry; any other value itself."""
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value
