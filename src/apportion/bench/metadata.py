"""The metadata record of a task: what another team has to know to use it, or to build it without our code.

A record is computed from the task itself, not written by hand, and validated by a JSON Schema that ``apportion bench
tasks --schema`` prints.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from .oracle import oracle, truth
from .tabular import Task

#: Version of the protocol: of this record, of the measures and of the file of results.
PROTOCOL: Literal["1.0"] = "1.0"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Units(_Part):
    """What gets credit: ``count`` units of one ``type``, ``tokens`` policy tokens each, in the hands of ``agents``."""

    type: Literal["turn", "step"]
    count: int = Field(ge=1)
    tokens: int = Field(ge=1)
    agents: int = Field(ge=1)


class Noise(_Part):
    """transition: mean chance that a move does not go where it mostly goes. verifier: mean chance that the last state's
    reward is not the likelier one. Both between 0 and 0.5, over what the starting policy visits."""

    transition: float = Field(ge=0, le=1)
    verifier: float = Field(ge=0, le=0.5)


class Entropy(_Part):
    """Mean entropy (nats) of the starting policy's choices at forks and elsewhere; null where there are none."""

    forks: float | None = Field(ge=0)
    routine: float | None = Field(ge=0)


class Replay(_Part):
    """How a state can be had again, and what a turn from there on costs in environment steps."""

    mode: Literal["exact", "decoder", "text", "none"]
    env_steps: int = Field(ge=0)
    noise: float = Field(ge=0)


class Reward(_Part):
    """One reward of 0 or 1 at the end."""

    type: Literal["binary, at the end"]
    range: tuple[float, float]
    verifier: Literal["exact", "noisy"]


class Downstream(_Part):
    """The protocol rho under which truth is computed: who acts afterwards, to where, and with which dice."""

    continuation: Literal["the policy"]
    horizon: Literal["to the end"]
    dice: Literal["fresh"]


class Values(_Part):
    """Exact numbers under the starting policy: expected return, the best of any policy that sees the state, and the
    spread of success over prompts."""

    expected_return: float
    optimum: float
    easiest_prompt: float
    hardest_prompt: float


