"""A log: a file (or folder) of rollouts, read as batches of whole groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np

from ..batch import Batch
from ..errors import BatchError, OptionError
from ..structure import Int
from ..words import Scope
from .build import Making
from .choice import Choice, Unscored
from .formats import recognise
from .index import Progress, Scan, scan, settle
from .keys import CANDIDATES
from .sniff import known, source_of
from .sources import Source
from .tokenizer import load
from .whole import read_whole

Format = Literal["batch", "chat", "atif", "verifiers", "padded"]

#: Bytes of the file that one batch may hold; a group larger than this is a batch of its own.
BUDGET = 64 << 20

#: Options of ``open_log`` that name the key of a column.
_KEYS = {"reward": "outcome", **{name: name for name in CANDIDATES if name not in ("outcome", "state")}}


class Reader(Protocol):
    """What is behind a log: records that are indexed, or a file that is read whole."""

    @property
    def trajectories(self) -> int: ...
    @property
    def groups(self) -> int: ...
    def batches(self, scope: Scope, budget: int, progress: Progress | None) -> Iterator[Batch]: ...


@dataclass(frozen=True, eq=False)
class Log:
    """Rollouts in a file, not read yet.

    format: what the file was taken for. assumed: what was assumed of it, one sentence each (which
    key is the reward, what makes a group, how text was cut into tokens). trajectories: how many
    there are, in how many groups (0: nothing names groups).
    """

    path: Path
    format: Format
    assumed: tuple[str, ...]
    trajectories: int
    groups: int
    reader: Reader

    def batches(self, scope: Scope = "group", budget: int = BUDGET, progress: Progress | None = None) -> Iterator[Batch]:
        """The rollouts, whole groups (or trajectories, or all of them) at a time.

        Every batch holds about ``budget`` bytes of the file, so that a log of any size is read in
        little memory; scope="batch" reads everything at once. Groups come in the order in which they
        begin in the log; in a batch, trajectories keep the log's order. progress: called with the
        bytes done and the bytes in all, after each batch.
        """
        return self.reader.batches(scope, budget, progress)

    def batch(self) -> Batch:
        """All of it as one batch."""
        return next(iter(self.batches("batch")))


def open_log(
    path: str | Path,
    *,
    format: Format | None = None,
    state: str | None = None,
    tokenizer: Any = None,
    vocab: int | None = None,
    unscored: Unscored = "error",
    keep_messages: bool = False,
    progress: Progress | None = None,
    **keys: str,
) -> Log:
    """Find out what kind of log this is, how large, and what has to be assumed of it.

    The whole log is read once, and an error names the first line that cannot be used; of its text
    nothing is kept.

    path: JSON lines, a JSON array or document (compressed or not), Parquet, Arrow, a folder that
    ``Dataset.save_to_disk`` wrote, a folder of such files or of Harbor's trials, a (B, T) dump
    (.npz, .pt, .safetensors), or a file of a batch. format: what it holds, found out by default.
    reward, turn_reward, group, trajectory, episode, agent, truncated, bootstrap, success: the key to
    read each from, where the usual names would not find it; "a.b" reaches into objects, and
    reward="a,b" adds up. state: "observation" (default where there are messages: what was shown just
    before a turn), "none", or a key of a list with one state per turn (and one after the last).
    tokenizer: folder of a Hugging Face tokenizer, or a function from text to ids (default: the log's
    own token ids where every trajectory has them, else words). vocab: token ids at or above it are
    errors. unscored: what to do where only some records have a reward: "error", or "drop" them.
    keep_messages: chats in ``batch.meta``, for ``to_messages``. progress: as in :meth:`Log.batches`.
    """
    given = _given(keys)
    if unscored not in get_args(Unscored):
        raise OptionError(f"unscored = {unscored!r}: expected one of {', '.join(get_args(Unscored))}")
    if format is not None and format not in get_args(Format):
        raise OptionError(f"format = {format!r}: expected one of {', '.join(get_args(Format))}. {known()}")
    found = source_of(Path(path))
    if isinstance(found, str):
        if format not in (None, found):
            raise BatchError(f"{path} is no log of format '{format}': it was taken for '{found}'")
        whole = read_whole(Path(path), found, given)
        return Log(Path(path), whole.format, whole.assumed, whole.trajectories, whole.groups, whole)
    chosen = format or _recognised(found)
    if state not in (None, "observation", "none"):
        given["state"] = str(state)
    encode = load(tokenizer)
    seen = scan(found, chosen, given, vocab, progress)
    records = settle(found, chosen, seen, unscored, _maker(seen, state, tokenizer, encode, keep_messages))
    said = (*records.choice.said, *_sizes(records.group), *_said(seen, records.making, tokenizer))
    return Log(Path(path), chosen, said, records.trajectories, records.groups, records)  # type: ignore[arg-type]


def _given(keys: Mapping[str, str]) -> dict[str, str]:
    for name, key in keys.items():
        if name not in _KEYS:
            near = get_close_matches(name, _KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise OptionError(
                f"a log has no option '{name}'; {hint}it has: {', '.join(_KEYS)}, state, tokenizer, format, vocab, unscored"
            )
        if not isinstance(key, str):
            raise OptionError(f"{name} = {key!r}: expected the name of a key")
    return {_KEYS[name]: key for name, key in keys.items()}


def _recognised(source: Source) -> str:
    first = next(iter(source.scan()), None)
    if first is None:
        raise BatchError(f"{source.where(1)}: no record in it. Formats: {known()}")
    name = recognise(first.value)
    if name is None:
        raise BatchError(f"{source.where(first.line)}: {_looks(first.value)}, which is no format of a log. Formats: {known()}")
    return name


def _looks(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with the keys {', '.join(map(str, list(value)[:12]))}"
    return f"a list of {type(value[0]).__name__}" if isinstance(value, list) and value else f"a {type(value).__name__}"


def _maker(seen: Scan, state: str | None, tokenizer: Any, encode: Any, keep_messages: bool) -> Callable[[Choice], Making]:
    n = seen.tally.n
    tokens = seen.tokens == n and tokenizer is None
    if not tokens and seen.messages < n:
        raise BatchError(
            f"{seen.tally.first} and on: {n - seen.messages:,} of {n:,} trajectories have neither messages nor token ids"
        )
    observed = state == "observation" or (state is None and seen.messages == n)
    if state == "observation" and seen.messages < n:
        raise OptionError("state='observation' needs messages, and this log has token ids only: name the key of its states")

    def making(choice: Choice) -> Making:
        return Making(choice.keys, choice.by_prompt, tokens, tokens and seen.logp == n, observed and "state" not in choice.keys,
                      encode, keep_messages)  # fmt: skip

    return making


def _sizes(group: Int) -> list[str]:
    """A sentence where groups are not all of one size, or too small to compare anything in."""
    sizes = np.bincount(group[group >= 0])
    if not sizes.size or ((sizes == sizes[0]).all() and sizes[0] > 1):
        return []
    alone = int((sizes == 1).sum())
    lonely = f"; {alone:,} of {sizes.size:,} hold one trajectory, which has nobody to be compared with" if alone else ""
    return [f"Groups hold {sizes.min():,} to {sizes.max():,} trajectories{lonely}."]


def _said(seen: Scan, making: Making, tokenizer: Any) -> list[str]:
    """What was assumed of tokens and states, and what the format noted."""
    n = seen.tally.n
    said = []
    if making.observed:
        said.append("States are what was shown just before each turn (state='observation'); state='none' leaves them out.")
    if making.tokens:
        said.append("Token ids are the log's own" + (", with log-probabilities." if making.logp else "."))
        if 0 < seen.logp < n:
            said.append(f"Only {seen.logp:,} of {n:,} trajectories have log-probabilities: none are read.")
        if len(seen.models) > 1:
            models = ", ".join(sorted(seen.models)[:4])
            said.append(
                f"Tokens come from {len(seen.models)} models ({models}): ids of different tokenizers must not be compared."
            )
    elif tokenizer is not None:
        said.append("Text is cut by the tokenizer that was given, without a chat template.")
    else:
        some = f" ({seen.tokens:,} of {n:,} trajectories have token ids, which are not used)" if seen.tokens else ""
        said.append(f"Text is cut into words, whose ids are hashes{some}; tokenizer= gives another.")
    if seen.empty:
        said.append(f"{seen.empty:,} records hold no trajectory of the policy and are left out.")
    return said + [
        f"{note[0].upper()}{note[1:]} (in {count:,} of {n:,} trajectories)." for note, count in sorted(seen.notes.items())
    ]
