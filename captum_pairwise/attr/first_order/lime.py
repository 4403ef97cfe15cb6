"""First-order LIME of each of two images, by Captum's own `Lime`."""

from importlib import import_module

import torch
from captum.attr import Lime
from jaxtyping import Float
from torch import Tensor

from captum_pairwise._compat import SkLearnRidge, TargetType
from captum_pairwise.attr.base import Baselines, Masks, both
from captum_pairwise.attr.one_image import Maps
from captum_pairwise.autocast import without_autocast
from captum_pairwise.baselines import part_colour
from captum_pairwise.estimators.lime import cosine_kernel, uniform_coalitions
from captum_pairwise.game import Game, one_image_games
from captum_pairwise.joint_games import ForwardFunc
from captum_pairwise.masking import Pairs, Request
from captum_pairwise.pairs import input_pairs
from captum_pairwise.players import paint


@torch.no_grad()
def superpixel_lime(
    forward_func: ForwardFunc,
    inputs: tuple[Tensor, Tensor],
    baselines: Baselines = None,
    target: TargetType = None,
    additional_forward_args: object = None,
    feature_mask: Masks = None,
    n_samples: int | None = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
    *,
    generator: torch.Generator | None = None,
) -> Maps:
    """The coefficients of a linear model of the similarity near each image, the other image being whole (LIME, paper §4 and §A.2).

    `v(S) ≈ β_∅ + Σ_{i∈S} β_i` by ridge regression (`α = 1`, the intercept free) on everybody and uniform coalitions, with the weights
    `sqrt(exp(-D² / 0.25²))` of the cosine distance `D` from everybody: the settings of the package `lime`. A map for each image, shaped
    like it; every scalar carries the coefficient of its superpixel. The coefficients need not sum to anything.

    Captum's `Lime` does it, over the presences of superpixels in place of pixels, so that a two-tower model embeds the other image once,
    and each distinct coalition. It fits in float32, whatever the images have, and the maps are in float32. Needs the extra `lime`.

    Args:
        forward_func: a `SimilarityWrapper`, or any callable `f(query, retrieved) -> [B]`.
        inputs: `(query, retrieved)`, two batches of as many examples.
        baselines: what an absent part shows, a pair as for `KernelShapley`; None is each part's own mean colour, 0 for what is no image.
        target: as in Captum, for a forward function that is no `SimilarityWrapper`.
        additional_forward_args: likewise; a tensor has an entry per pair.
        feature_mask: a pair of integer masks, as for `KernelShapley`; None gives images superpixels.
        n_samples: coalitions of each image; None is 5000.
        perturbations_per_eval: the most of them in one forward pass; None fits it to memory.
        show_progress: show a progress bar.
        generator: the source of randomness; one seeded with 0 for each image if None. Global random state is never touched.

    Raises:
        ValueError: an argument does not fit; the message says what was expected.
        AssertionError: `target` does not fit, as in Captum.
        ImportError: the extra `lime` is missing.

    >>> brightness = lambda query, retrieved: (query * retrieved).mean((1, 2, 3))
    >>> photo, halves = torch.ones(1, 3, 4, 4), torch.arange(2).repeat_interleave(2)
    >>> query, _ = superpixel_lime(brightness, (photo, photo), baselines=(0, 0), feature_mask=(halves, halves))
    >>> query[0, 0, 0].round(decimals=1)  # a half each, less what the ridge takes
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    n_samples = 5000 if n_samples is None else n_samples
    _refuse(n_samples)
    request = Request(
        baselines=both(baselines, "baselines"),
        feature_mask=both(feature_mask, "feature_mask"),
        target=target,
        additional_forward_args=additional_forward_args,
        chunk=perturbations_per_eval,
        description="superpixel_lime" if show_progress else None,
    )
    return _maps(input_pairs(forward_func, inputs, request.by_default(part_colour)), n_samples, generator)


def _refuse(n_samples: int) -> None:
    if n_samples < 2:
        raise ValueError(f"Expected n_samples of at least 2, got {n_samples}. Take many times the number of superpixels.")
    try:
        import_module("sklearn")
    except ImportError as error:
        raise ImportError("superpixel_lime needs scikit-learn: pip install 'captum-pairwise[lime]'") from error


@without_autocast()
def _maps(pairs: Pairs, n_samples: int, generator: torch.Generator | None) -> Maps:
    """The coefficients, painted on the images."""
    found = [[_coefficients(game, n_samples, generator) for game in one_image_games(pair)] for pair in pairs.games()]
    query, retrieved = (
        paint(side.scatter([one[k].to(side.present.device) for one in found]), side.players.ids).expand_as(side.present).contiguous()
        for k, side in enumerate((pairs.query, pairs.retrieved))
    )
    return query, retrieved


def _coefficients(game: Game, n_samples: int, generator: torch.Generator | None) -> Float[Tensor, " players"]:
    """What Captum's `Lime` fits to a game, over its presences."""
    generator = generator if generator is not None else torch.Generator().manual_seed(0)
    drawn = iter(uniform_coalitions(game.n_players, n_samples, generator).long().split(1))

    def rises(z: Tensor) -> Tensor:
        values = game.values(z.bool())
        return (values - values[0]).cpu()  # the intercept takes up v(N), and the differences keep more digits in float32

    method = Lime(rises, SkLearnRidge(alpha=1.0), lambda everybody, z, _, **more: cosine_kernel(z), lambda everybody, **more: next(drawn))
    with torch.random.fork_rng(devices=[]):  # Captum's data loader draws a seed that nobody uses
        return method.attribute(
            torch.ones(1, game.n_players), n_samples=n_samples, perturbations_per_eval=n_samples, return_input_shape=False
        ).flatten()
