"""The trajectories every trainer is given: plain arrays, small enough to check by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...structure import Float


@dataclass(frozen=True)
class GaeCase:
    """(B, T) rollouts for GAE. mask: 1 on policy tokens. outcome (B,): one reward a rollout, scored on its last token.

    shown: whether the numbers fit a page; if not, only the difference is printed.
    """

    name: str
    mask: Float
    value: Float
    outcome: Float
    gamma: float
    lam: float
    whiten: bool = False
    shown: bool = True

    @property
    def reward(self) -> Float:
        """The outcome on the last token of every row, whoever wrote it: where most trainers put it."""
        reward = np.zeros(self.mask.shape)
        reward[:, -1] = self.outcome
        return reward


@dataclass(frozen=True)
class GroupCase:
    """Rewards (N,) of rollouts and the prompt (N,) each belongs to.

    shown: the rollouts whose credit is printed. rounds: all rewards are equal, but their float32 mean is not them.
    """

    name: str
    reward: tuple[float, ...]
    group: tuple[int, ...]
    shown: tuple[int, ...] = ()
    rounds: bool = False

    @property
    def size(self) -> int:
        """Rollouts of every prompt; 0 where they differ."""
        sizes = set(np.bincount(self.group).tolist())
        return sizes.pop() if len(sizes) == 1 else 0


Case = GaeCase | GroupCase

_ANSWER = np.array([[1, 1, 0, 0, 0, 0, 1, 1]], dtype=np.float64)
_ENDS = np.array([[1, 1, 0, 0]], dtype=np.float64)
_ONE = np.ones(1)


def _answer(gamma: float, lam: float) -> GaeCase:
    """Two policy tokens, a tool's answer in which the critic sees more (0.9) than before (0.5), two policy tokens."""
    name = f"tool answer, gamma {gamma:g}, lambda {lam:g}"
    return GaeCase(name, _ANSWER, np.where(_ANSWER == 1, 0.5, 0.9), _ONE, gamma, lam)


def _random(whiten: bool, seed: int = 0) -> GaeCase:
    """Four rollouts of sixteen tokens, any of them a tool's; the last is the policy's."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((4, 16)) < 0.6).astype(np.float64)
    mask[:, [0, -1]] = 1
    value = rng.normal(size=mask.shape).round(3)
    name = "random rollouts, whitened" if whiten else "random rollouts"
    return GaeCase(name, mask, value, rng.normal(size=4).round(3), 0.99, 0.9, whiten, shown=False)


ANSWER = tuple(_answer(gamma, lam) for gamma, lam in ((1.0, 1.0), (1.0, 0.95), (0.99, 0.95)))
ENDS = GaeCase("ends in a tool's answer", _ENDS, np.full(_ENDS.shape, 0.5), _ONE, 1.0, 0.95)
GAE = (*ANSWER, ENDS, _random(False), _random(True))

PROMPTS = GroupCase("two prompts of four", (1, 0, 0, 1, 1, 0, 0, 0), (0, 0, 0, 0, 1, 1, 1, 1), (0, 1, 4, 5))
EQUAL = GroupCase("equal rewards", (1, 1, 1, 1, 1, 0, 0, 1), (0, 0, 0, 0, 1, 1, 1, 1), (0,))
SIZES = GroupCase("prompts of four, three and two", (1, 0, 0, 1, 0.5, 0.25, 1, 0, 0.75), (0, 0, 0, 0, 1, 1, 1, 2, 2))
LONE = GroupCase("a prompt with one rollout", (0.7, 1, 0), (0, 1, 1), (0,))
ONES = GroupCase("one rollout a prompt", (0.7, 0.2, 1), (0, 1, 2), (0,))
NOISE = GroupCase("six equal rewards of 0.9", (0.9,) * 6, (0,) * 6, (0,), rounds=True)
GROUPS = (PROMPTS, EQUAL, SIZES, LONE, ONES, NOISE)
CASES: tuple[Case, ...] = (*GAE, *GROUPS)
