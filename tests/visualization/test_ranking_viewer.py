"""Page of a ranked list: its data, and the page in a browser."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest
from ranking_cases import VERDICT, build_photo_ranking, build_word_ranking
from viewer_browser import NARROW
from viewer_cases import NASTY, Elements, build_interactions, cell_players, decode_floats, photo, read_data
from viewer_reading import READ, expected_colours, find_middle

from captum_pairwise import visualization
from captum_pairwise.results.objective import Objective
from captum_pairwise.results.verdict import Trust
from captum_pairwise.visualization.ranking_viewer import RANKING_SCRIPTS

pytest_plugins = ["viewer_browser"]


def build_page(ranking, **words):
    return visualization.ranking_viewer(**ranking | words)


def test_the_page_contains_every_result_in_order():
    ranking = build_photo_ranking(3)
    data = read_data(build_page(ranking, verdicts=[VERDICT] * 3))
    assert [result["name"] for result in data["results"]] == ranking["names"]
    assert [result["score"] for result in data["results"]] == ["0.90", "0.86", "0.82"]
    for result, known in zip(data["results"], ranking["results"], strict=True):
        for block in ("given_other", "between"):
            assert np.array_equal(decode_floats(result["method"]["credit"][block]), known[block][0].flatten().float())


def test_photos_of_results_are_reduced():
    ranking = build_photo_ranking(2)
    ranking["retrieved"][1] = photo(300, 1200)
    sides = [result["side"] for result in read_data(build_page(ranking))["results"]]
    assert [(side["width"], side["height"]) for side in sides] == [(60, 30), (512, 128)]


def test_the_page_allows_only_its_own_scripts_and_names_are_text():
    ranking = build_photo_ranking(2) | {"names": [NASTY, "b"]}
    page = build_page(ranking, title=NASTY, verdicts=[replace(VERDICT, sentences=(NASTY,))] * 2, margin=NASTY, choices=NASTY)
    elements = Elements(page.html)
    assert len(elements.find("script")) == 1 + len(RANKING_SCRIPTS)
    assert not [name for _, attributes, _ in elements.tags for name in attributes if name.startswith("on") or name == "style"]
    (policy,) = [meta["content"] for meta in elements.find("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"://|@import|url\(|fetch\(|XMLHttpRequest", "".join(elements.read_code()))
    assert read_data(page)["results"][0]["name"] == NASTY


@pytest.mark.parametrize("build", [lambda: build_photo_ranking(2), build_word_ranking], ids=["photos", "words"])
def test_only_the_query_takes_keys(build):
    plates = [attributes for attributes in Elements(build_page(build()).html).find("div") if "plate" in attributes.get("class", "").split()]
    query, *results = plates
    assert query["tabindex"] == "0" and query["role"] == "application" and query["aria-describedby"] == "keys"
    assert len(results) >= 2 and all(set(attributes) == {"class"} for attributes in results)


def test_results_with_other_parts_of_the_query_are_refused():
    ranking = build_photo_ranking(2)
    ranking["results"][1] = build_interactions(cell_players(3, 3), cell_players(2, 3))
    with pytest.raises(ValueError, match="same parts of the query for all results"):
        build_page(ranking)


def test_maps_that_nobody_should_read_are_grey():
    verdicts = [VERDICT, replace(VERDICT, trust=Trust("do not read this", ()))]
    results = read_data(build_page(build_photo_ranking(2), verdicts=verdicts))["results"]
    palettes = [base64.b64decode(result["palette"]) for result in results]
    assert [all(len(set(palette[k : k + 3])) == 1 for k in range(0, 768, 3)) for palette in palettes] == [False, True]


# in a browser

MAPS, CELLS = "given_other", cell_players(2, 3)
QUERY, RESULTS = ".query .plate", ".result .plate"


def read_colours(page, selector, number=0):
    places = [find_middle(CELLS, index) for index in range(6)]
    script = f"""(canvas, places) => {{ const {{data, width, height}} = ({READ})(canvas);
        const start = ({{x, y}}) => 4 * (Math.floor(y * height) * width + Math.floor(x * width));
        return places.map((place) => Array.from(data.slice(start(place), start(place) + 4))); }}"""
    return np.array(page.locator(f"{selector} .heat").nth(number).evaluate(script, places))


def assert_colours(page, selector, values, scale, number=0):
    colours, expected = read_colours(page, selector, number), expected_colours(values.numpy(), scale)
    assert np.abs(colours[:, 3] - expected[:, 3]).max() <= 1.5
    visible = expected[:, 3] > 40
    assert np.abs(colours - expected)[visible].max() <= 4


def point(page, index):
    box, place = page.locator(QUERY).bounding_box(), find_middle(CELLS, index)
    return {"x": place["x"] * box["width"], "y": place["y"] * box["height"]}


def largest_pair(ranking, part):
    return max(result.between[0, part].abs().max().item() for result in ranking["results"])


def assert_maps(page, ranking, chosen=0):
    results = ranking["results"]
    query = results[chosen].query_map[0]
    scale = max([query.abs().max().item(), *(result.retrieved_map.abs().max().item() for result in results)])
    assert_colours(page, QUERY, query, scale)
    for number, result in enumerate(results):
        assert_colours(page, RESULTS, result.retrieved_map[0], scale, number)


def assert_pairs(page, ranking, part):
    for number, result in enumerate(ranking["results"]):
        assert_colours(page, RESULTS, result.between[0, part], largest_pair(ranking, part), number)


@pytest.mark.slow
def test_a_part_of_the_query_shows_where_it_is_in_every_result(visit):
    ranking = build_photo_ranking(3)
    page = visit(build_page(ranking, verdicts=[VERDICT] * 3))
    assert_maps(page, ranking)
    page.locator(QUERY).click(position=point(page, 4))
    assert_pairs(page, ranking, 4)
    page.locator(QUERY).hover(position=point(page, 1))
    assert_pairs(page, ranking, 1)
    page.mouse.move(2, 2)
    assert_pairs(page, ranking, 4)  # the part that was clicked stays
    best = ranking["results"][2].between[0, 4].abs().argmax().item()
    assert page.locator(".best").nth(2).inner_text().startswith(f"strongest: cell ({best // 3}, {best % 3}), ")
    page.get_by_role("button", name="Show the maps again").click()
    assert_maps(page, ranking)
    page.locator(".choose").nth(2).click()
    assert_maps(page, ranking, chosen=2)
    assert "result 3" in page.locator(".query h2").inner_text()


@pytest.mark.slow
def test_the_map_of_an_objective_comes_first_and_again(visit):
    ranking = build_photo_ranking(2)
    values = ranking["results"][0].query_map[0] - ranking["results"][1].query_map[0]
    objective = Objective("margin", (1.0, -1.0), 0.1, values, None, None, None, "what favours 1 over 2", "One is better.")
    page = visit(build_page(ranking, objective=objective))

    def assert_objective():
        assert_colours(page, QUERY, values, values.abs().max().item())
        scale = max(result.retrieved_map.abs().max().item() for result in ranking["results"])
        for number, result in enumerate(ranking["results"]):
            assert_colours(page, RESULTS, result.retrieved_map[0], scale, number)
        assert "what favours 1 over 2" in page.locator(".query h2").inner_text()
        assert "of the query, on its own scale, ±" in page.locator("figcaption").inner_text()

    assert_objective()
    assert "One is better." in page.locator("body").inner_text() and "weight -1" in page.locator(".result").nth(1).inner_text()
    page.locator(QUERY).click(position=point(page, 4))
    assert_pairs(page, ranking, 4)
    page.locator(".choose").nth(1).click()
    assert_maps(page, ranking, chosen=1)
    page.keyboard.press("Escape")
    assert_objective()


@pytest.mark.slow
def test_the_query_can_be_read_by_keyboard(visit):
    ranking = build_photo_ranking(2)
    page = visit(build_page(ranking))
    page.keyboard.press("Tab")
    start = ranking["results"][0].query_map[0].abs().argmax().item()
    assert_pairs(page, ranking, start)
    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator(".spoken").inner_text().startswith("Query cell (0, 0); result 1 strongest: ")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert_pairs(page, ranking, 0)
    page.keyboard.press("Escape")
    assert_maps(page, ranking)


@pytest.mark.slow
@pytest.mark.parametrize("build", [lambda: build_photo_ranking(7), build_word_ranking])
@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen(visit, build, viewport, scheme):
    page = visit(build_page(build(), margin="Warning: the order is wrong."), viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    assert page.locator(".banner").inner_text() == "Warning: the order is wrong."


@pytest.mark.slow
@pytest.mark.parametrize("charset", ["utf-8", "windows-1252"])
def test_a_notebook_of_any_encoding_shows_the_page(visit, charset):
    ranking = build_photo_ranking(3)
    page = visit(f"<!doctype html><meta charset={charset}>{build_page(ranking)._repr_html_()}", {"width": 820, "height": 900})
    frame = page.frames[1]
    assert frame.locator(".best").first.inner_text().startswith("strongest: cell (")
    assert frame.evaluate("window.innerHeight - document.getElementById('ranking').offsetHeight") in range(4)
    boxes = [frame.locator(".result").nth(number).bounding_box() for number in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]  # beside each other


@pytest.mark.slow
def test_a_click_on_the_trust_shows_the_verdict(visit):
    page = visit(build_page(build_photo_ranking(1), verdicts=[VERDICT]))
    assert not page.get_by_text("R² 0.9.").is_visible()
    page.locator(".result .trust summary").click()
    assert page.get_by_text("They are alike.").is_visible() and page.get_by_text("R² 0.9.").is_visible()


@pytest.mark.slow
def test_words_of_the_query_are_found_in_sentences(visit):
    ranking = build_word_ranking()
    page = visit(build_page(ranking))
    page.locator(".query .word").nth(2).click()
    for number, result in enumerate(ranking["results"]):
        best = result.between[0, 2].abs().argmax().item()
        marked = page.locator(".result").nth(number).locator(".word.marked")
        assert marked.all_inner_texts() == [ranking["retrieved"][number][best]]
