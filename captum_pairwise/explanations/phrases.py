"""Phrases: neighbouring words of a long text as one part."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from captum_pairwise.models.words.word_places import Word

CLAUSE_ENDS = tuple(".!?;:,…")


class Phrases(NamedTuple):
    """The number of the phrase of each word or piece of a word, and the text of each phrase."""

    numbers: tuple[int, ...]
    texts: tuple[str, ...]


def divide_text(text: str, words: Sequence[Word], most: int) -> Phrases:
    """At most so many phrases of a text; each word or piece of a word is one if there are not more.

    Clauses stay whole where they can: the shortest neighbours are joined, and the longest phrases are divided between words.

    >>> words = [Word(0, "No", 0), Word(1, ",", 2), Word(2, "I", 4), Word(3, "am", 6), Word(4, "here", 9), Word(5, ".", 13)]
    >>> divide_text("No, I am here.", words, 2)
    Phrases(numbers=(0, 0, 1, 1, 1, 1), texts=('No,', 'I am here.'))

    Args:
        text: the text.
        words: its words and pieces of words in order.
        most: the largest number of phrases, at least 1.
    """
    if len(words) <= most:
        return Phrases(tuple(range(len(words))), tuple(word.text for word in words))
    breaks = [k for k in range(1, len(words)) if text[max(words[k].start - 1, 0) : words[k].start].isspace()]  # before a word
    clauses = [k for k in breaks if text[: words[k].start].rstrip().endswith(CLAUSE_ENDS)]
    firsts = _split_longest(_join_shortest([0, *clauses], len(words), most), breaks, len(words), most)
    bounds = [*firsts, len(words)]
    numbers = tuple(number for number, (first, last) in enumerate(pairwise(bounds)) for _ in range(first, last))
    starts = [*(words[first].start for first in firsts), len(text)]
    return Phrases(numbers, tuple(text[start:end].strip() for start, end in pairwise(starts)))


def _join_shortest(firsts: Sequence[int], n_tokens: int, most: int) -> list[int]:
    """Join the two neighbours that are shortest together until at most `most` phrases are left; returns the first token of each."""
    joined = list(firsts)
    while len(joined) > most:
        bounds = [*joined, n_tokens]
        del joined[min(range(1, len(joined)), key=lambda k: bounds[k + 1] - bounds[k - 1])]
    return joined


def _split_longest(firsts: Sequence[int], breaks: Sequence[int], n_tokens: int, most: int) -> list[int]:
    """Divide the longest phrase at the word nearest to its middle until there are `most` phrases; returns the first token of each."""
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
