"""What a method says of a pair of images, in the words that all metrics take."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from captum_pairwise.estimators.quadrature import Path
from captum_pairwise.estimators.towers.factorisation import factorise
from captum_pairwise.estimators.towers.summary import Shared, TowerSummary, combine, combine_between
from captum_pairwise.evaluation.tables.image_pair import Subject
from captum_pairwise.games.game import TwoTowerGame
from captum_pairwise.games.sides import Pairs
from captum_pairwise.players.regions import Players, paint
from captum_pairwise.results.interactions import Interactions


@dataclass(frozen=True)
class View:
    """What a method says about the retrieved image.

    Attributes:
        heat_map: of its pixels, or of the cells of its feature map: their credit, or (second order) what the query's object is carried to.
        credit: of every player and pair, whose sum is to be `v(N) - v(∅)`; None if the method promises no sum.
        own_gap: how far the sum is from that over the method's own background; NaN if it has none.
    """

    heat_map: Float[Tensor, "1 rows columns"]
    credit: Float[Tensor, " credits"] | None = None
    own_gap: float = torch.nan


@dataclass(frozen=True)
class Found:
    """What a method says of a pair, and what it cost.

    Attributes:
        first: of single parts; None if the method has no such order.
        second: of pairs of parts; None likewise, or where no object is known.
        n_passes: masked images that were embedded for it.
    """

    first: View | None
    second: View | None
    n_passes: int = 0


def painted(credit: Float[Tensor, "1 players"], players: Players) -> Float[Tensor, "1 rows columns"]:
    """The credit of each player, where it lies."""
    return paint(credit, players.ids)[:, 0]


def of_one_image(found: Interactions, players: Players) -> View:
    """The credit of single players."""
    return View(painted(found["marginal"], players), found["marginal"][0], found.completeness_gap.abs().item())


def of_both(subject: Subject, players: Players, estimate: Callable[[], Interactions]) -> View | None:
    """The object of the query carried to the players of the retrieved image; without an object there is nothing to ask for."""
    if subject.masks is None:
        return None
    found = estimate()
    carried = painted(found.project(subject.masks[0]), players)
    return View(carried, found["marginal"][0], found.completeness_gap.abs().item())


def by_towers(subject: Subject, pairs: Pairs, game: TwoTowerGame, n_samples: int, generator: torch.Generator) -> tuple[View, View | None]:
    """Pairs by the factorised estimator, and of the same embeddings the Shapley values of the retrieved image's parts.

    Its pairs are those of images that both come and go. In the tables the query is whole while single parts are looked at: what a part
    does while the query is absent, and what it and all of the query do together.
    """
    apart = []

    def share(query: TowerSummary, retrieved: TowerSummary, path: Path) -> Shared:
        apart.append(combine_between(query, retrieved, path)[0])
        return combine(query, retrieved, path)

    found = pairs.joined([factorise(game, n_samples, share=share, generator=generator)])
    credit = apart[-1]["first_order"][:, game.n_query :] + apart[-1]["between"].sum(1)
    coalitions = torch.ones(2, game.n_players, dtype=torch.bool)
    coalitions[0, game.n_query :] = False
    empty, full = game.values(coalitions)
    first = View(painted(credit, pairs.retrieved.players), credit[0], (full - empty - credit.sum()).abs().item())
    return first, of_both(subject, pairs.retrieved.players, lambda: found)
