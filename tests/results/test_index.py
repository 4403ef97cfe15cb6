"""Names and probabilities of interaction indices."""

import numpy as np
import pytest

from captum_pairwise.results.index import NAMES, Index, parse_index


@pytest.mark.parametrize("name", NAMES)
def test_only_banzhaf_has_a_probability(name: str) -> None:
    index = parse_index(name, 0.3)
    assert index.name == name and index.p == ((0.3, 0.3) if name == "banzhaf" else None)


def test_each_image_may_have_its_own_probability() -> None:
    assert parse_index("banzhaf", (0.3, 0.6)) == Index("banzhaf", (0.3, 0.6))
    assert str(parse_index("banzhaf", (0.3, 0.6))) == "banzhaf (p = 0.3, 0.6)"


@pytest.mark.usefixtures("without_type_checks")
def test_a_probability_may_be_a_number_of_numpy() -> None:
    assert parse_index("banzhaf", np.float32(0.25)) == Index("banzhaf", (0.25, 0.25))


@pytest.mark.parametrize("p", [0.0, 1.0, (0.5, 1.5), (0.5, 0.5, 0.5), "half"])
@pytest.mark.usefixtures("without_type_checks")
def test_a_number_that_is_no_probability_is_refused(p: object) -> None:
    with pytest.raises(ValueError, match="Expected p to be a probability between 0 and 1"):
        parse_index("banzhaf", p)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected index to be one of"):
        parse_index("banzaf")
