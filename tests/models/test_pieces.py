"""The text of tokens is the text of the sentence, also where a tokenizer writes bytes and cuts characters."""

import json

import pytest

from captum_pairwise.models.words.pieces import BYTES, spell_tokens

transformers = pytest.importorskip("transformers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
tokenizers = pytest.importorskip("tokenizers", reason="encoders of text need it: pip install 'captum-pairwise[text]'")
LEARNED = ["naïve café", "the cat sat", "日本 is far", "a naïve cat", "é"]
SENTENCES = ["the naïve cat", "é", "日本 語 cat", "a cat 🐈‍⬛ sat, ÿ ¡no!", "Ġ ▁ â€™"]
END = "<|endoftext|>"


def train(kind):
    """A tokenizer of bytes, trained on a few sentences; the vocabulary has every byte, for CLIP also at the end of a word."""
    suffix = {"end_of_word_suffix": "</w>"} if kind == "CLIP" else {}
    built = tokenizers.Tokenizer(tokenizers.models.BPE(**suffix))
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=kind == "RoBERTa", use_regex=kind != "CLIP")
    if kind == "CLIP":
        words = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\p{L}+|[^\s\p{L}]+"), behavior="removed", invert=True)
        byte_level = tokenizers.pre_tokenizers.Sequence([words, byte_level])
    built.pre_tokenizer = byte_level
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(special_tokens=[END], initial_alphabet=alphabet, show_progress=False, **suffix)
    built.train_from_iterator(LEARNED, trainer)
    written = json.loads(built.to_str())
    vocabulary = written["model"]["vocab"]
    for letter in sorted(alphabet):
        vocabulary.setdefault(letter + suffix.get("end_of_word_suffix", ""), len(vocabulary))
    built = tokenizers.Tokenizer.from_str(json.dumps(written))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=built, unk_token=END, eos_token=END)


def spell(tokenizer, sentence):
    ids = tokenizer(sentence, add_special_tokens=False)["input_ids"]
    pieces = spell_tokens(tokenizer, ids)
    assert len(pieces) == len(ids)
    return pieces


@pytest.mark.parametrize("kind", ["GPT-2", "RoBERTa", "CLIP"])
@pytest.mark.parametrize("sentence", [*LEARNED, *SENTENCES])
def test_the_pieces_of_a_byte_level_tokenizer_are_the_sentence(kind, sentence):
    assert "".join(spell(train(kind), sentence)) == sentence.replace(" ", "")


@pytest.mark.parametrize("kind", ["GPT-2", "RoBERTa", "CLIP"])
def test_words_and_characters_can_be_read(kind):
    tokenizer = train(kind)
    assert spell(tokenizer, "a naïve cat") == ["a", "naïve", "cat"]
    assert spell(tokenizer, "語")[-3:] == ["語", "", ""]  # three bytes, unknown to the vocabulary


def test_bytes_that_are_no_character_are_written_as_numbers():
    tokenizer = train("GPT-2")
    code = {byte: character for character, byte in BYTES.items()}
    ids = tokenizer.convert_tokens_to_ids([code[0xE6], "c", code[0xA5]])
    assert spell_tokens(tokenizer, ids) == [r"\xe6", r"c\xa5", ""]


def test_added_tokens_are_shown_as_they_are():
    tokenizer = train("GPT-2")
    tokenizer.add_tokens(["é", "本"])
    assert spell(tokenizer, f"é cat 本{END}") == ["é", "cat", "", "本", END]


def test_the_table_of_bytes_is_the_alphabet_of_byte_level_tokenizers():
    assert set(BYTES) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet()) and sorted(BYTES.values()) == list(range(256))
    encoder = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for character in map(chr, (*range(32, 127), *range(161, 0x250))):
        (written, _), *others = encoder.pre_tokenize_str(character)
        assert not others and bytes(BYTES[letter] for letter in written) == character.encode()


def test_other_tokenizers():
    words = {"[UNK]": 0, "cat": 1, "##s": 2, "Ã©": 3}
    pieces = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    word_pieces = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]")
    assert spell(word_pieces, "cats Ã© sun") == ["cat", "##s", "Ã©", "[UNK]"]
    fallback = {"<unk>": 0, "▁": 1, "▁cat": 2, **{f"<0x{byte:02X}>": byte + 3 for byte in range(256)}}
    letters = tokenizers.Tokenizer(tokenizers.models.Unigram([(word, -1.0) for word in fallback], unk_id=0, byte_fallback=True))
    letters.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    sentence_pieces = transformers.PreTrainedTokenizerFast(tokenizer_object=letters, unk_token="<unk>")
    assert spell(sentence_pieces, "cat 日") == ["cat", "", "日", "", ""]
