"""Viewer in a browser: sentences."""

import pytest
from viewer_cases import PHOTOS, SENTENCES, WORDS, build_interactions, mask_players, word_players
from viewer_reading import (
    assert_painted,
    choose,
    compute_contrast,
    compute_luminance,
    expected_colours,
    find_plate,
    hover,
    largest,
    read_strongest,
)

import captum_pairwise as cp

pytestmark = pytest.mark.slow

pytest_plugins = ["viewer_browser"]


def read_backgrounds(page, side):
    return [
        [float(value) for value in colour[4:-1].split(",")]
        for colour in find_plate(page, side)
        .locator(".word")
        .evaluate_all("words => words.map((word) => getComputedStyle(word).backgroundColor)")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_and_contrast_of_words(visit, scheme):
    interactions = SENTENCES
    page = visit(cp.viewer(interactions, WORDS), color_scheme=scheme)
    find_plate(page, 0).locator(".word").nth(2).hover()
    expected = expected_colours(interactions.between[0, 2].numpy(), largest(interactions.between))
    opacity = expected[:, 3:] / 255
    assert read_backgrounds(page, 1) == [pytest.approx(row, abs=2) for row in opacity * expected[:, :3] + (1 - opacity) * 255]
    assert dict(read_strongest(page, 1)) == pytest.approx(
        {f"“{w}”": v for w, v in zip(WORDS[1], interactions.between[0, 2].tolist(), strict=True)}, abs=6e-3
    )
    choose(page, "order", "parts")
    both = "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
    for element in [page.locator("body"), *find_plate(page, 0).locator(".word").all()]:
        assert compute_contrast(*element.evaluate(both)) >= 4.5
    assert (compute_luminance(page.locator("body").evaluate(both)[1]) < 0.5) == (scheme == "dark")


def test_words_can_be_pinned_by_keyboard(visit):
    page = visit(cp.viewer(SENTENCES, WORDS))
    find_plate(page, 1).focus()
    for key in ["ArrowLeft"] * 3 + ["ArrowRight", "Enter"]:
        page.keyboard.press(key)
    assert page.locator(".spoken").inner_text().startswith("Retrieved “kitten”, pin 1;")
    pinned = find_plate(page, 1).locator(".word").nth(1)
    assert pinned.get_attribute("data-label") == "1" and "dashed" not in pinned.get_attribute("class")
    partner = find_plate(page, 0).locator(".word").nth(SENTENCES.between[0, :, 1].abs().argmax().item())
    assert partner.get_attribute("data-label") == "1" and "dashed" in partner.get_attribute("class")


def test_a_photo_and_a_sentence(visit):
    interactions = build_interactions(mask_players(), word_players(3))
    page = visit(cp.viewer(interactions, (PHOTOS[0], WORDS[1])))
    find_plate(page, 1).locator(".word").nth(0).hover()
    assert_painted(page, 0, mask_players(), interactions.between[0, :, 0].numpy(), largest(interactions.between))
    hover(page, 0, mask_players(), 3)
    expected = expected_colours(interactions.between[0, 3].numpy(), largest(interactions.between))
    opacity = expected[:, 3:] / 255
    assert read_backgrounds(page, 1) == [pytest.approx(row, abs=2) for row in opacity * expected[:, :3] + (1 - opacity) * 255]
