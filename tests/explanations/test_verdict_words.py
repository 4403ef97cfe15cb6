"""The sentences of a verdict, against the numbers that they are about."""

from dataclasses import replace

import pytest
import torch
from explanation_cases import BLURRED, make_pair, places_of, sentence

from captum_pairwise.explanations.amount_words import format_difference
from captum_pairwise.explanations.verdict_words import Setting, find_weak_layer, write_verdict
from captum_pairwise.results.verdict import RELIABLE, UNREADABLE, Trust

TRUST = Trust(RELIABLE, ())
SIMILAR = make_pair([0.3, 0.15, 0.05], [0.1, 0.2, 0.1])


def write(interactions=SIMILAR, **setting):
    known = {"sides": places_of(interactions), "absent": BLURRED, "head": "cosine"} | setting
    return write_verdict(interactions, Setting(**known), TRUST)


def test_a_similar_pair():
    verdict = write()
    assert verdict.is_similar and verdict.question == "Why are these similar?"
    assert verdict.sentences[0] == (
        "Their similarity is 0.90 (cosine); it would be 0.40 with the query blurred and 0.50 with the retrieved photo blurred."
    )


def test_half_of_a_map_rests_on_its_strongest_parts():
    verdict = write()
    assert "Half of what the query adds rests on 1 of its 3 parts, at the left." in verdict.sentences  # 0.3 of 0.5
    assert "Half of what the retrieved photo adds rests on 1 of its 3 parts, in the middle." in verdict.sentences  # 0.2 of 0.4


def test_the_strongest_match():
    assert write().sentences[-1] == "The strongest match is the left of the query and the middle of the retrieved photo."
    without = replace(SIMILAR, between=-SIMILAR.between)
    assert write(without).sentences[-1] == "No pair of parts raises the similarity."


@pytest.mark.parametrize(
    ("full", "ends", "is_similar"),
    [
        (0.9, (0.4, 0.5), True),
        (0.5, (0.5, 0.1), False),
        (0.5, (0.1, 0.6), False),
        (0.54, (0.5, 0.1), False),  # 0.04 of the 0.5 that are left to an equal pair
        (0.56, (0.5, 0.1), True),
    ],
)
def test_an_image_that_adds_nothing_makes_the_pair_not_similar(full, ends, is_similar):
    verdict = write(make_pair([0.1, -0.2], [0.1, 0.2], full, ends))
    assert verdict.is_similar == is_similar
    assert verdict.question == ("Why are these similar?" if is_similar else "Why are these not more alike?")


def test_a_pair_that_is_less_similar_than_to_its_own_blurs():
    assert not write(own_blurs=(0.95, 0.9)).is_similar
    assert "Each is more similar to its own blur (0.95 and 0.90) than to the other." in write(own_blurs=(0.95, 0.9)).sentences
    assert write(own_blurs=(0.95, 0.89)).is_similar


@pytest.mark.parametrize(
    ("gallery", "share", "is_similar"),
    [
        ([0.1, 0.2, 0.95, 0.3], "higher than the similarity of the query to 3", True),
        ([0.95, 0.99, 0.91], "higher than the similarity of the query to none", False),
    ],
)
def test_a_background_is_the_yardstick(gallery, share, is_similar):
    verdict = write(gallery=torch.tensor(gallery), own_blurs=(0.99, 0.99))
    assert verdict.is_similar == is_similar
    assert f"{share} of the {len(gallery)} images of the background" in verdict.sentences[0]


def test_parts_that_lower_the_similarity_are_told():
    verdict = write(make_pair([0.1, -0.2, -0.1], [0.2, 0.001, 0.0], full=0.2, ends=(0.4, 0.3)))
    assert (
        "Parts of the query lower the similarity by 0.30 together, others raise it by 0.10. "
        "Half of what lowers it rests on 1 of its 3 parts, in the middle." in verdict.sentences
    )
    assert "Hardly any part of the retrieved photo lowers the similarity; all of them together add 0.20." in verdict.sentences


