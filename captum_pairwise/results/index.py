"""Interaction indices: the ways to share the similarity among parts and pairs of parts."""

from dataclasses import dataclass
from numbers import Real

SHAPLEY_TAYLOR, SHAPLEY, K_SII, FAITH_SHAP = "shapley-taylor", "shapley", "k-sii", "faith-shap"
CHAINING, BANZHAF, MOEBIUS, CO_MOEBIUS = "chaining", "banzhaf", "moebius", "co-moebius"
NAMES = (SHAPLEY_TAYLOR, SHAPLEY, K_SII, FAITH_SHAP, CHAINING, BANZHAF, MOEBIUS, CO_MOEBIUS)
EFFICIENT = {SHAPLEY_TAYLOR, K_SII, FAITH_SHAP}  # their credits sum to v(N) - v(∅)
Probability = float | tuple[float, float]


@dataclass(frozen=True)
class Index:
    r"""An interaction index of order 2.

    A pair gets $\int_0^1 f(p) \, \mathbb{E}_p[\delta_{ij} v] \, dp$, the mean of its mixed difference over coalitions in which every other
    part is present with probability $p$. The indices differ in $f$:

    * `"shapley-taylor"`, $2 (1 - p)$, `"k-sii"`, 1, and `"faith-shap"`, $6 p (1 - p)$, sum to the similarity;
    * `"shapley"`, 1 (the Shapley interaction index), and `"chaining"`, $2 p$, have Shapley values as their first order;
    * `"banzhaf"` has one probability: of all sums of parts and pairs it predicts the similarity best, if parts are present so often;
    * `"moebius"` and `"co-moebius"` are `"banzhaf"` at 0 and at 1: the effect of a pair alone, and with all others present.

    Attributes:
        name: one of `NAMES`.
        p: of `"banzhaf"`, the probability that a part is present, for the query and for the retrieved image; None for the others.
    """

    name: str = SHAPLEY_TAYLOR
    p: tuple[float, float] | None = None

    def __str__(self) -> str:
        if self.p is None:
            return self.name
        query, retrieved = self.p
        return f"{self.name} (p = {query:g})" if query == retrieved else f"{self.name} (p = {query:g}, {retrieved:g})"

    @property
    def is_efficient(self) -> bool:
        """True if all credits sum to `v(N) - v(∅)`."""
        return self.name in EFFICIENT

    @property
    def probabilities(self) -> tuple[float, float]:
        """The probabilities of presence, of the query's parts and of the retrieved ones, under which its prediction is judged."""
        return self.p if self.p is not None else (0.5, 0.5)


TAYLOR_INDEX = Index()


def parse_index(index: str, p: Probability = 0.5) -> Index:
    """The index of this name.

    Args:
        index: one of `NAMES`.
        p: of `"banzhaf"`, the probability that a part is present, or one for each image; the others ignore it.

    Raises:
        ValueError: the name is unknown, or `p` is no probability.

    >>> str(parse_index("banzhaf", 0.3))
    'banzhaf (p = 0.3)'
    """
    if index not in NAMES:
        raise ValueError(f"Expected index to be one of {list(NAMES)}, got {index!r}. Take 'shapley-taylor', for example.")
    both = p if isinstance(p, (tuple, list)) else (p, p)
    if len(both) != 2 or not all(isinstance(one, Real) and 0 < one < 1 for one in both):
        raise ValueError(f"Expected p to be a probability between 0 and 1, or one for each image, got {p!r}. Take 0.5, for example.")
    return Index(index, (float(both[0]), float(both[1])) if index == BANZHAF else None)
