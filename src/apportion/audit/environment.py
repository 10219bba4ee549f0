"""Environments of the user's own: what they must offer, rollouts in them, and how rollouts read as a batch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..batch import Batch
from ..edges.word_pieces import word_ids
from ..errors import BenchError
from .policies import Policy, act, dice_of


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


LIMIT = 64


@dataclass
class Episode:
    """One rollout: observations (one more than actions), actions and rewards; snapshots before each action, where kept.

    dice: what the environment was reseeded with after its reset, if it was; replay does the same. total: the rewards are
    known only as their sum, which stands at the last action.
    """

    prompt: Any
    observations: list[str]
    actions: list[str] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    done: bool = False
    snapshots: list[Any] = field(default_factory=list)
    dice: int | None = None
    total: bool = False

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


def begun(env: Environment, prompt: Any) -> str:
    """Reset, with what came back checked."""
    seen = env.reset(prompt)
    if not isinstance(seen, str):
        raise BenchError(f"the environment answered reset({prompt!r:.40}) with {seen!r:.60}: expected a text")
    return seen


def taken(env: Environment, action: str) -> tuple[str, float, bool]:
    """One step, with what came back checked."""
    told: Any = env.step(action)
    try:
        seen, reward, done = told
        earned = float(reward)
    except (TypeError, ValueError):
        seen, earned, done = None, math.nan, False
    if not isinstance(seen, str) or not math.isfinite(earned):
        raise BenchError(
            f"the environment answered {action!r:.40} with {told!r:.80}: expected a text and a number, and whether it is over"
        )
    return seen, earned, bool(done)


def can(env: Any, *names: str) -> bool:
    return all(callable(getattr(env, name, None)) for name in names)


def rollout(env: Environment, policy: Policy, prompt: Any, rng: np.random.Generator) -> Episode:
    """One rollout; a snapshot is kept before every action where the environment saves."""
    one = Episode(prompt, [begun(env, prompt)])
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
    dice_of(policy)  # refuses before anything is begun
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
        where = f"{path}, line {number}"
        try:
            data = json.loads(line)
            seen, actions, total = data["observations"], data["actions"], "rewards" not in data
            rewards = [0.0] * (len(actions) - 1) + [data["reward"]] if total else data["rewards"]
            sizes = len(seen), len(actions), len(rewards)
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{where}: {error!r}; expected prompt, observations, actions and rewards") from None
        if sizes[1] == 0 or sizes[0] != sizes[1] + 1 or sizes[2] != sizes[1]:
            raise BenchError(f"{where}: {sizes[0]} observations, {sizes[1]} actions, {sizes[2]} rewards; "
                             "expected one observation more than actions, and as many rewards")  # fmt: skip
        if not (
            isinstance(seen, list) and isinstance(actions, list) and all(isinstance(text, str) for text in (*seen, *actions))
        ):
            raise BenchError(f"{where}: expected lists of texts as observations and actions")
        for i, r in enumerate(rewards):
            if not isinstance(r, int | float) or not math.isfinite(r):
                raise BenchError(f"{where}: {'reward' if total else f'rewards[{i}]'} is {r!r}: expected a number")
        dice = data.get("dice")
        if dice is not None and not isinstance(dice, int):
            raise BenchError(f"{where}: dice is {dice!r}: expected the whole number that reseed was given, or none")
        paid = [float(r) for r in rewards]
        found.append(Episode(data.get("prompt", number - 1), seen, actions, paid, True, dice=dice, total=total))
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
