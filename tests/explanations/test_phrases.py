"""Phrases of long texts: they are the text, they keep words and clauses whole, and there are not more than allowed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_pairwise.explanations.phrases import divide_text

TEXT = "If you have forgotten your password, click the link below. We send a message; it is valid for one hour. Never reply!"


def cut(text: str) -> list[str]:
    """Words, with marks apart, and long words in two pieces."""
    tokens = []
    for word in re.findall(r"\w+|[^\w\s]", text):
        tokens += [word[:4], f"##{word[4:]}"] if len(word) > 6 else [word]
    return tokens


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 8, 12, 20])
def test_phrases_are_the_text_in_order(most: int) -> None:
    tokens = cut(TEXT)
    phrases = divide_text(TEXT, tokens, most)
    assert len(phrases.numbers) == len(tokens) and len(phrases.texts) == most == phrases.numbers[-1] + 1
    assert list(phrases.numbers) == sorted(phrases.numbers) and set(phrases.numbers) == set(range(most))
    assert " ".join(phrases.texts) == TEXT
    for number, text in enumerate(phrases.texts):
        own = [token.removeprefix("##") for token, phrase in zip(tokens, phrases.numbers, strict=True) if phrase == number]
        assert "".join(own) == text.replace(" ", "")


def test_clauses_stay_whole() -> None:
    assert divide_text(TEXT, cut(TEXT), 5).texts == (
        "If you have forgotten your password,",
        "click the link below.",
        "We send a message;",
        "it is valid for one hour.",
        "Never reply!",
    )


def test_the_shortest_neighbours_are_joined() -> None:
    assert divide_text(TEXT, cut(TEXT), 4).texts[-1] == "it is valid for one hour. Never reply!"  # 10 tokens; the others 11 to 14


def test_a_short_text_keeps_its_tokens() -> None:
    assert divide_text("unbelievable cat", ["unbel", "##ievable", "cat"], 3) == ((0, 1, 2), ("unbel", "##ievable", "cat"))


def test_a_word_in_many_pieces_stays_one_phrase() -> None:
    phrases = divide_text("a xxxxxxxxxx b", ["a", "xx", "##xx", "##xx", "##xx", "##xx", "b"], 4)
    assert phrases == ((0, 1, 1, 1, 1, 1, 2), ("a", "xxxxxxxxxx", "b"))


def test_tokens_may_be_in_lower_case_and_without_accents() -> None:
    text = "Élan Vital war ÜBERALL. Nur hier nicht, sagt Öde."
    tokens = ["elan", "vital", "war", "uber", "##all", ".", "nur", "hier", "nicht", ",", "sagt", "ode", "."]
    assert divide_text(text, tokens, 3).texts == ("Élan Vital war ÜBERALL.", "Nur hier nicht,", "sagt Öde.")


def test_tokens_without_characters_belong_to_a_neighbour() -> None:
    phrases = divide_text("so 😀 fine it is", ["so", "😀", "…", "fine", "it", "is"], 3)
    assert "".join(phrases.texts).replace(" ", "") == "so😀fineitis" and len(phrases.numbers) == 6


@given(st.lists(st.text("ab.,!", min_size=1, max_size=9), min_size=1, max_size=40), st.integers(1, 25))
def test_any_text_is_covered(words: list[str], most: int) -> None:
    text = " ".join(words)
    tokens = cut(text)
    phrases = divide_text(text, tokens, most)
    assert len(phrases.numbers) == len(tokens) and len(phrases.texts) <= max(most, 1)
    assert "".join(phrases.texts).replace("##", "").replace(" ", "") == text.replace(" ", "")
