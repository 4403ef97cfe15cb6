"""Blocks of Python code in Markdown."""

import re


def read_code_blocks(words: str) -> list[str]:
    """The Python code between fences, block by block."""
    return re.findall(r"^```python\n(.*?)^```", words, re.MULTILINE | re.DOTALL)
