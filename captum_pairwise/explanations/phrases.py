"""Phrases: neighbouring words of a long text as one part."""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

CLAUSE_ENDS = tuple(".!?;:,…")
CONTINUES = "##"  # begins a piece of a word that continues the piece before


class Phrases(NamedTuple):
    """The number of the phrase of each token, and the text of each phrase."""

    numbers: tuple[int, ...]
    texts: tuple[str, ...]


def divide_text(text: str, tokens: Sequence[str], most: int) -> Phrases:
    """At most so many phrases of a text; each token is one if there are not more.

    Clauses stay whole where they can: the shortest neighbours are joined, and the longest phrases are divided between words.

    >>> divide_text("No, I am here.", ["No", ",", "I", "am", "here", "."], 2)
    Phrases(numbers=(0, 0, 1, 1, 1, 1), texts=('No,', 'I am here.'))

    Args:
        text: the text.
        tokens: its words and pieces of words in order, as they stand in the text.
        most: the largest number of phrases, at least 1.
    """
    if len(tokens) <= most:
        return Phrases(tuple(range(len(tokens))), tuple(tokens))
    starts = _find_starts(text, tokens)
    breaks = [k for k in range(1, len(tokens)) if text[starts[k] - 1 : starts[k]].isspace()]  # before a word
    clauses = [k for k in breaks if tokens[k - 1].endswith(CLAUSE_ENDS)]
    firsts = _split_longest(_join_shortest([0, *clauses], len(tokens), most), breaks, len(tokens), most)
    bounds = [*firsts, len(tokens)]
    numbers = tuple(number for number, (first, last) in enumerate(zip(firsts, bounds[1:], strict=True)) for _ in range(first, last))
    ends = [*(starts[first] for first in firsts[1:]), len(text)]
    return Phrases(numbers, tuple(text[starts[first] : end].strip() for first, end in zip(firsts, ends, strict=True)))


def _find_starts(text: str, tokens: Sequence[str]) -> list[int]:
    """The place of the first character of each token; a token that is not written has the place of the next."""
    starts, cursor, folded = [], 0, _fold_characters(text)
    for token in tokens:
        written = _fold_characters(token.removeprefix(CONTINUES) if token != CONTINUES else token)
        place = folded.find(written, cursor)
        starts.append(cursor if place < 0 else place)
        cursor = cursor if place < 0 else place + len(written)
    return starts


def _fold_characters(text: str) -> str:
    """The text with as many characters, in lower case and without accents, as some tokenizers write it."""
    return "".join(unicodedata.normalize("NFD", character)[0].lower()[:1] for character in text)


def _join_shortest(firsts: Sequence[int], n_tokens: int, most: int) -> list[int]:
    """The first tokens of phrases, of which the shortest neighbours are joined until there are not more than allowed."""
    joined = list(firsts)
    while len(joined) > most:
        bounds = [*joined, n_tokens]
        del joined[min(range(1, len(joined)), key=lambda k: bounds[k + 1] - bounds[k - 1])]
    return joined


def _split_longest(firsts: Sequence[int], breaks: Sequence[int], n_tokens: int, most: int) -> list[int]:
    """The first tokens of phrases, of which the longest are divided at the word nearest to their middle, as long as there may be more."""
    divided, free = list(firsts), set(breaks) - set(firsts)
    while len(divided) < most and free:
        bounds = [*divided, n_tokens]
        phrases = sorted(zip(divided, bounds[1:], strict=True), key=lambda phrase: phrase[0] - phrase[1])
        inside = next(((first, last, words) for first, last in phrases if (words := [k for k in free if first < k < last])), None)
        if inside is None:
            break
        first, last, words = inside
        middle = min(words, key=lambda k: (abs(2 * k - first - last), k))
        divided, free = sorted([*divided, middle]), free - {middle}
    return divided
