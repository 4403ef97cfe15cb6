"""A ranked list, against the explanations of its pairs."""

from dataclasses import replace

import pytest
import torch
from conftest import images
from explanation_cases import encoder_of_photos, make_pair, make_photo, photo

import captum_pairwise as cp
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.explanations.ranking import tell_margin
from captum_pairwise.results.verdict import RELIABLE, Trust, Verdict

VERDICT = Verdict("Why are these similar?", (), Trust(RELIABLE, ()))
RESULTS = [make_photo(seed=seed) for seed in (2, 3, 4)]


def explain_pair(query_map, full):
    pair = make_pair(query_map, [0.1, 0.2], full)
    return Explanation(photo("query"), photo("result"), pair, VERDICT, "")


@pytest.fixture(scope="module")
def ranking():
    return cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), RESULTS, names=["a", "b", "c"])


def test_each_pair_is_explained(ranking):
    for k, result in enumerate(RESULTS):
        alone = cp.explain(encoder_of_photos(), make_photo(seed=1), result)
        assert ranking[k].similarity == pytest.approx(alone.similarity, abs=1e-12)
        torch.testing.assert_close(ranking[k].query_map, alone.query_map, rtol=0, atol=0.1 * alone.query_map.abs().max().item())
        assert ranking.interactions[k] is ranking[k].interactions
    assert len(ranking) == 3


def test_the_query_is_embedded_once():
    """All results but the first count the coalitions of one tower alone."""
    ranking = cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), RESULTS)
    counts = [int(pair.n_evaluations) for pair in ranking.interactions]
    assert counts[1] == counts[2] == counts[0] / 2


def test_scores_are_similarities_or_those_of_the_search(ranking):
    assert ranking.scores == tuple(explanation.similarity for explanation in ranking)
    given = cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), RESULTS[:1], scores=[7.0])
    assert given.scores == (7.0,)
    assert given.margin == ""


def test_the_margin_names_the_parts_that_favour_the_first():
    first, second = explain_pair([0.3, 0.1, 0.1], 0.9), explain_pair([0.1, 0.1, 0.15], 0.75)
    assert tell_margin([first, second], ["a", "b"]) == (
        "a comes before b by 0.15. The parts of the query that favour the first most add 0.20 more to it than to the second: at the left."
    )


def test_a_margin_that_no_part_favours():
    first, second = explain_pair([0.1, 0.1], 0.9), explain_pair([0.2, 0.3], 0.8)
    assert "No part of the query raises the similarity to the first more" in tell_margin([first, second], ["a", "b"])


def test_a_wrong_order_is_a_warning():
    places = [explain_pair([0.1], full) for full in (0.9, 0.5, 0.7)]
    text = tell_margin(places, ["a", "b", "c"])
    assert text.startswith("Warning: this is not the model's order. c is more similar to the query than b, which stands")
    assert "(0.70 against 0.50)" in text


def test_results_without_maps_have_a_margin():
    pairs = [explain_pair([0.3], 0.9), explain_pair([0.2], 0.7)]
    pairs = [replace(pair, interactions=replace(pair.interactions, given_other=None)) for pair in pairs]
    assert tell_margin(pairs, ["a", "b"]) == "a comes before b by 0.20."


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ([], {}, "Expected at least one result"),
        (RESULTS, {"names": ["a"]}, "Expected 3 names"),
        (RESULTS, {"scores": [1.0, 2.0]}, "Expected 3 scores"),
    ],
)
def test_wrong_numbers_of_things_are_refused(results, options, message):
    with pytest.raises(ValueError, match=message):
        cp.explain_ranking(encoder_of_photos(), make_photo(), results, **options)


def test_tensors_are_results():
    query, results = images(3)
    ranking = cp.explain_ranking(encoder_of_photos(), query[0], list(results))
    assert ranking.names == ("result 1", "result 2", "result 3")
