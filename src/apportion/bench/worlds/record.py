"""The record of a game or problem: what was walked in, by whom, and how its truth was estimated.

The twin of :mod:`apportion.bench.metadata` for worlds that are other people's. The two schemas differ where they must: a
task's numbers are exact, and here ``truth`` can only be an estimate, with its budget and its interval.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..metadata import PROTOCOL, Downstream, Replay
from ..records import Layout

if TYPE_CHECKING:
    from .measure import Setting


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Truth(_Part):
    """Advantages, estimated by running the policy on: ``continuations`` from each of ``prefixes``.

    units: how many advantages. width: mean width of their 95 % intervals (Newcombe's, of two Wilson intervals).
    signs_known: of how many the interval leaves 0 out.
    """

    kind: Literal["estimate"]
    estimand: Literal["advantage"]
    method: Literal["Monte-Carlo continuations of the policy"]
    rollouts: int = Field(ge=1)
    prefixes: int = Field(ge=1)
    continuations: int = Field(ge=2)
    units: int = Field(ge=1)
    interval: Literal["95 %, Newcombe"]
    width: float = Field(ge=0, le=2)
    signs_known: int = Field(ge=0)


class Marks(_Part):
    """Which choices the world itself says mattered, and whether for the better (1) or the worse (-1)."""

    what: str
    favours: Literal[-1, 1]
    marked: int = Field(ge=0)


class WorldReward(_Part):
    """One reward at the end, from the world's own verdict; ``rewarded`` of the rollouts got one above 0."""

    type: Literal["at the end"]
    range: tuple[float, float]
    rewarded: int = Field(ge=0)


class WorldRecord(_Part):
    """A game or problem of a real text world, under the protocol of the tasks."""

    protocol: str = Field(pattern=f"^{PROTOCOL.replace('.', '[.]')}$")
    task_id: str
    family: str
    title: str
    version: int = Field(ge=1)
    seed: int = Field(ge=0, description="of rollouts and continuations")
    layout: Layout
    horizon: int = Field(ge=1, description="most choices of a rollout")
    library: dict[str, str] = Field(description="name and version of whose world it is")
    licence: str
    definition: dict[str, Any]
    policy: dict[str, Any]
    replay: Replay
    reward: WorldReward
    marks: Marks
    policy_for_truth: Literal["the policy of the rollouts"]
    downstream: Downstream
    truth: Truth
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the game's or problem's whole definition, as canonical JSON")


def records(at: Setting, seed: int) -> list[WorldRecord]:
    """The record of every game or problem that was walked in, in their order."""
    world, found = at.world, at.found
    prompt = np.repeat([one.prompt for one in at.walks], [one.length for one in at.walks])
    width = found.high - found.low
    known = (found.low > 0) | (found.high < 0)
    made = []
    for p in sorted({one.prompt for one in at.walks}):
        about, own = world.about(p), [one for one in at.walks if one.prompt == p]
        mine = prompt == p
        made.append(WorldRecord(
            protocol=PROTOCOL, task_id=f"{world.family}/{world.prompts[p]}", family=world.family, title=about.title, version=1,
            seed=seed, layout=world.layout, horizon=world.limit, library={about.library: version(about.library)},
            licence=about.licence, definition=about.definition, policy=about.policy,
            replay=Replay(mode="exact" if world.replays else "decoder", env_steps=int(world.replays), noise=0.0),
            reward=WorldReward(type="at the end", range=(0.0, 1.0), rewarded=sum(one.reward > 0 for one in own)),
            marks=Marks(what=about.marks, favours=1 if world.favours > 0 else -1, marked=int(at.marked[mine].sum())),
            policy_for_truth="the policy of the rollouts",
            downstream=Downstream(continuation="the policy", horizon="to the end", dice="fresh"),
            truth=Truth(
                kind="estimate", estimand="advantage", method="Monte-Carlo continuations of the policy", rollouts=len(own),
                prefixes=int(mine.sum()), continuations=found.k, units=int(mine.sum()), interval="95 %, Newcombe",
                width=float(width[mine].mean()), signs_known=int(known[mine].sum()),
            ),
            sha256=digest(about.content),
        ))  # fmt: skip
    return made


def digest(content: Any) -> str:
    """SHA-256 of JSON-able content: keys sorted, no spaces, so that only what it says counts."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **WorldRecord.model_json_schema()}
