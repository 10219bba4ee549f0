"""How tokens, steps, turns, rows and trajectories nest in a packed batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import BatchError
from .ids import Codes
from .words import Axis

Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Float = NDArray[np.float64]

_ORDER: tuple[Axis, ...] = ("token", "step", "turn", "row", "trajectory", "episode", "group")


def spread(offsets: Int) -> Int:
    """Index of the segment each position lies in: [0, 2, 5] -> [0, 0, 1, 1, 1]."""
    return np.repeat(np.arange(offsets.size - 1, dtype=np.int64), np.diff(offsets))


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """Offsets and the maps between levels.

    Turn ``u`` owns tokens ``turn_offsets[u]:turn_offsets[u + 1]``; row ``r`` owns turns
    ``row_turns[r]:row_turns[r + 1]``; trajectory ``i`` owns rows
    ``trajectory_rows[i]:trajectory_rows[i + 1]``. Turns partition the tokens, in the order they
    happened; observation tokens may stand before or after the policy's tokens of their turn.
    Steps, when given, refine turns; without them a step is a turn.
    """

    turn_offsets: Int
    row_turns: Int
    trajectory_rows: Int
    action: Bool
    trajectory: Codes
    episode: Codes | None = None
    group: Codes | None = None
    step_offsets: Int | None = None
    _maps: dict[tuple[str, str], Int] = field(default_factory=dict, init=False)

    @property
    def n_tokens(self) -> int:
        return int(self.action.size)

    @property
    def n_turns(self) -> int:
        return int(self.turn_offsets.size - 1)

    @property
    def n_steps(self) -> int:
        return self.n_turns if self.step_offsets is None else int(self.step_offsets.size - 1)

    @property
    def n_rows(self) -> int:
        return int(self.row_turns.size - 1)

    @property
    def n_trajectories(self) -> int:
        return int(self.trajectory_rows.size - 1)

    @property
    def n_prefixes(self) -> int:
        return self.n_turns + self.n_trajectories

    @cached_property
    def trajectory_turns(self) -> Int:
        """Turn offsets of the trajectories, shape (N + 1,)."""
        return self.row_turns[self.trajectory_rows]

    def count(self, axis: Axis) -> int:
        """How many tokens, steps, turns, prefixes, rows … there are."""
        if axis == "token":
            return self.n_tokens
        if axis == "prefix":
            return self.n_prefixes
        if axis == "step_prefix":
            return self.n_steps + self.n_trajectories
        if axis == "episode":
            return self.n_trajectories if self.episode is None else self.episode.n
        if axis == "group":
            return self.n_trajectories if self.group is None else self.group.n
        return int(self.offsets(axis).size - 1)

    def offsets(self, axis: Axis) -> Int:
        """Token offsets of all units at a level, shape (count + 1,)."""
        if axis == "token":
            return np.arange(self.n_tokens + 1, dtype=np.int64)
        if axis == "step" and self.step_offsets is not None:
            return self.step_offsets
        if axis in ("step", "turn"):
            return self.turn_offsets
        if axis == "row":
            return self.turn_offsets[self.row_turns]
        if axis == "trajectory":
            return self.turn_offsets[self.trajectory_turns]
        raise BatchError(f"{axis}s are not spans of tokens: ask for token, step, turn, row or trajectory")

    def within(self, fine: Axis, coarse: Axis) -> Int:
        """For each ``fine`` unit, the index of the ``coarse`` unit that holds it.

        ``batch.within("token", "turn")`` is the turn of every token; ``within("trajectory",
        "group")`` the group of every trajectory (each its own where no group was given).
        """
        key = (fine, coarse)
        if key not in self._maps:
            found = self._within(fine, coarse)
            found.setflags(write=False)  # shared by every caller
            self._maps[key] = found
        return self._maps[key]

    def _within(self, fine: Axis, coarse: Axis) -> Int:
        if fine == coarse:
            return np.arange(self.count(fine), dtype=np.int64)
        if fine in ("prefix", "step_prefix") and coarse in ("trajectory", "episode", "group"):
            owner = spread(self.prefix_offsets if fine == "prefix" else self.step_prefix_offsets)
            return owner if coarse == "trajectory" else self.within("trajectory", coarse)[owner]
        if fine not in _ORDER or coarse not in _ORDER or _ORDER.index(fine) > _ORDER.index(coarse):
            raise BatchError(f"a {fine} does not lie within a {coarse}")
        if coarse in ("episode", "group"):
            codes = self.episode if coarse == "episode" else self.group
            own = np.arange(self.n_trajectories, dtype=np.int64) if codes is None else codes.codes
            if fine == "episode":  # an episode's trajectories share their group
                return own[np.unique(self.within("trajectory", "episode"), return_index=True)[1]]
            return own if fine == "trajectory" else own[self.within(fine, "trajectory")]
        if fine == "token":
            return spread(self.offsets(coarse))
        if fine == "turn" and coarse in ("row", "trajectory"):
            return spread(self.row_turns if coarse == "row" else self.trajectory_turns)
        if fine == "row":
            return spread(self.trajectory_rows)
        return self.within("token", coarse)[self.offsets(fine)[:-1]]

    @cached_property
    def turn_index(self) -> Int:
        """Position of each turn in its trajectory, from 0."""
        return np.arange(self.n_turns, dtype=np.int64) - self.trajectory_turns[self.within("turn", "trajectory")]

    @cached_property
    def prefix_before(self) -> Int:
        """Index of the prefix before each turn; the one after it is ``prefix_before + 1``."""
        return np.arange(self.n_turns, dtype=np.int64) + self.within("turn", "trajectory")

    @cached_property
    def prefix_offsets(self) -> Int:
        """Offsets of the trajectories on the prefix axis, shape (N + 1,)."""
        return self.trajectory_turns + np.arange(self.n_trajectories + 1, dtype=np.int64)

    @property
    def step_prefix_offsets(self) -> Int:
        """Offsets of the trajectories on the step_prefix axis, shape (N + 1,)."""
        # not cached: hiding the steps must change it
        steps = np.searchsorted(self.offsets("step"), self.offsets("trajectory"))
        return steps + np.arange(self.n_trajectories + 1, dtype=np.int64)

    def action_count(self, axis: Axis) -> Int:
        """Number of policy tokens in each unit."""
        return np.add.reduceat(self.action, self.offsets(axis)[:-1], dtype=np.int64)  # no unit is empty

    def last_action(self, axis: Axis) -> Int:
        """Index of the last policy token of each unit: where its reward sits; -1 if it has none."""
        if axis == "token":
            return np.where(self.action, np.arange(self.n_tokens, dtype=np.int64), -1)
        offsets = self.offsets(axis)
        found = offsets[1:] - 1
        if self.action[found].all():  # the common case: nothing to look for
            return found
        policy = np.flatnonzero(self.action)
        before = np.searchsorted(policy, found, side="right") - 1
        found = np.where(before >= 0, policy[before], -1)
        return np.where(found >= offsets[:-1], found, -1)
