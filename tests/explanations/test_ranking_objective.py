"""Objectives of a ranked list, against the joint game of the query and all results."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from math import log2

import pytest
import torch
from conftest import assert_refused, looked_up, random_game, relu_tower
from explanation_cases import encoder_of_photos, make_pair, make_photo, photo, sentence
from formulas import heat_maps, taylor_pairs
from test_maxsim_index import shapley_interactions
from torch import Tensor
from viewer_cases import read_data

import captum_pairwise as cp
from captum_pairwise.estimators.enumeration import exact
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.explanations.ranking import Ranking
from captum_pairwise.explanations.ranking_objective import choose_weights, make_objective
from captum_pairwise.games.game import CallableGame, Game, TwoTowerGame
from captum_pairwise.players.regions import cells
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.index import parse_index
from captum_pairwise.results.verdict import RELIABLE, UNREADABLE, Trust, Verdict

VERDICT = Verdict("Why are these similar?", (), Trust(RELIABLE, ()))
N_QUERY, N_RESULT = 3, 2
OBJECTIVES = ["margin", "top-1", "dcg", (0.5, -2.0)]


def explain_game(game: Game, index: str = "shapley-taylor") -> Explanation:
    players = cells(torch.zeros(1, 1, 1, N_QUERY), 1)
    return Explanation(photo("query"), photo("result"), replace(exact(game, index=parse_index(index)), query_players=players), VERDICT, "")


def join_games(games: Sequence[Game], weights: Sequence[float]) -> CallableGame:
    """`Σ_k λ_k v(x, y_k)` of the query's parts and the parts of all results."""

    def value(z: Tensor) -> Tensor:
        query, *results = z.split([N_QUERY, *[N_RESULT] * len(games)], 1)
        values = [game.values(torch.cat([query, result], 1)) for game, result in zip(games, results, strict=True)]
        return sum((weight * value for weight, value in zip(weights, values, strict=True)), torch.zeros(len(z), dtype=torch.float64))

    n_players = N_QUERY + N_RESULT * len(games)
    coalitions = (torch.arange(2**n_players)[:, None] >> torch.arange(n_players)) & 1
    return CallableGame(N_QUERY, N_RESULT * len(games), looked_up(value(coalitions.bool())))  # each value once


def make_games(opaque: bool) -> list[Game]:
    """Two results of one query: of a two-tower model, which share the query's tower, or of any function."""
    if opaque:
        return [random_game(N_QUERY, N_RESULT, seed) for seed in (1, 2)]
    return [TwoTowerGame(N_QUERY, N_RESULT, relu_tower(N_QUERY, 5), relu_tower(N_RESULT, seed)) for seed in (6, 7)]


@pytest.mark.parametrize("opaque", [False, True], ids=["two towers", "any function"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize(("index", "define"), [("shapley-taylor", taylor_pairs), ("shapley", shapley_interactions)])
def test_credits_are_those_of_the_joint_game(objective, index, define, opaque) -> None:
    games = make_games(opaque)
    found = make_objective([explain_game(game, index) for game in games], ["a", "b"], objective)
    joint = join_games(games, found.weights)
    assert found.value == pytest.approx(joint.values(torch.ones(1, joint.n_players, dtype=torch.bool)).item(), abs=1e-12)
    torch.testing.assert_close(found.query_map, heat_maps(joint)[:N_QUERY], rtol=0, atol=1e-12)
    pairs = define(joint)[:N_QUERY, N_QUERY:].split(N_RESULT, 1)
    for own, expected in zip(found.pairs, pairs, strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-12)


def test_weights_of_the_named_objectives() -> None:
    assert choose_weights("margin", 4) == ("margin", [1, -1, 0, 0])
    assert choose_weights("top-1", 3) == ("top-1", [1, -0.5, -0.5])
    discounts = [1, 1 / log2(3), 1 / log2(4)]
    assert choose_weights("dcg", 3)[1] == pytest.approx([discount - sum(discounts) / 3 for discount in discounts])
    assert choose_weights([2.0, 0.0, -1.0], 3) == ("weights", [2, 0, -1])


def test_the_order_by_similarity_has_the_largest_dcg() -> None:
    weights, values = choose_weights("dcg", 4)[1], [0.9, 0.7, 0.4, 0.1]

    def score(order: Sequence[float]) -> float:
        return sum(weight * value for weight, value in zip(weights, order, strict=True))

    assert max(permutations(values), key=score) == tuple(values)
    assert score([value + 5 for value in values]) == pytest.approx(score(values))  # what raises all alike does not count


def test_errors_bound_those_of_sums_with_any_correlation() -> None:
    """Estimates whose errors are equal, opposite, or independent: never larger than the bound, and as large if they add up."""
    errors = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]], dtype=torch.float64)
    explanations = []
    for scale in (1.0, 3.0):
        pair = make_pair([0.3, 0.1, 0.2], [0.1, 0.2])
        deviations = Credits(given_other=scale * errors, between=scale * torch.ones(1, 3, 2, dtype=torch.float64))
        explanations.append(Explanation(photo("query"), photo("result"), replace(pair, standard_error=deviations), VERDICT, ""))
    found = make_objective(explanations, ["a", "b"], (2.0, -1.0))
    for correlation in (-1.0, 0.0, 1.0):
        own, other = 2 * errors[0, :3], 3 * errors[0, :3]
        spread = (own.square() + other.square() - 2 * correlation * own * other).sqrt()
        assert (spread <= found.query_error + 1e-12).all()
    torch.testing.assert_close(found.query_error, own + other)
    assert [error[0, 0].item() for error in found.pair_errors] == [2.0, 3.0]


