"""Explanations of volumes, videos, spectrograms, signals and images with many channels, in which one planted pattern is shared."""

import pytest
import torch
from kind_cases import explain_planted, make_pattern_encoder, plant
from torch import nn
from torch.testing import assert_close

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Photo

CASES = {
    "volume": ((3, 3, 2), lambda tensor: cp.Volume(tensor, spacing=(2, 1, 1)), 1, cp.Volume, "the upper left of slices 0 to 3"),
    "a volume without a kind": ((3, 3, 2), lambda tensor: tensor, 1, cp.Volume, "the upper left of slices 0 to 3"),
    "video": ((3, 3, 2), lambda tensor: cp.Video(tensor, fps=4), 3, cp.Video, "the upper left of 0.00 s to 1.00 s"),
    "a video without a kind": ((3, 3, 2), lambda tensor: tensor[None], 3, cp.Video, "the upper left of frames 0 to 3"),
    "spectrogram": (
        (4, 5),
        lambda tensor: cp.Spectrogram(tensor, seconds=5, hertz=8000),
        1,
        cp.Spectrogram,
        "0.00 s to 1.00 s at 0 to 2 kHz",
    ),
    "signal": ((12,), lambda tensor: cp.Signal(tensor, rate=8), 1, cp.Signal, "0.00 s to 0.50 s"),
    "a signal of several channels": ((12,), lambda tensor: tensor[None], 2, cp.Signal, "samples 0 to 3"),
    "many channels": ((3, 3), lambda tensor: tensor, 13, cp.Picture, "the upper left"),
    "grey": ((3, 3), lambda tensor: tensor, 1, Photo, "the upper left"),
}


@pytest.fixture(scope="module", params=CASES)
def planted(request):
    counts, wrap, n_channels, kind, words = CASES[request.param]
    return *explain_planted(counts, wrap, n_channels), kind, words


def test_only_the_shared_pattern_has_credit(planted):
    explanation, query, retrieved, _, _ = planted
    expected = torch.zeros_like(explanation.pairs)
    expected[query, retrieved] = explanation.similarity
    assert explanation.similarity > 0
    assert_close(explanation.pairs, expected)
    assert_close(explanation.query_map, expected.sum(1))
    assert_close(explanation.retrieved_map, expected.sum(0))


def test_words_name_the_place_in_the_units_of_the_input(planted):
    explanation, query, retrieved, kind, words = planted
    assert isinstance(explanation.query, kind)
    (match,) = explanation.matches()
    assert (match.query.number, match.retrieved.number) == (query, retrieved)
    assert match.query.words == words
    assert any(f"strongest match is {words} of the query" in sentence for sentence in explanation.verdict.sentences)
    noun = "photo" if kind is Photo else kind.noun
    assert any(f"retrieved {noun}" in sentence for sentence in explanation.verdict.sentences)


def test_figure_and_page_show_the_input(planted):
    explanation, _, _, kind, _ = planted
    noun = "photo" if kind is Photo else kind.noun
    assert explanation.figure().axes
    assert f"{noun} in parts" in explanation.page().html


def test_a_ranking_of_volumes():
    model, counts = cp.SimilarityWrapper(make_pattern_encoder(3), similarity="dot"), (2, 2, 2)
    query, near, far = plant(counts, {0: (0, 0, 0)}), plant(counts, {0: (1, 1, 1)}), plant(counts, {0: (1, 0, 1), 1: (0, 0, 0)})
    ranking = cp.explain_ranking(model, query, [near, far], baselines=(0.0, 0.0), names=["near", "far"])
    assert [explanation.matches(1)[0].retrieved.number for explanation in ranking.explanations] == [7, 5]
    assert ranking.figure().axes
    assert "volume in parts" in ranking.page().html


def test_a_function_of_two_signals_has_intervals_as_parts():
    encoder = make_pattern_encoder(1)

    def score(query, retrieved):
        return (encoder(query) * encoder(retrieved)).sum(1) + 1

    query, retrieved = plant((5,), {0: (1,)}), plant((5,), {0: (3,)})
    explanation = cp.explain(score, cp.Signal(query), cp.Signal(retrieved), baselines=(0.0, 0.0))
    assert "equal intervals" in explanation.choices
    assert explanation.query_map[4:8].sum() > 0.9 * explanation.query_map.sum()


def test_the_mean_of_many_channels_is_shown_and_the_choices_say_so():
    image = torch.rand(13, 12, 12)
    encoder = nn.Sequential(nn.Conv2d(13, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    explanation = cp.explain(encoder, image, image.flip(2), n_samples=200)
    assert "mean of 13 channels" in explanation.choices
    own = cp.explain(encoder, cp.Picture(image, shown=image[[3, 2, 1]]), cp.Picture(image.flip(2), shown=image[:3]), n_samples=200)
    assert "mean of 13" not in own.choices
    assert_close(own.pairs, explanation.pairs)
