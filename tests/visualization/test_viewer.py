"""Viewer: the data of its page, the page itself, and refused input."""

import base64
import hashlib
import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import assert_refused, images, tiny_encoder
from PIL import Image
from viewer_cases import (
    CELLS,
    NASTY,
    PHOTOS,
    Elements,
    build_interactions,
    cell_players,
    decode_floats,
    decode_owners,
    mask_players,
    photo,
    read_data,
    word_players,
)

import captum_pairwise as cp
from captum_pairwise.players.regions import Players, parse_mask
from captum_pairwise.results.interactions import stack_interactions
from captum_pairwise.results.verdict import Trust, Verdict
from captum_pairwise.visualization.viewer import SCRIPTS

BLOCKS = ("given_other", "between", "within_query", "within_retrieved")


def test_the_page_contains_all_numbers_and_parts_of_each_method():
    methods = {"cells": CELLS, "mask": build_interactions(mask_players(), cell_players(2, 2), seed=7)}
    data = read_data(cp.viewer(methods, PHOTOS))
    for method, (name, known) in zip(data["methods"], methods.items(), strict=True):
        assert method["name"] == name
        for block in BLOCKS:
            assert np.array_equal(decode_floats(method["credit"][block]), known[block][0].flatten().float())
            assert np.array_equal(decode_floats(method["error"][block]), known.standard_error[block][0].flatten().float())
        assert [method["full"], method["without"]] == [0.75, [0.5, 0.375]]
        assert method["gap"] == max(abs(0.25 - known.query_map.sum()), abs(0.375 - known.retrieved_map.sum())).item()
        for part, players in zip(method["parts"], (known.query_players, known.retrieved_players), strict=True):
            assert part["n"] == players.n_players
            assert np.array_equal(decode_owners(part), players.ids[0, 0])
    assert "runs" not in data["methods"][0]["parts"][0] and "runs" in data["methods"][1]["parts"][0]


def test_the_page_of_one_pair_does_not_depend_on_its_batch():
    others = build_interactions(cell_players(), cell_players(2, 2), seed=9)
    batch = replace(stack_interactions([CELLS, others]), query_players=cell_players(), retrieved_players=cell_players(2, 2))
    ids = [Players(players.ids.expand(2, -1, -1, -1), players.shape) for players in (cell_players(), cell_players(2, 2))]
    batch = replace(batch, query_players=ids[0], retrieved_players=ids[1])
    images = tuple(torch.cat([image, image.flip(3)]) for image in PHOTOS)
    alone = cp.viewer(others, tuple(image.flip(3) for image in PHOTOS))
    assert cp.viewer(batch, images, example=1).html == alone.html != cp.viewer(batch, images).html


