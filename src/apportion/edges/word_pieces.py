"""Words as tokens, for text that comes without token ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from ..ops.words import OTHER, SPACE, WORD, Classes, Points, cut
from ..structure import Int

_PIECE = re.compile(r"\s?\w+|<\|\w+\|>|\s?[^\w\s]|\s+")

#: Words remembered at a time: text of any length in a bounded memory.
_MANY = 1 << 19

#: Below this many characters a regular expression is done before a compiled loop is loaded.
_LITTLE = 1 << 20

#: Characters cut together.
_CHUNK = 1 << 18

#: Places in the table of words, at least.
_SLOTS = 1 << 20


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


def many_word_ids(texts: Sequence[str]) -> tuple[Int, Int]:
    """Ids of the words of all texts one after another, and how many each text has: ``word_ids`` for much text."""
    if sum(map(len, texts)) < _LITTLE:
        found = [word_ids(text) for text in texts]
        count = np.asarray([len(f) for f in found], dtype=np.int64)
        return np.asarray([i for f in found for i in f], dtype=np.int64), count
    ids, counts = [], []
    table = _Table()
    for chunk in _chunks(texts):
        points = np.frombuffer("".join(chunk).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        offsets = np.concatenate(([0], np.cumsum([len(t) for t in chunk], dtype=np.int64)))
        table.make_room(points.size)
        slot, count, new, place = cut(points, offsets, _classes(), table.keys)
        table.ids[new] = [_IDS[_text(points[a:b])] for a, b in place.tolist()]
        table.used += new.size
        ids.append(table.ids[slot])
        counts.append(count)
    return np.concatenate(ids), np.concatenate(counts)


class _Table:
    """Slots of words and their ids; begun anew when it could fill up, so that it stays small."""

    def __init__(self) -> None:
        self.used = 0
        self._begin(_SLOTS)

    def _begin(self, slots: int) -> None:
        self.keys = np.zeros(slots, dtype=np.uint64)
        self.ids = np.zeros(slots, dtype=np.int64)
        self.used = 0

    def make_room(self, n: int) -> None:
        if self.used + n > self.keys.size // 2:
            self._begin(max(_SLOTS, 1 << (4 * n).bit_length()))


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    held = 0
    for text in texts:
        chunk.append(text)
        held += len(text)
        if held >= _CHUNK:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _text(points: Points) -> str:
    return points.tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _classes() -> Classes:
    """What every character is to the regular expression, by its own word on it."""
    every = np.arange(0x110000, dtype=np.uint32).tobytes().decode("utf-32-le", "surrogatepass")
    found = np.full(0x110000, OTHER, dtype=np.uint8)
    for pattern, kind in ((r"\w+", WORD), (r"\s+", SPACE)):
        for match in re.finditer(pattern, every):
            found[match.start() : match.end()] = kind
    return found
