"""Who asks for advice when selectors are compared, and what each selector answers.

A case is a task with what its user has (:data:`HAVE`). Trees name methods; a user runs any entrant of one that the
case allows. Ours may look at the fitting settings only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...survey.profile import Profile, profile
from ...survey.tree_walk import walk
from ...survey.trees import trees
from ..knobs import entrant as find
from ..statistics import Int
from .grid import HELD_OUT
from .measured import Measured, Setting
from .nearest import REPEATS
from .needs import lacks
from .rank import rank
from .worth import log_cost, log_net

#: Tokens that a step of a task stands for, per token it has: 30 steps of 2 tokens are a chain of 3,000.
TOKENS = 50
_NO = {"judge": "no", "critic": "no", "can_fork": "no", "sampler": "no", "step_verifier": "no", "privileged": "no"}

#: What a user may have, by name.
HAVE: Mapping[str, Mapping[str, str]] = {
    "only the batch": {**_NO, "aux_model": "no", "budget": "low"},
    "a critic": {**_NO, "aux_model": "yes", "critic": "yes", "budget": "medium"},
    "a judge and a critic": {**_NO, "aux_model": "yes", "critic": "yes", "judge": "yes", "budget": "high"},
    "forks": {**_NO, "aux_model": "no", "can_fork": "yes", "sampler": "yes", "budget": "high"},
    "all of it": {**_NO, "aux_model": "yes", "critic": "yes", "judge": "yes", "can_fork": "yes", "sampler": "yes",
                  "budget": "high"},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A task and what its user has; ``open_to``: entrants that can be run and were measured there."""

    task: str
    have: str
    profile: Profile
    open_to: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """What a selector says to a case: entrants of its candidates that can be run, in its order, a tuple for each candidate."""

    entrants: tuple[tuple[str, ...], ...]
    named: int


def profile_of(s: Setting, have: Mapping[str, str], group: int) -> Profile:
    """What a user of this task would say."""
    said: dict[str, Any] = {**have, "hidden": s.hidden, "success": s.success, "G": group}
    if s.layout == "steps":
        return profile({**said, "setting": "reasoning", "N": s.horizon, "cot_tokens": s.horizon * s.tokens * TOKENS})
    said |= {"turns": s.horizon, "states_repeat": s.repeat >= REPEATS, "spans": True}  # a rule of the benchmark labels turns
    if s.layout == "team":
        return profile({**said, "setting": "multi-agent", "agents": s.agents})
    return profile({**said, "setting": "agentic"})


def cases(m: Measured, tasks: Sequence[str] = HELD_OUT) -> list[Case]:
    """Every task with everything its user may have, where at least two entrants can be told apart."""
    found = []
    for task in tasks:
        for have, said in HAVE.items():
            user = profile_of(m.settings[task], said, m.group)
            free = [e for e in m.entrants if not np.isnan(value(m, task, e)) and not lacks(find(e), user, _price(m, task, e))]
            if len(free) > 1:
                found.append(Case(task, have, user, tuple(free)))
    return found


def _price(m: Measured, task: str, entrant: str) -> float | None:
    price = m.price(task, entrant)
    return None if np.isnan(price) else price


def value(m: Measured, task: str, entrant: str, index: Int | slice = slice(None)) -> float:
    """What is to be large: minus the log cost of learning where methods were trained, else the log net multiplier."""
    return -log_cost(m, task, entrant, index) if m.trained(task) else log_net(m, task, entrant, index)


def advise(m: Measured, case: Case) -> dict[str, Advice]:
    """What each selector says: the three trees, ours, and two that always say the same."""
    said = {id_: walk(tree, case.profile).candidates for id_, tree in trees().items()}
    said |= {"always GRPO": ("grpo",), "always RLOO": ("rloo",)}
    found = {name: _runnable(case, methods) for name, methods in said.items()}
    # the same world with a half-trained policy is no other setting
    fit = [s.id for s in m.settings.values() if s.split == "fit" and world(s.id) != world(case.task)]
    ranked = [r.entrant for r in rank(case.profile, m, fit).ranked]
    found["measured"] = Advice(tuple((e,) for e in ranked if e in case.open_to), len(ranked))
    return found


def world(task: str) -> str:
    """A task's id without how far its first policy was trained."""
    return task.partition("@")[0]


def _runnable(case: Case, methods: Sequence[str]) -> Advice:
    by_method = [tuple(e for e in case.open_to if find(e).method == id_) for id_ in methods]
    return Advice(tuple(e for e in by_method if e), len(methods))
