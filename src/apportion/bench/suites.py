"""Named suites, as data, and the plan of a run: which cells there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import BenchError
from . import catalog
from .records import Cell, Entrant, Task, grouped
from .selection import grid
from .settings import Cost, Gradient, Identification, Learning, Settings
from .sweeps import swept

#: The numéraire of every multiplier: no run goes without it.
NUMERAIRE = "rloo"


@dataclass(frozen=True)
class Suite:
    """Which methods meet which tasks, how often and how closely they are measured."""

    title: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...] | None  # None: every entrant there is
    seeds: int
    settings: Settings


#: Who trains where training everybody would take weeks: every shape of method, free and paid, three with ratios and clips
#: (four steps a batch), and exact credit.
LEARNERS = (
    "exact", "rloo", "grpo", "grpo-4", "gae", "gigpo", "tempo", "pooled_td", "vineppo", "carl", "hcapo",
    "turn_ppo-4", "sorl-grpo-4",
)  # fmt: skip
#: With 60 updates most methods did not get there on most tasks; 120 are enough for RLOO on seven of eight fitting settings.
SELECTION_LEARNING = Learning(batch_sizes=(128,), lrs=(0.15,), max_updates=120, methods=grid.TRAINED)

SUITES: dict[str, Suite] = {
    # Methods are named, so that this stays two minutes whatever is added; the dearest do not learn here,
    # and training has one learning rate, at which RLOO mostly gets there; "full" has the whole grid.
    "quick": Suite(
        title="two minutes on two cores: three horizons, every shape of method",
        tasks=("bifurcation/horizon-10", "bifurcation/horizon-30", "bifurcation/horizon-100"),
        methods=(
            "exact", "rloo", "grpo", "gae", "gigpo", "tempo", "pooled_td",
            "vineppo", "carl", "hcapo", "pure", "hcapo-exact", "pure-judge80",
        ),
        seeds=3,
        settings=Settings(
            gradient=Gradient(replicates=(8, 2, 2), turns=125_000),
            learning=Learning(
                batch_sizes=(128, 512), lrs=(0.15,), max_updates=120,
                methods=("exact", "rloo", "pooled_td", "gae"),
            ),
            identification=Identification(batch=256),
        ),
    ),
    # The fixed suite of published comparisons: at most 10,000 cells, and well within an hour of two cores (--dry-run says
    # how long here). Every family; of two worlds that look alike, both. Nothing is learned where nothing is to be learned.
    "standard": Suite(
        title="three quarters of an hour on two cores: every family, every entrant, a dozen that learn",
        tasks=(
            "bifurcation/horizon-10", "bifurcation/horizon-30", "bifurcation/horizon-100", "reasoning/steps-30",
            "reasoning/mended", "agentic/echo-trap", "agentic/timeless", "team/two", "interaction/or",
            "classical/key-to-door", "witness/plus", "witness/minus",
        ),
        methods=None,
        seeds=2,
        settings=Settings(
            gradient=Gradient(batch_sizes=(64, 512), replicates=(8, 2), turns=125_000),
            learning=Learning(
                batch_sizes=(64, 512), lrs=(0.3, 0.15, 0.075), max_updates=100, methods=LEARNERS,
                tasks=(
                    "bifurcation/horizon-10", "bifurcation/horizon-30", "bifurcation/horizon-100", "reasoning/steps-30",
                    "agentic/echo-trap", "agentic/timeless", "team/two", "interaction/or", "classical/key-to-door",
                ),
            ),
            identification=Identification(batch=256),
        ),
    ),
    "full": Suite(
        title="every kind of task and every entrant, for a cluster",
        tasks=(
            "bifurcation/horizon-20", "bifurcation/horizon-100", "bifurcation/horizon-500",
            "bifurcation/hidden", "bifurcation/recoverable", "bifurcation/sure-routine",
            "bifurcation/rare-states", "bifurcation/small-gap", "bifurcation/lucky", "bifurcation/sure-forks",
            "bifurcation/aliased", "reasoning/planning", "reasoning/planted", "agentic/turns-64", "agentic/unseen-mistakes",
            "reasoning/steps-30", "reasoning/steps-100", "reasoning/mended", "team/two", "team/four", "team/one-decides",
            "agentic/echo-trap", "agentic/timeless", "agentic/memory-gap-5", "agentic/memory-gap-25",
            "interaction/additive", "interaction/and", "interaction/or", "interaction/xor", "interaction/order",
            "classical/umbrella-length-30", "classical/key-to-door", "classical/matrix-game", "witness/plus", "witness/minus",
        ),
        methods=None,
        seeds=10,
        settings=Settings(learning=Learning(lrs=(0.4, 0.2, 0.1, 0.05), methods=LEARNERS)),
    ),
    "methods": Suite(
        title="every entrant on a task of each kind: turns, steps, a half-trained policy, a team",
        tasks=("bifurcation/horizon-10", "reasoning/steps-10", "reasoning/steps-10@50", "team/two"),
        methods=None,
        seeds=3,
        settings=Settings(
            gradient=Gradient(batch_sizes=(64, 512), replicates=(8, 2)),
            learning=Learning(batch_sizes=(128,), lrs=(0.15,), max_updates=60),
            identification=Identification(batch=256),
        ),
    ),
    # Each neural task with its tabular twin; only turns learn, and methods are named, so that it stays minutes.
    "neural": Suite(
        title="minutes: a small transformer acts, beside the same tasks with a table (needs torch)",
        tasks=("tiny/turns", "neural/tiny/turns", "tiny/steps@50", "neural/tiny/steps@50"),
        methods=(
            "exact", "rloo", "grpo", "gae", "gigpo", "tempo", "pooled_td", "vineppo", "hcapo", "hca", "pure",
            "acpo-fit", "igpo-fit", "t_reg", "hicra", "spro", "prl", "prime", "istar", "itpo", "from_r_to_q",
            "hcapo-model", "hca-model", "acpo-model", "igpo-model", "t_reg-model", "deltabelief-model", "a2tgpo-model",
        ),
        seeds=3,
        settings=Settings(
            gradient=Gradient(batch_sizes=(64, 512), replicates=(4, 2)),
            learning=Learning(
                batch_sizes=(128,), lrs=(0.15,), max_updates=100, tasks=("tiny/turns", "neural/tiny/turns"), target=0.9,
                methods=("exact", "rloo", "grpo", "gae", "gigpo", "tempo", "pooled_td", "hcapo-model", "acpo-model"),
            ),
            identification=Identification(batch=256),
        ),
    ),
    # Learning curves of a transformer; every run spends the same budget. The two methods of credit were named before anything
    # was run: what ``apportion select`` puts first at 12 turns without forks of the environment, by published trees and by
    # measurements (gigpo, pooled_td).
    "train": Suite(
        title="a quarter of an hour on two cores: a small transformer learns twelve turns, with curves (needs torch)",
        tasks=("neural/tiny/turns-12",),
        methods=("exact", "rloo", "grpo", "gigpo", "pooled_td"),
        seeds=3,
        settings=Settings(
            measures=("learning", "cost"),
            learning=Learning(batch_sizes=(128,), lrs=(0.15, 0.05), max_updates=120, target=0.9, curve=40),
        ),
    ),
    "break-even": Suite(
        title="how good must a judge be, how many samples are enough, how large a group: one knob at a time",
        tasks=("bifurcation/horizon-30", "reasoning/steps-30"),
        methods=(
            "rloo", "grpo",
            *(f"pure-judge80@accuracy={a}" for a in (0.6, 0.7, 0.8, 0.9, 1.0)),
            *(f"capo-judge80@accuracy={a}" for a in (0.6, 0.7, 0.8, 0.9, 1.0)),
            *(f"hcapo-exact@skill={s}" for s in (0.0, 0.25, 0.5, 0.75, 1.0)),
            *(f"vineppo@k={k}" for k in (1, 2, 4, 8, 16)),
            *(f"spo@k={k}" for k in (1, 2, 4, 8, 16)),
            *(f"carl@forks={k}" for k in (1, 2, 4, 6)),  # of each group of eight; the others are rolled out first
            *(f"at2po@branches={k}" for k in (1, 2, 3)),  # twice as many of each group of eight
            *(f"{m}@group={g}" for m in ("rloo", "grpo", "gigpo", "tempo", "pooled_td") for g in (2, 4, 8, 16, 32)),
        ),
        seeds=6,
        settings=Settings(
            measures=("gradient", "cost"), gradient=Gradient(batch_sizes=(64, 512), replicates=(8, 4)), cost=Cost(batch=64)
        ),
    ),
    # What ``apportion select`` goes by, in three runs: fitting settings, held-out ones (selection/grid.py), and long rollouts.
    "selection": Suite(
        title="what method selection goes by: short rollouts, everybody learns",
        tasks=tuple(t for t in grid.SHORT if t in grid.FIT),
        methods=grid.ENTRANTS,
        seeds=3,
        settings=Settings(
            measures=("gradient", "learning", "cost"), gradient=Gradient(batch_sizes=(64, 256), replicates=(4, 2)),
            learning=SELECTION_LEARNING,
        ),
    ),
    "selection-held-out": Suite(
        title="short rollouts on which its advice is judged",
        tasks=tuple(t for t in grid.SHORT if t in grid.HELD_OUT),
        methods=grid.ENTRANTS,
        seeds=3,
        settings=Settings(measures=("learning", "cost"), learning=SELECTION_LEARNING),
    ),
    "selection-long": Suite(
        title="both, on rollouts of 100 turns or steps, where nobody learns",
        tasks=grid.LONG,
        methods=tuple(e for e in grid.ENTRANTS if e not in grid.ONLY_SHORT),
        seeds=3,
        settings=Settings(
            measures=("gradient", "cost"), gradient=Gradient(batch_sizes=(64, 256), replicates=(4, 2)), cost=Cost(batch=64)
        ),
    ),
    # Every point of every sweep, so that each knob is a curve; a named few and no training, so that it stays half an hour.
    "sweeps": Suite(
        title="half an hour on two cores: every knob of the tasks, one at a time",
        tasks=swept(),
        methods=(
            "exact", "rloo", "grpo", "gae", "gigpo", "tempo", "pooled_td", "vineppo", "carl", "hcapo-noisy", "pure-judge80",
        ),
        seeds=4,  # with fewer, intervals part by chance too often
        settings=Settings(
            measures=("gradient", "identification", "cost"),
            gradient=Gradient(batch_sizes=(64, 512), replicates=(4, 2), turns=260_000),
            identification=Identification(batch=64), cost=Cost(batch=16),
        ),
    ),
    "smoke": Suite(
        title="seconds: does everything run?",
        tasks=("bifurcation/horizon-10",),
        methods=("rloo", "grpo"),
        seeds=2,
        settings=Settings(
            gradient=Gradient(batch_sizes=(64,), replicates=(2,)),
            learning=Learning(batch_sizes=(64,), lrs=(0.2,), max_updates=3),
            identification=Identification(batch=64),
            cost=Cost(batch=16),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Plan:
    """A run before it starts. ``files``: digest of the file each task of the user's own came from."""

    suite: str
    tasks: Mapping[str, Task]
    entrants: Mapping[str, Entrant]
    seeds: tuple[int, ...]
    settings: Settings
    files: Mapping[str, str] = field(default_factory=dict)
    specs: tuple[str, ...] = ()  # FILE.py:NAME of the user's own tasks, for the worker processes

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell: method x task x seed x measure, learning kept to its own methods and tasks."""
        return tuple(
            Cell(method, id_, seed, measure)
            for id_, task in self.tasks.items()
            for method, entrant in self.entrants.items()
            if entrant.fits(task.layout, task.neural)
            for seed in self.seeds
            for measure in self.settings.measures
            if measure != "learning" or self._learns(method, id_)
        )

    def _learns(self, method: str, task: str) -> bool:
        rules = self.settings.learning
        return (rules.methods is None or method in rules.methods) and (rules.tasks is None or task in rules.tasks)


def suite(name: str) -> Suite:
    """The suite with this name, or an error that names the nearest."""
    if name not in SUITES:
        raise BenchError(catalog.unknown("suite", name, SUITES, ""))
    return SUITES[name]


def plan(
    name: str,
    *,
    methods: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: int | None = None,
    prices: Mapping[str, float] | None = None,
) -> Plan:
    """The cells of a suite, with other methods, tasks, seeds or prices where given.

    methods: entrant ids; ``["all"]`` for every entrant; None for the suite's own. Methods and tasks that are
    named one by one all learn, whatever the suite's lists for learning say. RLOO is always
    there, because every multiplier is measured in it. tasks: ids, or ``FILE.py:NAME``.
    """
    base = suite(name)
    count = base.seeds if seeds is None else seeds
    if count < 1:
        raise BenchError(f"--seeds {count}: expected at least 1")
    settings = base.settings
    if prices is not None:
        settings = settings.model_copy(update={"prices": dict(prices)})
    named = methods is not None and list(methods) != ["all"]
    if named:
        settings = settings.model_copy(update={"learning": settings.learning.model_copy(update={"methods": None})})
    if tasks is not None:
        settings = settings.model_copy(update={"learning": settings.learning.model_copy(update={"tasks": None})})
    wanted = methods if named else base.methods if methods is None else None
    found, files, specs = _tasks(base.tasks if tasks is None else tasks)
    chosen = _entrants(wanted)
    for entrant in chosen.values():
        _divides(entrant, settings)
    return Plan(name, found, chosen, tuple(range(count)), settings, files, specs)


def _divides(entrant: Entrant, settings: Settings) -> None:
    """Raise unless every batch the entrant will see divides into its groups."""
    sizes = {
        "gradient": settings.gradient.batch_sizes, "learning": settings.learning.batch_sizes,
        "identification": (settings.identification.batch,), "cost": (settings.cost.batch,),
    }  # fmt: skip
    for measure in settings.measures:
        for batch in sizes[measure]:
            grouped(entrant, batch, settings.group, measure)


def _entrants(wanted: Sequence[str] | None) -> dict[str, Entrant]:
    known = catalog.entrants()
    if wanted is None:
        return known
    for id_ in wanted:
        if id_.partition("@")[0] not in known:
            raise BenchError(catalog.unknown("method", id_, known, "with --methods"))
    turned = {id_: catalog.entrant(id_) for id_ in wanted if id_ not in known}
    return {id_: known[id_] for id_ in known if id_ in {*wanted, NUMERAIRE}} | turned


def _tasks(wanted: Sequence[str]) -> tuple[dict[str, Task], dict[str, str], tuple[str, ...]]:
    found: dict[str, Task] = {}
    files: dict[str, str] = {}
    specs: list[str] = []
    for name in wanted:
        if name.endswith(".py") or ".py:" in name:
            own, digest = catalog.load(name)
            specs.append(name)
            files.update({one.id: digest for one in own})
        else:
            own = [catalog.find(name)]
        for one in own:
            if one.id in found:
                raise BenchError(f"task '{one.id}' is there twice")
            found[one.id] = one
    if not found:
        raise BenchError("no task was named")
    return found, files, tuple(specs)
