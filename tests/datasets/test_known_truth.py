from pathlib import Path

import numpy as np
import pytest
from conftest import assert_refused

from captum_pairwise.datasets import Pair
from captum_pairwise.datasets.known_truth import format_points, parse_points

A, B = Path("a.png"), Path("b.png")


def test_points_are_read_back():
    points = ((0.125, 0.5, 0.25, 1.0), (1 / 3, 1e-6, 0.0, 0.999))
    assert np.allclose(parse_points(format_points(points)), points, atol=1e-6)
    assert parse_points("") == () and format_points(()) == ""


@pytest.mark.parametrize("text", ["0 0 0", "0 0 0 1.1", "0 0 0 nan", "a b c d", "0 0 0 0;1", "-0.1 0 0 0"])
def test_other_points_are_refused(text):
    with pytest.raises(ValueError, match="Expected points as four numbers from 0 to 1"):
        parse_points(text)


@pytest.mark.parametrize(
    ("truth", "missing"),
    [
        ({"protocol": "mosaic"}, "query_mask"),
        ({"protocol": "mosaic", "query_mask": A}, "retrieved_mask"),
        ({"protocol": "planted", "query_mask": A, "retrieved_mask": B}, "before"),
        ({"protocol": "points"}, "points"),
    ],
)
def test_a_pair_needs_the_truth_of_its_protocol(truth, missing):
    assert_refused(lambda: Pair(A, B, **truth), f"Expected {missing} for a pair of the protocol '{truth['protocol']}'")


def test_an_unknown_protocol_is_refused():
    assert_refused(lambda: Pair(A, B, protocol="warp"), "protocol to be one of")