def explain_pair(query_map: list[float], full: float) -> Explanation:
    pair = make_pair(query_map, [0.1, 0.2], full)
    return Explanation(sentence("the red cat"), sentence("a cat"), pair, VERDICT, "")


FIRST, SECOND, THIRD = (explain_pair(*values) for values in (([0.3, 0.1, 0.1], 0.9), ([0.1, 0.2, 0.1], 0.7), ([0.0, 0.0, 0.0], 0.4)))


@pytest.mark.parametrize(
    ("objective", "text"),
    [
        (
            "margin",
            "“a” is 0.20 more similar to the query than “b”. The difference would be 0.10 without the words of the query, which add 0.10. "
            "Half of what raises it rests on 1 of its 3 words, “the”. Half of what lowers it rests on 1 of its 3 words, “red”.",
        ),
        ("top-1", "“a” is 0.35 more similar to the query than the other results on average. The difference would be 0.05 without"),
        (
            "dcg",
            "The objective “dcg”, the similarities weighted by rank, is 0.12. It would be 0.0079 without the words of the query, which",
        ),
        ((0.0, 1.0, 1.0), "The weighted sum of the similarities is 1.10. It would be 0.70 without the words of the query, which add 0.40."),
    ],
    ids=str,
)
def test_objectives_in_words(objective, text) -> None:
    told = make_objective([FIRST, SECOND, THIRD], ["a", "b", "c"], objective).sentence
    assert told.startswith(text)


def test_the_margin_of_a_ranking_ends_with_its_objective() -> None:
    explanations, names = (FIRST, SECOND, THIRD), ("a", "b", "c")
    objectives = [make_objective(explanations, names, name) for name in ("margin", "top-1")]
    rankings = [Ranking(explanations, names, (0.9, 0.7, 0.4), objective) for objective in objectives]
    assert rankings[0].margin == objectives[0].sentence
    assert rankings[1].margin.startswith("“a” comes before “b” by 0.20.") and rankings[1].margin.endswith(objectives[1].sentence)
    wrong = Ranking((SECOND, FIRST), names[:2], (0.7, 0.9), make_objective((SECOND, FIRST), names[:2], "margin"))
    assert wrong.margin.startswith("Warning: this is not the model's order.")
    assert "“a” is 0.20 less similar to the query than “b”. The difference would be -0.10 without" in wrong.margin


def test_results_without_maps_have_a_value_alone() -> None:
    explanations = [replace(each, interactions=replace(each.interactions, given_other=None, between=None)) for each in (FIRST, SECOND)]
    found = make_objective(explanations, ["a", "b"], "margin")
    assert found.query_map is None and found.pairs is None and found.query_error is None
    assert found.sentence == "“a” is 0.20 more similar to the query than “b”."


def test_explain_ranking_shows_the_objective(tmp_path) -> None:
    results = [make_photo(seed=seed) for seed in (2, 3, 4)]
    ranking = cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), results, objective="top-1")
    maps = [explanation.query_map for explanation in ranking]
    torch.testing.assert_close(ranking.objective.query_map, maps[0] - (maps[1] + maps[2]) / 2)
    texts = [text.get_text() for part in ranking.figure().subfigs for text in part.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert "query: what favours 1 over the others" in texts and any("weight -0.5" in text for text in texts)
    assert any("on its own scale" in text for text in texts)
    page = ranking.page().html
    assert "what favours 1 over the others" in page and "on average" in page
    for name in ("why.html", "why.png"):
        assert ranking.save(tmp_path / name).stat().st_size


def test_a_result_that_nobody_should_read_makes_the_objective_grey() -> None:
    unreadable = replace(SECOND, verdict=replace(VERDICT, trust=Trust(UNREADABLE, ())))
    explanations, names = (FIRST, unreadable, THIRD), ("a", "b", "c")
    for weights, place in (((1.0, -1.0, 0.0), 1), ((1.0, 0.0, -1.0), 0)):  # a result without weight does not count
        ranking = Ranking(explanations, names, (0.9, 0.7, 0.4), make_objective(explanations, names, weights))
        data = read_data(ranking.page())
        assert data["objective"]["palette"] == data["results"][place]["palette"]
        assert data["results"][0]["palette"] != data["results"][1]["palette"]


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("ndcg", r"Expected objective to be one of \['margin', 'top-1', 'dcg'\] or a weight for each result, got 'ndcg'"),
        ([1.0, 2.0], "Expected 3 finite weights"),
        ([0.0, 0.0, 0.0], "not all 0"),
        ([1.0, float("nan"), 0.0], "finite"),
        (5, "a weight for each result, got 5. Pass a list"),
        (["most", 1.0, 0.0], "a weight for each result, got .*'most'"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_objectives_that_do_not_fit_are_refused(objective, message) -> None:
    results = [make_photo(seed=seed) for seed in (2, 3, 4)]
    assert_refused(lambda: cp.explain_ranking(encoder_of_photos(), make_photo(), results, objective=objective), message)


def test_a_comparison_needs_two_results_with_the_same_parts_of_the_query() -> None:
    assert_refused(lambda: choose_weights("margin", 1), "two results or more")
    other = explain_pair([0.1, 0.2], 0.5)
    assert_refused(lambda: make_objective([FIRST, other], ["a", "b"], "margin"), "the same parts of the query")
