"""The decision by a threshold and its evidence, against the numbers that they are about."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import assert_refused
from explanation_cases import BLURRED, encoder_of_photos, make_pair, make_photo, places_of

import captum_pairwise as cp
from captum_pairwise.explanations.verdict_words import Setting, write_verdict
from captum_pairwise.results.verdict import RELIABLE, Trust, Verdict

PAIR = make_pair([0.3, -0.1, 0.02], [0.2, 0.2, 0.0], full=0.62, ends=(0.4, 0.22))


def decide(threshold: float, interactions: cp.Interactions = PAIR, **setting: object) -> Verdict:
    known = {"sides": places_of(interactions), "absent": BLURRED, "head": "cosine", "threshold": threshold} | setting
    return write_verdict(interactions, Setting(**known), Trust(RELIABLE, ()))


@pytest.mark.parametrize(
    ("threshold", "question", "sentence"),
    [
        (0.4, "Why is this pair accepted?", "Accepted: their similarity 0.62 (cosine) is above the threshold 0.40 by 0.22; it would be"),
        (0.7, "Why is this pair rejected?", "Rejected: their similarity 0.62 (cosine) is below the threshold 0.70 by 0.08; it would be"),
        (0.62, "Why is this pair accepted?", "Accepted: their similarity 0.62 (cosine) is exactly the threshold; it would be"),
        (0.6204, "Why is this pair rejected?", "Rejected: their similarity 0.6200 (cosine) is below the threshold 0.6204 by 0.0004;"),
    ],
)
def test_the_decision_is_the_first_sentence(threshold: float, question: str, sentence: str) -> None:
    verdict = decide(threshold)
    assert verdict.question == question and verdict.sentences[0].startswith(sentence)
    assert verdict.is_similar == verdict.decision.is_accepted == (threshold <= 0.62)


def test_evidence_is_the_sum_of_each_sign() -> None:
    verdict = decide(0.4)
    assert verdict.sentences[1] == (
        "Evidence for acceptance in the query: +0.32. Half of that rests on 1 of its 3 parts, at the left. Evidence against: -0.10. Half "
        "of that rests on 1 of its 3 parts, in the middle."
    )
    assert verdict.sentences[2] == (
        "Evidence for acceptance in the retrieved photo: +0.40. Half of that rests on 1 of its 3 parts, at the left. Evidence against: "
        "none."
    )
    assert verdict.decision.raised == pytest.approx((0.32, 0.4)) and verdict.decision.lowered == pytest.approx((-0.1, 0.0))


@pytest.mark.parametrize("side", [0, 1])
def test_start_and_evidence_add_up_to_the_margin(side: int) -> None:
    decision, start = decide(0.5).decision, (PAIR.without_query, PAIR.without_retrieved)[side].item() - 0.5
    assert start + decision.raised[side] + decision.lowered[side] == pytest.approx(decision.margin, abs=1e-12)


def test_evidence_that_hardly_counts_has_no_places() -> None:
    verdict = decide(0.5, make_pair([0.3, -0.01], [-0.2, -0.1], full=0.6))
    assert verdict.sentences[1].endswith("at the left. Evidence against: -0.01.")
    assert verdict.sentences[2].startswith("Evidence for acceptance in the retrieved photo: none. Evidence against: -0.30. Half of that")


def test_without_maps_or_effects_the_decision_remains() -> None:
    without = decide(0.4, replace(PAIR, given_other=None))
    assert "Evidence" not in str(without) and without.decision.raised is None and without.decision.is_accepted
    weak = make_pair([0.0, 0.0], [0.0, 0.0], full=0.9, ends=(0.9, 0.9))
    assert decide(0.95, weak).sentences[0].startswith("Rejected") and decide(0.95, weak).question == "Why is this pair rejected?"


def test_a_threshold_replaces_the_other_yardsticks() -> None:
    verdict = decide(0.4, own_blurs=(0.9, 0.9), gallery=torch.tensor([0.8, 0.9, 0.1]))
    assert verdict.is_similar and "own blur" not in str(verdict)
    assert "is above the threshold 0.40 by 0.22, higher than the similarity of the query to 1 of the 3 images" in verdict.sentences[0]


def test_credits_are_those_without_a_threshold() -> None:
    """The game `v - threshold` has other ends, and the same differences."""
    encoder, pair = encoder_of_photos(), (make_photo(seed=1), make_photo(seed=2))
    plain, decided = cp.explain(encoder, *pair), cp.explain(encoder, *pair, threshold=0.5)
    torch.testing.assert_close(decided.pairs, plain.pairs, rtol=0, atol=0)
    torch.testing.assert_close(decided.query_map, plain.query_map, rtol=0, atol=0)
    assert plain.decision is None and decided.decision.margin == pytest.approx(plain.similarity - 0.5)
    game = cp.SimilarityWrapper(encoder)
    shifted = cp.ExactShapleyTaylor(lambda query, retrieved: game(query, retrieved) - 0.5)
    exact = cp.ExactShapleyTaylor(game)
    inputs, mask = (torch.rand(1, 3, 12, 12).double(), torch.rand(1, 3, 12, 12).double()), (cp.grid(12, 12, 2, 2),) * 2
    found, expected = (method.interactions(inputs, feature_mask=mask) for method in (shifted, exact))
    torch.testing.assert_close(found.second_order, expected.second_order, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.given_other, expected.given_other, rtol=0, atol=1e-12)


def test_a_ranking_says_which_results_are_accepted() -> None:
    results = [make_photo(seed=seed) for seed in (2, 3, 4)]
    first = cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), results)
    middle = sorted(first.scores)[1]
    ranking = cp.explain_ranking(encoder_of_photos(), make_photo(seed=1), results, threshold=middle)
    labels = [verdict.decision.label for verdict in ranking.verdicts]
    assert labels.count("accepted") == 2 and "accepted at the threshold" in ranking.page().html
    texts = [text.get_text() for part in ranking.figure().subfigs for text in part.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert any("2 (" in text and "of the 3 results are accepted at the threshold" in text for text in texts)
    assert sum(text.endswith(", rejected") for text in texts) == 1


@pytest.mark.usefixtures("without_type_checks")
def test_a_threshold_may_be_a_number_of_numpy() -> None:
    explained = cp.explain(encoder_of_photos(), make_photo(), make_photo(), threshold=np.float32(0.25))
    assert explained.decision is not None and explained.decision.threshold == 0.25


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("threshold", ["0.4", float("nan")])
def test_a_threshold_that_is_no_number_is_refused(threshold: object) -> None:
    assert_refused(
        lambda: cp.explain(encoder_of_photos(), make_photo(), make_photo(), threshold=threshold), "threshold to be a number, got"
    )
