"""The estimate of a game of two towers, from a model of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from captum_pairwise.estimators.index_path import make_index_path
from captum_pairwise.estimators.prediction_fit import HeldOut, score_towers
from captum_pairwise.estimators.towers.indices import Share, combine, tower_interactions
from captum_pairwise.estimators.towers.models import RegressedTower, TowerModel, TowerSample
from captum_pairwise.results.index import Index
from captum_pairwise.results.interactions import Interactions

MOST_KEPT = 2**26  # bytes of the embeddings of a pair that its result keeps


@dataclass(frozen=True)
class GameEstimate:
    """The models of both towers, which give every index.

    Attributes:
        towers: the models of the query's tower and of the retrieved image's, or their samples.
        n_evaluations: the number of embedded coalitions.
        within: True to estimate the pairs within an image.
        share: `combine`, or another way to share the credit.
        has_errors: False if everything is exact.
        held_out: the values of all combinations of two sets of coalitions, and the sets, for `r2`; None leaves it out.
    """

    towers: Sequence[TowerModel | TowerSample]
    n_evaluations: int
    within: bool
    share: Share = combine
    has_errors: bool = True
    held_out: tuple[Tensor, HeldOut, HeldOut] | None = None

    def compute(self, index: Index) -> Interactions:
        """The interactions of this index, a batch of one."""
        (query, retrieved), (n_query, n_retrieved) = self.towers, (tower.n_players for tower in self.towers)
        path = make_index_path(index, n_query + n_retrieved)
        u, w = query.summarise(path.query), retrieved.summarise(path.retrieved)
        shared = self.share(u, w, path, self.within)
        result = tower_interactions(u, w, shared, index, self.n_evaluations, has_errors=self.has_errors)
        return result if self.held_out is None else score_towers(result, *self.held_out)

    def keep(self, result: Interactions) -> Interactions:
        """The result with the function that computes other indices; without it if there are none, or if the embeddings are too large."""
        models = [tower if isinstance(tower, TowerModel) else tower.model for tower in self.towers]
        is_regressed = any(isinstance(model, RegressedTower) for model in models)  # it estimates no other index
        if is_regressed or sum(model.embeddings.nbytes for model in models) > MOST_KEPT:
            return result
        return replace(result, sources=(replace(self, towers=models).compute,))