class Record(_Part):
    """A task instance of protocol 1.0."""

    protocol: Literal["1.0"]
    task_id: str
    family: str
    title: str
    tags: tuple[str, ...]
    version: int = Field(ge=1)
    seed: int | None
    prompts: int = Field(ge=1)
    actions: int = Field(ge=2)
    horizon: int = Field(ge=1, description="T: choices in a rollout")
    units: Units
    bifurcation_units: tuple[int, ...] = Field(description="times (from 0) at which some prompt has a fork")
    gap: float = Field(ge=0, le=1, description="largest difference in value between two actions at a fork")
    interaction: str | None
    recoverability: float | None
    delay: int | None = Field(description="choices between the last fork and the reward")
    unseen: int | None = Field(
        default=None, ge=0, description="choices after a fork before what became of it is shown; null: never, or not known"
    )
    action_types: tuple[str, ...] | None = Field(
        default=None, description="types of action that the turns are declared to be, if they are"
    )
    observability: Literal["full", "partial", "log hides what the policy sees"]
    noise: Noise
    entropy: Entropy
    replay: Replay
    reward: Reward
    policy_for_truth: Literal["the policy that training starts from"]
    downstream: Downstream
    estimands: tuple[str, ...]
    values: Values
    licence: Literal["Apache-2.0"]
    definition: dict[str, Any]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def record(task: Task) -> Record:
    """The record of a task, computed from its arrays and its starting policy."""
    from .estimands import MOST
    from .oracle import optimum

    P, T, S = task.context.shape
    theta = task.start_theta
    pi = task.policy(theta)
    with oracle():
        solved = truth(task, theta)
        visits, values, q, start = solved.d, solved.V, solved.Q, float(solved.J)
    reached = visits[:, :T] > 1e-9
    times = np.flatnonzero(task.fork.any(axis=0))
    at_forks = task.fork[:, :, None] & reached
    spread = np.where(at_forks, q.max(axis=-1) - q.min(axis=-1), 0.0)
    entropy = -(pi * np.log(np.maximum(pi, 1e-300))).sum(axis=1)[task.context]
    by_prompt = (task.start * values[:, 0]).sum(axis=1)
    merged = any(np.unique(task.observation[p, t]).size < S for p in range(P) for t in range(T))
    forks = int(task.fork.sum(axis=1).max())
    names = ["advantage", "contrast", "leave_one_out"]
    names += ["shapley"] if 0 < forks <= MOST and task.fork.any(axis=1).all() else []
    names += ["difference", "team_shapley"] if task.roles is not None and task.agents <= MOST else []
    return Record(
        protocol=PROTOCOL, task_id=task.id, family=task.family, title=task.title, tags=task.tags, version=1,
        seed=task.definition.get("seed"), prompts=P, actions=task.actions, horizon=T,
        units=Units(
            type="step" if task.layout == "steps" else "turn", count=T, tokens=int(task.words.shape[1]), agents=task.agents
        ),
        bifurcation_units=tuple(times.tolist()), gap=float(spread.max()),
        interaction=task.definition.get("kind") if task.family in ("interaction", "team") else None,
        recoverability=task.definition.get("recover"), delay=int(T - 1 - times[-1]) if times.size else None,
        unseen=task.definition.get("unseen") if _hides(task, visits, values) else 0,
        action_types=tuple(sorted(set(task.definition["types"]))) if "types" in task.definition else None,
        observability="log hides what the policy sees" if task.shown is not None else "partial" if merged else "full",
        noise=_noise(task, visits, pi),
        entropy=Entropy(forks=_mean(entropy, visits[:, :T] * task.fork[:, :, None]),
                        routine=_mean(entropy, visits[:, :T] * ~task.fork[:, :, None])),
        replay=Replay(mode="exact", env_steps=0 if task.layout == "steps" else 1, noise=0.0),
        reward=Reward(
            type="binary, at the end", range=(0.0, 1.0), verifier="exact" if np.isin(task.success, (0.0, 1.0)).all() else "noisy"
        ),
        policy_for_truth="the policy that training starts from",
        downstream=Downstream(continuation="the policy", horizon="to the end", dice="fresh"),
        estimands=tuple(names),
        values=Values(expected_return=start, optimum=optimum(task), easiest_prompt=float(by_prompt.max()),
                      hardest_prompt=float(by_prompt.min())),
        licence="Apache-2.0", definition=task.definition, sha256=task.describe()["sha256"],
    )  # fmt: skip


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    made = Record.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _noise(task: Task, visits: Any, pi: Any) -> Noise:
    T = task.horizon
    slip = 1.0 - task.kernels.max(axis=-1)  # (K, S, A)
    weight = visits[:, :T, :, None] * pi[task.context]
    moved = slip[task.kernel_of]
    ends = visits[:, T] * np.minimum(task.success, 1.0 - task.success)
    return Noise(transition=float((weight * moved).sum() / weight.sum()), verifier=float(ends.sum() / visits[:, T].sum()))


def _hides(task: Task, visits: Any, values: Any) -> bool:
    """Whether the policy somewhere cannot tell apart two states that are worth different things."""
    for t in range(task.horizon):
        seen, value, there = task.observation[:, t], values[:, t], visits[:, t] > 1e-9
        alike = (seen[:, :, None] == seen[:, None, :]) & there[:, :, None] & there[:, None, :]
        if (alike & (np.abs(value[:, :, None] - value[:, None, :]) > 1e-9)).any():
            return True
    return False


def _mean(values: Any, weight: Any) -> float | None:
    total = float(weight.sum())
    return float((values * weight).sum() / total) if total > 0 else None
