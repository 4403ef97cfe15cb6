"""Sentences on the index of a result and on how well it predicts, in every figure and page."""

from dataclasses import replace

import pytest
import torch
from conftest import random_tensor
from figure_cases import PHOTOS, QUERY, build_interactions, read_texts, render
from viewer_cases import read_data

import captum_pairwise as cp
from captum_pairwise import visualization
from captum_pairwise.players.regions import Players, parse_mask
from captum_pairwise.results.index import NAMES, Index, parse_index
from captum_pairwise.results.index_words import describe_index, describe_prediction
from captum_pairwise.results.verdict import Trust, Verdict

LAW = "64 coalitions, each part present with probability 0.5"
KNOWN = build_interactions(random_tensor(2, 15, 6), index=parse_index("banzhaf"), r2=torch.tensor([0.1, 0.78]), r2_law=LAW)
PREDICTION = f"The credits of parts and pairs predict 78 % of the changes of the similarity when parts are missing at random ({LAW})."
QUESTION = (
    "The pairs are Banzhaf indices: the sum of parts and pairs that predicts the similarity best if each part is present with "
    "probability 0.5."
)
PHOTO = parse_mask(cp.grid(20, 30, 2, 3), QUERY, "mask")
WORDS = [Players(torch.arange(n)[None, :, None].expand(2, -1, 1), (n,)) for n in (3, 4)]
NAMED = (["a", "black", "cat"], ["the", "dark", "##er", "kitten"])


def of_share(share, **changes):
    return describe_prediction(replace(KNOWN, r2=torch.tensor([share, 0.5], dtype=torch.float64), r2_law="", **changes), 0)


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "100 % of the changes of the similarity"),
        (0.9999, "over 99 % of the changes of the similarity"),
        (0.986, "99 % of the changes of the similarity"),
        (0.0, "0 % of the changes of the similarity"),
        (-0.2, "the similarity worse than a constant"),
        (-140.0, "the similarity worse than a constant"),
    ],
)
def test_the_share_is_told_in_words(share, words):
    assert of_share(share) == f"The credits of parts and pairs predict {words} when parts are missing at random."


def test_an_unknown_share_is_not_told():
    assert of_share(float("nan")) == of_share(float("-inf")) == describe_prediction(replace(KNOWN, r2=None), 0) == ""


def test_a_split_without_the_pairs_within_an_image_names_the_index_that_predicts():
    advice = "Without the pairs within each side, Banzhaf indices predict it best."
    within = {"within_query": random_tensor(2, 15, 15), "within_retrieved": random_tensor(2, 6, 6)}
    assert of_share(-1.0, index=Index()).endswith(advice)
    others = of_share(-1.0), of_share(0.5, index=Index()), of_share(-1.0, index=Index(), **within), of_share(-1.0, index=None)
    assert not any(advice in words for words in others)


def test_every_index_has_its_own_question():
    sentences = [describe_index(replace(KNOWN, index=parse_index(name, (0.25, 0.5)))) for name in NAMES]
    assert len(set(sentences)) == len(NAMES) and all(words.startswith("The pairs are ") and words.endswith(".") for words in sentences)
    assert sentences[NAMES.index("banzhaf")].endswith("present with probability 0.25 (query) or 0.5 (retrieved).")
    assert describe_index(replace(KNOWN, index=None)) == ""


SMALL = ("The error is small.",)


def draw_all(verdict):
    """Each figure of pairs, on the second pair of a batch."""
    facts = {"index": KNOWN.index, "r2": KNOWN.r2, "r2_law": LAW}
    words = build_interactions(random_tensor(2, 3, 4), *WORDS, **facts)
    caption = build_interactions(random_tensor(2, 6, 4), PHOTO, WORDS[1], **facts)
    yield visualization.pair_figure(KNOWN, PHOTOS, example=1, verdict=verdict)
    yield visualization.token_figure(words, *NAMED, example=1, verdict=verdict)
    yield visualization.caption_figure(caption, QUERY, NAMED[1], example=1, verdict=verdict)
    yield visualization.matches_figure(KNOWN, PHOTOS, example=1)
    yield visualization.matrix_figure(KNOWN, example=1)


@pytest.mark.parametrize("verdict", [None, *(Verdict("Why?", (), Trust("rough", evidence)) for evidence in (SMALL, (PREDICTION, *SMALL)))])
def test_figures_tell_the_prediction_before_the_other_numbers(verdict):
    for figure in draw_all(verdict):
        text = " ".join(read_texts(render(figure)))
        assert text.count(PREDICTION) == 1 and QUESTION in text
        assert SMALL[0] not in text.split(PREDICTION)[0]


def test_the_joint_figure_claims_no_sum_that_an_index_does_not_have():
    known = build_interactions(random_tensor(2, 15, 6), index=parse_index("faith-shap"))
    split, other = (
        " ".join(read_texts(visualization.joint_figure(replace(known, index=index), PHOTOS))) for index in (known.index, KNOWN.index)
    )
    assert "sums from 0.00" in split and "in random order" in split
    assert "sums from" not in other and "in random order" not in other and QUESTION in other


def test_pages_have_the_words_of_each_method():
    data = read_data(cp.viewer({"one": KNOWN, "two": replace(KNOWN, index=None, r2=None)}, PHOTOS, example=1))
    assert [(method["prediction"], method["index"]) for method in data["methods"]] == [(PREDICTION, QUESTION), ("", "")]


def test_the_page_does_not_list_the_prediction_again_behind_the_trust():
    verdict = Verdict("Why?", (), Trust("rough", (PREDICTION, *SMALL)))
    page = cp.viewer(KNOWN, PHOTOS, example=1, verdict=verdict).html
    assert f"<li>{SMALL[0]}</li>" in page and f"<li>{PREDICTION}" not in page
