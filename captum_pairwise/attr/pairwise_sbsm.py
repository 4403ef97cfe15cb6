"""Second-order SBSM: which windows of two images belong together, for any similarity."""

from typing import final

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_pairwise._compat import TargetType, log_usage
from captum_pairwise.attr.base import Baselines, Masks, requested
from captum_pairwise.attr.second_order import Attribution
from captum_pairwise.estimators.occlusion import draw_window_pairs, measure_rises
from captum_pairwise.games.black_box import ForwardFunc
from captum_pairwise.games.build import window_pairs
from captum_pairwise.games.sides import Pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.windows import Size, Windows
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.window_pairs import WindowPairs


@final
class PairwiseSBSM(PerturbationAttribution):
    """How strongly parts of two images belong together, by occluding a window of each (SBSM second order, paper §A.11).

    `w_k = max(sim(M_k x, M'_k y) - sim(x, y), 0)` for windows drawn at random: what makes the images more alike when both windows are gone
    sets them together. `C(p, p')` is the share of the weight of the windows over pixel `p` that comes with windows over `p'`. It is
    not additive: there is no delta.

    `attribute` returns the mean of `C` over each pair of parts; `window_pairs(...).project(mask)` is exact to the pixel. Both are seen from
    the query: with the images swapped, the shares are of other sums. A two-tower model embeds each window of each image once, 5625 of
    224 × 224 pixels, and then any number of pairs is nearly free: a million cost hardly more passes than the default of 20 000.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = PairwiseSBSM(lambda query, retrieved: -(query - retrieved).abs().sum((1, 2, 3)))  # alike but for one pixel of each
    >>> query, retrieved = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    >>> query[..., 0, 0], retrieved[..., 1, 1] = 1.0, 1.0
    >>> found = method.window_pairs((query, retrieved), sliding_window_shapes=1, strides=1)
    >>> found.project(query[:, 0])[0]
    tensor([[0.2000, 0.2000],
            [0.2000, 0.4000]])
    """

    order = 2

    def __init__(self, forward_func: ForwardFunc) -> None:
        PerturbationAttribution.__init__(self, forward_func)

    @torch.no_grad()
    def window_pairs(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        sliding_window_shapes: Size = 20,
        strides: Size = 3,
        generator: torch.Generator | None = None,
    ) -> WindowPairs:
        """The weighted pairs of windows, to project any signal from one image to the other; arguments as for `attribute`."""
        by_image = {"baselines": baselines, "feature_mask": feature_mask}
        request = requested(self, target, additional_forward_args, perturbations_per_eval, show_progress, **by_image)
        pairs, windows = window_pairs(self.forward_func, inputs, request, sliding_window_shapes, strides)
        pairs.refuse_beyond_memory()
        return weighted(pairs, windows, 20_000 if n_samples is None else n_samples, generator)

    @torch.no_grad()
    def interactions(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        sliding_window_shapes: Size = 20,
        strides: Size = 3,
        generator: torch.Generator | None = None,
    ) -> Interactions:
        """What `attribute` returns, with the parts that it speaks of; arguments as for `attribute`."""
        found = self.window_pairs(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            show_progress,
            sliding_window_shapes=sliding_window_shapes,
            strides=strides,
            generator=generator,
        )
        return found.interactions()

    @log_usage()
    @torch.no_grad()
    def attribute(
        self,
        inputs: tuple[Tensor, Tensor],
        baselines: Baselines = None,
        target: TargetType = None,
        additional_forward_args: object = None,
        feature_mask: Masks = None,
        n_samples: int | None = None,
        perturbations_per_eval: int | None = None,
        show_progress: bool = False,
        *,
        sliding_window_shapes: Size = 20,
        strides: Size = 3,
        generator: torch.Generator | None = None,
    ) -> Attribution:
        """How strongly each pair of parts belongs together, `[B, n_q, n_r]`, from 0 to 1: the mean of `C` over the pixels of both.

        Args:
            inputs: `(query, retrieved)`, two batches of as many images `[B, C, H, W]`.
            baselines: what an occluded window shows: a pair, one per image, as for the other pairwise classes. None is 0: black for images
                in [0, 1] (paper §A.11), the mean colour for normalised ones (§A.2).
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: likewise; a tensor has an entry per pair.
            feature_mask: the parts that the result speaks of, a pair of integer masks broadcastable to the images, -1 for no part; what
                is occluded does not depend on it. None is superpixels.
            n_samples: pairs of windows drawn, 20 000 by default; a number that covers them all takes each once.
            perturbations_per_eval: the most occluded images in one forward pass; None fits it to memory.
            show_progress: show a progress bar.
            sliding_window_shapes: of both images, `(height, width)`; an int is a square.
            strides: from one window to the next, likewise; what hangs over is split between both borders.
            generator: the source of randomness; one seeded with 0 if None. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        interactions = self.interactions(
            inputs,
            baselines,
            target,
            additional_forward_args,
            feature_mask,
            n_samples,
            perturbations_per_eval,
            show_progress,
            sliding_window_shapes=sliding_window_shapes,
            strides=strides,
            generator=generator,
        )
        return interactions["between"]


@disable_autocast()
def weighted(pairs: Pairs, windows: tuple[Windows, Windows], n_samples: int, generator: torch.Generator | None) -> WindowPairs:
    """The weighted pairs of the windows of each pair of images."""
    query, retrieved = windows
    drawn, games = draw_window_pairs(query.n_windows, retrieved.n_windows, n_samples, generator), list(pairs.games())
    found = [measure_rises(game, query.occlusions(), retrieved.occlusions(), drawn) for game in games]
    return WindowPairs(
        weights=torch.stack([weights for weights, _ in found]),
        drawn=drawn,
        query_windows=query,
        retrieved_windows=retrieved,
        full=torch.stack([full for _, full in found]),
        n_evaluations=torch.tensor([game.n_evaluations for game in games]),
        query_players=pairs.query.players,
        retrieved_players=pairs.retrieved.players,
    )
