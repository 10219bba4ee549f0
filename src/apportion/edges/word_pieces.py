"""Words as tokens, for text that comes without token ids."""

from __future__ import annotations

import hashlib
import re

_PIECE = re.compile(r"\s?\w+|<\|\w+\|>|\s?[^\w\s]|\s+")

#: Words remembered at a time: text of any length in a bounded memory.
_MANY = 1 << 19


def words(text: str) -> list[str]:
    """Words, marks and white space of a text; joined they are the text again."""
    return _PIECE.findall(text)


def word_id(word: str) -> int:
    """A 62-bit id that depends on nothing but the word: equal in every batch and every process."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2


class _Ids(dict[str, int]):
    """Ids of words met before; a dict, so that looking one up costs no call of ours."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _MANY:
            self.clear()
        found = self[word] = word_id(word)
        return found


_IDS = _Ids()


def word_ids(text: str) -> list[int]:
    """Ids of the words of a text."""
    return list(map(_IDS.__getitem__, _PIECE.findall(text)))
