"""Numbers that can be read off the text of a turn or step: what a written function may use, defined once and here.

They are made of token ids (or, without ids, the words of ``text``) and of which tokens the policy wrote; never
of rewards, outcomes, state keys or groups, nor of anything after the unit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from ..batch import Batch
from ..errors import OptionError
from ..ops.features import mix
from ..ops.scans import first_active
from ..structure import Bool, Float, Int
from ..words import Axis
from .learned import _stream
from .sources import Array

_SALT = np.uint64(0x9E3779B97F4A7C15)  # mix(0) is 0, and a token 0 is not nothing
#: Feature -> what it is, in the words an author is told. {unit} is "turn" or "step".
SEEN: Mapping[str, str] = {
    "position": "how many {unit}s of the same agent stand before this one in the rollout",
    "seen": "how many tokens the policy was shown in this {unit}, before its own words",
    "seen_before": "how many tokens it had been shown in all {unit}s before",
    "written_before": "how many tokens it had written in all {unit}s before",
    "seen_again": "how many {unit}s before showed exactly the same",
}
DONE: Mapping[str, str] = {
    "written": "how many tokens the policy wrote in this {unit}",
    "written_again": "in how many {unit}s before it wrote exactly the same",
    "new": "which share of the tokens it wrote in this {unit} it brought in itself: neither shown nor written before",
    "copied": "which share of the tokens it wrote in this {unit} was also shown in it",
}


@dataclass(frozen=True)
class Vocabulary:
    """Words that are counted: token ids as decimal numbers, or words of the text where a batch has no ids.

    wrote: counted in what the policy wrote (feature ``wrote_<word>``); saw: in what it was shown (``saw_<word>``).
    """

    wrote: tuple[str, ...] = ()
    saw: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("wrote", "saw"):
            words = tuple(str(w) for w in getattr(self, name))
            object.__setattr__(self, name, words)
            for word in words:
                if not (word.isascii() and f"w_{word}".isidentifier()):
                    raise OptionError(f"{name}: {word!r} cannot be part of a name; a word has letters, digits and _ only")

    def save(self, prefix: str) -> dict[str, Array]:
        return {f"{prefix}.wrote": _texts(self.wrote), f"{prefix}.saw": _texts(self.saw)}

    @classmethod
    def load(cls, saved: Mapping[str, Array], prefix: str) -> Vocabulary:
        return cls(tuple(saved[f"{prefix}.wrote"].tolist()), tuple(saved[f"{prefix}.saw"].tolist()))


def _texts(words: Collection[str]) -> Array:
    return np.asarray(list(words), dtype=np.str_)


def described(unit: Axis, vocabulary: Vocabulary, *, done: bool) -> dict[str, str]:
    """Every feature by name with what it is. done: also those of what the policy wrote in the unit itself."""
    made = {**SEEN, **(DONE if done else {})}
    made |= {f"saw_{w}": f"how often the token {w} was shown in this {{unit}}" for w in vocabulary.saw}
    made |= {f"wrote_{w}": f"how often the policy wrote the token {w} in this {{unit}}" for w in vocabulary.wrote if done}
    return {name: about.replace("{unit}", unit) for name, about in made.items()}


@dataclass(frozen=True)
class _Text:
    """ids, action (what the policy wrote), shown (what stands in a unit before that), unit: per token. owner: per unit."""

    ids: Int
    action: Bool
    shown: Bool
    unit: Int
    owner: Int

    @classmethod
    def of(cls, batch: Batch, axis: Axis) -> _Text:
        ids, action, offsets = _stream(batch, axis)
        unit = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
        shown = ~action & (np.arange(ids.size) < first_active(action, offsets)[unit])
        return cls(ids, action, shown, unit, batch.within(axis, "trajectory"))

    @property
    def n(self) -> int:
        return int(self.owner.size)

    @property
    def start(self) -> Int:
        """First unit of the trajectory of each unit."""
        return np.searchsorted(self.owner, self.owner)


def text_features(batch: Batch, axis: Axis, names: Collection[str]) -> dict[str, Float]:
    """These features of every unit (turn or step), one array of shape (units,) each; an unknown name is refused."""
    if not names:
        return {}
    text = _Text.of(batch, axis)
    return {name: np.asarray(_feature(name, batch, text), dtype=np.float64) for name in names}


def _feature(name: str, batch: Batch, text: _Text) -> Float | Int:
    if name == "position":
        return np.arange(text.n) - text.start
    if name.startswith(("wrote_", "saw_")):
        which, word = name.split("_", 1)
        found = (text.ids == _code(batch, word)) & (text.action if which == "wrote" else text.shown)
        return np.bincount(text.unit[found], minlength=text.n)
    if name in ("seen", "written"):
        return np.bincount(text.unit[text.shown if name == "seen" else text.action], minlength=text.n)
    if name in ("seen_before", "written_before"):
        count = np.bincount(text.unit[text.action == (name == "written_before")], minlength=text.n)
        before = np.cumsum(count) - count
        return before - before[text.start]
    if name in ("seen_again", "written_again"):
        return _earlier(_content(text, text.shown if name == "seen_again" else text.action), text.owner)
    if name == "new":
        return _share(text, _first_here(text))
    if name == "copied":
        both = np.unique(_pairs(text.unit, text.ids), return_inverse=True)[1]
        shown = np.bincount(both[text.shown], minlength=both.size) > 0
        return _share(text, shown[both])
    raise OptionError(f"no feature {name!r}: there are {', '.join((*SEEN, *DONE))}, wrote_<word> and saw_<word>")


def _code(batch: Batch, word: str) -> int:
    if batch.ids is None:
        return crc32(word.encode())
    if not word.isdigit():
        raise OptionError(f"the batch has token ids: name words by their ids, not {word!r} (or drop ids to count words of text)")
    return int(word)


def _content(text: _Text, mask: Bool) -> Array:
    """One 64-bit number per unit for its masked tokens, order included; 0 where it has none."""
    rank: Int = np.cumsum(mask) - mask
    opens = np.searchsorted(text.unit, np.arange(text.n))
    place: Int = rank - rank[opens][text.unit]
    word = np.where(mask, mix(mix(text.ids) + mix(place) + _SALT), np.uint64(0))
    ends = np.append(opens[1:], text.unit.size) - 1
    total = np.cumsum(word, dtype=np.uint64)  # wraps around, and differences are exact all the same
    return np.asarray(total[ends] - (total[opens] - word[opens]))


def _earlier(content: Array, owner: Int) -> Int:
    """How many units before have the same content in the same trajectory."""
    same = np.unique(_pairs(owner, content.view(np.int64)), return_inverse=True)[1]
    order = np.argsort(same, kind="stable")
    rank: Int = np.empty(same.size, dtype=np.int64)
    rank[order] = np.arange(same.size) - np.searchsorted(same[order], same[order])
    return rank


def _first_here(text: _Text) -> Bool:
    """Whether each token stands nowhere before what the policy writes in its unit."""
    _, first, kind = np.unique(_pairs(text.owner[text.unit], text.ids), return_index=True, return_inverse=True)
    at = first[kind]
    own: Bool = (text.unit[at] == text.unit) & text.action[at]
    return own


def _pairs(a: Int, b: Int) -> Array:
    """One number per pair, different for different pairs (but for collisions of 64 bits)."""
    return mix(mix(a) + mix(mix(b) + _SALT))


def _share(text: _Text, holds: Bool) -> Float:
    written = np.bincount(text.unit[text.action], minlength=text.n)
    found: Float = np.bincount(text.unit[text.action & holds], minlength=text.n) / np.maximum(written, 1)
    return found


def telling_words(batch: Batch, axis: Axis, k: int) -> Vocabulary:
    """The ``k`` written and ``k`` shown words that tell units apart most: in closest to half of them; ties by the smaller id.

    Looks at the text alone. A word of ``text`` that is no name (signs, other alphabets) is passed over.
    """
    if k < 0:
        raise OptionError(f"words = {k}: expected at least 0")
    text = _Text.of(batch, axis)
    spelled = _spelled(batch) if batch.ids is None else None
    chosen = []
    for mask in (text.action, text.shown):
        known, code = np.unique(text.ids[mask], return_inverse=True)
        pair = np.unique(text.unit[mask] * max(known.size, 1) + code)
        share = np.bincount(pair % max(known.size, 1), minlength=known.size) / text.n
        order = np.argsort(np.abs(share - 0.5), kind="stable")
        names = [spelled.get(int(i)) if spelled is not None else str(int(i)) for i in known[order] if i >= 0]
        chosen.append(tuple(name for name in names if name)[:k])
    return Vocabulary(*chosen)


def _spelled(batch: Batch) -> dict[int, str]:
    """Words of the text that can be part of a name, by their code."""
    words = sorted({w for t in batch.text or () for w in (t or "").split() if w.isascii() and f"w_{w}".isidentifier()})
    return {crc32(w.encode()): w for w in words}
