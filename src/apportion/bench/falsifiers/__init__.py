"""Falsification tests of a method's credit, run on controlled tasks whose truth is known.

Each predicts something that can fail, and says what would count as failing before it looks. None of them says that a method
is good: one that passes has not been caught.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ...errors import ApportionError, BenchError
from ..catalog import unknown
from ..entrants import Entrant
from . import noise_floor, rewording, shuffled, sign_flip, witness, zero_units
from .scene import BATCHES, GROUP, Scene
from .verdict import Falsifier, Found, Number, Verdict, verdicts
from .who import NEEDS, entrant_of, task_of

FALSIFIERS: Mapping[str, Falsifier] = {
    f.name: f
    for f in (
        shuffled.FALSIFIER, zero_units.FALSIFIER, sign_flip.FALSIFIER, rewording.FALSIFIER, noise_floor.FALSIFIER,
        witness.FALSIFIER,
    )
}  # fmt: skip

#: Rollouts of a scene, all batches together; what learns is dear.
ROLLOUTS = {"fit": 6144, "experts": 6144, "hint": 6144, "author": 6144}
OTHERS = 12288
#: More do not fit into memory.
MOST = 10_000_000

#: What a test found, with the facts that do not hang on it.
Tried = tuple[str, Found, dict[str, object]]


def run(id_: str | Entrant, names: Sequence[str] | None = None, *, seed: int = 0, rollouts: int | None = None) -> list[Verdict]:
    """Try a method (through the entrant that stands for it) or a named entrant; a verdict a falsifier.

    names: which falsifiers (default: all). seed: of everything that is drawn. rollouts: all independent rollouts together,
    two dozen batches of them; the default is enough to see most effects. p-values are as found: one method is tried.
    Raises BenchError for names that do not exist, with the nearest, before anything is run.
    """
    chosen = named(names)
    return verdicts((FALSIFIERS[name], found, facts) for name, found, facts in examine(scene_of(id_, seed, rollouts), chosen))


def named(names: Sequence[str] | None) -> list[str]:
    """The falsifiers of these names, each once; all where none is named."""
    for name in names or ():
        if name not in FALSIFIERS:
            raise BenchError(unknown("falsifier", name, FALSIFIERS, ""))
    return list(dict.fromkeys(names or FALSIFIERS))


def scene_of(id_: str | Entrant, seed: int = 0, rollouts: int | None = None) -> Scene:
    """The entrant on its task, nothing drawn yet."""
    entrant = entrant_of(id_) if isinstance(id_, str) else id_
    whole = ROLLOUTS.get(entrant.ask, OTHERS) if rollouts is None else rollouts
    least = BATCHES * 2 * GROUP
    if whole < least:
        raise BenchError(f"{whole} rollouts: expected at least {least}, {BATCHES} batches of two groups of {GROUP}")
    if whole > MOST:
        raise BenchError(f"{whole} rollouts: expected at most {MOST}")
    if seed < 0:
        raise BenchError(f"seed = {seed}: expected at least 0")
    return Scene(entrant, task_of(entrant), seed, whole // BATCHES // GROUP * GROUP)


def examine(scene: Scene, names: Sequence[str], say: Callable[[str], None] | None = None) -> Iterator[Tried]:
    """What each test found on a scene; one that the method itself refuses cannot run, with what it said."""
    entrant = scene.entrant
    facts: dict[str, object] = {
        "method": entrant.method, "entrant": entrant.id, "needs": NEEDS[entrant.ask], "oracle": entrant.oracle,
        "task": scene.task.id, "seed": scene.seed, "rollouts": scene.size * BATCHES,
    }  # fmt: skip
    for name in names:
        if say is not None:
            say(name)
        try:
            found = FALSIFIERS[name].test(scene)
        except ApportionError as error:
            found = Found(fixed="cannot run", note=f"It cannot run here: {error}")
        where = ", ".join(witness.WORLDS) if name == "witness" else scene.task.id
        yield name, found, {**facts, "task": where}


__all__ = ["FALSIFIERS", "Falsifier", "Number", "Tried", "Verdict", "examine", "named", "run", "scene_of"]
