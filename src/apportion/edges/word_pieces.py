"""Words as tokens, for text that comes without token ids."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_PIECE = re.compile(r"<\|\w+\|>|\s?\w+|\s?[^\w\s]|\s+")


def words(text: str) -> list[str]:
    """Words, marks and white space of a text; joined they are the text again."""
    return _PIECE.findall(text)


@lru_cache(maxsize=1 << 16)
def word_id(word: str) -> int:
    """A 62-bit id that depends on nothing but the word: equal in every batch and every process."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2


def word_ids(text: str) -> list[int]:
    """Ids of the words of a text."""
    return [word_id(w) for w in words(text)]
