"""Figure of a ranked list: photos and sentences, names, scores, maps and the margin."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import random_tensor
from figure_cases import read_bars, read_image, read_texts, render, slow_overlay, to_array
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from ranking_cases import QUERY_WORDS, VERDICT, WORD_RESULTS, build_photo_ranking, build_word_ranking

from captum_pairwise import visualization
from captum_pairwise.results.interactions import stack_interactions
from captum_pairwise.results.verdict import Trust
from captum_pairwise.visualization.style import colour_values


def draw(ranking, **words):
    return render(visualization.ranking_figure(**ranking | words))


@pytest.mark.parametrize("n_results", [1, 3, 6, 11])
def test_photos_stand_in_the_order_of_the_list(n_results):
    ranking = build_photo_ranking(n_results)
    figure = draw(ranking)
    assert figure.get_size_inches()[0] * figure.dpi <= 1000
    panels = [panel for panel in figure.axes if panel.images and panel.get_label() != "<colorbar>"]
    named = [panel for panel in panels if panel.get_title()]
    texts = zip(ranking["names"], ranking["scores"], strict=True)
    labels = [f"{k}. {name}\nscore {score:.2f}" for k, (name, score) in enumerate(texts, 1)]
    assert [panel.get_title() for panel in named] == ["query\nwith its map for 1", *labels]
    for panel, photo in zip(named, [ranking["query"], *ranking["retrieved"]], strict=True):
        assert np.array_equal(read_image(panel), to_array(photo, 0))
    scale = max(result.given_other.abs().max().item() for result in ranking["results"])
    assert read_bars(figure) == {"similarity that a part adds": [pytest.approx((-scale, scale))]}
    maps = [panel for panel in panels if not panel.get_title()]
    first = ranking["results"][0]
    sides = [(ranking["query"], first.query_map), *zip(ranking["retrieved"], [r.retrieved_map for r in ranking["results"]], strict=True)]
    assert len(maps) == n_results + 1
    for photo, values in sides:
        rows, columns = (np.arange(size) * cells // size for size, cells in zip(photo.shape[2:], (2, 3), strict=True))
        expected = slow_overlay(to_array(photo, 0), values.reshape(2, 3).numpy()[rows][:, columns], scale)
        assert any(read_image(panel).shape == expected.shape and np.allclose(read_image(panel), expected) for panel in maps)


def test_no_text_is_cut_off():
    names = ["a_very_long_name_of_a_file_that_somebody_gave_it_" + 3 * "0123456789", "b c d e f g h i j k l m n o p q r s t", "", "x", "y"]
    for figure in (draw(build_photo_ranking(5) | {"names": names}), draw(build_word_ranking() | {"names": names[:3]})):
        boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
        shown = "".join("".join(read_texts(figure)).split())
        assert all("".join(name.split()) in shown for name in names[:3])


def test_words_have_the_colours_of_what_they_add():
    ranking = build_word_ranking()
    figure = draw(ranking)
    scale = max(result.given_other.abs().max().item() for result in ranking["results"])
    sentences = [panel for panel in figure.axes if panel.texts]
    sides = [(QUERY_WORDS, ranking["results"][0].query_map), *zip(WORD_RESULTS, [r.retrieved_map for r in ranking["results"]], strict=True)]
    for panel, (tokens, values) in zip(sentences, sides, strict=True):
        assert [text.get_text() for text in panel.texts] == tokens
        for text, value in zip(panel.texts, values[0].tolist(), strict=False):
            assert text.get_bbox_patch().get_facecolor() == pytest.approx(to_rgba(colour_values(np.array([value]), scale)[0]))


def test_a_sentence_can_find_photos_and_a_photo_sentences():
    words, photos = build_word_ranking(), build_photo_ranking(3)
    found = {"results": [replace(result, query_players=words["results"][0].query_players) for result in photos["results"]]}
    figure = draw(photos | found | {"query": ["one", "two", "three", "four", "five", "six"]})
    assert [text.get_text() for panel in figure.axes for text in panel.texts][:2] == ["one", "two"]
    results = [replace(r, query_players=photos["results"][0].query_players) for r in photos["results"]]
    results = [replace(r, retrieved_players=words["results"][0].query_players) for r in results]
    figure = draw(photos | {"results": results, "retrieved": [list("abcdef")] * 3})
    assert sum(text.get_text() == "f" for panel in figure.axes for text in panel.texts) == 3


def test_the_margin_and_the_warnings_are_above():
    ranking = build_photo_ranking(2)
    texts = read_texts(draw(ranking, verdicts=[VERDICT, VERDICT], margin="one comes first."))
    assert texts[:3] == ["Why are these results similar to the query?", "one comes first.", "These numbers are reliable."]
    verdicts = [replace(VERDICT, warnings=("random weights",)), replace(VERDICT, trust=Trust("do not read this", ()))]
    figure = draw(ranking, verdicts=verdicts, margin="Warning: the order is wrong.", title="Mine")
    assert read_texts(figure)[:3] == ["Warning: random weights · the order is wrong", "Mine", "Reliable: 1. Do not read this: 2."]
    maps = [read_image(panel) for panel in figure.axes if panel.images and not panel.get_title() and panel.get_label() != "<colorbar>"]
    assert [np.ptp(image, axis=2).max() < 1e-9 for image in maps] == [False, False, True]


def test_results_without_maps_say_so():
    ranking = build_photo_ranking(2)
    without = {"results": [replace(result, given_other=None) for result in ranking["results"]]}
    figure = draw(ranking | without)
    assert not read_bars(figure) and "This method has no map of single parts." in read_texts(figure)


REFUSED = {
    "no result": ({"results": [], "retrieved": [], "names": [], "scores": []}, "as many of each as results"),
    "a name too few": ({"names": ["a"]}, "'names': 1"),
    "a verdict too few": ({"verdicts": [VERDICT]}, "1 verdicts"),
    "a query without a batch": ({"query": random_tensor(3, 8, 8)}, "the query photos to be a batch"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("view", [visualization.ranking_figure, visualization.ranking_viewer])
def test_input_that_does_not_fit_is_refused(name, view):
    changes, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"Expected .*{message}" if "query" not in name else "Expected .*query"):
        view(**build_photo_ranking(2) | changes)


def test_batches_are_refused():
    ranking = build_photo_ranking(1)
    batch = stack_interactions(ranking["results"] * 2)
    with pytest.raises(ValueError, match="of one pair for each result, got a batch of 2"):
        visualization.ranking_figure(**ranking | {"results": [batch]})
