"""The methods of the tables whose players are parts of the images: every coalition is a pass through the network."""

from collections.abc import Callable
from dataclasses import replace

import torch

from captum_pairwise.attr.lime import fitted
from captum_pairwise.attr.pairwise_sbsm import weighted
from captum_pairwise.estimators.occlusion import sbsm
from captum_pairwise.estimators.owen_values import partition_shapley
from captum_pairwise.estimators.regression.kernel_shapley import kernel_shapley
from captum_pairwise.estimators.regression.kernel_taylor import kernel_taylor
from captum_pairwise.estimators.regression.local_surrogate import lime
from captum_pairwise.evaluation.tables.explanation import Found, View, by_towers, of_both, of_one_image
from captum_pairwise.evaluation.tables.image_pair import Subject
from captum_pairwise.evaluation.tables.row_cache import remembered_pair
from captum_pairwise.evaluation.tables.settings import Settings
from captum_pairwise.games.build import input_pairs, window_pairs
from captum_pairwise.games.game import Game, one_image_games
from captum_pairwise.games.sides import Pairs, Request
from captum_pairwise.players.baselines import part_colour
from captum_pairwise.players.regions import player_centres, scalars, whole_image
from captum_pairwise.players.trees import bisection_tree
from captum_pairwise.results.interactions import Interactions

Estimate = Callable[[Game, Pairs], Interactions]


@torch.no_grad()
def windows(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """SBSM (§A.11), occluded in the mean colour of the encoder's training images (§A.2): 0 once they are normalised."""
    fill = subject.model.encoder.mean.expand_as(subject.query)
    request = Request(players=whole_image, baselines=(fill, fill))
    pairs, both = window_pairs(subject.model.wrapper, subject.images, request, settings.window, settings.stride)
    remembered = remembered_pair(pairs.game(0))
    first = View(sbsm(one_image_games(remembered.game)[1], both[1])[None])
    if subject.masks is None:
        return Found(first, None, remembered.n_passes)
    found = weighted(replace(pairs, game=lambda _: remembered.game), both, settings.second, generator)
    return Found(first, View(found.project(subject.masks[0])), remembered.n_passes)


@torch.no_grad()
def pixels(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """Partition SHAP (§4)."""
    return _explained(
        subject,
        Request(players=scalars),
        lambda game, pairs: partition_shapley(game, bisection_tree(player_centres(pairs.retrieved.players, 0)), settings.first),
    )


@torch.no_grad()
def local_models(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """LIME of superpixels (§4, §5.2)."""
    return _explained(
        subject,
        Request(feature_mask=subject.superpixels, baselines=(part_colour, part_colour)),
        lambda game, _: fitted(game, settings.first, generator),
        lambda game, pairs: lime(game, pairs.departures(0), settings.second, generator=generator),
    )


@torch.no_grad()
def kernels(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """Kernel SHAP of superpixels (§4, eq. 7)."""
    return _explained(
        subject,
        Request(feature_mask=subject.superpixels),
        lambda game, _: kernel_shapley(game, settings.first, generator=generator),
        lambda game, _: kernel_taylor(game, settings.second, sampling=settings.sampling, generator=generator),
    )


@torch.no_grad()
def towers(subject: Subject, settings: Settings, generator: torch.Generator) -> Found:
    """The factorised estimator of superpixels."""
    pairs = input_pairs(subject.model.wrapper, subject.images, Request(feature_mask=subject.superpixels))
    remembered = remembered_pair(pairs.game(0))
    first, second = by_towers(subject, pairs, remembered.game, settings.n_embeddings, generator)
    return Found(first, second, remembered.n_passes)


def _explained(subject: Subject, request: Request, first: Estimate, second: Estimate | None = None) -> Found:
    """Single parts of the retrieved image, and pairs; no coalition of an image is embedded twice."""
    pairs = input_pairs(subject.model.wrapper, subject.images, request)
    remembered = remembered_pair(pairs.game(0))
    players = pairs.retrieved.players
    of_image = of_one_image(first(one_image_games(remembered.game)[1], pairs), players)
    of_pair = None if second is None else of_both(subject, players, lambda: pairs.joined([second(remembered.game, pairs)]))
    return Found(of_image, of_pair, remembered.n_passes)
