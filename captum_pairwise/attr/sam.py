"""Search activation maps, first and second order, in closed form."""

from typing import Any, Literal, final, overload

import torch
from captum.attr import PerturbationAttribution

from captum_pairwise.attr.base import CompleteMethod, LayerPairAttribution
from captum_pairwise.attr.logged import log_overloaded
from captum_pairwise.attr.views import Delta, Maps, Matrix, arrange_pairs, compute_delta
from captum_pairwise.estimators.search_activation import activation_maps, search_activation
from captum_pairwise.games.build import build_affine_pairs, find_wrapper
from captum_pairwise.games.context import Baselines, ForwardFunc, Images, Masks
from captum_pairwise.results.interactions import Interactions


def _has_frozen_norm(forward_func: ForwardFunc) -> bool:
    """True for the cosine, because SAM freezes its norms.

    Raises:
        ValueError: the similarity is neither the cosine nor the dot product.
    """
    model = find_wrapper(forward_func)
    is_frozen = model.head.frozen_norm if model is not None else None
    if is_frozen is None:
        raise ValueError(
            "Expected a SimilarityWrapper with cosine or dot-product similarity, because SAM has a closed form for nothing else. Use "
            "LayerFactorisedShapleyTaylor."
        )
    return is_frozen


@final
class LayerSAM(CompleteMethod, LayerPairAttribution, PerturbationAttribution):
    r"""The credit of each position of each image for the similarity, with the other image whole (SAM, paper eq. 3).

    $$\phi_{hw} = \frac{1}{HW} \sum_c \mathrm{GAP}(x)_c (y - b)_{chw}$$

    for a layer that only global average pooling follows; linear layers after it are folded in, as VEDML does. For cosine similarity it is
    divided by both norms, frozen at the full images, and does not sum to the similarity.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine or dot-product head.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerSAM(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> inputs = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> [credit.flatten().round() for credit in method.attribute(inputs)]
    [tensor([ 6., 12.]), tensor([18.])]

    See also `LayerPairwiseSAM`, and for any similarity and layer `LayerIGSAM` and `LayerKernelSAM`.
    """

    order = 1

    @overload
    def attribute(
        self,
        inputs: Images,
        baselines: Baselines = None,
        return_convergence_delta: Literal[False] = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Maps: ...
    @overload
    def attribute(
        self, inputs: Images, baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[Maps, Delta]: ...
    @overload
    def attribute(
        self, inputs: Images, baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> Maps | tuple[Maps, Delta]: ...
    @log_overloaded
    @torch.no_grad()
    def attribute(
        self,
        inputs: Images,
        baselines: Baselines = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Maps | tuple[Maps, Delta]:
        """One map per image, `[B, 1, H, W]` each.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            baselines: a pair in input space, as for the pairwise classes; None is 0 in the space of the layer's output (VEDML).
            return_convergence_delta: also return `delta [B, 2]`: for each image the sum of its map minus its gain in similarity
                over its baseline. It is NaN where the baseline's embedding is zero and has no cosine.
            layer_baselines: a pair in the space of the layer's output.
            layer_mask: a pair of integer masks over the layer's output; the result is then `[B, 1, n]`.

        Raises:
            ValueError: an argument does not fit, a step after the layer is not affine, or the head has no closed form.
        """
        frozen = _has_frozen_norm(self.forward_func)
        pairs, towers = build_affine_pairs(self.forward_func, self.layer, inputs, baselines, layer_baselines, layer_mask, self.layout)
        queries, retrieveds, deltas = zip(*(activation_maps(*affine, frozen) for affine in towers), strict=True)
        maps = pairs.query.scatter(list(queries))[:, None], pairs.retrieved.scatter(list(retrieveds))[:, None]
        return (maps, torch.stack(deltas)) if return_convergence_delta else maps


@final
class LayerPairwiseSAM(CompleteMethod, LayerPairAttribution, PerturbationAttribution):
    r"""The credit of every pair of positions, one of each image, in closed form (second-order SAM, paper eq. 8).

    $$\phi_{hw,ij} = \frac{1}{H^2 W^2} \sum_c (x - a)_{chw} (y - b)_{cij}$$

    for a layer that only global average pooling follows; linear layers after it are folded in. With the dot product these are the
    Shapley–Taylor indices. For cosine similarity both norms are frozen at the full images, and the credit does not sum to the similarity:
    `completeness_gap` reports the difference.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine or dot-product head.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
        layout: the axes of the layer's output, as for the other layer methods.

    >>> from captum_pairwise import SimilarityWrapper
    >>> encoder = torch.nn.Identity()  # the mean of the cells is the embedding: 3 · 6
    >>> method = LayerPairwiseSAM(SimilarityWrapper(encoder, similarity="dot"), encoder)
    >>> query, retrieved = torch.tensor([[[[2.0, 4.0]]]]), torch.tensor([[[[6.0]]]])
    >>> method.attribute((query, retrieved)).flatten()
    tensor([ 6., 12.])

    See also `LayerSAM`, and for any similarity and layer `LayerFactorisedShapleyTaylor`.
    """

    order = 2

    @torch.no_grad()
    def interactions(
        self, inputs: Images, baselines: Baselines = None, *, layer_baselines: Baselines = None, layer_mask: Masks = None
    ) -> Interactions:
        """Credits of single players and of pairs, batched; arguments as for `attribute`."""
        frozen = _has_frozen_norm(self.forward_func)
        pairs, towers = build_affine_pairs(self.forward_func, self.layer, inputs, baselines, layer_baselines, layer_mask, self.layout)
        pairs.refuse_beyond_memory()
        return pairs.join([search_activation(*affine, frozen) for affine in towers])

    @overload
    def attribute(
        self,
        inputs: Images,
        baselines: Baselines = None,
        return_convergence_delta: Literal[False] = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Matrix: ...
    @overload
    def attribute(
        self, inputs: Images, baselines: Baselines = None, *, return_convergence_delta: Literal[True], **options: Any
    ) -> tuple[Matrix, Delta]: ...
    @overload
    def attribute(
        self, inputs: Images, baselines: Baselines = None, *, return_convergence_delta: bool, **options: Any
    ) -> Matrix | tuple[Matrix, Delta]: ...
    @log_overloaded
    @torch.no_grad()
    def attribute(
        self,
        inputs: Images,
        baselines: Baselines = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Matrix | tuple[Matrix, Delta]:
        """The credit of every pair of positions, `[B, H, W, H', W']`.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length.
            baselines: a pair in input space, as for the other pairwise classes; None is 0 in the space of the layer's output (VEDML).
            return_convergence_delta: also return `delta [B]`, the sum of all credits minus `v(N) - v(∅)`; NaN where the baseline's
                embedding is zero and has no cosine.
            layer_baselines: a pair in the space of the layer's output.
            layer_mask: a pair of integer masks over the layer's output.

        Raises:
            ValueError: an argument does not fit, a step after the layer is not affine, or the head has no closed form.
        """
        result = self.interactions(inputs, baselines, layer_baselines=layer_baselines, layer_mask=layer_mask)
        return (arrange_pairs(result), compute_delta(result)) if return_convergence_delta else arrange_pairs(result)
