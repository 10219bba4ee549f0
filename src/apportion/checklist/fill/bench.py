"""What a run of the benchmark proves: its manifest, its results, and the definitions of the tasks it names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...bench import tasks as known_tasks
from ...bench.tabular import Task
from ...errors import ApportionError
from ...registry import methods
from ...report.read import Float, Run, read_run
from .proof import FillError, Finding, collect

#: What answers the form's question for an episode-level baseline: methods of these give a trajectory one credit.
_EPISODE = "trajectory"


@dataclass(frozen=True)
class Look:
    """One entrant of a run, seen as the method that the form reports on. ``length``: what lengths are counted in."""

    folder: Path
    run: Run
    own: str
    length: str

    @property
    def entrant(self) -> Mapping[str, Any]:
        return self.run.entrants[self.own]

    def at(self, what: str, id_: str, key: str = "") -> str:
        """Locator of something in the manifest's list of entrants or tasks."""
        listed = [str(one["id"]) for one in self.run.manifest[what]]
        return f"manifest.json:{what}[{listed.index(id_)}]" + (f".{key}" if key else "")

    @functools.cached_property
    def baselines(self) -> tuple[str, ...]:
        """Other entrants whose method gives a trajectory one credit, RLOO first."""
        known = methods()
        found = [
            id_
            for id_, one in self.run.entrants.items()
            if id_ != self.own and not one.get("oracle") and (m := known.get(str(one.get("method")))) and m.unit == _EPISODE
        ]
        return tuple(sorted(found, key=lambda id_: id_ != "rloo"))

    def cells(self, measure: str, entrant: str) -> dict[tuple[str, int, float], Mapping[str, Float]]:
        """(task, batch, lr) -> metric -> one value per seed, of one entrant."""
        found = self.run.values.get(measure, {})
        return {key[1:]: cell for key, cell in found.items() if key[0] == entrant}

    @functools.cached_property
    def trained(self) -> dict[tuple[str, int, float], Mapping[str, Float]]:
        """The method's training runs that finished."""
        return {k: c for k, c in self.cells("learning", self.own).items() if np.isfinite(c.get("final", np.nan)).any()}

    @functools.cached_property
    def built(self) -> dict[str, Task]:
        """The run's tasks as they are known here, where their definition is the same to the last array."""
        found = {}
        for id_, definition in self.run.tasks.items():
            try:
                task = known_tasks.find(id_)
            except ApportionError:
                continue  # a task of the user's own
            if task.describe()["sha256"] == definition.get("sha256"):
                found[id_] = task
        return found

    def tokens(self, task: str) -> int | None:
        """Tokens the policy writes a turn; None where the task is not known here."""
        return int(self.built[task].words.shape[1]) if task in self.built else None


def prove(folder: Path, method: str | None, setting: tuple[str, ...]) -> tuple[Finding, ...]:
    """One finding per item. method: id of an entrant, or of the method it runs; setting: the form's.

    Raises:
        BenchError: the folder holds no readable run.
        FillError: it is open which entrant is meant.
    """
    from . import bench_method, bench_numbers

    run = read_run(folder)
    look = Look(folder, run, choose(run, method), "tokens" if setting == ("reasoning",) else "turns")
    asked = {**bench_method.ASKED, **bench_numbers.ASKED}
    return collect({item: functools.partial(ask, look) for item, ask in asked.items()}, _LEFT_OUT)


_LEFT_OUT = "a run of the benchmark does not hold it"


def choose(run: Run, method: str | None) -> str:
    """The entrant that the form is about: by its id, by its method, or the only one that is neither oracle nor baseline."""
    entrants = run.entrants
    if method in entrants:
        return str(method)
    plain_id = method.lower().replace("-", "_") if method else None  # "GiGPO" is gigpo
    by_method = [id_ for id_, one in entrants.items() if one.get("method") == plain_id and not one.get("oracle")]
    if method and not by_method:
        raise FillError(f"method = {method!r}: not in this run; it has {', '.join(entrants)}")
    known = methods()
    plain = {id_ for id_, one in entrants.items() if (m := known.get(str(one.get("method")))) and m.unit == _EPISODE}
    others = [id_ for id_, one in entrants.items() if not one.get("oracle") and id_ not in plain]
    left = by_method or others
    if len(left) != 1:
        raise FillError(
            f"the run has several methods: say which the form is about, with --method ({', '.join(left or entrants)})"
        )
    return left[0]
