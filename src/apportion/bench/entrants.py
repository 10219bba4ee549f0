"""Who enters the benchmark: a method, its options and where its evidence comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit
from ..errors import OptionError
from ..pipeline import assign
from ..registry import methods
from .sources import SimulatedHindsight, SimulatedJudge, exact_credit
from .tabular import Float, Int, Task
from .world import Rollouts, TabularSampler, roll, to_batch

Ask = Literal["nothing", "fit", "sampler", "judge", "policy", "truth"]


@dataclass(frozen=True)
class Entrant:
    """``fresh``: rollouts of a group that the method samples itself (branches). ``logp``: whether it, or
    what it asks, looks at log-probabilities; they take longer to lay out than all the rest."""

    id: str
    method: str
    title: str
    ask: Ask = "nothing"
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    fresh: int = 0
    logp: bool = False

    @property
    def oracle(self) -> bool:
        """Whether its evidence touches the truth; such rows never enter a ranking."""
        return self.ask in ("truth", "judge", "policy")

    @property
    def paid(self) -> bool:
        """Whether it costs more than the rollouts and one backward pass."""
        return self.ask in ("fit", "sampler", "judge", "policy")


#: What learned parts use on texts as simple as these: hash buckets, and folds of cross-fitting.
FIT = {"buckets": 256, "folds": 2}

_ENTRANTS = (
    Entrant("exact", "exact", "exact advantage", "truth"),
    Entrant("rloo", "rloo", "RLOO"),
    Entrant("grpo", "grpo", "GRPO, with its std"),
    Entrant("gae", "gae", "GAE, critic learned afresh", "fit", {"unit": "turn", "lam": 0.95, **FIT}),
    Entrant("gigpo", "gigpo", "GiGPO"),
    Entrant("tempo", "tempo", "TEMPO"),
    Entrant("pooled_td", "pooled_td", "pooled TD (ours)"),
    Entrant("vineppo", "vineppo", "VinePPO, 4 continuations a turn", "sampler", {"k": 4}),
    Entrant("carl", "carl", "CARL, half of the rollouts forked", "sampler", {"forks": 4}, fresh=4, logp=True),
    Entrant("hcapo", "hcapo", "HCAPO, learned hindsight", "fit", FIT, logp=True),
    Entrant("pure", "pure", "PURE, learned process reward", "fit", FIT),
    Entrant("hcapo-exact", "hcapo", "HCAPO, exact hindsight", "policy", source={"skill": 1.0}, logp=True),
    Entrant("pure-judge80", "pure", "PURE, judge right on 80 % of texts", "judge", source={"accuracy": 0.8}),
)


@cache
def entrants() -> dict[str, Entrant]:
    """All entrants by id; a method without one of its own enters with its defaults."""
    known = {e.id: e for e in _ENTRANTS if e.method == "exact" or e.method in methods()}
    for id_, spec in methods().items():
        if not any(e.method == id_ for e in known.values()) and not spec.evidence:
            known[id_] = Entrant(id_, id_, spec.summary, logp=bool({"logp", "entropy"} & (spec.reads | spec.may_read)))
    return known


@dataclass(frozen=True, eq=False)
class Outcome:
    """One batch, credited: the first rollouts, all of them (branches included), and the credit."""

    first: Rollouts
    rollouts: Rollouts
    sampled: Batch
    credit: Credit

    @property
    def rows(self) -> Int:
        """Row of ``rollouts`` of each credited trajectory; trajectories are found by their id."""
        return np.asarray([int(name) for name in self.credit.batch.trajectory.to_list()], dtype=np.int64)


def run_entrant(
    entrant: Entrant, task: Task, theta: Float, n_groups: int, group: int, world: np.random.Generator, own: np.random.Generator
) -> Outcome:
    """Sample a batch and credit it; ``world`` draws the rollouts, ``own`` what the method asks for."""
    if entrant.fresh >= group - 1:
        raise OptionError(f"{entrant.id} samples {entrant.fresh} of each group of {group} itself: use larger groups")
    rollouts = roll(task, theta, n_groups, group - entrant.fresh, world)
    batch = to_batch(rollouts, logp=entrant.logp)
    if entrant.ask == "truth":
        return Outcome(rollouts, rollouts, batch, exact_credit(rollouts, batch))
    ask: dict[str, Any] = {}
    if entrant.ask == "fit":
        ask["fit"] = True
    elif entrant.ask == "sampler":
        ask["sampler"] = TabularSampler(rollouts)
    elif entrant.ask == "judge":
        ask["judge"] = SimulatedJudge(rollouts, **entrant.source)
    elif entrant.ask == "policy":
        ask["policy"] = SimulatedHindsight(rollouts, **entrant.source)
    credit = assign(batch, entrant.method, rng=own, **ask, **entrant.options)
    if not isinstance(credit, Credit):
        raise OptionError(f"{entrant.method} gives preferences; the benchmark scores credit")
    after = ask["sampler"].rollouts if "sampler" in ask else rollouts
    return Outcome(rollouts, after, batch, credit)
