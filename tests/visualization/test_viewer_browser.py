"""The viewer's page in a real browser: what is drawn, said and remembered when somebody uses it."""

import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from viewer_cases import NASTY, interactions, of_cells, of_mask, of_words, photo
from viewer_reading import (
    assert_listed,
    assert_painted,
    assert_plain,
    choose,
    click,
    colours,
    has_colour,
    here,
    hover,
    listed,
    name_of,
    number,
    pins,
    pixels,
    plate,
    position,
)

import captum_pairwise as cp
from captum_pairwise.players.regions import Players
from captum_pairwise.visualization.parts import PART_COLOURS
from captum_pairwise.visualization.viewer import SCRIPTS

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PHOTOS = (photo(), photo(50, 40, seed=1))
CELLS = interactions(of_cells(), of_cells(2, 2))
MASK = interactions(of_mask(), of_cells(2, 2), seed=7)
WORDS = (["a", "black", "cat", "sits"], ["the", "kitten", "rests"])


def give_up(reason):
    if os.environ.get("CAPTUM_PAIRWISE_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    if find_spec("playwright") is None:
        give_up("a browser's driver: pip install 'captum-pairwise[test]'")
    playwright = import_module("playwright.sync_api")
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with playwright.sync_playwright() as driver:
        path = next(found, driver.chromium.executable_path)  # else what `playwright install chromium` brings
        if not Path(path).exists():
            give_up("Chromium is not installed: playwright install --with-deps chromium")
        chromium = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page, and see at the end that it complained of nothing and asked for nothing but itself."""
    complaints, requests, contexts = [], [], []

    def opened(content, viewport=WIDE, **options):
        html = content if isinstance(content, str) else content.html
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        context = browser.new_context(viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("data:")} <= {(tmp_path / "page.html").as_uri(), "about:srcdoc"}


def largest(*blocks):
    return max(block.abs().max().item() for block in blocks)


# pairs


@pytest.mark.parametrize("known", [CELLS, MASK, interactions(of_mask(), of_mask(3, 2))], ids=["cells", "mask and cells", "masks"])
def test_a_part_shows_its_pairs_on_the_other_image(visit, known):
    page = visit(cp.viewer(known, PHOTOS))
    sides, between = (known.query_players, known.retrieved_players), known.between[0]
    for side, index in ((0, 0), (0, 4), (1, 3), (1, 1), (0, 5)):
        hover(page, side, sides[side], index)
        values = (between[index] if side == 0 else between[:, index]).numpy()
        assert_painted(page, 1 - side, sides[1 - side], values, largest(between))
        assert_listed(page, 1 - side, sides[1 - side], values)
        assert_plain(page, side)
        credit = known.marginal[0, index + side * known.n_query].item()
        values_here = here(page, side)
        name = name_of(sides[side], index)
        assert number(values_here[f"{name.capitalize()}, credit"]) == pytest.approx(credit, abs=6e-3)
        assert number(values_here[f"sum of its pairs with the {('retrieved', 'query')[side]}"]) == pytest.approx(values.sum(), abs=6e-3)
        assert here(page, 1 - side) == {}
        spoken = page.locator(".spoken").inner_text()
        assert name in spoken and all(partner in spoken for partner, _ in listed(page, 1 - side)[:3])


def test_errors_stand_beside_the_values(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, of_cells(), 5)
    shown = page.locator(".reading[data-side='1'] .value").all_inner_texts()
    values, errors = (sorted(block[0, 5].abs().tolist(), reverse=True) for block in (CELLS.between, CELLS.standard_error.between))
    assert [float(text.split(" ± ")[1]) for text in shown] == pytest.approx(errors, abs=6e-3)
    assert [abs(number(text)) for text in shown] == pytest.approx(values, abs=6e-3)
    assert here(page, 0)["Cell (1, 1), credit"].endswith(f"± {CELLS.standard_error.marginal[0, 5]:.2f}")


def test_the_page_says_how_similar_the_images_are(visit):
    page = visit(cp.viewer(CELLS, PHOTOS, title="Two photos"))
    facts = dict(zip(page.locator(".facts dt").all_inner_texts(), page.locator(".facts dd").all_inner_texts(), strict=True))
    assert facts.keys() == {"similarity", "of the baselines", "completeness gap"}
    assert [facts["similarity"], facts["of the baselines"]] == ["0.7500", "0.2500"]
    assert number(facts["completeness gap"]) == pytest.approx(CELLS.completeness_gap.item(), abs=6e-4)
    assert page.title() == page.locator("h1").inner_text() == "Two photos"
    ticks = page.locator(".ticks span").all_inner_texts()
    assert [number(tick) for tick in ticks] == pytest.approx([-largest(CELLS.between), 0, largest(CELLS.between)], abs=6e-3)


def test_the_page_opens_with_the_part_that_has_the_strongest_partner(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    index = CELLS.between[0].max(1).values.argmax().item()
    assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, index].numpy(), largest(CELLS.between))
    assert f"pairs with query {name_of(of_cells(), index)}" in page.locator(".side[data-side='1'] h2").inner_text()


def test_the_page_does_not_open_with_the_part_that_is_contradicted_most(visit):
    between = torch.tensor([[[-5.0, -6.0], [0.5, 0.0], [0.1, 0.0]]])
    page = visit(cp.viewer(interactions(of_cells(3, 1), of_cells(2, 1), between=between), PHOTOS))
    assert "pairs with query cell (1, 0)" in page.locator(".side[data-side='1'] h2").inner_text()


def test_arrow_keys_pass_by_a_part_that_is_nowhere(visit):
    nowhere = Players(of_mask().ids + 1, (of_mask().n_players + 1,))  # the first, and the last
    silent = {name: block * 0 for name, block in (("marginal", torch.ones(1, 12)), ("between", torch.ones(1, 8, 4)))}
    page = visit(cp.viewer(interactions(nowhere, of_cells(2, 2), **silent), PHOTOS))
    plate(page, 0).focus()
    for key in ("ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
        assert "Part 0" not in page.locator(".spoken").inner_text(), "the part that has no pixel"


# switches


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_one_sign_alone_on_the_same_scale(visit, sign):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 1, of_cells(2, 2), 2)
    choose(page, "sign", sign)
    column = CELLS.between[0, :, 2].numpy()
    values = np.where(column > 0 if sign == "positive" else column < 0, column, 0)
    assert 0 < np.count_nonzero(values) < len(values)
    assert_painted(page, 0, of_cells(), values, largest(CELLS.between))
    assert_listed(page, 0, of_cells(), values)
    choose(page, "sign", "both")
    assert_painted(page, 0, of_cells(), column, largest(CELLS.between))


def test_first_order_shows_both_images_on_one_scale(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    choose(page, "order", "parts")
    for side, (players, values) in enumerate(((of_cells(), CELLS.query_marginal), (of_cells(2, 2), CELLS.retrieved_marginal))):
        assert_painted(page, side, players, values[0].numpy(), largest(CELLS.marginal))
        assert_listed(page, side, players, values[0].numpy())
    choose(page, "order", "pairs")
    assert_plain(page, 0)


def test_opacity(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, of_cells(), 7)
    for percent in (30, 100):
        page.locator("[name=opacity]").fill(str(percent))
        assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 7].numpy(), largest(CELLS.between), percent / 100)


def test_pairs_within_an_image(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    hover(page, 0, of_cells(), 6)
    assert_plain(page, 0)
    page.locator("[name=within]").check()
    scale = largest(CELLS.between, CELLS.within_query, CELLS.within_retrieved)
    for side, index in ((0, 3), (1, 2)):
        hover(page, side, (of_cells(), of_cells(2, 2))[side], index)
        within = (CELLS.within_query, CELLS.within_retrieved)[side][0, index].numpy()
        across = (CELLS.between[0, index], CELLS.between[0, :, index])[side].numpy()
        assert_painted(page, side, (of_cells(), of_cells(2, 2))[side], within, scale)
        assert_painted(page, 1 - side, (of_cells(), of_cells(2, 2))[1 - side], across, scale)
    page.locator("[name=within]").uncheck()
    assert_plain(page, 1)


def test_methods_with_other_parts_and_pins_that_stay_in_their_place(visit):
    page = visit(cp.viewer({"cells": CELLS, "mask": MASK}, PHOTOS))
    click(page, 0, of_cells(), 0)  # upper left, which is part 2 of the mask, numbered from the right
    page.locator("[name=method]").select_option("mask")
    assert_painted(page, 1, of_cells(2, 2), MASK.between[0, 2].numpy(), largest(MASK.between))
    assert [chip[:4] for chip in pins(page)] == [["1", "query", "part", "2"]]
    hover(page, 0, of_mask(), 4)
    assert_painted(page, 1, of_cells(2, 2), MASK.between[0, 4].numpy(), largest(MASK.between))
    choose(page, "order", "parts")
    assert_painted(page, 0, of_mask(), MASK.query_marginal[0].numpy(), largest(MASK.marginal))


def test_methods_of_one_order_each(visit):
    first = interactions(of_cells(), of_cells(2, 2), between=None, within_query=None, within_retrieved=None, standard_error=None)
    second = interactions(of_cells(), of_cells(2, 2), marginal=None, within_query=None, within_retrieved=None, standard_error=None)
    page = visit(cp.viewer({"first": first, "second": second}, PHOTOS))
    assert page.locator("[value=pairs]").is_disabled() and page.locator("[value=parts]").is_checked()
    assert_painted(page, 0, of_cells(), first.query_marginal[0].numpy(), largest(first.marginal))
    page.locator("[name=method]").select_option("second")
    assert page.locator("[value=parts]").is_disabled() and page.locator("[value=pairs]").is_checked()
    hover(page, 0, of_cells(), 1)
    assert_painted(page, 1, of_cells(2, 2), second.between[0, 1].numpy(), largest(second.between))
    assert not page.locator(".within").is_visible()


# pins


def test_several_pins_have_numbers_and_colours_and_go(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    for side, players, index in ((0, of_cells(), 1), (0, of_cells(), 10), (1, of_cells(2, 2), 0)):
        click(page, side, players, index)
    strongest = [CELLS.between[0, 1].abs().argmax(), CELLS.between[0, 10].abs().argmax(), CELLS.between[0, :, 0].abs().argmax()]
    partners = [name_of(players, k.item()) for players, k in zip((of_cells(2, 2), of_cells(2, 2), of_cells()), strongest, strict=True)]
    chips = page.locator(".pins .show").all_inner_texts()
    for chip, place, name, partner in zip(
        chips, "123", ("query cell (0, 1)", "query cell (2, 2)", "retrieved cell (0, 0)"), partners, strict=True
    ):
        words = " ".join(chip.split())
        assert words.startswith(f"{place} {name} → {partner} ")
    for colour in PART_COLOURS[:3]:  # on both: the part, and its partner
        assert has_colour(page, 0, colour) and has_colour(page, 1, colour)
    click(page, 0, of_cells(), 1)  # again
    assert [chip[0] for chip in pins(page)] == ["2", "3"] and not has_colour(page, 0, PART_COLOURS[0])
    page.get_by_label("Unpin 3").click()
    assert [chip[0] for chip in pins(page)] == ["2"] and not has_colour(page, 1, PART_COLOURS[2])
    click(page, 0, of_cells(), 5)  # takes the number that is free
    assert [chip[0] for chip in pins(page)] == ["1", "2"]
    page.get_by_role("button", name="Clear all").click()
    assert pins(page) == [] and not page.locator(".clear").is_visible()
    assert not any(has_colour(page, side, colour) for side in (0, 1) for colour in PART_COLOURS)
    assert_plain(page, 0)
    assert_plain(page, 1)


def test_a_pin_stays_when_the_pointer_leaves_and_is_compared_with_what_is_under_it(visit):
    page = visit(cp.viewer(CELLS, PHOTOS))
    click(page, 0, of_cells(), 2)
    click(page, 0, of_cells(), 8)
    hover(page, 0, of_cells(), 0)
    assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 0].numpy(), largest(CELLS.between))
    page.mouse.move(2, 2)
    assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 8].numpy(), largest(CELLS.between))
    hover(page, 1, of_cells(2, 2), 3)
    assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 8].numpy(), largest(CELLS.between))
    assert_painted(page, 0, of_cells(), CELLS.between[0, :, 3].numpy(), largest(CELLS.between))
    found = here(page, 1)
    for place, index in (("1", 2), ("2", 8)):
        assert number(found[f"pair with pin {place}"]) == pytest.approx(CELLS.between[0, index, 3].item(), abs=6e-3)
    page.locator(".pins .show").first.click()
    page.mouse.move(2, 2)
    assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 2].numpy(), largest(CELLS.between))


# keys and fingers


def test_the_keyboard_alone(visit):
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
        assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, 4 * row + column].numpy(), largest(CELLS.between))
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    page.keyboard.press(" ")
    assert [chip[:4] for chip in pins(page)] == [["1", "query", "cell", "(2,"], ["2", "query", "cell", "(1,"]]
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.locator(".spoken").inner_text().startswith("Retrieved cell (1,")
    page.keyboard.press("Escape")
    assert pins(page) == []
    assert_plain(page, 0)


def test_arrow_keys_reach_every_part_of_a_mask(visit):
    known = interactions(of_mask(), of_mask())
    page = visit(cp.viewer(known, PHOTOS))
    plate(page, 0).focus()
    seen = set()
    for key in ["ArrowLeft"] * 2 + ["ArrowUp"] + ["ArrowRight"] * 2 + ["ArrowDown"] + ["ArrowLeft"] * 2:
        page.keyboard.press(key)
        seen.add(page.locator(".spoken").inner_text().split(",")[0].split(";")[0])
    assert {f"Query part {index}" for index in range(6)} <= seen


def test_a_finger_taps_once_to_look_and_twice_to_pin(visit):
    page = visit(cp.viewer(CELLS, PHOTOS), NARROW, has_touch=True, is_mobile=True)

    def tap(index):
        plate(page, 0).tap(position=position(page, 0, of_cells(), index))

    start = CELLS.between[0].max(1).values.argmax().item()  # is shown from the start, and yet a first tap pins nothing
    for index in (start, 9, start):
        tap(index)
        assert_painted(page, 1, of_cells(2, 2), CELLS.between[0, index].numpy(), largest(CELLS.between))
        assert pins(page) == []
    tap(start)
    assert len(pins(page)) == 1
    tap(9)
    tap(9)
    assert len(pins(page)) == 2
    tap(9)
    assert len(pins(page)) == 1


# words


def of_sentences():
    return interactions(of_words(4), of_words(3))


def backgrounds(page, side):
    return [
        [float(value) for value in colour[4:-1].split(",")]
        for colour in plate(page, side)
        .locator(".word")
        .evaluate_all("words => words.map((word) => getComputedStyle(word).backgroundColor)")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_coloured_and_read(visit, scheme):
    known = of_sentences()
    page = visit(cp.viewer(known, WORDS), color_scheme=scheme)
    plate(page, 0).locator(".word").nth(2).hover()
    wanted = colours(known.between[0, 2].numpy(), largest(known.between))
    opacity = wanted[:, 3:] / 255
    assert backgrounds(page, 1) == [pytest.approx(row, abs=2) for row in opacity * wanted[:, :3] + (1 - opacity) * 255]
    assert dict(listed(page, 1)) == pytest.approx(
        {f"“{w}”": v for w, v in zip(WORDS[1], known.between[0, 2].tolist(), strict=True)}, abs=6e-3
    )
    choose(page, "order", "parts")
    both = "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
    for element in [page.locator("body"), *plate(page, 0).locator(".word").all()]:
        assert contrast(*element.evaluate(both)) >= 4.5
    assert (luminance(page.locator("body").evaluate(both)[1]) < 0.5) == (scheme == "dark")


def luminance(colour):
    """WCAG's, of a colour `rgb(r, g, b)`."""
    channels = np.array([float(value) for value in colour[4:-1].split(",")]) / 255
    return np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(ink, ground):
    dark, light = sorted(map(luminance, (ink, ground)))
    return (light + 0.05) / (dark + 0.05)


def test_words_by_keyboard_and_pinned(visit):
    page = visit(cp.viewer(of_sentences(), WORDS))
    plate(page, 1).focus()
    for key in ["ArrowLeft"] * 3 + ["ArrowRight", "Enter"]:
        page.keyboard.press(key)
    assert page.locator(".spoken").inner_text().startswith("Retrieved “kitten”, pin 1;")
    pinned = plate(page, 1).locator(".word").nth(1)
    assert pinned.get_attribute("data-label") == "1" and "dashed" not in pinned.get_attribute("class")
    partner = plate(page, 0).locator(".word").nth(of_sentences().between[0, :, 1].abs().argmax().item())
    assert partner.get_attribute("data-label") == "1" and "dashed" in partner.get_attribute("class")


def test_a_photo_and_a_sentence(visit):
    known = interactions(of_mask(), of_words(3))
    page = visit(cp.viewer(known, (PHOTOS[0], WORDS[1])))
    plate(page, 1).locator(".word").nth(0).hover()
    assert_painted(page, 0, of_mask(), known.between[0, :, 0].numpy(), largest(known.between))
    hover(page, 0, of_mask(), 3)
    wanted = colours(known.between[0, 3].numpy(), largest(known.between))
    opacity = wanted[:, 3:] / 255
    assert backgrounds(page, 1) == [pytest.approx(row, abs=2) for row in opacity * wanted[:, :3] + (1 - opacity) * 255]


# the page


@pytest.mark.parametrize("content", ["photos", "words"])
def test_nothing_is_wider_than_the_screen(visit, content):
    long = "an_uncommonly_long_name_of_a_method_that_nobody_can_break_into_lines"
    made = {
        "photos": lambda: cp.viewer({long: CELLS, "mask": MASK}, (photo(20, 200), photo(200, 20)), title=long),
        "words": lambda: cp.viewer({long: of_sentences()}, ([*WORDS[0][:3], long], WORDS[1]), title=long),
    }
    page = visit(made[content]())
    for side in (0, 1):
        plate(page, side).focus()
        for key in ("ArrowRight", "Enter", "ArrowDown", "Enter"):
            page.keyboard.press(key)
    page.locator("summary").click()
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        boxes = [plate(page, side).bounding_box() for side in (0, 1)]
        assert all(0 <= box["x"] and box["x"] + box["width"] <= width for box in boxes)
        assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1280)  # beside or below each other


