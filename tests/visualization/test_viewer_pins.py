"""Viewer in a browser: pins, by mouse, keyboard and touch."""

import pytest
from viewer_browser import NARROW
from viewer_cases import CELLS, PHOTOS, build_interactions, cell_players, mask_players
from viewer_reading import (
    assert_painted,
    assert_without_colours,
    click,
    find_plate,
    find_position,
    has_colour,
    hover,
    largest,
    name_part,
    parse_number,
    read_part,
    read_pins,
)

import captum_pairwise as cp
from captum_pairwise.visualization.marks import PART_COLOURS

pytestmark = pytest.mark.slow

pytest_plugins = ["viewer_browser"]


def test_pins_have_numbers_and_colours_and_can_be_removed(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    for side, players, index in ((0, cell_players(), 1), (0, cell_players(), 10), (1, cell_players(2, 2), 0)):
        click(page, side, players, index)
    strongest = [CELLS.between[0, 1].abs().argmax(), CELLS.between[0, 10].abs().argmax(), CELLS.between[0, :, 0].abs().argmax()]
    partners = [
        name_part(players, k.item()) for players, k in zip((cell_players(2, 2), cell_players(2, 2), cell_players()), strongest, strict=True)
    ]
    chips = page.locator(".pins .show").all_inner_texts()
    for chip, place, name, partner in zip(
        chips, "123", ("query cell (0, 1)", "query cell (2, 2)", "retrieved cell (0, 0)"), partners, strict=True
    ):
        words = " ".join(chip.split())
        assert words.startswith(f"{place} {name} → {partner} ")
    for colour in PART_COLOURS[:3]:  # the part on one side, its partner on the other side
        assert has_colour(page, 0, colour) and has_colour(page, 1, colour)
    click(page, 0, cell_players(), 1)  # a second click removes the pin
    assert [chip[0] for chip in read_pins(page)] == ["2", "3"] and not has_colour(page, 0, PART_COLOURS[0])
    page.get_by_label("Unpin 3").click()
    assert [chip[0] for chip in read_pins(page)] == ["2"] and not has_colour(page, 1, PART_COLOURS[2])
    click(page, 0, cell_players(), 5)  # gets the free number
    assert [chip[0] for chip in read_pins(page)] == ["1", "2"]
    page.get_by_role("button", name="Clear all").click()
    assert read_pins(page) == [] and not page.locator(".clear").is_visible()
    assert not any(has_colour(page, side, colour) for side in (0, 1) for colour in PART_COLOURS)
    assert_without_colours(page, 0)
    assert_without_colours(page, 1)


def test_a_pin_stays_and_is_compared_with_the_part_under_the_pointer(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    click(page, 0, cell_players(), 2)
    click(page, 0, cell_players(), 8)
    hover(page, 0, cell_players(), 0)
    assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 0].numpy(), largest(CELLS.between))
    page.mouse.move(2, 2)
    assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 8].numpy(), largest(CELLS.between))
    hover(page, 1, cell_players(2, 2), 3)
    assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 8].numpy(), largest(CELLS.between))
    assert_painted(page, 0, cell_players(), CELLS.between[0, :, 3].numpy(), largest(CELLS.between))
    numbers = read_part(page, 1)
    for place, index in (("1", 2), ("2", 8)):
        assert parse_number(numbers[f"pair with pin {place}"]) == pytest.approx(CELLS.between[0, index, 3].item(), abs=6e-3)
    page.locator(".pins .show").first.click()
    page.mouse.move(2, 2)
    assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 2].numpy(), largest(CELLS.between))


# keyboard and touch


def test_all_actions_by_keyboard(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    start = CELLS.between[0].max(1).values.argmax().item()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('plate')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    row, column = divmod(start, 4)
    moves = {"ArrowLeft": (0, -1), "ArrowRight": (0, 1), "ArrowUp": (-1, 0), "ArrowDown": (1, 0)}
    for key in [*["ArrowUp"] * 3, *["ArrowLeft"] * 4, "ArrowRight", "ArrowDown", "ArrowRight", "ArrowDown", "ArrowDown"]:
        page.keyboard.press(key)
        row, column = min(max(row + moves[key][0], 0), 2), min(max(column + moves[key][1], 0), 3)
        assert page.locator(".spoken").inner_text().startswith(f"Query cell ({row}, {column});")
        assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 4 * row + column].numpy(), largest(CELLS.between))
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    assert [chip[:4] for chip in read_pins(page)] == [["1", "query", "cell", "(2,"], ["2", "query", "cell", "(1,"]]
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.locator(".spoken").inner_text().startswith("Retrieved cell (1,")
    page.keyboard.press("Escape")
    assert read_pins(page) == []
    assert_without_colours(page, 0)


def test_arrow_keys_reach_every_part_of_a_mask(visit):
    interactions = build_interactions(mask_players(), mask_players())
    page = visit(cp.viewer(interactions, PHOTOS))
    find_plate(page, 0).focus()
    spoken = set()
    for key in ["ArrowLeft"] * 2 + ["ArrowUp"] + ["ArrowRight"] * 2 + ["ArrowDown"] + ["ArrowLeft"] * 2:
        page.keyboard.press(key)
        spoken.add(page.locator(".spoken").inner_text().split(",")[0].split(";")[0])
    assert {f"Query part {index}" for index in range(6)} <= spoken


def test_the_second_tap_pins_a_part(visit):
    page = visit(cp.viewer(CELLS, PHOTOS), NARROW, has_touch=True, is_mobile=True)

    def tap(index):
        find_plate(page, 0).tap(position=find_position(page, 0, cell_players(), index))

    start = CELLS.between[0].max(1).values.argmax().item()  # visible from the start, but the first tap does not pin it
    for index in (start, 9, start):
        tap(index)
        assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, index].numpy(), largest(CELLS.between))
        assert read_pins(page) == []
    tap(start)
    assert len(read_pins(page)) == 1
    tap(9)
    tap(9)
    assert len(read_pins(page)) == 2
    tap(9)
    assert len(read_pins(page)) == 1
