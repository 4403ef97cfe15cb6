"""The words of a text as they are written, for tokenizers of word pieces and of bytes."""

import pytest
from text_cases import make_bytes, make_word_pieces

from captum_pairwise.models.words.word_places import find_words, tells_characters

TOKENIZERS = {"word pieces": make_word_pieces, "bytes": make_bytes}
TEXTS = ["A Red bike", "Größe, red!", "🙂 re 🙂🙂", "bikes 2024", "  two  spaces ", "你好 cat"]


def encode_with(tokenizer, prompt=""):
    return lambda texts: tokenizer(prompt + texts[0], *texts[1:])["input_ids"]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("prompt", ["", "find: "], ids=["no prompt", "prompt"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_words_together_are_the_text(kind, prompt, text):
    tokenizer = TOKENIZERS[kind]()
    words = find_words(tokenizer, encode_with(tokenizer, prompt), [text], prompt)[0]
    assert "".join(word.text for word in words).replace("…", "") == "".join(text.split())
    assert all(text[word.start :].startswith(word.text.replace("…", "")) for word in words)
    places = [word.place for word in words]
    ids = tokenizer(prompt + text)["input_ids"]
    assert places == list(range(places[0], places[0] + len(places))) and places[-1] == len(ids) - (2 if kind == "word pieces" else 1)


def test_pieces_within_a_word_are_marked():
    words = find_words(make_word_pieces(), encode_with(make_word_pieces()), ["Bikes, mat.", "mats"])
    assert [[word.text for word in text] for text in words] == [["Bike", "…s", ",", "mat", "."], ["mat", "…s"]]
    assert [[word.place for word in text] for text in words] == [[1, 2, 3, 4, 5], [7, 8]]


def test_a_template_in_another_order_that_repeats_the_texts_words():
    tokenizer = make_bytes()

    def encode(texts):
        return tokenizer(f"<|im_start|>red {texts[-1]} then {texts[0]} red<|im_end|>")["input_ids"]

    query, retrieved = find_words(tokenizer, encode, ["red", "red cat"])
    assert [word.text for word in query] == ["red"] and [word.text for word in retrieved][:3] == ["red", "…", "c"]
    assert retrieved[-1].place < query[0].place < len(encode(["red", "red cat"])) - 1


@pytest.mark.parametrize("text", [" red cat\n", "red cat"])
def test_a_template_may_leave_out_the_spaces_around_a_text(text):
    tokenizer = make_bytes()
    words = find_words(tokenizer, lambda texts: tokenizer(f"<pad>a: {texts[0].strip()}<pad>")["input_ids"], [text])[0]
    assert "".join(word.text for word in words).replace("…", "") == "redcat"
    ids = tokenizer("<pad>a: red cat<pad>")["input_ids"]
    assert [ids[word.place] for word in words] == tokenizer(" red cat")["input_ids"][-len(words) :]


class WithoutCharacters:
    """A tokenizer that does not tell the characters of its tokens."""


def test_tokenizers_and_templates_that_do_not_tell_are_refused():
    tokenizer = make_bytes()
    assert not tells_characters(WithoutCharacters())
    with pytest.raises(ValueError, match=r"a fast tokenizer, .* got WithoutCharacters"):
        find_words(WithoutCharacters(), encode_with(tokenizer), ["red"])
    with pytest.raises(ValueError, match="a template around each text unchanged, got other tokens for '<pad>RED'"):
        find_words(tokenizer, lambda texts: tokenizer("<pad>" + texts[0].upper())["input_ids"], ["red"])