def test_two_viewers_of_a_notebook_do_not_know_each_other(visit):
    frames = [cp.viewer(CELLS, PHOTOS), cp.viewer(MASK, PHOTOS)]
    page = visit("<!doctype html>" + "".join(f"<div>{frame._repr_html_()}</div>" for frame in frames))
    first, second = page.frames[1:]
    click(first, 0, of_cells(), 4)
    assert len(pins(first)) == 1 and pins(second) == []
    second.locator("input[value=parts]").locator("..").click()
    assert_painted(second, 0, of_mask(), MASK.query_marginal[0].numpy(), largest(MASK.marginal))
    hover(first, 0, of_cells(), 9)
    assert_painted(first, 1, of_cells(2, 2), CELLS.between[0, 9].numpy(), largest(CELLS.between))
    for frame in (first, second):
        assert frame.evaluate("window.innerHeight - document.getElementById('viewer').offsetHeight") in range(4)


def test_labels_do_not_run(visit):
    known = interactions(of_words(2), of_cells())
    page = visit(cp.viewer({NASTY: known, "b": known}, ([NASTY, "b"], PHOTOS[0]), title=NASTY))
    plate(page, 0).locator(".word").first.click()
    assert page.evaluate("window.hacked") is None and page.locator("b, script:not([type])").count() == len(SCRIPTS)
    assert page.title() == NASTY
    assert plate(page, 0).locator(".word").first.evaluate("word => word.textContent") == NASTY
    assert page.locator("option").first.evaluate("option => option.textContent") == NASTY


def test_the_page_forbids_itself_the_network_and_other_scripts(browser, tmp_path):
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
        await new Promise((resolve) => setTimeout(resolve, 100));
        return refused;
    }""")
    assert {directive.removesuffix("-elem") for directive in refused} == {"img-src", "script-src", "frame-src", "connect-src"}
    assert page.evaluate("window.hacked") is None
    page.close()


def test_many_parts_are_drawn(visit):
    known = interactions(of_cells(14, 28), of_cells(14, 28))
    page = visit(cp.viewer(known, (photo(300, 200), photo(200, 300))))
    sums = []
    for index in (0, 200, 391):
        hover(page, 0, of_cells(14, 28), index)
        assert_painted(page, 1, of_cells(14, 28), known.between[0, index].numpy(), largest(known.between))
        sums.append(pixels(page, 1, of_cells(14, 28)).sum())
    assert all(a != b for a, b in pairwise(sums))
