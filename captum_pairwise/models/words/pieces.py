"""The text of tokens: words and pieces of words, as they stand in the sentence."""

import re
from collections.abc import Sequence
from typing import Any

WORD_MARKS = "</w>|Ġ|▁"  # marks of the begin or end of a word in tokenizers; "##", which joins pieces, stays
FALLBACK = re.compile("<0x([0-9A-F]{2})>")  # a byte of a rare character, in tokenizers of SentencePiece
CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that are not the first of a character

# byte-level tokenizers write each byte as a character: itself where it can be printed, else one from 256 on
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = {chr(byte): byte for byte in PRINTABLE}
BYTES |= {chr(256 + place): byte for place, byte in enumerate(byte for byte in range(256) if byte not in PRINTABLE)}


def spell_tokens(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token, without the spaces around words.

    A character whose bytes are in several tokens stands in the first of them, so that all texts together are the sentence.

    Args:
        tokenizer: a tokenizer of transformers.
        ids: the ids of neighbouring tokens.
    """
    added, byte_level = tokenizer.get_added_vocab(), _writes_bytes(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    pieces = [token.encode() if token in added else _encode_token(token, byte_level) for token in tokens]
    for place in range(len(pieces) - 1, 0, -1):
        own = pieces[place].lstrip(CONTINUATION)
        pieces[place - 1] += pieces[place].removesuffix(own)
        pieces[place] = own
    return [piece.decode("utf-8", "backslashreplace") for piece in pieces]


def _writes_bytes(tokenizer: Any) -> bool:
    """True for a byte-level tokenizer, as of GPT-2, RoBERTa, and CLIP."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (getattr(backend, name, None) for name in ("pre_tokenizer", "decoder"))
    return hasattr(tokenizer, "byte_decoder") or any("ByteLevel" in str(part) for part in parts)


def _encode_token(token: str, byte_level: bool) -> bytes:
    """The bytes of a token in UTF-8."""
    text = token.removesuffix("</w>")
    if byte_level and set(text) <= set(BYTES):
        return bytes(BYTES[character] for character in text).strip(b" ")
    byte = FALLBACK.fullmatch(token)
    return bytes.fromhex(byte[1]) if byte else re.sub(WORD_MARKS, "", token).encode()
