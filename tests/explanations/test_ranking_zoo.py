"""The margin of rankings with ties, close values, sentences and other lists."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from explanation_cases import make_pair, photo, sentence

import captum_pairwise as cp
from captum_pairwise.explanations.contents import Content
from captum_pairwise.explanations.explanation import Explanation
from captum_pairwise.explanations.ranking import tell_margin
from captum_pairwise.results.verdict import RELIABLE, Trust, Verdict

VERDICT = Verdict("Why are these similar?", (), Trust(RELIABLE, ()))


def explanations(*values: float, content: Content | None = None) -> list[Explanation]:
    pairs = [make_pair([value / 2, value / 4, 0.0], [value / 4, value / 2], full=value) for value in values]
    query = photo("query") if content is None else content
    return [Explanation(query, query, pair, VERDICT, "") for pair in pairs]


@pytest.mark.parametrize("second", [0.6, 0.6 + 1e-9, 0.6 - 1e-9])
def test_equal_results_are_no_margin_and_no_warning(second: float) -> None:
    assert tell_margin(explanations(0.6, second), ("a.jpg", "b.jpg")) == "a.jpg and b.jpg are equally similar to the query."


def test_close_values_have_the_digits_that_tell_them_apart() -> None:
    text = tell_margin(explanations(0.25001, 0.25004), ("a.jpg", "b.jpg"))
    assert text.endswith("b.jpg is more similar to the query than a.jpg, which stands before it (0.25004 against 0.25001).")


def test_sentences_are_quoted_and_cut() -> None:
    names = ("A dog runs.", "word " * 40)
    text = tell_margin(explanations(0.8, 0.2, content=sentence("the cat sleeps")), names)
    quoted = "word " * 11 + "word…"
    assert text.startswith(f"“A dog runs.” comes before “{quoted}” by 0.60.")
    assert "The words of the query that favour the first most add 0.45 more to it than to the second: “the”, “cat”." in text


def test_results_without_maps_have_the_margin_alone() -> None:
    first, second = explanations(0.8, 0.2)
    without = [replace(each, interactions=replace(each.interactions, given_other=None)) for each in (first, second)]
    assert tell_margin(without, ("a", "b")) == "a comes before b by 0.60."


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("results", ["a.jpg", Path("a.jpg")], ids=["text", "path"])
def test_a_single_result_needs_a_list(results: object) -> None:
    with pytest.raises(ValueError, match=r"Expected results to be a list, got .* alone"):
        cp.explain_ranking(torch.nn.Flatten(), torch.rand(3, 4, 4), results)
