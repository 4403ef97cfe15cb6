"""Sentences of a verdict that were false, contradictory or hard to read for some pair."""

from dataclasses import replace

import pytest
import torch
from explanation_cases import BLURRED, make_pair, places_of, sentence

from captum_pairwise.explanations.places import Places
from captum_pairwise.explanations.verdict_words import Setting, write_verdict
from captum_pairwise.results.verdict import RELIABLE, Trust, Verdict
from captum_pairwise.visualization.style import format_similarities

TRUST = Trust(RELIABLE, ())


def write(interactions, head: str = "cosine", sides=None, **known) -> Verdict:
    return write_verdict(interactions, Setting(sides or places_of(interactions), BLURRED, head, **known), TRUST)


def test_equal_photos_without_content_are_not_called_different() -> None:
    verdict = write(make_pair([1e-9, 2e-9], [1e-9, 0.0], full=1.0, ends=(1.0, 1.0)))
    assert verdict.is_similar and verdict.question == "Why are these similar?"
    assert verdict.sentences[1:] == ("So no part explains it.",)


def test_the_image_that_adds_least_is_named_and_whether_it_lowers_the_similarity() -> None:
    lowered = write(make_pair([0.01, 0.0], [-0.1, -0.04], full=0.12, ends=(0.11, 0.26)))
    assert "So what the retrieved photo shows makes them less similar." in lowered.sentences
    unchanged = write(make_pair([0.01, 0.0], [0.1, 0.04], full=0.12, ends=(0.11, -0.02)))
    assert "So what the query shows hardly makes them more similar." in unchanged.sentences


@pytest.mark.parametrize("full", [-100.0, -0.1])
def test_distances_without_ends_are_not_judged(full: float) -> None:
    pair = make_pair([0.1, 0.2], [0.2, 0.1], full=full, ends=(full - 1, full - 1))
    assert write(replace(pair, without_query=None, without_retrieved=None), head="euclidean").is_similar


def test_parts_everywhere_that_lower_it_are_told_by_the_strongest_half() -> None:
    verdict = write(make_pair([-0.01, -0.2, -0.01], [0.2, 0.1, 0.0], full=0.2, ends=(0.42, -0.1)))
    assert (
        "Parts of the query lower the similarity by 0.22 together. Half of what lowers it rests on 1 of its 3 parts, in the middle."
        in verdict.sentences
    )


def test_a_sentence_of_one_word() -> None:
    pair = make_pair([0.5], [0.2, 0.3])
    verdict = write(pair, sides=places_of(pair, (sentence("cat"), sentence("black dog"))))
    assert "All of what the query adds rests on its only word, “cat”." in verdict.sentences


def test_words_that_a_sentence_of_the_background_is_compared_with() -> None:
    pair = make_pair([0.1, 0.4], [0.3, 0.1], full=0.9)
    sides = places_of(pair, (sentence("the cat"), sentence("kitten sleeps")))
    assert "to all of the 2 sentences of the background" in write(pair, sides=sides, gallery=torch.tensor([0.1, 0.2])).sentences[0]


def test_a_list_of_words_says_that_it_is_cut_and_pieces_begin_with_dots() -> None:
    places = Places(sentence("I ad ##ore cats and dogs"), None)
    assert places.describe_part(2).words == "“…ore”"
    weights = torch.tensor([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert places.describe_group(weights) == "above all “I”, “ad”, “…ore”, “cats”"
    assert places.describe_group(weights[:4]) == "“I”, “ad”, “…ore”, “cats”"


@pytest.mark.parametrize(("value", "text"), [(-0.001, "0.00"), (0.001, "0.00"), (-0.006, "-0.01"), (0.456, "0.46")])
def test_a_rounded_zero_has_no_sign(value: float, text: str) -> None:
    assert format_similarities([value]) == [text]