def test_the_pair_that_the_picture_shows_first_is_told():
    """Of photos that are not similar the picture shows the pairs that lower the similarity, if they are worth a look."""
    not_similar = {"full": 0.2, "ends": (0.4, 0.3)}
    interactions = make_pair([0.1, -0.2], [0.2, 0.1], **not_similar)
    lowered = replace(interactions, between=torch.tensor([[[0.5, 0.0], [0.1, -0.3]]]))
    assert (
        write(lowered).sentences[-1]
        == "The pair that lowers the similarity most is the right of the query and the right of the retrieved photo."
    )
    raised = replace(interactions, between=torch.tensor([[[0.5, 0.0], [0.1, -0.01]]]))
    assert write(raised).sentences[-1] == "The strongest match is the left of the query and the left of the retrieved photo."


def test_a_single_part_that_lowers_it():
    assert any(
        "One of the 2 parts of the query lowers the similarity, by 0.20: at the right." in text
        for text in write(make_pair([0.1, -0.2], [0.1], 0.2, (0.3, 0.1))).sentences
    )


def test_sentences_have_words():
    interactions = make_pair([0.1, 0.4], [0.3, 0.1])
    sides = places_of(interactions, (sentence("the cat"), sentence("kitten sleeps")))
    text = " ".join(write(interactions, sides=sides, absent=("replaced by random words",) * 2).sentences)
    assert "rests on 1 of its 2 words, “cat”" in text
    assert "“cat” of the query and “kitten” of the retrieved sentence" in text
    assert "with the query replaced by random words" in text


def test_results_without_maps_have_no_sentence_about_them():
    verdict = write(replace(SIMILAR, given_other=None, without_query=None, without_retrieved=None))
    assert verdict.sentences == (
        "Their similarity is 0.90 (cosine).",
        "The strongest match is the left of the query and the middle of the retrieved photo.",
    )


def test_a_layer_that_changes_nothing():
    assert find_weak_layer(SIMILAR) is None
    weak = make_pair([0.0004, 0.0], [0.0, 0.0002], full=0.99, ends=(0.9897, 0.9899))
    assert find_weak_layer(weak) == "no part changes the similarity by more than 0.1 %"
    cancelling = make_pair([0.3, -0.3], [0.2, -0.2], full=0.99, ends=(0.99, 0.99))
    assert find_weak_layer(cancelling) is None


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (0.0, "0.00"), (0.00123, "0.0012"), (-0.004, "-0.004"), (12.3, "12.30")])
def test_differences_have_two_digits(value, text):
    assert format_difference(value) == text


def test_the_text_of_a_verdict_begins_with_its_warnings():
    verdict = replace(write(), warnings=("the network has random weights",), trust=Trust(UNREADABLE, ()))
    assert str(verdict).startswith("Warning: the network has random weights.")
    assert str(verdict).endswith("Do not read this as an explanation.")


def test_padding_is_no_part():
    """In a ranking the credits are as long as the longest sentence."""
    interactions = make_pair([0.1, 0.4, 0.0, 0.0], [0.3, 0.1])
    sides = places_of(interactions, (sentence("the cat"), sentence("kitten sleeps")))
    assert "rests on 1 of its 2 words" in " ".join(write(interactions, sides=sides).sentences)


def test_a_half_of_the_positive_credits_is_not_a_half_of_the_sum():
    text = " ".join(write(make_pair([1.0, -0.8, 0.3], [0.1, 0.2])).sentences)
    assert "Half of what raises the similarity in the query rests on 1 of its 3 parts" in text
    assert "Half of what the retrieved photo adds rests on" in text


def test_a_tie_with_the_background_is_no_majority():
    assert write(gallery=torch.tensor([0.9])).is_similar
    assert not write(gallery=torch.tensor([0.95, 0.95, 0.1])).is_similar
    assert write(gallery=torch.tensor([0.95, 0.95, 0.1, 0.2])).is_similar
