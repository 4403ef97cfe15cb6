"""Search activation maps by integrated gradients."""

from typing import final

from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.attr.gradient import LayerGradientMethod, make_path
from captum_pairwise.attr.views import Delta, ImageInteractions, Maps, arrange_maps, compute_delta
from captum_pairwise.estimators.paths.derivatives import differentiable
from captum_pairwise.estimators.paths.integrated import integrate_gradients
from captum_pairwise.games.build import build_layer_pairs
from captum_pairwise.games.context import Baselines, ForwardContext, Masks


@final
class LayerIGSAM(LayerGradientMethod):
    r"""The integrated gradient of each position of each image, with the other image whole (IG-SAM, paper eq. 9 and Prop. 4.2).

    $$\phi_{hw} = \sum_c (y - b)_{chw} \int_0^1 \frac{\partial s}{\partial y_{chw}}(b + t (y - b)) \, dt$$

    for any differentiable similarity and any layer. This equals Captum's `LayerIntegratedGradients`, summed over channels, for both images
    and from a blurred background.

    Args:
        forward_func: a `SimilarityWrapper`, or any differentiable callable `f(query, retrieved) -> [B]`.
        layer: a module of the encoder, of either tower; or a pair, one for each image. After it only the tail of the network is run.
        device_ids: as in Captum.

    >>> import torch
    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerIGSAM(SimilarityWrapper(encoder), encoder[1])
    >>> [tuple(image.shape) for image in method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7)))]
    [(2, 1, 4, 4), (2, 1, 3, 3)]
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
        path, context = make_path(method, n_steps), ForwardContext(target, additional_forward_args, internal_batch_size)
        pairs = build_layer_pairs(self.forward_func, self.layer, inputs, context, baselines, layer_baselines, layer_mask)
        return pairs.explain_images(lambda game, *_: integrate_gradients(game, path))

    @log_usage()
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
