"""rLLM: an advantage for every token of ``Step.advantage`` by its hook for groups, or one a trajectory by its estimators.

rLLM turns a list of the wrong length into zeros, keeps one number where its backend cannot carry more, and forgets the hook
when it trains asynchronously: all this is refused at start. See ``docs/rllm.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import BatchError, OptionError, TrainerError
from ..words import check_word
from . import thin
from .calls import Call, PerCall, check_scorable, credit_calls, flat, told
from .honours import Honours
from .method_table import rewrite
from .packed import Rollout
from .rows import PREFIX, Plan, plan, say
from .versions import check_version

#: rLLM versions the plug-in was written for (commit 9beb6e0f): this one and above, below the other.
TESTED = ("0.3.0", "0.3.1")

#: The key of ``Step.info`` under which a workflow names the state in which a step was taken.
STATE = "state"

#: Values of ``Episode.termination_reason`` that cut a rollout short; of "unknown" nothing is known.
CUT = ("max_prompt_length_exceeded", "max_response_length_exceeded", "max_turns_exceeded", "timeout")

#: Losses of the Tinker backend that take an advantage per token and add tokens up; None is rLLM's choice among them.
LOSSES = (None, "importance_sampling", "ppo", "cispo")

Rewards = Literal["trajectory", "steps"]
COLUMNS = ("reward", "outcome", "turn_reward", "group", "agent", "state", "ids", "logp", "truncated")
WAYS = {"state": "`step.info['state']` in the workflow, or `states='observation'`", "turn_reward": "`rewards='steps'`"}
_TINKER = Honours("rLLM's Tinker backend", frozenset({"token"}), keep=True, denominator="trajectory")
_OTHERS = Honours("rLLM's estimators", frozenset({"token"}), keep=False, denominator=None)
PLACE = thin.Place("rLLM", COLUMNS, _TINKER, WAYS)


@dataclass
class Crediting:
    """A method that was checked, and how many batches it has credited."""

    plan: Plan
    rewards: Rewards
    step: int = 0

    def __call__(self, groups: Sequence[Any]) -> list[list[list[PerCall]]]:
        """Credit for each group, trajectory and step."""
        self.step += 1
        rollouts = [[_rollout(self, g, i) for i in range(len(g.trajectories))] for g in groups]
        found = iter(credit_calls(self.plan, [r for members in rollouts for r in members], self.step))
        return [[next(found) for _ in members] for members in rollouts]


def grouping_hook(
    config: Any, method: str, *, backend: str, rewards: Rewards = "trajectory", base: Callable[..., Any] | None = None,
    **options: Any,
) -> Callable[..., Any]:  # fmt: skip
    """For ``AgentTrainer(config, ..., backend="tinker", traj_grouping_hook=)``, where it trains synchronously.

    rewards: "trajectory", all of it at the end; or "steps", where ``Step.reward`` says how much of it each step earned.
    base: a hook of your own that makes the groups (default: rLLM's). options: the method's; ``fit``, ``learned``, a live
    source; ``seed``; ``states="observation"``: what was shown since the step before is a step's state.
    """
    _check_at_start(config, backend)
    made = _crediting(PLACE, config, method, rewards, options)
    make = base or _rllms_own()

    def hook(episodes: Sequence[Any], *given: Any, **named: Any) -> Any:
        groups = make(episodes, *given, **named)
        credit = made(groups)  # nothing is written where anything is wrong
        for group, members in zip(groups, credit, strict=True):
            for trajectory, calls in zip(group.trajectories, members, strict=True):
                for taken, call in zip(trajectory.steps, calls, strict=True):
                    taken.advantage = call.credit.tolist()
        return groups

    return hook


def register(config: Any, method: str, *, backend: str, rewards: Rewards = "trajectory", **options: Any) -> str:
    """Register ``apportion/<method>``, which must credit whole trajectories, as an estimator of rLLM; returns that name.

    For every backend, synchronous or not: as ``rllm.algorithm.adv_estimator``, or a value of
    ``traj_group_adv_estimator_map``. rLLM takes an ``adv_estimator`` that is none of its own for "other"; where the
    configuration names this one, it is registered as that too. options: those of :func:`grouping_hook`.
    """
    check_version("rllm", TESTED, "apportion's plug-in")
    loss, one_role = _TINKER if backend == "tinker" else _OTHERS, set(COLUMNS) - {"agent"}
    place = replace(PLACE, columns=one_role, loss=loss)
    made = _crediting(place, config, method, rewards, options)
    spec = made.plan.chosen.spec
    if spec.unit != "trajectory":
        raise OptionError(f"rLLM's estimators give a number per trajectory, {spec.id} one per {spec.unit}: take grouping_hook()")
    from rllm.trainer.algorithms import advantage

    def estimator(rewards: Any, algorithm_config: Any, traj_groups: Any = None, **_: Any) -> tuple[Any, Any]:
        if traj_groups is None:
            raise TrainerError("rLLM passed its estimator no traj_groups, as it did in 0.3.0")
        found = [np.array([_one(calls) for calls in members]) for members in made(traj_groups)]
        return found, found

    estimator.method = spec.id  # type: ignore[attr-defined]
    name = PREFIX + spec.id
    for known_as in [name, *["other"] * (_at(config, "algorithm", "adv_estimator") == name)]:
        there = advantage.RLLM_ADV_ESTIMATOR_REGISTRY.get(known_as)
        if there is not None and not hasattr(there, "method"):
            raise TrainerError(f"rLLM has an estimator {known_as!r} already, which is not apportion's")
        advantage.register_rllm_adv_estimator(known_as)(estimator)
    return name


def _check_at_start(config: Any, backend: str) -> None:
    check_version("rllm", TESTED, "apportion's plug-in")
    if backend != "tinker":
        raise OptionError(
            f"backend = {backend!r}: rLLM keeps one number per trajectory there; take 'tinker', or register() for methods that "
            "credit whole trajectories"
        )
    if _at(config, "async_training", "enable"):
        raise OptionError("rllm.async_training.enable = True: rLLM does not call the hook then; it calls what register() made")
    if not _at(config, "algorithm", "use_precomputed_advantage"):
        raise OptionError("rllm.algorithm.use_precomputed_advantage = False: rLLM may overwrite the credit: set it to True")
    if (loss := _at(config, "algorithm", "loss_fn")) not in LOSSES:
        raise OptionError(f"rllm.algorithm.loss_fn = {loss!r}: apportion knows {', '.join(map(str, LOSSES[1:]))}")


def _crediting(place: thin.Place, config: Any, method: str, rewards: Rewards, options: dict[str, Any]) -> Crediting:
    check_word(rewards, Rewards, "rewards")
    if rewards == "trajectory":
        place = replace(place, columns=set(place.columns) - {"turn_reward"})
    group_size = _at(config, "rollout", "n")
    return Crediting(say(plan(place, method, options, None if group_size is None else int(group_size))), rewards)


def _at(config: Any, *names: str) -> Any:
    """What ``config.rllm`` has under these names; None where it has not."""
    found: Any = config.rllm
    for name in names:
        found = None if found is None else found.get(name)
    return found


def _rllms_own() -> Callable[..., Any]:
    from rllm.trainer.algorithms import transform

    own: Callable[..., Any] = transform._default_traj_grouping_hook
    return own


def _rollout(made: Crediting, group: Any, i: int) -> Rollout:
    """A turn per step. Groups are rLLM's, a role each; for methods that tell agents apart, all roles of a task."""
    trajectory, spec = group.trajectories[i], made.plan.chosen.spec
    name = f"group {group.group_id}, trajectory {i}"
    if trajectory.reward is None:
        raise BatchError(f"{name}: its reward is None, expected a number")
    steps = trajectory.steps
    calls = [Call(flat(s.prompt_ids), s.response_ids, s.logprobs) for s in steps]
    read = told(name, calls)
    check_scorable(made.plan.chosen, name, read)
    noted = [(s.metadata or {}).get(STATE) for s in steps]
    earned = [float(s.reward) for s in steps[:-1]] + [0.0] * bool(steps)
    about = group.metadata[i] if i < len(group.metadata) else {}
    reason = getattr(about.get("termination_reason"), "value", None)
    teams = "agent" in (spec.reads | spec.may_read) & set(made.plan.place.columns)
    return Rollout(
        name, read.turns,
        outcome=float(trajectory.reward) - (sum(earned) if made.rewards == "steps" else 0.0),
        group=group.task_id if teams else group.group_id,
        agent=trajectory.name if teams else None,
        episode=(group.task_id, about.get("rollout_idx", i)) if teams else None,
        truncated=None if reason in (None, "unknown") else reason in CUT,
        state=read.shown if made.plan.states == "observation" else noted if any(k is not None for k in noted) else None,
        turn_reward=earned if made.rewards == "steps" else None,
    )  # fmt: skip


def _one(calls: Sequence[PerCall]) -> float:
    return next((float(c.credit[0]) for c in calls if c.credit.size), 0.0)


if __name__ == "__main__":
    rewrite(PLACE, sys.argv[1])
