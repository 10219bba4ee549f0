"""A replay buffer of turns: what was seen, done, earned and seen next, as hashed features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from weakref import WeakKeyDictionary

import numpy as np

from ..batch import Batch
from ..ops.features import Hash, mix
from ..ops.scans import first_active
from ..ops.suffixes import action_keys, suffix_keys
from ..structure import Bool, Float, Int
from .critic import final_value
from .learned import _stream, trajectory_keys
from .sources import Array


@dataclass(frozen=True, eq=False)
class Replay:
    """Transitions, oldest first. seen, did, after: keys of the text before the turn, of its action, of the text after it.

    reward: (n,). goes_on: whether the value after it counts (False at an end). fold, trajectory: where its
    trajectory is held out, and that one's key. newest: whether it came with the last batch.
    """

    seen: Hash
    did: Hash
    after: Hash
    reward: Float
    goes_on: Bool
    fold: Int
    trajectory: Array
    newest: Bool

    @property
    def size(self) -> int:
        return int(self.reward.size)

    def then(self, more: Replay) -> Replay:
        """With what came since."""
        both = {f.name: np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self)}
        both["newest"] = np.append(np.zeros(self.size, dtype=np.bool_), more.newest)
        return Replay(**both)

    def last(self, capacity: int) -> Replay:
        """The newest ``capacity`` transitions; what is older is forgotten."""
        return Replay(**{f.name: getattr(self, f.name)[-capacity:] for f in fields(self)})

    def arrays(self) -> dict[str, Array]:
        return {f"replay.{f.name}": getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of(cls, saved: Mapping[str, Array]) -> Replay:
        return cls(**{f.name: saved[f"replay.{f.name}"] for f in fields(cls)})


def turn_keys(batch: Batch) -> tuple[Hash, Hash, Hash]:
    """Keys of the text before each turn's first policy token, of its action, and of all that stands when it is over."""
    if batch not in _MADE:
        _MADE[batch] = _turn_keys(batch)
    return _MADE[batch]


#: Keys of batches still in use: learning from a batch and scoring it makes them once.
_MADE: WeakKeyDictionary[Batch, tuple[Hash, Hash, Hash]] = WeakKeyDictionary()


def _turn_keys(batch: Batch) -> tuple[Hash, Hash, Hash]:
    ids, action, offsets = _stream(batch, "turn")
    hashed = mix(ids)
    begin = offsets[batch.trajectory_turns[:-1]][batch.within("turn", "trajectory")]
    seen = suffix_keys(hashed, begin, first_active(action, offsets))
    inside = np.concatenate(([0], np.cumsum(action)))[offsets]
    did = action_keys(hashed[action], inside, seen)
    return seen, did, suffix_keys(hashed, begin, offsets[1:])


def transitions(batch: Batch, fold: Int, gamma: float) -> Replay:
    """The turns of a batch. fold: of each trajectory.

    The text after a turn is that before the next one. A trajectory's end is worth 0, or its ``bootstrap`` (put into
    the reward, discounted) where it was cut off; cut off without one, its value is that of all that stands there.
    """
    seen, did, over = turn_keys(batch)
    owner, last = batch.within("turn", "trajectory"), batch.trajectory_turns[1:] - 1
    after = np.concatenate([seen[1:], over[-1:]])
    after[last] = over[last]
    reward = batch.rewards("turn")
    reward[last] += gamma * final_value(batch)
    goes_on = np.ones(batch.n_turns, dtype=np.bool_)
    goes_on[last] = batch.truncated if batch.truncated is not None and batch.bootstrap is None else False
    return Replay(seen, did, after, reward, goes_on, fold[owner], trajectory_keys(batch)[owner], np.ones_like(goes_on))
