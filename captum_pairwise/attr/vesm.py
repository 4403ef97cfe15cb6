"""VESM: the positions of each image that carry the common features of both embeddings."""

from typing import final

import torch
from torch import Tensor

from captum_pairwise.attr.gradient import LayerGradientMethod
from captum_pairwise.attr.logged import log_method
from captum_pairwise.attr.views import Maps
from captum_pairwise.estimators.paths.derivatives import take_gradients
from captum_pairwise.estimators.weighted_activation import MODES, LayerTail, vesm
from captum_pairwise.games.build import build_layer_views
from captum_pairwise.games.checks import check_finite, describe_value, promote_half, refuse_images
from captum_pairwise.games.context import Images
from captum_pairwise.games.sides import require_axis
from captum_pairwise.games.two_towers import TowerView
from captum_pairwise.models.similarity import SimilarityWrapper
from captum_pairwise.network.batching import Chunk, Evaluator, MemoryNotice
from captum_pairwise.results.interactions import SIDES


@final
class LayerVESM(LayerGradientMethod):
    r"""The positions in each image of the features where the embeddings agree, or differ (VESM, Zheng et al. 2020; in the paper's Table 1).

    $\sum_c \alpha_c A_c$ as in GradCAM, of the score $\langle w, f \rangle$: `f` is the image's embedding, and the constants `w` measure
    the agreement of both embeddings in each feature. Only `w` depends on the other image, and with many features it is near 1 for any
    image. It is not a Shapley value: there is no delta.

    Args:
        forward_func: a `SimilarityWrapper`, with any head, because only the embeddings are used.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.GELU())
    >>> method = LayerVESM(SimilarityWrapper(encoder), encoder[1])
    >>> [tuple(credit.shape) for credit in method.attribute((torch.rand(2, 3, 9, 9), torch.rand(2, 3, 7, 7)))]
    [(2, 1, 4, 4), (2, 1, 3, 3)]

    See also `LayerIGCAM` and `LayerIGSAM`.
    """

    order = 1

    @log_method
    def attribute(self, inputs: Images, mode: str = "positive", negative: Tensor | None = None, *, relu_attributions: bool = True) -> Maps:
        """One map per image, `[B, 1, H, W]` each, or `[B, 1, T]` where the layer returns tokens `[B, T, C]`.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            mode: `"positive"` weights agreement, `"negative"` difference, `"triplet"` agreement that `negative` does not share.
            negative: for triplets, a batch like the retrieved one, or a single image for all pairs.
            relu_attributions: set negative values to 0.

        Raises:
            ValueError: an argument does not fit, or the forward function is no `SimilarityWrapper`.
        """
        _refuse_mode(mode, negative)
        notice = MemoryNotice()
        with take_gradients(), torch.enable_grad():
            model, views = build_layer_views(self.forward_func, self.layer, inputs, self.layout, notice)
            results = []
            for example, other in enumerate(_embed_negative(model, negative, len(views[0].output), notice)):
                query, retrieved = (_prepare_view(view, example) for view in views)
                results.append(vesm(query, retrieved, mode, other, relu_attributions))
        results = zip(SIDES, zip(*results, strict=True), strict=True)
        query, retrieved = (check_finite(torch.stack(maps), f"the maps of the {name} images") for name, maps in results)
        return query, retrieved


def _refuse_mode(mode: str, negative: Tensor | None) -> None:
    if mode not in MODES:
        raise ValueError(f"Expected mode to be one of {MODES}, got {mode!r}.")
    if (mode == "triplet") != (negative is not None):
        raise ValueError(f"Expected `negative` images for mode='triplet' and for no other, got mode={mode!r}. Pass both, or neither.")


@torch.no_grad()
def _embed_negative(model: SimilarityWrapper, negative: Tensor | None, n_pairs: int, notice: MemoryNotice) -> list[Tensor] | list[None]:
    """The embedding of the negative image of each pair."""
    if negative is None:
        return [None] * n_pairs
    if not isinstance(negative, Tensor) or negative.dim() == 0 or len(negative) not in (1, n_pairs):
        raise ValueError(f"Expected `negative` to be a batch of {n_pairs} images, or of 1 for all pairs, got {describe_value(negative)}.")
    refuse_images(negative, "negative images", takes_ids=True)
    images = negative.detach()
    return list(promote_half(Evaluator(model.embed_retrieved, Chunk(len(images), notice))(images)).expand(n_pairs, -1))


def _prepare_view(view: TowerView, example: int) -> LayerTail:
    """The layer's output for one image, channels first, and the function from this output to the embedding."""
    if view.output.dim() == 2:
        shape = tuple(view.output.shape)
        raise ValueError(f"Expected a layer with a map [B, C, H, W] or tokens [B, T, C], got shape {shape}. Pick an earlier layer.")
    axis = require_axis(view.channel_axis, view.output)
    activations = promote_half(view.output[example : example + 1]).movedim(axis, 1)
    return activations, lambda channels_first: promote_half(view.embed(channels_first.movedim(1, axis).to(view.output), example))
