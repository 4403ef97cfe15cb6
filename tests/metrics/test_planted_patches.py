from math import isnan, nan

import pytest
import torch
from conftest import assert_refused, random_tensor, seeded

from captum_pairwise.metrics import planted_evidence


def slow_area(pairs, planted):
    """The wins of every planted pair over every other pair; a tie counts half."""
    inside, outside = pairs[planted].tolist(), pairs[~planted].tolist()
    wins = [1.0 if high > low else 0.5 if high == low else 0.0 for high in inside for low in outside]
    return sum(wins) / len(wins)


@pytest.mark.parametrize("seed", range(4))
def test_the_area_counts_wins_of_planted_pairs(seed):
    pairs = torch.randint(-3, 4, (5, 6), generator=seeded(seed)).double()  # with ties
    planted = torch.rand(5, 6, generator=seeded(seed)) < 0.3
    evidence = planted_evidence(pairs, planted, added=2.0)
    assert evidence.auc == pytest.approx(slow_area(pairs, planted), abs=1e-12)
    assert evidence.share == pytest.approx(sum(pairs[planted].tolist()) / 2, abs=1e-12)


def test_equal_credit_has_one_half_and_an_unknown_similarity_no_share():
    evidence = planted_evidence(torch.ones(3, 3), torch.eye(3, dtype=torch.bool))
    assert evidence.auc == 0.5 and isnan(evidence.share)
    assert isnan(planted_evidence(torch.ones(3, 3), torch.eye(3, dtype=torch.bool), added=0.0).share)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("pairs", "planted", "message"),
    [
        (random_tensor(1, 3, 3), torch.eye(3).bool(), r"pairs \[n_q, n_r\].*Choose one row"),
        (random_tensor(3, 3) * nan, torch.eye(3).bool(), "NaN or infinity"),
        (random_tensor(3, 3), torch.eye(3), r"booleans \[3, 3\]"),
        (random_tensor(3, 3), torch.eye(4).bool(), r"booleans \[3, 3\]"),
        (random_tensor(3, 3), torch.ones(3, 3).bool(), "planted pairs and others, got 9 and 0"),
    ],
)
def test_wrong_arguments_are_refused(pairs, planted, message):
    assert_refused(lambda: planted_evidence(pairs, planted), message)
