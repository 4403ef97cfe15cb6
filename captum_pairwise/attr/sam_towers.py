"""What the two SAM classes share: affine towers, with the zero baseline that SAM alone takes by default."""

from captum_pairwise.attr.base import Baselines, Masks
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.build import affine_pairs, find_wrapper
from captum_pairwise.games.checks import unpack_pair
from captum_pairwise.games.game import Affine
from captum_pairwise.games.sides import Pairs, Request
from captum_pairwise.network.layers import Layers


def sam_pairs(
    forward_func: ForwardFunc, layer: Layers, inputs: object, baselines: Baselines, layer_baselines: Baselines, layer_mask: Masks
) -> tuple[Pairs, list[tuple[list[Affine], list[Affine]]]]:
    """Both towers of each pair as affine functions, one for each background; without any baseline, 0 in the space of the layer's output."""
    in_input, in_layer = unpack_pair(baselines, "baselines"), unpack_pair(layer_baselines, "layer_baselines")
    query, retrieved = (0 if a is None and b is None else a for a, b in zip(in_layer, in_input, strict=True))
    request = Request(baselines=in_input, layer_baselines=(query, retrieved), layer_mask=unpack_pair(layer_mask, "layer_mask"))
    return affine_pairs(forward_func, layer, inputs, request)


def frozen_norm(forward_func: ForwardFunc) -> bool:
    """Whether the similarity is the cosine, whose norms SAM freezes.

    Raises:
        ValueError: it is neither the cosine nor the dot product.
    """
    model = find_wrapper(forward_func)
    frozen = model.head.frozen_norm if model is not None else None
    if frozen is None:
        raise ValueError(
            "Expected a SimilarityWrapper with cosine or dot-product similarity, because SAM has a closed form for nothing else. Use "
            "LayerFactorisedShapleyTaylor."
        )
    return frozen
