"""Whose rollouts are audited, and how a place in them is had again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..batch import Batch
from ..bench import catalog
from ..bench.layouts import choices, level, to_batch
from ..bench.records import Layout
from ..bench.samplers import TabularSampler
from ..bench.sources import exact_credit
from ..bench.tabular import Int
from ..bench.world import Rollouts, roll
from ..credit import Credit
from ..errors import BenchError
from ..evidence import Asked, Sampler
from ..words import Unit
from . import environment
from .design import endless
from .policies import dice_of
from .restored import sampler as restored_sampler
from .restored import verify

Watch = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Subject:
    """Rollouts, and a new sampler for them at every call of ``sampler``, so that nobody's questions change another's.

    restore: "exact", "replayed", "re-fed text" or what else the sampler says. notes: what a reader must know of it.
    exact: the exact credit, of a task of the benchmark. verified: has the places that will be asked again, and says how
    that went; it raises where they cannot be had.
    """

    name: str
    batch: Batch
    level: Unit
    sampler: Callable[[], Sampler]
    restore: str
    notes: tuple[str, ...] = ()
    layout: Layout = "turns"
    exact: Callable[[], Credit] | None = None
    verified: Callable[[Int], str] | None = None


class TaskSampler(TabularSampler):
    """A task's sampler that also takes an action again, from the state it was taken in; see :class:`.ask.Retaker`."""

    def after_action(self, batch: Batch, units: Int, k: int, rng: np.random.Generator, *, level: Unit) -> Asked:
        task = self.rollouts.task
        at = choices(task, batch)
        if level != at.level:
            raise BenchError(f"{task.id} has one choice per {at.level}, not per {level}")
        row, time = at.row[units], at.time[units]
        forced = np.full((row.size, task.horizon), -1, dtype=np.int64)
        forced[np.arange(row.size), time] = self.rollouts.actions[row, time]
        return Asked(self._run(row, time, k, rng, forced), self._bill(time, k))


def of_task(id_: str, rollouts: int, group: int, rng: np.random.Generator) -> Subject:
    """Rollouts of a task of the benchmark under the policy training starts from; states are restored exactly."""
    task = catalog.find(id_)
    _groups(rollouts, group)
    made: Rollouts = roll(task, task.start_theta, rollouts // group, group, rng)
    batch = to_batch(made, reference=True)
    return Subject(
        id_, batch, level(task), lambda: TaskSampler(made), "exact",
        ("a restored state holds what the policy cannot see, where the task hides anything",),
        layout=task.layout, exact=lambda: exact_credit(made, batch),
    )  # fmt: skip


def of_world(id_: str, rollouts: int, group: int, seed: int) -> Subject:
    """TextWorld's games (``textworld``, or ``textworld/r3-o4-q5-s0``: rooms, objects, commands of the quest, seed)."""
    from ..bench.worlds.batches import to_batch as read
    from ..bench.worlds.games import Spec
    from ..bench.worlds.sampler import WalkSampler
    from ..bench.worlds.textworld import TextWorld
    from ..bench.worlds.walks import roll as walked

    _groups(rollouts, group)
    family, _, name = id_.partition("/")
    games = rollouts // group
    specs = [Spec(seed=1000 * seed + i) for i in range(games)]
    if name:
        parts = name.split("-")
        if [p[:1] for p in parts] != list("roqs") or not all(p[1:].isdigit() for p in parts):
            raise BenchError(f"--env {id_}: expected {family}/rROOMS-oOBJECTS-qQUEST-sSEED, such as {family}/{Spec().name}")
        rooms, objects, quest, first = (int(p[1:]) for p in parts)
        specs = [Spec(rooms, objects, quest, first + i) for i in range(games)]
    world = TextWorld(specs)
    walks = walked(world, group, np.random.default_rng([seed, 1]))
    return Subject(
        id_, read(world, walks), "turn", lambda: WalkSampler(world, walks), "replayed",
        ("the games' logic is certain: the same commands lead to the same place, so no luck is in a change of value",
         "continuations run in the games' own logic, which was compared with the compiled games along every rollout"),
    )  # fmt: skip


def of_environment(name: str, env: Any, policy: Any, episodes: Sequence[environment.Episode]) -> Subject:
    """Rollouts in an environment of the user's own (:mod:`.environment`); refuses those longer than it lets any become."""
    dice_of(policy)
    batch = environment.to_batch(episodes)
    made = restored_sampler(env, policy, episodes)
    dice = "fresh after a restore" if made.fresh else "as they are restored (the environment has no reseed)"

    def verified(units: Int) -> str:
        owner = batch.within("turn", "trajectory")
        first = np.searchsorted(owner, owner[units])
        found = verify(made, list(zip(owner[units].tolist(), (units - first).tolist(), strict=True)))
        tail = "" if found.same == found.places else "; the others' dice are not restored, or their snapshots are incomplete"
        if found.unchecked:
            tail += f"; the total reward of {found.unchecked} rollouts could not be compared (no dice are recorded)"
        return f"{found.same} of {found.places} places, had again twice, answered the recorded action as in the rollout{tail}"

    return Subject(
        name, batch, "turn", lambda: restored_sampler(env, policy, episodes), "exact" if made.exact else "replayed",
        (f"the environment's dice are {dice}",), verified=verified,
    )  # fmt: skip


def of_sampler(name: str, batch: Batch, function: Callable[[Batch], Any]) -> Subject:
    """Rollouts of a log, and a function that makes a sampler for them."""
    made = function(batch)
    if not isinstance(made, Sampler):
        raise BenchError(f"--env {name} gave {type(made).__name__}, which is no sampler (see apportion.evidence.Sampler)")
    said = {"exact_restore": "exact", "text_refeed": "re-fed text"}
    restore = said.get(made.provenance, made.provenance.replace("_", " "))
    axis: Unit = "turn" if batch.step_offsets is None else "step"
    notes = ["the kind of restore is what the sampler says of itself"]
    if (left := endless(batch, axis).size) > 0:
        notes.append(
            f"{left} rollouts were cut off and have no bootstrap, so the value after their last {axis} is not known: "
            f"that {axis} is left out"
        )
    elif batch.truncated is not None and batch.truncated.any():
        notes.append(f"after the last {axis} of the {int(batch.truncated.sum())} rollouts cut off stands their bootstrap")
    return Subject(
        name, batch, axis, lambda: function(batch), restore, tuple(notes), layout="turns" if axis == "turn" else "steps"
    )


def load(spec: str, option: str) -> Any:
    """What ``FILE.py:NAME`` names."""
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py") or not name:
        raise BenchError(f"{option} {spec}: expected FILE.py:NAME")
    said = f"{option} {spec}"
    return catalog.named(catalog.execute(Path(file), said), name, said)


def environment_of(value: Any) -> Any | None:
    """The environment that a loaded name stands for: itself, a class of it, or a function without arguments that makes it.

    None for a function that takes a batch.
    """
    if environment.can(value, "reset", "step"):
        return value() if inspect.isclass(value) else value
    if callable(value) and not _required(value):
        made = value()
        if environment.can(made, "reset", "step"):
            return made
    return None


def _required(function: Any) -> int:
    parameters = inspect.signature(function).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _groups(rollouts: int, group: int) -> None:
    if group < 1 or rollouts < 1 or rollouts % group:
        raise BenchError(f"--rollouts {rollouts}: expected a multiple of --per-prompt {group}, the rollouts of one prompt")
