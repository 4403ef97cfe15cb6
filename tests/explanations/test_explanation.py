"""What an explanation offers, against the classes that it is built on."""

import pytest
import torch
from conftest import images
from explanation_cases import encoder_of_photos, make_photo, save_photo
from matplotlib.figure import Figure

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Match, Part, Photo


@pytest.fixture(scope="module")
def explanation():
    return cp.explain(encoder_of_photos(), make_photo(seed=1), make_photo(50, 20, seed=2))


def test_the_numbers_are_those_of_the_class(explanation):
    encoder = encoder_of_photos()
    inputs = encoder.transform(make_photo(seed=1))[None], encoder.transform(make_photo(50, 20, seed=2))[None]
    method = cp.LayerFactorisedInteractions(cp.SimilarityWrapper(encoder), encoder[4])
    expected = method.interactions(inputs, n_samples=512)
    assert torch.equal(explanation.interactions.between, expected.between)
    assert torch.equal(explanation.query_map, expected.query_map[0])
    assert torch.equal(explanation.retrieved_map, expected.retrieved_map[0])
    assert torch.equal(explanation.pairs, expected.between[0])
    assert explanation.similarity == expected.full.item()


def test_matches_are_the_strongest_pairs(explanation):
    matches, between = explanation.matches(3), explanation.pairs
    assert 1 <= len(matches) <= 3
    assert matches[0].credit == between.max().item()
    for match in matches:
        assert match.credit == between[match.query.number].max().item() > 0
        assert between[match.query.number, match.retrieved.number].item() == match.credit
        assert match.standard_error == explanation.interactions.standard_error.between[0, match.query.number, match.retrieved.number]
    assert len({match.retrieved.number for match in matches}) == len(matches)


def test_boxes_are_in_pixels_of_the_photos(explanation):
    boxes = [explanation.places[side].describe_part(8).box for side in (0, 1)]  # the last of 3 × 3 cells
    assert boxes[0] == pytest.approx((40 * 2 / 3, 30 * 2 / 3, 40, 30))
    assert boxes[1] == pytest.approx((50 * 2 / 3, 20 * 2 / 3, 50, 20))


def test_a_match_is_a_line_of_text():
    parts = Part(4, "the middle", (20.2, 10.0, 40.7, 30.0)), Part(1, "“cat”")
    assert str(Match(*parts, 0.01234, 0.00021)) == "+0.012 ± 0.0002: the middle (pixels 20 to 41 across, 10 to 30 down) and “cat”"
    assert str(Match(*parts, 0.01234, None)).startswith("+0.012: the middle")


def test_the_number_of_matches_is_checked(explanation):
    with pytest.raises(ValueError, match="Expected n_matches to be a whole number of at least 1"):
        explanation.matches(0)


@pytest.mark.parametrize("ending", ["html", "png", "svg"])
def test_it_is_saved(explanation, ending, tmp_path):
    path = explanation.save(tmp_path / f"why.{ending}")
    content = path.read_bytes()
    begin = {"html": b"<!doctype html>", "png": b"\x89PNG", "svg": b"<?xml"}[ending]
    assert content.startswith(begin)
    if ending == "html":
        assert explanation.verdict.question.encode() in content


@pytest.mark.parametrize("name", ["why.txt", "why"])
def test_another_ending_is_refused(explanation, name, tmp_path):
    with pytest.raises(ValueError, match=r"Expected a name that ends in \.html"):
        explanation.save(tmp_path / name)


def test_a_notebook_shows_the_page(explanation):
    assert explanation.verdict.question in explanation._repr_html_()
    assert isinstance(explanation.figure(), Figure)


def test_a_page_of_files_has_their_names(tmp_path):
    why = cp.explain(encoder_of_photos(), save_photo(tmp_path, "a.png"), str(save_photo(tmp_path, "b.png", seed=1)))
    assert (why.query.name, why.retrieved.name) == ("a.png", "b.png")
    assert isinstance(why.query, Photo)


def test_tensors_and_photos_are_the_same_pair(explanation):
    encoder = encoder_of_photos()
    pixels = encoder.transform(make_photo(seed=1)), encoder.transform(make_photo(50, 20, seed=2))
    assert torch.equal(cp.explain(encoder, *pixels).pairs, explanation.pairs)


def test_the_seed_decides():
    pair = images(1)
    maps = [cp.explain(encoder_of_photos(), *pair, seed=seed, n_samples=60).query_map for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
