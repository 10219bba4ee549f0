"""What a log's keys are taken for, with a sentence for every choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..errors import BatchError
from ..structure import Bool, Int
from .keys import CANDIDATES, Found, Tally

Unscored = Literal["error", "drop"]

_OPTION = {"outcome": "reward"}
_WORDS = {
    "turn_reward": "Rewards per turn are",
    "episode": "Episodes are named by",
    "agent": "Agents are named by",
    "truncated": "Trajectories cut off are those marked by",
    "bootstrap": "The value after a cut is",
    "success": "Whether a task was solved is",
    "state": "States before each turn are",
}


@dataclass(frozen=True, eq=False)
class Choice:
    """keys: field -> the key it is read from. kept: which trajectories are read. group: a number for each, -1 for none."""

    keys: Mapping[str, str]
    kept: Bool
    group: Int
    by_prompt: bool
    said: tuple[str, ...]


def choose(tally: Tally, unscored: Unscored, line: str) -> Choice:
    """Decide from what all trajectories have; ``line`` is what the source calls a record."""
    said: list[str] = []
    keys: dict[str, str] = {}
    kept = _outcome(tally, unscored, keys, said)
    for name in ("turn_reward", "agent", "truncated", "bootstrap", "success", "state"):
        _whole(tally, name, kept, keys, said)
    _turn_reward(tally, keys, said)
    group, by_prompt = _group(tally, kept, keys, said)
    _names(tally, kept, group, keys, said, line)
    return Choice(keys, kept, group, by_prompt, tuple(said))


def _of(tally: Tally, name: str) -> dict[str, Found]:
    """Keys found for a field, in the order they are tried."""
    if name in tally.given and (name, tally.given[name]) not in tally.found:
        have = ", ".join(sorted({k for n, k in tally.found if n == name})) or "none that could be it"
        option = _OPTION.get(name, name)
        raise BatchError(f"{tally.first}: no usable {option} under the key {tally.given[name]!r} here or later (found: {have})")
    keys = (tally.given[name],) if name in tally.given else CANDIDATES[name]
    return {k: tally.found[name, k] for k in keys if (name, k) in tally.found}


def _outcome(tally: Tally, unscored: Unscored, keys: dict[str, str], said: list[str]) -> Bool:
    found = _of(tally, "outcome")
    every = np.ones(tally.n, dtype=np.bool_)
    if not found:
        others = sorted(k for k, count in tally.numeric.items() if count == tally.n)
        hint = (
            f" Numbers in every record: {', '.join(others[:12])}; choose one (or several, with commas) with reward=."
            if others
            else ""
        )
        said.append(f"No outcome reward was found (looked for {', '.join(CANDIDATES['outcome'])}).{hint}")
        return every
    key, got = next(iter(found.items()))
    keys["outcome"] = key
    also = [k for k in found if k != key]
    other = f" ({', '.join(map(repr, also))} would be other choices: reward=)" if also else ""
    said.append(f"The outcome reward is the key {key!r}{other}.")
    if got.count == tally.n:
        return every
    missing = tally.n - got.count
    if unscored == "error":
        raise BatchError(
            f"{got.lacking}: no reward under the key {key!r}, though other records have it ({missing:,} of {tally.n:,} lack it): "
            "mend them, choose another key with reward=, or leave them out with unscored='drop'"
        )
    said.append(f"{missing:,} of {tally.n:,} trajectories without a reward are left out (unscored='drop').")
    scored: Bool = np.asarray(got.hashes, dtype=np.uint64) != 0
    return scored


def _whole(tally: Tally, name: str, kept: Bool, keys: dict[str, str], said: list[str]) -> None:
    """Take the first key that every trajectory has."""
    for key, got in _of(tally, name).items():
        if (np.asarray(got.hashes, dtype=np.uint64)[kept] != 0).all():
            keys[name] = key
            said.append(f"{_WORDS[name]} the key {key!r}.")
            return
        if name in tally.given:
            raise BatchError(f"{got.lacking}: no usable {name} under the key {key!r}, though other records have it")
        said.append(f"The key {key!r} could be the {name.replace('_', ' ')}, but not every record has it: it is not used.")


def _turn_reward(tally: Tally, keys: dict[str, str], said: list[str]) -> None:
    """Rewards per turn that add up to the outcome are the outcome; others are earned besides it."""
    if "turn_reward" not in keys or "outcome" not in keys:
        return
    pair = (keys["outcome"], keys["turn_reward"])
    if tally.summed[pair] == tally.n:
        said.append(f"{pair[0]!r} is the sum of {pair[1]!r} everywhere, so each reward is counted once, at its turn.")
        del keys["outcome"]
    else:
        said.append(f"{pair[0]!r} is earned besides {pair[1]!r}: the total of a trajectory is both together.")


def _group(tally: Tally, kept: Bool, keys: dict[str, str], said: list[str]) -> tuple[Int, bool]:
    if "group" in tally.given or _of(tally, "group"):
        said_before = len(said)
        for key, got in _of(tally, "group").items():
            if (np.asarray(got.hashes, dtype=np.uint64)[kept] != 0).all():
                keys["group"] = key
                said[said_before:] = [f"Rollouts with the same {key!r} are of one group."]
                return _numbered(got, kept), False
            if "group" in tally.given:
                raise BatchError(f"{got.lacking}: no group under the key {key!r}, though other records have it")
            said.append(f"The key {key!r} could be the group, but not every record has it: it is not used.")
    prompts = np.asarray(tally.prompts, dtype=np.uint64)
    if (prompts[kept] != 0).all():
        said.append(
            "No key names the group: rollouts with the same first user message (in the same 'step', if given) are one group."
        )
        codes: Int = np.full(tally.n, -1, dtype=np.int64)
        codes[kept] = _dense(prompts[kept])
        return codes, True
    said.append(f"Nothing names the group (looked for {', '.join(CANDIDATES['group'])}): there are no groups.")
    return np.full(tally.n, -1, dtype=np.int64), False


def _names(tally: Tally, kept: Bool, group: Int, keys: dict[str, str], said: list[str], line: str) -> None:
    for key, got in _of(tally, "trajectory").items():
        hashes = np.asarray(got.hashes, dtype=np.uint64)[kept]
        if (hashes != 0).all() and np.unique(hashes).size == hashes.size:
            keys["trajectory"] = key
            said.append(f"Trajectories are named by the key {key!r}.")
            break
        said.append(f"The key {key!r} does not name every trajectory by itself: it is not used.")
    if "trajectory" not in keys:
        said.append(f"Trajectories are named by their {line}.")
    for key, got in _of(tally, "episode").items():
        hashes = np.asarray(got.hashes, dtype=np.uint64)[kept]
        pairs = np.stack([hashes.view(np.int64), group[kept]])
        if (hashes != 0).all() and np.unique(pairs, axis=1).shape[1] == np.unique(hashes).size:
            keys["episode"] = key
            said.append(f"{_WORDS['episode']} the key {key!r}.")
            return
        said.append(f"The key {key!r} could be the episode, but records lack it or it spans groups: it is not used.")


def _numbered(got: Found, kept: Bool) -> Int:
    codes: Int = np.full(kept.size, -1, dtype=np.int64)
    codes[kept] = _dense(np.asarray(got.hashes, dtype=np.uint64)[kept])
    return codes


def _dense(hashes: Any) -> Int:
    """0, 1 … by first appearance."""
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[inverse.ravel()].astype(np.int64)
