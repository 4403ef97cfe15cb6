"""Sentences on the interaction index of a result, and on how well its credits predict the similarity."""

from math import isfinite, nan

from captum_pairwise.results.index import (
    BANZHAF,
    CHAINING,
    CO_MOEBIUS,
    FAITH_SHAP,
    K_SII,
    MOEBIUS,
    SHAPLEY,
    SHAPLEY_TAYLOR,
    Index,
)
from captum_pairwise.results.interactions import SIDES, Interactions

ALL, NEARLY_ALL = 1 - 1e-6, 0.99  # shares of the variance: between them, rounding would say 100 %
BETTER = "Without the pairs within each side, Banzhaf indices predict it best."
INDEX_QUESTIONS = {
    SHAPLEY_TAYLOR: "Shapley–Taylor indices: the fair split that, with the pairs within each side, sums to the similarity",
    K_SII: "k-SII indices: Shapley interaction indices of the pairs, with values of single parts that make the sum the similarity",
    FAITH_SHAP: "Faith-Shap indices: of the splits that sum to the similarity, the one that predicts it best",
    SHAPLEY: "Shapley interaction indices: the joint effect of two parts, averaged over sets of the others of all sizes",
    CHAINING: "chaining indices: the joint effect of two parts at the moment when the later one returns, if all return in random order",
    BANZHAF: "Banzhaf indices: the sum of parts and pairs that predicts the similarity best if each part is present with {}",
    MOEBIUS: "Möbius coefficients: the joint effect of two parts while all others are absent",
    CO_MOEBIUS: "co-Möbius coefficients: the joint effect of two parts while all others are present",
}


def describe_index(interactions: Interactions) -> str:
    """A sentence with the name of the index of the pairs and the question that it answers; empty for credit that is none, as of LIME."""
    if interactions.index is None:
        return ""
    return f"The pairs are {INDEX_QUESTIONS[interactions.index.name].format(_describe_presence(interactions.index))}."


def _describe_presence(index: Index) -> str:
    query, retrieved = index.probabilities
    if query == retrieved:
        return f"probability {query:g}"
    return f"probability {query:g} ({SIDES[0]}) or {retrieved:g} ({SIDES[1]})"


def describe_prediction(interactions: Interactions, example: int) -> str:
    """A sentence with the share of the similarity's changes that the credits predict (`Interactions.r2`); empty if it is unknown."""
    share = nan if interactions.r2 is None else interactions.r2[example].item()
    if not isfinite(share):
        return ""
    law = f" ({interactions.r2_law})" if interactions.r2_law else ""
    sentence = f"The credits of parts and pairs predict {_describe_share(share)} when parts are missing at random{law}."
    within = interactions.within_query, interactions.within_retrieved
    has_better = interactions.index is not None and interactions.index.name != BANZHAF and None in within
    return f"{sentence} {BETTER}" if share < 0 and has_better else sentence


def _describe_share(share: float) -> str:
    if share < 0:
        return "the similarity worse than a constant"
    percent = "100 %" if share >= ALL else "over 99 %" if share > NEARLY_ALL else f"{100 * share:.0f} %"
    return f"{percent} of the changes of the similarity"
