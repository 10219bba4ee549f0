"""How a sampler gets a state of a rollout back, what that costs, and how it goes wrong.

    exact     a snapshot is restored: nothing but the continuation is paid for
    replayed  the environment is run again from its start with the same actions: t environment steps more a restore
              before choice t (from 0). An answer in steps has no environment, its text is the state: nothing more
    text      the text so far is fed again, and with chance ``replay_noise`` the world goes on from another state
    none      no state in the middle of a rollout can be had again; the start can, and so can the policy's own text

A restore is had for every continuation, replay and branch. One that goes wrong leads to another state of the same prompt
and turn that the policy cannot tell from the right one (equal observation), drawn by how likely the policy stands
there; where it can stand in none such, to any other state of that turn, drawn likewise; where there is no
other at all, the restore is right. Errors are drawn anew at every restore, never frozen: more continuations take away
their scatter and leave their bias, since what is estimated is

    (1 - noise) V_t(s) + noise sum_u w(u) V_t(u),   w(u) proportional to d_t(u) over the states meant above

Reading a text is billed nowhere here, so a text costs no more than a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import OptionError
from ..ops.markov import forward
from ..words import Provenance, check_word
from .tabular import Float, Int, Task

Replay = Literal["exact", "replayed", "text", "none"]

#: Methods whose questions begin at the start (ReMax) or execute nothing (fresh actions): no mode changes what they get.
RESTORE_NOTHING = frozenset({"remax", "archer", "sweet_rl"})


@dataclass(frozen=True)
class Restore:
    """A mode and, for "text", the chance in [0, 1] that a restore goes wrong."""

    mode: Replay = "exact"
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_word(self.mode, Replay, "replay")
        if isinstance(self.noise, bool) or not isinstance(self.noise, int | float) or not 0 <= self.noise <= 1:
            raise OptionError(f"replay_noise = {self.noise!r}: expected a chance between 0 and 1")
        if self.noise and self.mode != "text":
            raise OptionError(f"replay_noise = {self.noise} with replay={self.mode}: only a text that is fed again (replay=text) "
                              "goes wrong by chance")  # fmt: skip

    @property
    def provenance(self) -> Provenance:
        return "text_refeed" if self.mode == "text" else "exact_restore"

    def refuse(self, what: str) -> None:
        """Raise where a state in the middle of a rollout is asked for and none can be had."""
        if self.mode == "none":
            raise OptionError(f"{what} begins in the middle of a rollout, and with replay=none no such state can be had again")

    def steps(self, time: Int, k: int = 1) -> float:
        """Environment steps taken again for ``k`` restores before each choice ``time``, where there is an environment."""
        return float(time.sum() * k) if self.mode == "replayed" else 0.0

    def states(self, task: Task, theta: Float, prompt: Int, time: Int, state: Int, rng: np.random.Generator) -> Int:
        """Where the world goes on from, one per restore; ``rng`` is not touched without noise."""
        if not self.noise:
            return state
        wrong = rng.random(state.size) < self.noise
        reach = np.cumsum(wrong_states(task, theta, prompt[wrong], time[wrong], state[wrong]), axis=1)
        out: Int = state.copy()
        out[wrong] = np.minimum((rng.random((reach.shape[0], 1)) >= reach).sum(axis=1), reach.shape[1] - 1)
        return out


def wrong_states(task: Task, theta: Float, prompt: Int, time: Int, state: Int) -> Float:
    """Where a restore that goes wrong leads, (n, S): chances, by state, for each of n situations."""
    d = forward(task.kernels, task.kernel_of, task.context, task.policy(theta), task.start)
    seen = task.observation[prompt, time]
    each = np.arange(state.size)
    weight = d[prompt, time]
    weight[each, state] = 0.0
    alike = weight * (seen == seen[each, state][:, None])
    weight = np.where(alike.sum(axis=1, keepdims=True) > 0, alike, weight)
    total = weight.sum(axis=1, keepdims=True)
    own = np.zeros_like(weight)
    own[each, state] = 1.0
    chances: Float = np.where(total > 0, weight / np.where(total > 0, total, 1.0), own)
    return chances
