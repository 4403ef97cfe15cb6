"""Search activation maps, second order."""

from typing import final

import torch
from torch import Tensor

from captum_pairwise._compat import log_usage
from captum_pairwise.attr.base import Baselines, LayerMethod, Masks
from captum_pairwise.attr.sam_towers import frozen_norm, sam_pairs
from captum_pairwise.attr.second_order import Attribution, Delta, between
from captum_pairwise.estimators.search_activation import search_activation
from captum_pairwise.results.interactions import Interactions


@final
class LayerPairwiseSAM(LayerMethod):
    r"""The credit of every pair of positions, one of each image, in closed form (second-order SAM, paper eq. 8).

    $$\phi_{hw,ij} = \frac{1}{H^2 W^2} \sum_c (x - a)_{chw} (y - b)_{cij}$$

    for a layer that only global average pooling follows; linear layers after it are folded in. With the dot product these are the
    Shapley–Taylor indices. For cosine similarity both norms are frozen at the full images, and the credit does not sum to the similarity:
    `completeness_gap` says by how much.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine or dot-product head.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
    """

    order = 2

    @torch.no_grad()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Interactions:
        """Credits of single players and of pairs, batched; arguments as for `attribute`."""
        frozen = frozen_norm(self.forward_func)
        pairs, towers = sam_pairs(self.forward_func, self.layer, inputs, baselines, layer_baselines, layer_mask)
        pairs.refuse_beyond_memory()
        return pairs.joined([search_activation(query, retrieved, frozen) for query, retrieved in towers])

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        return_convergence_delta: bool = False,
        *,
        layer_baselines: Baselines = None,
        layer_mask: Masks = None,
    ) -> Attribution | tuple[Attribution, Delta]:
        """The credit of every pair of positions, `[B, H, W, H', W']`.

        Args:
            inputs: `(query, retrieved)`, two batches of as many images.
            baselines: a pair in input space, as for the other pairwise classes; None is 0 in the space of the layer's output (VEDML).
            return_convergence_delta: also return `delta [B]`, all credit less `v(N) - v(∅)`; NaN where the baseline's
                embedding is zero and has no cosine.
            layer_baselines: a pair in the space of the layer's output.
            layer_mask: a pair of integer masks over the layer's output.

        Raises:
            ValueError: an argument does not fit, a step after the layer is not affine, or the head has no closed form.
        """
        interactions = self.interactions(inputs, baselines, layer_baselines=layer_baselines, layer_mask=layer_mask)
        pairs = between(interactions)
        return (pairs, -interactions.completeness_gap) if return_convergence_delta else pairs