def decode_photo(side):
    kind, content = side["photo"].split(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_small_photos_keep_their_size_and_large_photos_are_reduced():
    smooth = torch.linspace(0, 1, 80).expand(1, 3, 60, 80)
    small, large = read_data(cp.viewer(CELLS, (smooth, photo(700, 1500))))["sides"]
    assert (small["width"], small["height"]) == decode_photo(small).size == (80, 60)
    assert (large["width"], large["height"]) == decode_photo(large).size == (1024, round(700 * 1024 / 1500))
    assert np.abs(np.asarray(decode_photo(small)) / 255 - smooth[0].permute(1, 2, 0).numpy()).max() < 0.02


def test_a_large_mask_is_reduced():
    mask = parse_mask(cp.grid(1200, 800, 3, 2).flip(2), photo(1200, 800), "mask")
    (part, _) = read_data(cp.viewer(build_interactions(mask, cell_players()), (photo(1200, 800), photo())))["methods"][0]["parts"]
    assert (part["height"], part["width"]) == (512, 341)
    rows, columns = (np.arange(512) + 0.5) * 1200 / 512, (np.arange(341) + 0.5) * 800 / 341
    assert np.array_equal(decode_owners(part), mask.ids[0, 0][rows.astype(int)][:, columns.astype(int)])


def test_the_page_loads_nothing_and_allows_only_its_own_scripts():
    page = cp.viewer(CELLS, PHOTOS, title=NASTY).html
    elements = Elements(page)
    loads = [value for _, a, _ in elements.tags for name, value in a.items() if name in ("src", "href", "srcset", "action")]
    assert len(loads) == 2 and all(value.startswith("data:image/jpeg;base64,") for value in loads)
    assert not elements.find("link") and not [name for _, a, _ in elements.tags for name in a if name.startswith("on") or name == "style"]
    assert not re.search(r"://|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon", "".join(elements.read_code()))
    (policy,) = [meta["content"] for meta in elements.find("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert len(elements.read_code()) == 1 + len(SCRIPTS)
    for text in elements.read_code():
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_strict_and_write_no_html(script):
    text = cp.visualization.__file__.replace("__init__.py", f"page/{script}")
    with open(text, encoding="utf-8") as file:
        lines = file.read()
    assert lines.startswith("'use strict';\n") and "</" not in lines
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", lines)


def test_labels_are_escaped():
    tokens = [NASTY, "b"]
    known = build_interactions(word_players(2), cell_players())
    page = cp.viewer({NASTY: known}, (tokens, PHOTOS[0]), title=NASTY)
    elements, data = Elements(page.html), read_data(page)
    assert len(elements.find("script")) == 1 + len(SCRIPTS) and "hacked" not in str([attributes for _, attributes, _ in elements.tags])
    assert html.unescape(re.search("<title>(.*?)</title>", page.html, re.S).group(1)) == NASTY
    assert data["sides"][0]["tokens"] == tokens and data["methods"][0]["name"] == NASTY
    assert page.html.count("<!--") == 0 and page.html.count("</script") == 1 + len(SCRIPTS)


def test_a_notebook_shows_the_page_in_a_frame():
    page = cp.viewer(CELLS, PHOTOS, title=NASTY)
    elements = Elements(page._repr_html_())
    assert [tag for tag, _, _ in elements.tags] == ["iframe", "/iframe"] and elements.find("iframe")[0]["srcdoc"] == page.html


def test_save_writes_and_replaces_a_file(tmp_path):
    page = cp.viewer(CELLS, PHOTOS, title=NASTY)
    file = tmp_path / "new" / "pair.html"
    for path in (file, str(file)):
        assert page.save(path) == file
        assert file.read_text(encoding="utf-8") == page.html
    assert list(file.parent.iterdir()) == [file]


def test_a_failed_save_keeps_the_old_file(tmp_path):
    file = tmp_path / "pair.html"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        cp.Viewer("new \ud800").save(file)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("sides", "megabytes"), [((7, 7), 1), ((14, 7), 1), ((14, 28), 6)])
def test_size_of_the_page(sides, megabytes):
    """49 + 49, 98 + 98 and 392 + 392 parts, with all blocks and errors, and two photos of noise, which compress badly."""
    known = build_interactions(cell_players(*sides), cell_players(*sides))
    page = cp.viewer(known, (photo(224, 224), photo(224, 224, seed=1)))
    assert len(page.html.encode()) < megabytes * 1e6


@pytest.mark.parametrize("missing", ["given_other", "between"])
def test_one_order_alone_is_enough(missing):
    without = {"within_query": None, "within_retrieved": None, "standard_error": None, missing: None}
    (method,) = read_data(cp.viewer(build_interactions(cell_players(), cell_players(2, 2), **without), PHOTOS))["methods"]
    assert set(method["credit"]) == {"given_other", "between"} - {missing} and method["error"] == {}
    assert (method["gap"] is None) == (missing == "given_other")


def test_unknown_similarities_are_none():
    known = replace(CELLS, without_query=torch.tensor([torch.nan]), without_retrieved=None)
    (method,) = read_data(cp.viewer(known, PHOTOS))["methods"]
    assert method["without"] == [None, None] and method["gap"] is None and method["full"] == 0.75


VERDICT = Verdict("Why so alike?", ("They are.", "Cats."), Trust("rough", ("R² 0.8.",)), ("random weights",))


def test_the_page_shows_the_verdict_and_the_choices():
    page = cp.viewer(CELLS, PHOTOS, verdict=VERDICT, choices="layer features").html
    texts = [" ".join("".join(text).split()) for _, _, text in Elements(page).tags]
    words = ["Warning: random weights", "Why so alike?", "They are.", "Cats.", "These numbers are rough.", "R² 0.8.", "layer features"]
    assert [text for text in texts[texts.index(words[0]) :] if text in words] == words
    assert "<title>Why so alike?</title>" in page and "<h1>Mine</h1>" in cp.viewer(CELLS, PHOTOS, title="Mine", verdict=VERDICT).html
    assert "Why are these two photos similar?" in cp.viewer(CELLS, PHOTOS).html


def test_numbers_that_nobody_should_read_are_grey():
    verdict = replace(VERDICT, trust=Trust("do not read this", ()))
    palette = base64.b64decode(read_data(cp.viewer(CELLS, PHOTOS, verdict=verdict))["palette"])
    assert all(len(set(palette[k : k + 3])) == 1 for k in range(0, 768, 3))


def test_grey_photos_are_shown():
    grey = PHOTOS[0][:, :1], PHOTOS[1]
    shown = np.asarray(decode_photo(read_data(cp.viewer(CELLS, grey))["sides"][0]), dtype=float)
    assert np.abs(shown - 255 * grey[0][0, 0].numpy()[..., None]).max() < 60 and np.ptp(shown, axis=2).max() <= 3


def test_players_without_a_token_are_left_out():
    names = ["given_other", "between", "within_query", "within_retrieved"]
    known = build_interactions(word_players(3), word_players(4))
    blocks = {name: known[name].clone() for name in names}
    for name, axes in {"given_other": [(1, 2)], "between": [(1, 2)], "within_query": [(1, 2), (2, 2)]}.items():
        for axis, place in axes:
            blocks[name].select(axis, place).zero_()
    (method,) = read_data(cp.viewer(replace(known, standard_error=None, **blocks), (["a", "b"], list("wxyz"))))["methods"]
    assert np.array_equal(decode_floats(method["credit"]["between"]).reshape(2, 4), blocks["between"][0, :2].float())
    assert np.array_equal(decode_floats(method["credit"]["given_other"]), blocks["given_other"][0, [0, 1, 3, 4, 5, 6]].float())
    assert_refused(lambda: cp.viewer(known, (["a", "b"], list("wxyz"))), "a token for each player with credit.*Name all")


def channel_players():
    return Players(torch.arange(12).reshape(1, 3, 2, 2), (12,))


WRONG = {
    "an empty mapping": (lambda: cp.viewer({}, PHOTOS), "at least one method, got an empty mapping"),
    "no interactions": (lambda: cp.viewer(torch.zeros(1), PHOTOS), "mapping from names to them, got Tensor"),
    "other things in the mapping": (lambda: cp.viewer({"a": torch.zeros(1)}, PHOTOS), "got Tensor for 'a'"),
    "no pair of images": (lambda: cp.viewer(CELLS, PHOTOS[0]), "a pair .query, retrieved., got Tensor"),
    "an example beyond the batch": (lambda: cp.viewer(CELLS, PHOTOS, example=1), "example from 0 to 0, got 1"),
    "a negative example": (lambda: cp.viewer(CELLS, PHOTOS, example=-1), "example from 0 to 0, got -1"),
    "no players": (lambda: cp.viewer(replace(CELLS, query_players=None), PHOTOS), "interactions with players, got some without"),
    "other players": (lambda: cp.viewer(replace(CELLS, query_players=cell_players(5, 5)), PHOTOS), "12 query players.*got 25"),
    "tokens over a photo": (lambda: cp.viewer(build_interactions(word_players(2), cell_players()), PHOTOS), "token_grid"),
    "single channels": (
        lambda: cp.viewer(build_interactions(channel_players(), cell_players()), PHOTOS),
        "own pixels, got some.*single channels",
    ),
    "photos not in [0, 1]": (lambda: cp.viewer(CELLS, (PHOTOS[0] * 255, PHOTOS[1])), r"photos in \[0, 1\]"),
    "photos that are not finite": (lambda: cp.viewer(CELLS, (PHOTOS[0] / 0, PHOTOS[1])), r"photos in \[0, 1\], got the query photos from"),
    "a photo without a batch": (lambda: cp.viewer(CELLS, (PHOTOS[0][0], PHOTOS[1])), r"query photos to be a batch.*\(3, 60, 80\)"),
    "another batch": (lambda: cp.viewer(CELLS, (PHOTOS[0].expand(2, -1, -1, -1), PHOTOS[1])), "photos of 1 pairs.*got 2"),
    "one string": (
        lambda: cp.viewer(build_interactions(word_players(2), cell_players()), ("a b", PHOTOS[0])),
        "tokens of one sentence.*got 'a b'",
    ),
    "no token": (
        lambda: cp.viewer(build_interactions(word_players(2), cell_players()), ([], PHOTOS[0])),
        "tokens of one sentence.*got list",
    ),
    "sentences of a batch": (
        lambda: cp.viewer(build_interactions(word_players(2), cell_players()), ([["a"]], PHOTOS[0])),
        "tokens of one sentence",
    ),
    "too many tokens": (
        lambda: cp.viewer(build_interactions(word_players(2), cell_players()), (list("abc"), PHOTOS[0])),
        "up to 2 query tokens.*got 3",
    ),
    "nothing in place of a photo": (lambda: cp.viewer(CELLS, (None, PHOTOS[1])), "tokens of one sentence.*got NoneType"),
    "nothing to show": (lambda: cp.viewer(replace(CELLS, between=None, given_other=None), PHOTOS), "neither"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_input_that_does_not_fit_is_refused(wrong, without_type_checks):
    assert_refused(*WRONG[wrong])


@pytest.mark.parametrize("block", BLOCKS)
def test_credits_that_are_not_finite_are_refused(block):
    spoiled = CELLS[block].clone()
    spoiled[0, 0] = torch.nan
    assert_refused(lambda: cp.viewer(replace(CELLS, **{block: spoiled}), PHOTOS), f"finite credits.*`{block}` of ''")


def test_methods_of_different_batches_are_refused():
    two = stack_interactions([CELLS, CELLS])
    assert_refused(lambda: cp.viewer({"a": CELLS, "b": two}, PHOTOS), "the same pairs, got batches of {'a': 1, 'b': 2}")


def test_first_order_results_are_shown_without_pairs():
    encoder = tiny_encoder()
    method = cp.LayerKernelSAM(cp.SimilarityWrapper(encoder), encoder[4])
    of_query, of_retrieved = method.interactions(images(2))
    (shown_method,) = read_data(cp.viewer({"KSAM": (of_query, of_retrieved)}, images(2), example=1))["methods"]
    assert np.array_equal(
        decode_floats(shown_method["credit"]["given_other"]), torch.cat([of_query["marginal"], of_retrieved["marginal"]], 1)[1].float()
    )
    assert (
        "between" not in shown_method["credit"]
        and shown_method["without"] == [of_query.empty[1].item(), of_retrieved.empty[1].item()]
        and [part["n"] for part in shown_method["parts"]] == [9, 9]
    )


def test_a_small_part_keeps_a_pixel_in_a_reduced_mask():
    ids = torch.zeros(1, 1, 1200, 900, dtype=torch.long)
    ids[..., 601, 301] = 1
    known = build_interactions(Players(ids, (2,)), cell_players())
    rows, columns = np.nonzero(decode_owners(read_data(cp.viewer(known, (photo(1200, 900), photo())))["methods"][0]["parts"][0]) == 1)
    assert len(rows) == 1 and abs(rows[0] / 512 - 601 / 1200) < 0.01 and abs(columns[0] / 384 - 301 / 900) < 0.01


def test_every_part_of_a_large_mask_has_a_pixel_on_the_page():
    """Single pixels between those that a smaller mask takes."""
    ids = torch.zeros(1, 1, 1200, 600, dtype=torch.long)
    for player, (row, column) in enumerate([(2, 3), (611, 17), (1199, 599)], 1):
        ids[..., row, column] = player
    players = Players(ids, (4,))
    parts = read_data(cp.viewer(build_interactions(players, cell_players(2, 2), seed=7), PHOTOS))["methods"][0]["parts"][0]
    assert max(parts["height"], parts["width"]) <= 512 and set(decode_owners(parts).flatten().tolist()) == {0, 1, 2, 3}
