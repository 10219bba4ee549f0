"""Environments of the user's own: what they must offer, rollouts in them, and how rollouts read as a batch."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..batch import Batch
from ..edges.word_pieces import word_ids
from ..errors import BenchError


@runtime_checkable
class Environment(Protocol):
    """A text environment. Nothing more is needed if it does the same again when it is reset and told the same actions.

    Optional: ``save() -> state`` and ``load(state)``, a way back to a place; ``reseed(seed)``, fresh dice from here on;
    ``prompts``, what reset takes (default 0, 1, 2 …); ``limit``, the most actions of a rollout (default 64).
    """

    def reset(self, prompt: Any) -> str:
        """Begin the task that ``prompt`` names; the first observation."""
        ...

    def step(self, action: str) -> tuple[str, float, bool]:
        """What is seen after the action, the reward it earned, and whether the rollout is over."""
        ...


#: ``policy(history, rng)``: the action after observation, action, …, observation. One without ``rng`` has dice of its own.
Policy = Callable[..., str]

LIMIT = 64


@dataclass
class Episode:
    """One rollout: observations (one more than actions), actions and rewards; snapshots before each action, where kept.

    dice: what the environment was reseeded with after its reset, if it was; replay does the same.
    """

    prompt: Any
    observations: list[str]
    actions: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    done: bool = False
    snapshots: list[Any] = field(default_factory=list)
    dice: int | None = None

    def history(self, turns: int) -> list[str]:
        """What the policy has before it at the prefix after ``turns`` actions."""
        told = [text for pair in zip(self.observations, self.actions[:turns], strict=False) for text in pair]
        return [*told, self.observations[turns]]


def steps_of(env: Any) -> int:
    """The most actions of a rollout in it."""
    limit = getattr(env, "limit", LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BenchError(f"the environment's limit is {limit!r}: expected a whole number of actions, at least 1")
    return limit


def act(policy: Policy, history: list[str], rng: np.random.Generator) -> str:
    """One action of the policy, which must be a text."""
    said = policy(history, rng) if _takes_dice(policy) else policy(history)
    if not isinstance(said, str) or not said:
        raise BenchError(f"the policy said {said!r} after {history[-1]!r:.60}: expected a text that is not empty")
    return said


def _takes_dice(policy: Policy) -> bool:
    try:
        kinds = [p.kind for p in inspect.signature(policy).parameters.values()]
    except (TypeError, ValueError):
        return False
    return kinds.count(inspect.Parameter.POSITIONAL_ONLY) + kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) > 1


def taken(env: Environment, action: str) -> tuple[str, float, bool]:
    """One step, with what came back checked."""
    seen, reward, done = env.step(action)
    if not isinstance(seen, str) or not np.isfinite(float(reward)):
        raise BenchError(f"the environment answered {action!r:.40} with {seen!r:.40}, {reward!r}: expected a text and a number")
    return seen, float(reward), bool(done)


def can(env: Any, *names: str) -> bool:
    return all(callable(getattr(env, name, None)) for name in names)


def rollout(env: Environment, policy: Policy, prompt: Any, rng: np.random.Generator) -> Episode:
    """One rollout; a snapshot is kept before every action where the environment saves."""
    one = Episode(prompt, [env.reset(prompt)])
    saves: Any = env if can(env, "save", "load") else None
    if can(env, "reseed"):
        one.dice = int(rng.integers(2**31))
        env.reseed(one.dice)  # type: ignore[attr-defined]
    while not one.done and len(one.actions) < steps_of(env):
        if saves is not None:
            one.snapshots.append(saves.save())
        action = act(policy, one.history(len(one.actions)), rng)
        seen, reward, one.done = taken(env, action)
        one.observations.append(seen)
        one.actions.append(action)
        one.rewards.append(reward)
    return one


def rollouts(
    env: Environment, policy: Policy, count: int, group: int, rng: np.random.Generator, watch: Callable[[int, int], None]
) -> list[Episode]:
    """``group`` rollouts of each prompt, as many prompts as that makes."""
    if group < 1 or count < 1 or count % group:
        raise BenchError(f"--rollouts {count}: expected a multiple of --per-prompt {group}, the rollouts of one prompt")
    named = list(getattr(env, "prompts", range(count // group)))
    if not named:
        raise BenchError("the environment's prompts are empty: expected what reset takes, at least one")
    made = []
    for i in range(count):
        watch(i, count)
        made.append(rollout(env, policy, named[(i // group) % len(named)], rng))
    return made


def read_episodes(path: Path) -> list[Episode]:
    """Rollouts from JSON lines: ``{"prompt": …, "observations": […], "actions": […], "rewards": […]}``, one a line.

    Observations are one more than actions; rewards are one an action (or ``"reward"``, one at the end). ``"dice"``: the
    seed that the environment was given after its reset, for one that has ``reseed``.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            seen, actions = data["observations"], data["actions"]
            rewards = data["rewards"] if "rewards" in data else [0.0] * (len(actions) - 1) + [data["reward"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{path}, line {number}: {error!r}; expected prompt, observations, actions and rewards") from None
        if not actions or len(seen) != len(actions) + 1 or len(rewards) != len(actions):
            raise BenchError(f"{path}, line {number}: {len(seen)} observations, {len(actions)} actions, {len(rewards)} rewards; "
                             "expected one observation more than actions, and as many rewards")  # fmt: skip
        if not all(isinstance(text, str) for text in (*seen, *actions)):
            raise BenchError(f"{path}, line {number}: expected texts as observations and actions")
        found.append(Episode(
            data.get("prompt", number - 1), list(seen), list(actions), [float(r) for r in rewards], True, dice=data.get("dice")
        ))  # fmt: skip
    if not found:
        raise BenchError(f"{path}: no rollouts, expected a JSON object a line")
    return found


def to_batch(episodes: Sequence[Episode]) -> Batch:
    """A trajectory a rollout, a turn an action: what was seen before it, then the action, which alone is the policy's.

    Words are tokens, state keys are what was seen, and the prompt is the group. Rewards stand at their turns; where only
    the last one of every rollout is not 0 they are outcomes.
    """
    lengths, ids, action, state, text = list[list[int]](), list[int](), list[bool](), list[str](), list[str]()
    for one in episodes:
        lengths.append([])
        for seen, said in zip(one.observations, one.actions, strict=False):
            shown, own = word_ids(seen), word_ids(said + "\n")
            ids += [*shown, *own]
            action += [False] * len(shown) + [True] * len(own)
            lengths[-1].append(len(shown) + len(own))
            text.append(f"{seen}\n> {said}")
        state += one.observations
    early = any(r for one in episodes for r in one.rewards[:-1])
    rewards: dict[str, Any] = (
        {"turn_reward": [r for one in episodes for r in one.rewards]}
        if early
        else {"outcome": [one.rewards[-1] for one in episodes]}
    )
    return Batch.from_turns(
        lengths, action=action, ids=ids, state=state, text=text, group=[str(one.prompt) for one in episodes],
        trajectory=list(range(len(episodes))), **rewards,
    )  # fmt: skip
