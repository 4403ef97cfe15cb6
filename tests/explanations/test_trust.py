"""The label of trust by its three limits, and its evidence."""

from dataclasses import replace
from math import nan

import pytest
import torch
from explanation_cases import make_pair

from captum_pairwise.explanations.trust import judge_numbers
from captum_pairwise.results.credits import Credits
from captum_pairwise.results.index_words import describe_prediction
from captum_pairwise.results.verdict import RELIABLE, ROUGH, UNREADABLE

GOOD = make_pair([0.3, 0.2], [0.1, 0.3])  # sums 0.5 and 0.4, as `full` minus the ends


def with_errors(maps=0.0, pairs=0.0):
    """Relative standard errors of the maps and of the pairs."""
    errors = {"given_other": maps * GOOD.given_other.norm(), "between": pairs * GOOD.between.norm()}
    blocks = {
        name: torch.full_like(getattr(GOOD, name), float(error)) / getattr(GOOD, name).numel() ** 0.5 for name, error in errors.items()
    }
    return replace(GOOD, standard_error=Credits(**blocks))


@pytest.mark.parametrize(
    ("interactions", "fit", "label"),
    [
        (GOOD, (0.9, 0.9), RELIABLE),
        (with_errors(0.09, 0.29), (0.9, 0.9), RELIABLE),
        (with_errors(maps=0.11), (0.9, 0.9), ROUGH),
        (with_errors(pairs=0.31), (0.9, 0.9), ROUGH),
        (with_errors(maps=0.31), (0.9, 0.9), UNREADABLE),
        (with_errors(pairs=1.1), (0.9, 0.9), UNREADABLE),
        (GOOD, (0.71, 0.9), RELIABLE),
        (GOOD, (0.9, 0.69), ROUGH),
        (GOOD, (0.39, 0.9), UNREADABLE),
        (GOOD, (nan, nan), RELIABLE),
        (make_pair([0.3, 0.22], [0.1, 0.3]), (0.9, 0.9), RELIABLE),  # a gap of 0.02 in 0.5
        (make_pair([0.3, 0.25], [0.1, 0.3]), (0.9, 0.9), ROUGH),
        (make_pair([0.3, 0.35], [0.1, 0.3]), (0.9, 0.9), UNREADABLE),
        (replace(GOOD, given_other=None), (nan, nan), RELIABLE),
    ],
)
def test_the_label(interactions, fit, label):
    assert judge_numbers(interactions, fit, is_exact=True).label == label


def test_a_warning_makes_the_best_numbers_unreadable():
    trust = judge_numbers(GOOD, (1.0, 1.0), ["the network has random weights"])
    assert trust.label == UNREADABLE
    assert trust.evidence[0] == "The network has random weights."


@pytest.mark.parametrize(("r2", "label"), [(nan, RELIABLE), (0.51, RELIABLE), (0.49, ROUGH), (0.24, UNREADABLE), (-1.0, UNREADABLE)])
def test_the_label_depends_on_the_prediction_which_comes_first(r2, label):
    interactions = replace(GOOD, r2=torch.full_like(GOOD.full, r2))
    trust, without = judge_numbers(interactions, (0.9, 0.9), is_exact=True), judge_numbers(GOOD, (0.9, 0.9), is_exact=True)
    assert trust.label == label
    assert [*filter(None, [describe_prediction(interactions, 0)]), *without.evidence] == list(trust.evidence)
    assert (len(trust.evidence) == len(without.evidence)) == (r2 != r2)


def test_the_evidence_has_the_numbers():
    evidence = " ".join(judge_numbers(with_errors(0.07, 0.12), (0.83, 0.96)).evidence)
    assert all(number in evidence for number in ("7.0 %", "12.0 %", "83 %", "96 %"))
    assert "exact" in " ".join(judge_numbers(GOOD, (1.0, 1.0), is_exact=True).evidence)


@pytest.mark.parametrize(
    ("query_map", "text"), [([0.3, 0.2], "what their side adds."), ([0.3, 0.22], "miss what their side adds by 4.0 %.")]
)
def test_a_gap_is_told_if_there_is_one(query_map, text):
    assert text in " ".join(judge_numbers(make_pair(query_map, [0.1, 0.3]), (1.0, 1.0)).evidence)


def test_unknown_errors_are_not_reliable():
    trust = judge_numbers(GOOD, (1.0, 1.0))
    assert trust.label == ROUGH
    assert trust.evidence[:2] == tuple(f"This method gives no standard error of the credits of {name}." for name in ("parts", "pairs"))


def test_a_gap_is_relative_to_what_its_own_image_adds():
    interactions = make_pair([0.3, 0.2], [0.02, 0.04], ends=(0.4, 0.8))  # 0.04 of 0.1 are missing
    assert judge_numbers(interactions, (1.0, 1.0), is_exact=True).label == UNREADABLE
    little = make_pair([0.3, 0.2], [0.001], ends=(0.4, 0.9))  # of an image that adds nothing: 0.001 of a tenth of 0.5
    assert judge_numbers(little, (1.0, 1.0), is_exact=True).label == RELIABLE
