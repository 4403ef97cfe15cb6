"""Places of parts: boxes in pixels of the photo, and words."""

import pytest
import torch
from explanation_cases import photo, sentence

from captum_pairwise.explanations.contents import Photo
from captum_pairwise.explanations.places import Places, name_place
from captum_pairwise.players.regions import Players, cells

CELLS = cells(torch.zeros(1, 1, 4, 3), 1)


def test_the_box_of_a_cell_is_in_pixels_of_the_whole_photo():
    content = Photo(torch.zeros(1, 3, 8, 6), "crop", (100, 50, 160, 130))  # the network sees 60 × 80 pixels of it
    part = Places(content, CELLS).describe_part(4)  # row 1, column 1 of 4 × 3
    assert part.box == pytest.approx((120, 70, 140, 90))
    assert part.words == "the middle"


def test_the_box_of_a_superpixel_holds_all_its_pixels():
    ids = torch.zeros(1, 1, 10, 10, dtype=torch.long)
    ids[0, 0, 2:5, 6:9] = 1
    ids[0, 0, 7, 9] = 1
    part = Places(photo("query", 100, 50), Players(ids, (2,))).describe_part(1)
    assert part.box == pytest.approx((60, 10, 100, 40))


@pytest.mark.parametrize("down", range(3))
@pytest.mark.parametrize("across", range(3))
def test_the_nine_places_have_different_names(across, down):
    names = {name_place((column + 0.5) / 3, (row + 0.5) / 3) for column in range(3) for row in range(3)}
    assert len(names) == 9
    name = name_place((across + 0.5) / 3, (down + 0.5) / 3)
    assert ("left" in name) == (across == 0) and ("right" in name) == (across == 2)
    assert ({"upper", "top"} & set(name.split()) != set()) == (down == 0)
    assert ({"lower", "bottom"} & set(name.split()) != set()) == (down == 2)


def test_a_group_lies_where_its_weight_is():
    places, weights = Places(photo("query"), CELLS), torch.zeros(12)
    weights[[0, 3]] = torch.tensor([1.0, 0.5])
    assert places.describe_group(weights) == "at the upper left"
    weights = torch.zeros(12)
    weights[[0, 2, 9, 11]] = 1.0
    assert places.describe_group(weights) == "spread over the photo"


def test_words_are_quoted_the_strongest_first():
    places = Places(sentence("a cat sits on a warm sill"), None)
    assert places.describe_part(1).words == "“cat”"
    assert places.describe_group(torch.tensor([0.0, 0.3, 0.1, 0, 0, 0.2, 0])) == "“cat”, “warm”, “sits”"
