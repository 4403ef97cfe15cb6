"""First-order SBSM: which windows of each image hold the similarity, for any similarity."""

from dataclasses import replace
from typing import final

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.attr.base import Baselines, requested
from captum_pairwise.attr.first_order import Maps
from captum_pairwise.estimators.occlusion import sbsm
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.build import window_pairs
from captum_pairwise.games.game import one_image_games
from captum_pairwise.games.sides import Pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.regions import whole_image
from captum_pairwise.players.windows import Size, Windows


@final
class SBSM(PerturbationAttribution):
    r"""How much each image loses of the similarity where a window of it is occluded, the other image being whole (SBSM, paper eq. 10).

    $w_k = \max(s(x, y) - s(x, M_k y), 0)$ for every window, and at each pixel the mean over the windows that lie over it. It is never
    negative, and not additive: there is no delta. A two-tower model embeds each window once, 5625 of 224 × 224 pixels, and each whole image
    once.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = SBSM(lambda query, retrieved: -(query - retrieved).abs().sum((1, 2, 3)))
    >>> photo = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    >>> method.attribute((photo, photo), sliding_window_shapes=1, strides=1)[0]  # without its light pixel it differs by that
    tensor([[[[0., 0.],
              [0., 1.]]]])
    """

    order = 1

    def __init__(self, forward_func: ForwardFunc) -> None:
        PerturbationAttribution.__init__(self, forward_func)

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        sliding_window_shapes: Size = 20,
        strides: Size = 3,
    ) -> Maps:
        """A map for each image, shaped like it: every channel carries the value of the pixel, which is at least 0.

        Args:
            inputs: `(query, retrieved)`, two batches of as many images `[B, C, H, W]`.
            baselines: what an occluded window shows: a pair, one per image, as for the other classes; a function gets the images and a mask
                of one player. None is 0: black for images in [0, 1] (paper §A.11), the mean colour for normalised ones (§A.2).
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            perturbations_per_eval: the most occluded images in one forward pass; None fits it to memory.
            show_progress: show a progress bar.
            sliding_window_shapes: of both images, `(height, width)`; an int is a square.
            strides: from one window to the next, likewise; what hangs over is split between both borders.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        request = requested(self, target, additional_forward_args, perturbations_per_eval, show_progress, baselines=baselines)
        request = replace(request, players=whole_image)  # nobody asks for parts, so no superpixels are looked for
        query, retrieved = _maps(*window_pairs(self.forward_func, inputs, request, sliding_window_shapes, strides))
        return query[:, None].expand_as(inputs[0]).contiguous(), retrieved[:, None].expand_as(inputs[1]).contiguous()


@disable_autocast()
def _maps(pairs: Pairs, windows: tuple[Windows, Windows]) -> Maps:
    """The value of each pixel of each image, `[B, H, W]`."""
    found = [[sbsm(game, over) for game, over in zip(one_image_games(pair), windows, strict=True)] for pair in pairs.games()]
    query, retrieved = (torch.stack(maps) for maps in zip(*found, strict=True))
    return query, retrieved
