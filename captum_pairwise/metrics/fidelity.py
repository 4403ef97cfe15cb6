"""Whether what an explanation names matters to the similarity: what is lost without it, what is left of it alone."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from captum_pairwise.metrics.censoring import Baselines, ForwardFunc, censorable, checked_pairs, ranked_image, similarity
from captum_pairwise.metrics.pixels import checked_mask, checked_object, maps_of, most_important
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
    """How much less similar each pair is without the most important pixels of one image (first order, paper §6 and §A.2).

    `v(x, y) - v(x, y')`, where `y'` shows its background at the `round(share · H · W)` pixels of the largest attributions; higher is
    better. Of equal pixels, of which superpixels have many, those go that come first in reading order.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`, two batches of as many examples; only the censored ones have to be images.
        attributions: a map over that one image, `[B, C, H, W]` or `[B, H, W]`, of any size: it goes through `to_pixels`.
        image: which image is explained and censored, `"query"` or `"retrieved"`.
        share: of the pixels, between 0 and 1.
        baselines: what replaces pixels: a pair, one per image, as for the attribution methods; None is the 25×25 box blur. Over the members
            of `Backgrounds` the similarity is averaged.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 2, 2), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> faithfulness(model, (query, retrieved), retrieved, share=0.5, baselines=(0, 0))
    tensor([7.])
    """
    if not 0 <= share <= 1:
        raise ValueError(f"Expected share between 0 and 1, got {share!r}. Pass the part of the pixels to replace; the paper has 0.3.")
    ranked = ranked_image(forward_func, inputs, attributions, image, baselines)
    gone = ranked.ranks < round(share * ranked.n_pixels)
    return ranked.similarity(torch.zeros_like(gone)) - ranked.similarity(gone)


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
    """How similar an object of the query is to what an explanation takes for it in the retrieved image (paper §6 and Fig. 6).

    The query's object is projected to the retrieved image, of which the most important pixels stay, as many as its own object has. All
    else of both images shows its background, and the similarity of what is left is returned: higher is better.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`, two batches of as many images.
        projected: the query's mask carried to the retrieved image (`Interactions.project`), as a map `[B, H, W]` or `[B, C, H, W]` of any
            size.
        masks: the object in each image; of the retrieved one only its size is used. The query's is read only to censor it.
        void: pixels of the retrieved image that have no label: they count for nothing and are censored.
        baselines: what replaces pixels, as for `faithfulness`; with `Backgrounds` of both images over all combinations.
        censor_query: whether the query is censored outside its mask, as §6 has it; §A.2 speaks of the retrieved image alone.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.

    >>> model = lambda query, retrieved: (query * retrieved).sum((1, 2, 3))
    >>> query, retrieved = torch.ones(1, 1, 1, 3), torch.tensor([[[[1.0, 2.0, 4.0]]]])
    >>> objects = torch.tensor([[[False, True, True]]]), torch.tensor([[[True, True, False]]])
    >>> second_order_faithfulness(model, (query, retrieved), retrieved, objects, baselines=(0, 0))
    tensor([6.])
    """
    images = checked_pairs(forward_func, inputs)
    side, device = censorable(images, 1, baselines), images[1].device
    if not isinstance(masks, tuple) or len(masks) != 2:
        raise ValueError(f"Expected masks to be a pair (of the query, of the retrieved image), got {type(masks).__name__}.")
    shape = images[1][:, 0].shape
    void = None if void is None else checked_mask(void, shape, "void", device)
    shown = checked_object(masks[1], shape, f"the {SIDES[1]} mask", device, void)
    maps = maps_of(projected, side.size, "projected", len(shown)).to(device)
    retrieved = side.without(~most_important(maps, shown.sum((1, 2)), void))
    if not censor_query:
        return similarity(forward_func, images[:1], retrieved)
    query = censorable(images, 0, baselines)
    outside = ~checked_object(masks[0], images[0][:, 0].shape, f"the {SIDES[0]} mask", images[0].device)
    return similarity(forward_func, query.without(outside), retrieved)
