"""Viewer in a browser: pairs, controls, and the page as a whole."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from viewer_cases import CELLS, MASK, NASTY, PHOTOS, SENTENCES, WORDS, build_interactions, cell_players, mask_players, photo, word_players
from viewer_reading import (
    assert_painted,
    assert_strongest,
    assert_without_colours,
    choose,
    click,
    compute_contrast,
    find_plate,
    hover,
    largest,
    name_part,
    parse_number,
    read_colours,
    read_part,
    read_pins,
    read_strongest,
)

import captum_pairwise as cp
from captum_pairwise.players.regions import Players
from captum_pairwise.results.index import parse_index
from captum_pairwise.results.verdict import Trust, Verdict
from captum_pairwise.visualization.viewer import SCRIPTS

pytestmark = pytest.mark.slow

pytest_plugins = ["viewer_browser"]


# pairs


@pytest.mark.parametrize(
    "interactions", [CELLS, MASK, build_interactions(mask_players(), mask_players(3, 2))], ids=["cells", "mask and cells", "masks"]
)
def test_hovering_a_part_shows_its_pairs_on_the_other_image(visit, interactions):
    page = visit(cp.viewer(interactions, PHOTOS))
    sides, between = (interactions.query_players, interactions.retrieved_players), interactions.between[0]
    for side, index in ((0, 0), (0, 4), (1, 3), (1, 1), (0, 5)):
        hover(page, side, sides[side], index)
        values = (between[index] if side == 0 else between[:, index]).numpy()
        assert_painted(page, 1 - side, sides[1 - side], values, largest(between))
        assert_strongest(page, 1 - side, sides[1 - side], values)
        assert_without_colours(page, side)
        credit = interactions.given_other[0, index + side * interactions.n_query].item()
        numbers = read_part(page, side)
        name = name_part(sides[side], index)
        assert list(numbers) == [f"{name.capitalize()}, adds while the other photo is whole"]  # no second number for one part
        assert [parse_number(text) for text in numbers.values()] == pytest.approx([credit], abs=6e-3)
        assert read_part(page, 1 - side) == {}
        spoken = page.locator(".spoken").inner_text()
        assert name in spoken and all(partner in spoken for partner, _ in read_strongest(page, 1 - side)[:3])


def test_standard_errors_are_beside_the_values(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, cell_players(), 5)
    shown = page.locator(".reading[data-side='1'] .value").all_inner_texts()
    values, errors = (sorted(block[0, 5].abs().tolist(), reverse=True) for block in (CELLS.between, CELLS.standard_error.between))
    assert [float(text.split(" ± ")[1]) for text in shown] == pytest.approx(errors, abs=6e-3)
    assert [abs(parse_number(text)) for text in shown] == pytest.approx(values, abs=6e-3)
    assert read_part(page, 0)["Cell (1, 1), adds while the other photo is whole"].endswith(
        f"± {CELLS.standard_error.given_other[0, 5]:.1g}"
    )


def test_the_page_shows_the_similarities(visit):
    page = visit(cp.viewer(CELLS, PHOTOS, title="Two photos"))
    assert not page.locator(".facts").is_visible()
    page.locator(".trust summary").click()
    facts = dict(zip(page.locator(".facts dt").all_inner_texts(), page.locator(".facts dd").all_inner_texts(), strict=True))
    assert facts.keys() == {"similarity", "without the query", "without the retrieved", "gap of the maps"}
    assert list(facts.values())[:3] == ["0.75", "0.50", "0.38"]
    gap = max(gap.abs().item() for gap in CELLS.map_gaps)
    assert parse_number(facts["gap of the maps"]) == pytest.approx(gap, abs=6e-4)
    assert page.title() == page.locator("h1").inner_text() == "Two photos"
    ticks = page.locator(".ticks span").all_inner_texts()
    assert [parse_number(tick) for tick in ticks] == pytest.approx([-largest(CELLS.between), 0, largest(CELLS.between)], abs=6e-3)


def test_the_page_tells_how_well_the_chosen_method_predicts(visit):
    law = {"r2": torch.tensor([0.78]), "r2_law": "64 coalitions"}
    page = visit(cp.viewer({"one": replace(CELLS, index=parse_index("banzhaf"), **law), "two": CELLS}, PHOTOS))
    expected = "predict 78 % of the changes of the similarity when parts are missing at random (64 coalitions)."
    assert page.locator(".prediction").inner_text().endswith(expected)
    assert page.locator(".relation").inner_text().endswith("if each part is present with probability 0.5.")
    page.locator("[name=method]").select_option("two")
    assert not page.locator(".prediction").is_visible() and "Banzhaf" not in page.locator(".relation").inner_text()


def test_the_page_opens_with_the_strongest_pair(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    index = CELLS.between[0].max(1).values.argmax().item()
    assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, index].numpy(), largest(CELLS.between))
    assert f"pairs with query {name_part(cell_players(), index)}" in page.locator(".side[data-side='1'] h2").inner_text()


def test_the_page_does_not_open_with_a_negative_pair(visit):
    between = torch.tensor([[[-5.0, -6.0], [0.5, 0.0], [0.1, 0.0]]])
    page = visit(cp.viewer(build_interactions(cell_players(3, 1), cell_players(2, 1), between=between), PHOTOS))
    assert "pairs with query cell (1, 0)" in page.locator(".side[data-side='1'] h2").inner_text()


def test_the_page_of_a_pair_that_is_not_similar_opens_with_the_parts_that_lower_the_similarity(visit):
    verdict = Verdict("Why not more alike?", (), Trust("reliable", ()), is_similar=False)
    page = visit(cp.viewer(CELLS, PHOTOS, verdict=verdict))
    lowering = (-CELLS.between[0]).clamp(min=0)
    index = lowering.sum(1).argmax().item()
    assert page.locator("h1").inner_text() == "Why not more alike?" and page.locator("input[value=negative]").is_checked()
    assert_painted(page, 1, cell_players(2, 2), -lowering[index].numpy(), lowering.max().item())
    assert_strongest(page, 1, cell_players(2, 2), -lowering[index].numpy())


def test_pairs_that_hardly_lower_the_similarity_do_not_come_first(visit):
    between = CELLS.between.abs() - 0.2
    verdict = Verdict("Why not more alike?", (), Trust("reliable", ()), is_similar=False)
    page = visit(cp.viewer(replace(CELLS, between=between), PHOTOS, verdict=verdict))
    assert 0 < -between.clamp(max=0).sum() < 0.1 * between.clamp(min=0).sum() and page.locator("input[value=both]").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("label", ["reliable", "rough", "do not read this"])
def test_the_trust_can_be_read_and_opens_its_numbers(visit, scheme, label):
    verdict = Verdict("Why?", ("So.",), Trust(label, ("R² 0.5.",)), ("random weights",))
    page = visit(cp.viewer(CELLS, PHOTOS, verdict=verdict), color_scheme=scheme)
    both = "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
    for element in (page.locator(".trust summary"), page.locator(".banner")):
        assert compute_contrast(*element.evaluate(both)) >= 4.5
    assert not page.get_by_text("R² 0.5.").is_visible()
    page.locator(".trust summary").focus()
    page.keyboard.press("Enter")
    assert page.get_by_text("R² 0.5.").is_visible()


def test_arrow_keys_skip_a_part_without_pixels(visit):
    players = Players(mask_players().ids + 1, (mask_players().n_players + 1,))  # the first and the last have no pixels
    zeros = {name: block * 0 for name, block in (("given_other", torch.ones(1, 12)), ("between", torch.ones(1, 8, 4)))}
    page = visit(cp.viewer(build_interactions(players, cell_players(2, 2), **zeros), PHOTOS))
    find_plate(page, 0).focus()
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        assert "Part 0" not in page.locator(".spoken").inner_text(), "this part has no pixels"


# controls


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_the_choice_of_a_sign_sets_the_scale(visit, sign):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 1, cell_players(2, 2), 2)
    choose(page, "sign", sign)
    column = CELLS.between[0, :, 2].numpy()
    values = np.where(column > 0 if sign == "positive" else column < 0, column, 0)
    assert 0 < np.count_nonzero(values) < len(values)
    of_sign = CELLS.between[CELLS.between > 0 if sign == "positive" else CELLS.between < 0]
    assert_painted(page, 0, cell_players(), values, largest(of_sign))
    assert_strongest(page, 0, cell_players(), values)
    choose(page, "sign", "both")
    assert_painted(page, 0, cell_players(), column, largest(CELLS.between))


def test_first_order_shows_both_images_on_one_scale(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    choose(page, "order", "parts")
    for side, (players, values) in enumerate(((cell_players(), CELLS.query_map), (cell_players(2, 2), CELLS.retrieved_map))):
        assert_painted(page, side, players, values[0].numpy(), largest(CELLS.given_other))
        assert_strongest(page, side, players, values[0].numpy())
    choose(page, "order", "pairs")
    assert_without_colours(page, 0)


def test_opacity_control(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, cell_players(), 7)
    for percent in (30, 100):
        page.locator("[name=opacity]").fill(str(percent))
        assert_painted(page, 1, cell_players(2, 2), CELLS.between[0, 7].numpy(), largest(CELLS.between), percent / 100)


def test_pairs_within_an_image(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, cell_players(), 6)
    assert_without_colours(page, 0)
    page.locator("[name=within]").check()
    scale = largest(CELLS.between, CELLS.within_query, CELLS.within_retrieved)
    for side, index in ((0, 3), (1, 2)):
        hover(page, side, (cell_players(), cell_players(2, 2))[side], index)
        within = (CELLS.within_query, CELLS.within_retrieved)[side][0, index].numpy()
        across = (CELLS.between[0, index], CELLS.between[0, :, index])[side].numpy()
        assert_painted(page, side, (cell_players(), cell_players(2, 2))[side], within, scale)
        assert_painted(page, 1 - side, (cell_players(), cell_players(2, 2))[1 - side], across, scale)
    page.locator("[name=within]").uncheck()
    assert_without_colours(page, 1)


def test_pins_keep_their_place_when_the_method_changes(visit):
    page = visit(cp.viewer({"cells": CELLS, "mask": MASK}, PHOTOS))
    click(page, 0, cell_players(), 0)  # the upper left is part 2 of the mask, which is numbered from the right
    page.locator("[name=method]").select_option("mask")
    assert_painted(page, 1, cell_players(2, 2), MASK.between[0, 2].numpy(), largest(MASK.between))
    assert [chip[:4] for chip in read_pins(page)] == [["1", "query", "part", "2"]]
    hover(page, 0, mask_players(), 4)
    assert_painted(page, 1, cell_players(2, 2), MASK.between[0, 4].numpy(), largest(MASK.between))
    choose(page, "order", "parts")
    assert_painted(page, 0, mask_players(), MASK.query_map[0].numpy(), largest(MASK.given_other))


def test_methods_with_one_order_disable_the_other_order(visit):
    first = build_interactions(
        cell_players(), cell_players(2, 2), between=None, within_query=None, within_retrieved=None, standard_error=None
    )
    second = build_interactions(
        cell_players(), cell_players(2, 2), given_other=None, within_query=None, within_retrieved=None, standard_error=None
    )
    page = visit(cp.viewer({"first": first, "second": second}, PHOTOS))
    assert page.locator("[value=pairs]").is_disabled() and page.locator("[value=parts]").is_checked()
    assert_painted(page, 0, cell_players(), first.query_map[0].numpy(), largest(first.given_other))
    page.locator("[name=method]").select_option("second")
    assert page.locator("[value=parts]").is_disabled() and page.locator("[value=pairs]").is_checked()
    hover(page, 0, cell_players(), 1)
    assert_painted(page, 1, cell_players(2, 2), second.between[0, 1].numpy(), largest(second.between))
    assert not page.locator(".within").is_visible()


# the page


@pytest.mark.parametrize("content", ["photos", "words"])
def test_the_page_fits_the_width_of_the_screen(visit, content):
    long = "a_very_long_name_of_a_method_that_cannot_be_broken_into_several_lines"
    pages = {
        "photos": lambda: cp.viewer({long: CELLS, "mask": MASK}, (photo(20, 200), photo(200, 20)), title=long),
        "words": lambda: cp.viewer({long: SENTENCES}, ([*WORDS[0][:3], long], WORDS[1]), title=long),
    }
    page = visit(pages[content]())
    for side in (0, 1):
        find_plate(page, side).focus()
        for key in ("ArrowRight", "Enter", "ArrowDown", "Enter"):
            page.keyboard.press(key)
    page.locator(".help summary").click()
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        boxes = [find_plate(page, side).bounding_box() for side in (0, 1)]
        assert all(0 <= box["x"] and box["x"] + box["width"] <= width for box in boxes)
        assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1280)  # side by side, or one below the other


def test_two_viewers_in_a_notebook_are_independent(visit):
    frames = [cp.viewer(CELLS, PHOTOS), cp.viewer(MASK, PHOTOS)]
    page = visit("<!doctype html>" + "".join(f"<div>{frame._repr_html_()}</div>" for frame in frames))
    first, second = page.frames[1:]
    click(first, 0, cell_players(), 4)
    assert len(read_pins(first)) == 1 and read_pins(second) == []
    second.locator("input[value=parts]").locator("..").click()
    assert_painted(second, 0, mask_players(), MASK.query_map[0].numpy(), largest(MASK.given_other))
    hover(first, 0, cell_players(), 9)
    assert_painted(first, 1, cell_players(2, 2), CELLS.between[0, 9].numpy(), largest(CELLS.between))
    for frame in (first, second):
        assert frame.evaluate("window.innerHeight - document.getElementById('viewer').offsetHeight") in range(4)


def test_labels_are_not_executed(visit):
    interactions = build_interactions(word_players(2), cell_players())
    page = visit(cp.viewer({NASTY: interactions, "b": interactions}, ([NASTY, "b"], PHOTOS[0]), title=NASTY))
    find_plate(page, 0).locator(".word").first.click()
    assert page.evaluate("window.hacked") is None and page.locator("b, script:not([type])").count() == len(SCRIPTS)
    assert page.title() == NASTY
    assert find_plate(page, 0).locator(".word").first.evaluate("word => word.textContent") == NASTY
    assert page.locator("option").first.evaluate("option => option.textContent") == NASTY


def test_the_security_policy_blocks_requests_and_other_scripts(browser, tmp_path):
    page = browser.new_page()
    page.goto(cp.viewer(CELLS, PHOTOS).save(tmp_path / "page.html").as_uri())
    refused = page.evaluate("""async () => {
        const refused = [];
        document.addEventListener('securitypolicyviolation', (event) => refused.push(event.effectiveDirective));
        const add = (tag, set) => document.body.append(Object.assign(document.createElement(tag), set));
        add('img', {src: 'https://example.com/a.png'});
        add('script', {textContent: 'window.hacked = 1'});
        add('iframe', {src: 'https://example.com'});
        await fetch('https://example.com').catch(() => null);
        for (let k = 0; k < 50 && new Set(refused).size < 4; k++) await new Promise((resolve) => setTimeout(resolve, 100));
        return refused;
    }""")
    assert {directive.removesuffix("-elem") for directive in refused} == {"img-src", "script-src", "frame-src", "connect-src"}
    assert page.evaluate("window.hacked") is None
    page.close()


def test_many_parts(visit):
    interactions = build_interactions(cell_players(14, 28), cell_players(14, 28))
    page = visit(cp.viewer(interactions, (photo(300, 200), photo(200, 300))))
    sums = []
    for index in (0, 200, 391):
        hover(page, 0, cell_players(14, 28), index)
        assert_painted(page, 1, cell_players(14, 28), interactions.between[0, index].numpy(), largest(interactions.between))
        sums.append(read_colours(page, 1, cell_players(14, 28)).sum())
    assert all(a != b for a, b in pairwise(sums))
