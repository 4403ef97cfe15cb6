"""The tokens that belong to a text, and how the user wrote them: prompts, templates and special tokens stand around them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from unicodedata import category

Encode = Callable[[Sequence[str]], list[int]]
TEXT_MARKERS = ("qzxqzxqzx", "jvkjvkjvk")  # texts that no template contains
CONTINUED = "…"  # before a piece that continues a word; alone, a token without characters of its own, as the second byte of an emoji


class Word(NamedTuple):
    """A token of a text: its place among all tokens, the characters that it stands for, and where they start in the text."""

    place: int
    text: str
    start: int


class _Span(NamedTuple):
    """The characters of one token in its text."""

    place: int
    start: int
    end: int


def find_words(tokenizer: Any, encode: Encode, texts: Sequence[str], prompt: str = "") -> list[list[Word]]:
    """The tokens of each text, in order, spelled as in the text.

    The tokenizer tells the characters of each token. Where the tokens come from a chat template, the template is rendered again around two
    markers, and its characters are those that do not change.

    Args:
        tokenizer: a tokenizer of transformers.
        encode: the ids of one text, or of a pair, as the model gets them.
        texts: one text or a pair.
        prompt: stands before the first text, and is no part of it.

    Raises:
        ValueError: the tokenizer does not tell the characters, or the template changes a text.
    """
    if not tells_characters(tokenizer):
        raise ValueError(
            f"Expected a fast tokenizer, which tells the characters of each token, got {type(tokenizer).__name__}. Load it with "
            "`use_fast=True`."
        )
    ids = encode(texts)
    spans = _read_offsets(tokenizer, ids, texts, prompt)
    spans = _read_template(tokenizer, encode, texts, ids) if spans is None else spans
    return [_spell_spans(text, own) for text, own in zip(texts, spans, strict=True)]


def tells_characters(tokenizer: object) -> bool:
    """True for a fast tokenizer of transformers, which tells the characters of each token."""
    return hasattr(type(tokenizer), "is_fast") and bool(getattr(tokenizer, "is_fast", False))


def _read_offsets(tokenizer: Any, ids: list[int], texts: Sequence[str], prompt: str) -> list[list[_Span]] | None:
    """The tokens of each text; None if the tokenizer alone gives other ids."""
    encoded = tokenizer(prompt + texts[0], *texts[1:], return_offsets_mapping=True, truncation=False)
    if encoded["input_ids"] != ids:
        return None
    spans: list[list[_Span]] = [[] for _ in texts]
    for place, (owner, (start, end)) in enumerate(zip(encoded.sequence_ids(0), encoded["offset_mapping"], strict=True)):
        before = len(prompt) if owner == 0 else 0
        if owner is not None and (end > before or start >= before):
            spans[owner].append(_Span(place, max(start - before, 0), end - before))
    return spans


def _read_template(tokenizer: Any, encode: Encode, texts: Sequence[str], ids: list[int]) -> list[list[_Span]]:
    """The tokens of each text inside a template, which may leave out the spaces around it."""
    rendered, frame = (tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in (ids, encode(TEXT_MARKERS[: len(texts)])))
    encoded = tokenizer(rendered, add_special_tokens=False, return_offsets_mapping=True)
    fits = (_place_texts(frame, variant, rendered) for variant in (texts, [text.strip() for text in texts]))
    begins = next((places for places in fits if places is not None), None)
    if begins is None or encoded["input_ids"] != ids:
        raise ValueError(
            f"Expected a tokenizer, or a template around each text unchanged, got other tokens for {rendered[:80]!r}. Explain the "
            "network of transformers and its tokenizer."
        )
    spans = []
    for text, begin in zip(texts, begins, strict=True):
        start_of_text = begin if rendered.startswith(text, begin) else begin - len(text) + len(text.lstrip())
        here = [(place, start - start_of_text, end - start_of_text) for place, (start, end) in enumerate(encoded["offset_mapping"])]
        spans.append([_Span(place, max(start, 0), end) for place, start, end in here if start < len(text.rstrip()) and end > 0])
    return spans


def _place_texts(frame: str, texts: Sequence[str], rendered: str) -> list[int] | None:
    """The begin of each text in a template that was rendered; None if the template does other things than put them in."""
    places = [frame.find(marker) for marker in TEXT_MARKERS[: len(texts)]]
    expected = frame
    for marker, text in zip(TEXT_MARKERS, texts, strict=False):
        expected = expected.replace(marker, text)
    if expected != rendered or any(frame.count(marker) != 1 for marker in TEXT_MARKERS[: len(texts)]):
        return None
    moves = [len(text) - len(marker) for marker, text in zip(TEXT_MARKERS, texts, strict=False)]
    return [place + sum(move for other, move in zip(places, moves, strict=True) if other < place) for place in places]


def _spell_spans(text: str, spans: Sequence[_Span]) -> list[Word]:
    """The tokens with their characters: a character of several tokens stands in the first, and a piece that continues a word is marked."""
    words, done = [], 0
    for place, start, end in spans:
        begin = max(start, done)
        written = text[begin : max(end, 0)]
        done = max(done, end)
        is_continued = _is_within_word(text[max(begin - 1, 0) : begin + 1])
        spelled = CONTINUED + written if is_continued else written.strip() or CONTINUED
        words.append(Word(place, spelled, begin + len(written) - len(written.lstrip())))
    return words


def _is_within_word(around: str) -> bool:
    """True if two neighbouring characters belong to one word; writings without spaces, such as Chinese, do not tell."""
    return len(around) == 2 and around.isalnum() and not any(category(character) == "Lo" for character in around)
