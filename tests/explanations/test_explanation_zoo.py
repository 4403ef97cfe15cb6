"""Names of files and numbers of matches that people write."""

from pathlib import Path

import pytest
from conftest import images, tiny_encoder
from explanation_cases import train_a_little

import captum_pairwise as cp


@pytest.fixture(scope="module")
def why():
    return cp.explain(train_a_little(tiny_encoder()), *(batch[0] for batch in images()))


@pytest.mark.parametrize("name", ["page.HTML", "picture.PNG"])
def test_endings_in_capitals(why, name: str, tmp_path: Path) -> None:
    assert why.save(tmp_path / name).stat().st_size > 0


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("n_matches", [0, 2.5], ids=["zero", "fraction"])
def test_other_numbers_of_matches_are_refused(why, n_matches: object) -> None:
    with pytest.raises(ValueError, match="Expected n_matches to be a whole number of at least 1"):
        why.matches(n_matches)
