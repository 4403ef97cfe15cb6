"""Faithfulness: the similarity without the most important pixels, and with only those."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.metrics.censoring import Baselines, ForwardFunc, check_pairs, mean_similarity, prepare_versions, rank_image
from captum_pairwise.metrics.pixels import check_maps, check_mask, check_object, most_important
from captum_pairwise.results.interactions import SIDES


@torch.no_grad()
def faithfulness(
    forward_func: ForwardFunc,
    inputs: tuple[Tensor, Tensor],
    attributions: Float[Tensor, "batch ..."],
    *,
    image: str = "retrieved",
    share: float = 0.3,
    baselines: Baselines = None,
) -> Float[Tensor, " batch"]:
    """The fall `[B]` of each similarity without the most important pixels of one image (first order, paper §6 and §A.2).

    `v(x, y) - v(x, y')`, where `y'` shows its background at the `round(share · H · W)` pixels of the largest attributions; higher is
    better. Of equal pixels (superpixels have many) the first in reading order are replaced.

    Args:
        forward_func: a `cp.SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`, two batches of the same length; only the censored one has to hold images.
        attributions: a map over the censored image, `[B, C, H, W]` or `[B, H, W]`, of any size; `to_pixels` resizes it.
        image: the image that is explained and censored, `"query"` or `"retrieved"`.
        share: the part of the pixels to replace, between 0 and 1.
        baselines: a pair of backgrounds, one per image, as for the attribution methods; None is the 25×25 box blur. The similarity is
            averaged over the members of `cp.Backgrounds`.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> faithfulness(model, (query, retrieved), retrieved, share=0.5, baselines=(0, 0))
    tensor([7.])

    See also `second_order_faithfulness` and `deletion_curve`.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"Expected share between 0 and 1, got {share!r}. Pass the part of the pixels to replace; the paper uses 0.3.")
    ranks, evaluate = rank_image(forward_func, inputs, attributions, image, baselines)
    gone = ranks < round(share * ranks[0].numel())
    return evaluate(torch.zeros_like(gone)) - evaluate(gone)


@torch.no_grad()
def second_order_faithfulness(
    forward_func: ForwardFunc,
    inputs: tuple[Tensor, Tensor],
    projected: Float[Tensor, "batch ..."],
    masks: tuple[Bool[Tensor, "batch query_height query_width"] | None, Bool[Tensor, "batch height width"]],
    *,
    void: Bool[Tensor, "batch height width"] | None = None,
    baselines: Baselines = None,
    censor_query: bool = True,
) -> Float[Tensor, " batch"]:
    """The similarity `[B]` of the query's object and its projection to the retrieved image (paper §6 and Fig. 6).

    The most important pixels of the projection stay, as many as the object has in the retrieved image. All other pixels of both images
    show the background. Higher is better.

    Args:
        forward_func: a `cp.SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`, two batches of the same number of images.
        projected: the query's mask projected to the retrieved image (`cp.Interactions.project`), as a map `[B, H, W]` or `[B, C, H, W]` of
            any size.
        masks: the object in each image, boolean `[B, H, W]`. Of the retrieved image's mask only the size is used; the query's mask is used
            to censor the query.
        void: pixels of the retrieved image without a label, boolean `[B, H, W]`: they are censored and not counted.
        baselines: as for `faithfulness`; with `cp.Backgrounds` of both images the mean is over all combinations.
        censor_query: True to censor the query outside its mask (§6); False to censor only the retrieved image (§A.2).

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 1, 3), torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> objects = torch.tensor([[[False, True, True]]]), torch.tensor([[[True, True, False]]])
    >>> second_order_faithfulness(model, (query, retrieved), retrieved, objects, baselines=(0, 0))
    tensor([6.])

    See also `label_propagation` and `cp.project_attention`.
    """
    images = check_pairs(forward_func, inputs)
    versions, (shape, device) = prepare_versions(images, 1, baselines), (images[1][:, 0].shape, images[1].device)
    if not isinstance(masks, tuple) or len(masks) != 2:
        raise ValueError(f"Expected masks to be a pair (of the query, of the retrieved image), got {type(masks).__name__}. Pass both.")
    void = None if void is None else check_mask(void, shape, "void", device)
    pixels = check_object(masks[1], shape, f"the {SIDES[1]} mask", device, void)
    maps = check_maps(projected, (shape[1], shape[2]), "projected", len(pixels)).to(device)
    retrieved = versions(~most_important(maps, pixels.sum((1, 2)), void))
    if not censor_query:
        return mean_similarity(forward_func, images[:1], retrieved)
    query_versions = prepare_versions(images, 0, baselines)
    outside = ~check_object(masks[0], images[0][:, 0].shape, f"the {SIDES[0]} mask", images[0].device)
    return mean_similarity(forward_func, query_versions(outside), retrieved)
