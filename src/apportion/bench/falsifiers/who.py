"""Which entrant stands for a method, and on which task it is tried."""

from __future__ import annotations

from ...errors import BenchError
from ...registry import methods
from ...survey import RecordError, record
from ..catalog import unknown
from ..entrants import Ask, Entrant, entrants
from ..knobs import entrant as find_entrant
from ..records import Layout
from ..tabular import Task
from ..tasks import find

#: A small task of every layout with three deciding turns among routine ones. Methods that compare with a reference policy are
#: tried on a half-trained one: at the start the two are the same.
TASKS: dict[Layout, str] = {"turns": "bifurcation/horizon-10", "steps": "reasoning/steps-10", "team": "team/two"}
_SETTING: dict[str, Layout] = {"reasoning": "steps", "agentic": "turns", "multi-agent": "team"}

#: What an entrant had besides the rollouts.
NEEDS: dict[Ask, str] = {
    "nothing": "nothing besides the rollouts",
    "fit": "a model learned from the rollouts themselves",
    "sampler": "fresh rollouts from exactly restored states",
    "judge": "a simulated judge with frozen errors",
    "policy": "a simulated policy's word in hindsight",
    "editor": "a simulated editor of failed rollouts",
    "author": "functions drawn at random from a grammar",
    "forks": "the deciding units, marked",
    "experts": "demonstrations of the best policy",
    "hint": "the solution, told in training",
    "truth": "the exact advantage",
    "model": "the word of the network that acts",
}


#: A method whose entrant of the same name is no fair trial on batches by themselves -> who stands for it. iStar scores a batch
#: before it learns from it: on one batch its model is still the reference, and its step rewards say no more than how to go
#: back there from the half-trained policy.
INSTEAD = {"istar": "istar-before"}


def turned(id_: str, knob: str) -> str:
    """The id of an entrant with one more knob turned."""
    return f"{id_}{',' if '@' in id_ else '@'}{knob}"


def entrant_of(id_: str) -> Entrant:
    """The entrant that stands for a method: one that looks at no truth, of its own name if it can be; else one that errs.

    The id of another entrant, knobs included (``vineppo@k=16``), names that entrant.
    """
    if id_ not in methods():
        if id_.partition("@")[0] not in entrants():
            raise BenchError(unknown("method", id_, {*methods(), *entrants()}, ""))
        return find_entrant(id_)
    if id_ in INSTEAD:
        return entrants()[INSTEAD[id_]]
    able = [e for e in entrants().values() if e.method == id_ and any(e.fits(layout) for layout in TASKS)]
    if not able:
        raise BenchError(f"{id_} enters no task of the benchmark, so nothing can be tried on it")
    return min(able, key=lambda e: (e.oracle, e.oracle and e.source.get("accuracy", 1.0) == 1.0, e.id != id_))


def task_of(entrant: Entrant) -> Task:
    """The task of the first of the method's settings that the entrant can enter, else of the first layout it can."""
    wanted = [] if entrant.method not in methods() else [_SETTING[s] for s in _settings(entrant.method)]
    for layout in (*wanted, *TASKS):
        if entrant.fits(layout):
            return find(TASKS[layout] + ("@50" if entrant.reference else ""))
    raise BenchError(f"{entrant.id} asks the network that acts: falsifiers run on tabular tasks only")


def _settings(method: str) -> tuple[str, ...]:
    """The settings that the method's paper is about, where there is a record of it."""
    try:
        return tuple(s for s in record(method).settings if s in _SETTING)
    except RecordError:
        return ()
