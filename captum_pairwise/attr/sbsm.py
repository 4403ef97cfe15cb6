"""SBSM: the windows of two images whose occlusion changes the similarity, first and second order, for any similarity."""

from typing import Any, final

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_pairwise._compat import TargetType
from captum_pairwise.attr.logged import log_method
from captum_pairwise.attr.views import Maps, Matrix
from captum_pairwise.estimators.occlusion import draw_window_pairs, measure_rises, sbsm
from captum_pairwise.files.arguments import check_count
from captum_pairwise.games.build import build_window_pairs
from captum_pairwise.games.context import Baselines, ForwardContext, Masks
from captum_pairwise.games.game import make_one_image_games
from captum_pairwise.games.pairs import Pairs
from captum_pairwise.network.autocast import disable_autocast
from captum_pairwise.players.regions import whole_image
from captum_pairwise.players.windows import Size, Windows
from captum_pairwise.results.interactions import Interactions
from captum_pairwise.results.window_pairs import WindowPairs


@final
class SBSM(PerturbationAttribution):
    r"""The loss of similarity when a window of an image is occluded, with the other image whole (SBSM, paper eq. 10).

    $w_k = \max(s(x, y) - s(x, M_k y), 0)$ for every window, and at each pixel the mean over the windows that lie over it. It is never
    negative, and not additive: there is no delta. A two-tower model embeds each window once, 5625 of 224 × 224 pixels, and each whole image
    once.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = SBSM(lambda query, retrieved: -(query - retrieved).abs().sum((1, 2, 3)))
    >>> photo = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    >>> method.attribute((photo, photo), sliding_window_shapes=1, strides=1)[0]  # without its light pixel the image differs by 1
    tensor([[[[0., 0.],
              [0., 1.]]]])

    See also `PairwiseSBSM`.
    """

    order = 1

    @log_method
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
            inputs: `(query, retrieved)`, two batches of equal length, images `[B, C, H, W]`.
            baselines: the values in an occluded window: a pair, one per image, as for the other classes; a function gets the images and a
                mask of one player. None is 0: black for images in [0, 1] (paper §A.11), the mean colour for normalised ones (§A.2).
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            perturbations_per_eval: the most occluded images in one forward pass; None fits it to memory.
            show_progress: show a progress bar.
            sliding_window_shapes: of both images, `(height, width)`; an int is a square.
            strides: from one window to the next, in the same form; the overhang is split between both borders.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        context = ForwardContext(target, additional_forward_args, perturbations_per_eval, type(self).__name__ if show_progress else None)
        # `whole_image`, because the result has no parts and superpixels would take time
        shapes = (sliding_window_shapes, strides)
        pairs, windows = build_window_pairs(self.forward_func, inputs, context, *shapes, baselines, players=whole_image)
        with disable_autocast():
            maps = [[sbsm(game, over) for game, over in zip(make_one_image_games(pair), windows, strict=True)] for pair in pairs.games()]
        maps = zip(zip(*maps, strict=True), inputs, strict=True)
        query, retrieved = (torch.stack(pixels)[:, None].expand_as(images).contiguous() for pixels, images in maps)
        return query, retrieved


