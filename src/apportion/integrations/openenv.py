"""OpenEnv: ``TrajectoryRubric.compute_step_rewards`` by any method that goes by rewards, tasks and states. See docs/openenv.md.

OpenEnv is imported only by :func:`ready_rubric`.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BatchError, OptionError, TrainerError
from .honours import Honours
from .in_front import check_in_front
from .packed import Rollout, Turn, pack
from .thin import Place, choose, credited, in_company
from .versions import check_version

TESTED = ("0.3.0", "0.4")
#: A rubric has no loss: what a trainer averages over is the trainer's business, and every step keeps its reward.
OPENENV = Place(
    "OpenEnv",
    ("reward", "outcome", "turn_reward", "group", "state", "truncated"),
    Honours("OpenEnv", frozenset({"token"}), keep=False, denominator=None),
    {"state": "`state_of(observation)` of your rubric", "turn_reward": "`earned(action, observation)` of your rubric"},
    kinds=("advantage", "reward"),
)


class CreditMixin:
    """Put in front of ``TrajectoryRubric``, makes ``compute_step_rewards`` the credit of each step.

        class Rubric(CreditMixin, TrajectoryRubric):
            def score_trajectory(self, trajectory): ...

        rubric = Rubric(credit="gigpo", credit_options={"omega": 0.5})

    credit: id of the method. credit_options: its options. memory: how many finished episodes it compares the current
    one with; what ``reset`` finds finished goes there. A deque may be given instead, and shared by rubrics of one process.

    What a rubric may add: ``state_of(observation)``, a hashable key of what the agent sees; ``task_of(trajectory)``, which
    episodes are comparable (default: all); ``earned(action, observation)``, what a step earned besides the score.
    Raises :class:`~apportion.errors.OptionError` where method and options do not fit, when it is made.
    """

    #: The key of what the agent sees before its first step, which no rubric is shown.
    start: Hashable = "start"
    _trajectory: list[tuple[Any, Any]]

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        check_in_front(cls, CreditMixin, "compute_step_rewards")

    def __init__(
        self,
        *args: Any,
        credit: str = "pooled_td",
        credit_options: Mapping[str, Any] | None = None,
        memory: int | deque[Rollout] = 64,
        **more: Any,
    ) -> None:
        check_version("openenv-core", TESTED, "apportion's plug-in")
        if not callable(getattr(super(), "compute_step_rewards", None)):
            raise TrainerError(f"{type(self).__name__} is no TrajectoryRubric: write class R(CreditMixin, TrajectoryRubric)")
        chosen = choose(OPENENV, credit, credit_options or {})
        for column, name in (("state", "state_of"), ("turn_reward", "earned")):
            if {column} & {*chosen.spec.reads, *chosen.spec.evidence} and not self._says(name):
                raise OptionError(f"{credit} goes by {column}: write {name} in {type(self).__name__}")
        if not isinstance(memory, deque) and (type(memory) is not int or memory < 0):
            raise OptionError(f"memory = {memory!r}: expected a number of episodes, or a deque")
        super().__init__(*args, **more)
        self._chosen = chosen
        self._episodes = memory if isinstance(memory, deque) else deque(maxlen=memory)
        for remark in chosen.remarks:
            if "denominator" not in remark:
                warnings.warn(remark, UserWarning, stacklevel=2)

    # --- what a rubric may say ------------------------------------------------------------------------
    def state_of(self, observation: Any) -> Hashable:
        """A key of what the agent sees; None where it is not known."""
        return None

    def task_of(self, trajectory: Sequence[tuple[Any, Any]]) -> Hashable:
        """Which episodes are compared with one another; by default all of them."""
        return "task"

    def earned(self, action: Any, observation: Any) -> float:
        """What a step earned besides the score of its episode."""
        return 0.0

    def _says(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(CreditMixin, name)

    # --- what OpenEnv calls ---------------------------------------------------------------------------
    def reset(self) -> None:
        """OpenEnv's, after the episode went to memory, if it was finished."""
        if self._trajectory and getattr(self._trajectory[-1][1], "done", False):
            self._episodes.append(self._rollout())
        parent: Any = super()
        parent.reset()

    def compute_step_rewards(self) -> list[float]:
        """Credit of each step of the current episode, shape (steps,), beside the finished ones in memory; [] before a step."""
        return self.group_step_rewards()[-1] if self._trajectory else []

    def group_step_rewards(self) -> list[list[float]]:
        """The same for the episodes in memory, oldest first, and the current one: of a group that is complete, all at once."""
        rollouts = [*self._episodes, *([self._rollout()] if self._trajectory else [])]
        stays = in_company(self._chosen, [r.group for r in rollouts])
        used = [r for r, s in zip(rollouts, stays, strict=True) if s]
        if not used:
            return [[0.0] * len(r.turns) for r in rollouts]
        value = credited(OPENENV, self._chosen, pack(used).with_columns(ids=None), rng=0).on("turn")
        parts = iter(np.split(value, np.cumsum([len(r.turns) for r in used])[:-1]))
        return [next(parts).tolist() if s else [0.0] * len(r.turns) for r, s in zip(rollouts, stays, strict=True)]

    def _rollout(self) -> Rollout:
        """The current episode: a step is a turn of one token."""
        steps = self._trajectory
        name = f"episode {len(self._episodes)}"
        parent: Any = self
        score = parent.score_trajectory(steps)
        earned = [self.earned(*step) for step in steps]
        for what, number in (("score_trajectory", score), *(("earned", e) for e in earned)):
            if not isinstance(number, (int, float, np.number)) or not math.isfinite(number):
                raise BatchError(f"{name}: {what} gave {number!r}, expected a finite number")
        token = Turn(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_))
        return Rollout(
            name,
            [token] * len(steps),
            outcome=float(score),
            group=self.task_of(steps),
            truncated=not getattr(steps[-1][1], "done", False),
            state=[self.start, *(self.state_of(observation) for _, observation in steps)],
            turn_reward=earned if self._says("earned") else None,
        )


def ready_rubric() -> type:
    """``CreditRubric``: the mixin in front of OpenEnv's TrajectoryRubric; ``score_trajectory`` is left to you."""
    from openenv.core.rubrics.trajectory import TrajectoryRubric  # type: ignore[import-not-found,unused-ignore]

    return type("CreditRubric", (CreditMixin, TrajectoryRubric), {"__doc__": CreditMixin.__doc__, "__module__": __name__})


def __getattr__(name: str) -> Any:
    """``CreditRubric``, made when it is first asked for."""
    if name != "CreditRubric":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made = ready_rubric()
    return made
