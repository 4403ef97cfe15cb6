"""Phrases of long texts: they are the text, they keep words and clauses whole, and there are not more than allowed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captum_pairwise.explanations.phrases import divide_text
from captum_pairwise.models.words.word_places import CONTINUED, Word

TEXT = "If you have forgotten your password, click the link below. We send a message; it is valid for one hour. Never reply!"


def cut(text: str) -> list[Word]:
    """Words, with marks apart, and long words in two pieces."""
    words = []
    for word in re.finditer(r"\w+|[^\w\s]", text):
        written, start = word.group(), word.start()
        pieces = [(written[:4], start), (CONTINUED + written[4:], start + 4)] if len(written) > 6 else [(written, start)]
        words += [Word(len(words) + number, *piece) for number, piece in enumerate(pieces)]
    return words


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 8, 12, 20])
def test_phrases_are_the_text_in_order(most: int) -> None:
    words = cut(TEXT)
    phrases = divide_text(TEXT, words, most)
    assert len(phrases.numbers) == len(words) and len(phrases.texts) == most == phrases.numbers[-1] + 1
    assert list(phrases.numbers) == sorted(phrases.numbers) and set(phrases.numbers) == set(range(most))
    assert " ".join(phrases.texts) == TEXT
    for number, text in enumerate(phrases.texts):
        own = [word.text.removeprefix(CONTINUED) for word, phrase in zip(words, phrases.numbers, strict=True) if phrase == number]
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


def test_a_short_text_keeps_its_words_and_pieces() -> None:
    assert divide_text("unbelievable cat", cut("unbelievable cat"), 3) == ((0, 1, 2), ("unbe", "…lievable", "cat"))


def test_a_word_in_many_pieces_stays_one_phrase() -> None:
    text = "a xxxxxxxxxx b"
    pieces = [Word(0, "a", 0), *(Word(k, "xx" if k == 1 else f"{CONTINUED}xx", 2 * k) for k in range(1, 6)), Word(6, "b", 13)]
    assert divide_text(text, pieces, 4) == ((0, 1, 1, 1, 1, 1, 2), ("a", "xxxxxxxxxx", "b"))


def test_a_piece_within_a_word_is_not_taken_for_a_later_word() -> None:
    text = "The booking in Inga is interesting, in the inn. We went in."
    words = cut(text)
    phrases = divide_text(text, words, 4)
    for number, written in enumerate(phrases.texts):
        own = [word.text.removeprefix(CONTINUED) for word, phrase in zip(words, phrases.numbers, strict=True) if phrase == number]
        assert "".join(own) == written.replace(" ", "")


def test_a_token_without_characters_belongs_to_the_word_before() -> None:
    words = [Word(0, "so", 0), Word(1, "😀", 3), Word(2, CONTINUED, 4), *(Word(k, w, s) for k, w, s in ((3, "fine", 5), (4, "it", 10)))]
    assert divide_text("so 😀 fine it", words, 2).texts == ("so 😀", "fine it")


@given(st.lists(st.text("ab.,!", min_size=1, max_size=9), min_size=1, max_size=40), st.integers(1, 25))
def test_any_text_is_covered(words: list[str], most: int) -> None:
    text = " ".join(words)
    pieces = cut(text)
    phrases = divide_text(text, pieces, most)
    assert len(phrases.numbers) == len(pieces) and len(phrases.texts) <= max(most, 1)
    assert "".join(phrases.texts).replace(CONTINUED, "").replace(" ", "") == text.replace(" ", "")
