"""Search activation maps, first order."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import log_usage
from captum_pairwise.attr.base import Baselines, LayerMethod, Masks
from captum_pairwise.attr.sam_towers import frozen_norm, sam_pairs
from captum_pairwise.estimators.search_activation import activation_maps

Maps = tuple[Float[Tensor, "batch 1 ..."], Float[Tensor, "batch 1 ..."]]


@final
class LayerSAM(LayerMethod):
    r"""The credit of each position of each image for the similarity, the other image being whole (SAM, paper eq. 3).

    $$\phi_{hw} = \frac{1}{HW} \sum_c \mathrm{GAP}(x)_c (y - b)_{chw}$$

    for a layer that only global average pooling follows; linear layers after it are folded in, as VEDML does. For cosine similarity it is
    divided by both norms, frozen at the full images, and does not sum to the similarity.

    Args:
        forward_func: a `SimilarityWrapper` with a cosine or dot-product head.
        layer: a module of the encoder, of either tower; or a pair, one for each image.
        device_ids: as in Captum.
    """

    order = 1

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
    ) -> Maps | tuple[Maps, Float[Tensor, "batch 2"]]:
        """One map per image, `[B, 1, H, W]` each.

        Args:
            inputs: `(query, retrieved)`, two batches of as many images.
            baselines: a pair in input space, as for the pairwise classes; None is 0 in the space of the layer's output (VEDML).
            return_convergence_delta: also return `delta [B, 2]`: for each image the sum of its map less what the image adds to
                the similarity over its baseline. It is NaN where the baseline's embedding is zero and has no cosine.
            layer_baselines: a pair in the space of the layer's output.
            layer_mask: a pair of integer masks over the layer's output; the result is then `[B, 1, n]`.

        Raises:
            ValueError: an argument does not fit, a step after the layer is not affine, or the head has no closed form.
        """
        frozen = frozen_norm(self.forward_func)
        pairs, towers = sam_pairs(self.forward_func, self.layer, inputs, baselines, layer_baselines, layer_mask)
        values = [activation_maps(query, retrieved, frozen) for query, retrieved in towers]
        query, retrieved = (side.scatter([one[k] for one in values])[:, None] for k, side in enumerate((pairs.query, pairs.retrieved)))
        if return_convergence_delta:
            return (query, retrieved), torch.stack([one[2] for one in values])
        return query, retrieved