@final
class PairwiseSBSM(PerturbationAttribution):
    """The association of parts of two images, from occluded windows in both (SBSM second order, paper §A.11).

    `w_k = max(sim(M_k x, M'_k y) - sim(x, y), 0)` for windows drawn at random: a pair of windows gets weight if the images are more similar
    without both. `C(p, p')` is the share of the weight of the windows over pixel `p` that belongs to windows over `p'`. It is
    not additive: there is no delta.

    `attribute` returns the mean of `C` over each pair of parts; `window_pairs(...).project(mask)` is exact to the pixel. Both are
    relative to the query: with the images swapped, the shares have other denominators. A two-tower model embeds each window of each image
    once (5625 for 224 × 224 pixels), and then further pairs are nearly free: a million pairs need few more passes than the default of
    20 000.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.

    >>> method = PairwiseSBSM(lambda query, retrieved: -(query - retrieved).abs().sum((1, 2, 3)))  # the images differ in one pixel each
    >>> query, retrieved = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    >>> query[..., 0, 0], retrieved[..., 1, 1] = 1.0, 1.0
    >>> pairs = method.window_pairs((query, retrieved), sliding_window_shapes=1, strides=1)
    >>> pairs.project(query[:, 0])[0]
    tensor([[0.2000, 0.2000],
            [0.2000, 0.4000]])

    See also `WindowPairs` and `SBSM`.
    """

    order = 2

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
        context = ForwardContext(target, additional_forward_args, perturbations_per_eval, type(self).__name__ if show_progress else None)
        shapes = (sliding_window_shapes, strides)
        pairs, windows = build_window_pairs(self.forward_func, inputs, context, *shapes, baselines, feature_mask)
        pairs.refuse_beyond_memory()
        return weigh_window_pairs(pairs, windows, 20_000 if n_samples is None else check_count(n_samples, "n_samples"), generator)

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
        """The result of `attribute` with its parts; arguments as for `attribute`."""
        budget = (n_samples, perturbations_per_eval, show_progress)
        windows = {"sliding_window_shapes": sliding_window_shapes, "strides": strides, "generator": generator}
        return self.window_pairs(inputs, baselines, target, additional_forward_args, feature_mask, *budget, **windows).interactions()

    @log_method
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
    ) -> Matrix:
        """The association of each pair of parts, `[B, n_q, n_r]`, from 0 to 1: the mean of `C` over the pixels of both parts.

        Args:
            inputs: `(query, retrieved)`, two batches of equal length, images `[B, C, H, W]`.
            baselines: the values in an occluded window: a pair, one per image, as for the other pairwise classes. None is 0: black for
                images in [0, 1] (paper §A.11), the mean colour for normalised ones (§A.2).
            target: as in Captum, for a forward function that is no `SimilarityWrapper`.
            additional_forward_args: as in Captum, for such a function; a tensor has an entry per pair.
            feature_mask: the parts in the result, a pair of integer masks broadcastable to the images, -1 for no part; the occluded
                windows do not depend on it. None is superpixels.
            n_samples: pairs of windows drawn, 20 000 by default; a number that covers them all takes each once.
            perturbations_per_eval: the most occluded images in one forward pass; None fits it to memory.
            show_progress: show a progress bar.
            sliding_window_shapes: of both images, `(height, width)`; an int is a square.
            strides: from one window to the next, in the same form; the overhang is split between both borders.
            generator: the source of randomness; None is one seeded with 0. Global random state is never touched.

        Raises:
            ValueError: an argument does not fit; the message says what was expected.
            AssertionError: `target` does not fit, as in Captum.
        """
        budget = (n_samples, perturbations_per_eval, show_progress)
        windows = {"sliding_window_shapes": sliding_window_shapes, "strides": strides, "generator": generator}
        return self.interactions(inputs, baselines, target, additional_forward_args, feature_mask, *budget, **windows)["between"]


@disable_autocast()
def weigh_window_pairs(pairs: Pairs, windows: tuple[Windows, Windows], n_samples: int, generator: torch.Generator | None) -> WindowPairs:
    """The weights of pairs of windows, for each pair of images."""
    query, retrieved = windows
    drawn, games = draw_window_pairs(query.n_windows, retrieved.n_windows, n_samples, generator), list(pairs.games())
    rises = [measure_rises(game, query.occlusions(), retrieved.occlusions(), drawn) for game in games]
    weights, full = (torch.stack(parts) for parts in zip(*rises, strict=True))
    n_evaluations = torch.tensor([game.n_evaluations for game in games], device="cpu")
    sides: dict[str, Any] = {"query_windows": query, "retrieved_windows": retrieved}
    players: dict[str, Any] = {"query_players": pairs.query.players, "retrieved_players": pairs.retrieved.players}
    return WindowPairs(weights=weights, drawn=drawn, full=full, n_evaluations=n_evaluations, **sides, **players)
