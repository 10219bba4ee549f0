"""Who enters the benchmark: a method, its options and where its evidence comes from."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np

from ..batch import Batch
from ..credit import Credit, relabelled
from ..errors import OptionError
from ..pipeline import assign, learn
from ..registry import keywords, methods
from .authors import SimulatedAuthor
from .editors import SimulatedEditor
from .experts import demonstrations
from .layouts import rows_of, to_batch
from .records import Layout
from .samplers import TabularSampler
from .segments import Rule, segments
from .sources import SimulatedJudge, SimulatedPolicy, exact_credit, fork_spans, solutions
from .tabular import Float, Int, Task
from .world import Rollouts, roll

Ask = Literal["nothing", "fit", "sampler", "judge", "policy", "editor", "author", "forks", "experts", "hint", "truth", "model"]

#: What learned parts use on texts as simple as these: hash buckets, and folds of cross-fitting.
FIT: Mapping[str, Any] = {"buckets": 256, "folds": 2}


@dataclass(frozen=True)
class Entrant:
    """``fresh``: rollouts of a group that the method samples itself (branches). ``logp``: whether it, or
    what it asks, looks at log-probabilities; they take longer to lay out than all the rest.
    ``reference``: whether it reads those of the reference policy. ``epochs``: steps taken on each batch
    when learning; more than one shows what ratios and clips do. ``layouts``: the kinds of rollouts it
    enters on, if not all that have what it reads. ``keeps``: while it learns, what it fitted goes on from
    update to update (``state=`` of its ``fit``) instead of being fitted afresh on each batch. ``segments``: the rule
    by which turns are taken together as options, where it reads them (``bench.segments``). ``group``: rollouts of a
    prompt, where it has other groups than the rest of the run; a batch holds as many trajectories all the same.
    """

    id: str
    method: str
    title: str
    ask: Ask = "nothing"
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    fresh: int = 0
    logp: bool = False
    reference: bool = False
    epochs: int = 1
    layouts: tuple[Layout, ...] | None = None
    keeps: bool = False
    segments: Rule | None = None
    group: int | None = None

    @property
    def oracle(self) -> bool:
        """Whether its evidence touches the truth; such rows never enter a ranking."""
        return self.ask in ("truth", "judge", "policy", "editor", "forks", "experts", "hint")

    @property
    def paid(self) -> bool:
        """Whether it costs more than the rollouts and one backward pass."""
        return self.ask in ("fit", "experts", "hint", "sampler", "judge", "policy", "editor", "model", "author")

    def fits(self, layout: Layout, neural: bool = False) -> bool:
        """Whether it can enter on rollouts of this kind; one that asks the model needs a ``neural`` task, which has one."""
        if self.ask == "model" and not neural:
            return False
        if self.layouts is not None:
            return layout in self.layouts
        if self.method == "exact":
            return True
        return not (self.fresh and layout != "turns") and not methods()[self.method].lacking(
            (*_HAS[layout], *(["spans"] if self.segments else [])), self.options
        )  # fmt: skip


#: Columns of the batches of each layout. A state key stands before a turn, and an answer is one turn.
_COMMON = ("outcome", "group", "ids", "logp", "ref_logp", "entropy", "limit", "success")
_HAS: Mapping[Layout, tuple[str, ...]] = {
    "turns": (*_COMMON, "state", "node", "parent"),
    "steps": (*_COMMON, "steps"),
    "team": (*_COMMON, "state", "agent"),
}


def shipped() -> tuple[Entrant, ...]:
    """The entrants of all modules in ``entries``, the first ones first."""
    package = importlib.import_module("apportion.bench.entries")
    names = sorted((m.name for m in pkgutil.iter_modules(package.__path__)), key=lambda name: (name != "first", name))
    found = [e for name in names for e in importlib.import_module(f"{package.__name__}.{name}").ENTRANTS]
    return tuple(found)


@cache
def entrants() -> dict[str, Entrant]:
    """All entrants by id; a method without one of its own enters with its defaults."""
    known = {e.id: e for e in shipped() if e.method == "exact" or e.method in methods()}
    for id_, spec in methods().items():
        if not any(e.method == id_ for e in known.values()) and not spec.evidence:
            reads = spec.reads | spec.may_read
            known[id_] = Entrant(
                id_, id_, spec.summary, logp=bool({"logp", "entropy"} & reads), reference="ref_logp" in reads
            )  # fmt: skip
    return known


@dataclass(frozen=True, eq=False)
class Outcome:
    """One batch, credited: the first rollouts, all of them (branches included), and the credit."""

    first: Rollouts
    rollouts: Rollouts
    sampled: Batch
    credit: Credit
    learned: Any = None

    @property
    def rows(self) -> Int:
        """Row of ``rollouts`` of each credited trajectory; trajectories are found by their id."""
        return rows_of(self.first.task, self.credit.batch)


def run_entrant(
    entrant: Entrant,
    task: Task,
    theta: Float,
    n_groups: int,
    group: int,
    world: np.random.Generator,
    own: np.random.Generator,
    *,
    learned: Any = None,
) -> Outcome:
    """Sample a batch and credit it; ``world`` draws the rollouts, ``own`` what the method asks for.

    learned: what an entrant that ``keeps`` had learned before; what it has learned since is in the outcome.
    """
    if entrant.fresh >= group - 1:
        raise OptionError(f"{entrant.id} samples {entrant.fresh} of each group of {group} itself: use larger groups")
    rollouts = roll(task, theta, n_groups, group - entrant.fresh, world)
    batch = to_batch(rollouts, logp=entrant.logp, reference=entrant.reference)
    if entrant.segments is not None:
        batch = batch.with_columns(spans=segments(batch, entrant.segments))
    if entrant.ask == "truth":
        return Outcome(rollouts, rollouts, batch, exact_credit(rollouts, batch))
    ask: dict[str, Any] = {}
    options = dict(entrant.options)
    if entrant.ask in ("fit", "experts"):
        ask["fit"] = True
    elif entrant.ask == "sampler":
        ask["sampler"] = TabularSampler(rollouts, **entrant.source)
    elif entrant.ask == "editor":
        ask["sampler"] = SimulatedEditor(rollouts, **entrant.source)
    elif entrant.ask == "author":
        ask["author"] = SimulatedAuthor(**entrant.source)
    elif entrant.ask == "forks":
        batch = batch.with_columns(spans={"planning": fork_spans(rollouts, batch)})
    elif entrant.ask == "hint":  # fitted, and told the solution
        ask = {"fit": True, "privileged": solutions(rollouts, batch)}
        if entrant.source.get("candidates"):
            ask["sampler"] = TabularSampler(rollouts)
    elif entrant.ask == "judge":
        ask["judge"] = SimulatedJudge(rollouts, **entrant.source)
    elif entrant.ask == "model":
        from .neural.policy import TransformerPolicy

        ask["policy"] = TransformerPolicy(rollouts)
    elif entrant.ask == "policy":
        ask["policy"] = SimulatedPolicy(rollouts, **entrant.source)
    if entrant.ask == "experts":
        options["experts"] = demonstrations(task, own, **entrant.source)
    if entrant.keeps:
        ask.pop("fit", None)
        own_fit = set(keywords(methods()[entrant.method].fit or learn))
        fitting = {name: options.pop(name) for name in sorted(own_fit & set(options))}
        fitting |= {name: ask.pop(name) for name in sorted(own_fit & set(ask))}
        fitting |= {"author": ask.pop("author")} if "author" in ask else {}
        learned = learn(batch, entrant.method, state=learned, rng=own, **fitting)
        ask["learned"] = learned
    credit = assign(batch, entrant.method, rng=own, **ask, **options)
    if not isinstance(credit, Credit):
        raise OptionError(f"{entrant.method} gives preferences; the benchmark scores credit")
    if entrant.keeps:  # what it cost to learn is paid here: assign only used it
        credit = relabelled(credit, bill=credit.bill + learned.bill)
    after = ask["sampler"].rollouts if "sampler" in ask else rollouts
    return Outcome(rollouts, after, batch, credit, learned)
