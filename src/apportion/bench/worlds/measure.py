"""Methods in a world: rollouts, the estimate of their advantages, and a line for each method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ...credit import Credit
from ...errors import ApportionError, BenchError
from ...pipeline import assign
from ...words import Unit, check_word
from ..entrants import Entrant, entrants
from ..knobs import entrant
from .batches import to_batch
from .games import Spec, textworld
from .gym import Sums
from .sampler import WalkSampler
from .textworld import TextWorld
from .truth import Agreement, Estimate, Number, agreement, estimate
from .walks import Bool, Walk, World, roll

Family = Literal["textworld", "gym"]

#: Who is measured unless others are named, where they fit the layout.
DEFAULT = {
    "textworld": ("rloo", "grpo", "gigpo", "pooled_td", "vineppo", "math_shepherd-soft"),
    "gym": ("rloo", "grpo", "vineppo", "math_shepherd-soft", "omegaprm"),
}  # fmt: skip

#: Rollouts of one prompt.
GROUP = 8


@dataclass(frozen=True, eq=False)
class Setting:
    """What every method meets: a world, its rollouts, their batch, the estimate of their advantages, and what mattered."""

    world: World
    walks: list[Walk]
    found: Estimate
    marked: Bool


@dataclass(frozen=True)
class Line:
    """A method's agreement and what it asked for in steps and tokens beyond the rollouts; or why it gave no credit."""

    method: str
    agreement: Agreement | None
    env_steps: float = 0.0
    generated: float = 0.0
    refused: str = ""


def chosen(family: str, methods: Sequence[str] | None) -> list[Entrant]:
    """The entrants of these ids; what cannot enter is refused before work starts.

    Default: :data:`DEFAULT`. "all": whoever can enter.
    """
    check_word(family, Family, "family")
    layout: Literal["turns", "steps"] = "turns" if family == "textworld" else "steps"
    if methods and list(methods) == ["all"]:
        return [one for one in entrants().values() if one.fits(layout) and not _lacks(one)]
    found = [entrant(id_) for id_ in methods or DEFAULT[family]]
    for one in found:
        if lacks := _lacks(one):
            raise BenchError(f"{one.id} {lacks}, which real text worlds do not have")
        if not one.fits(layout):
            raise BenchError(f"{one.id} does not enter on {layout}, as {family} has")
    return found


def _lacks(one: Entrant) -> str:
    """What it would need that is not here, in a few words; empty where nothing is."""
    if one.ask not in ("nothing", "fit", "sampler"):  # no exact truth is at hand, and nobody to judge
        return f"asks for '{one.ask}'"
    if one.reference:
        return "reads a reference policy"
    if one.segments is not None:
        return "reads options marked by a rule"
    if "replay" in one.source:  # a world has its own way back
        return "sets how states are had again"
    return "remembers earlier updates" if one.keeps else ""


def world(family: str, prompts: int, seed: int) -> World:
    """The world of a family: so many games or problems, made from the seed."""
    check_word(family, Family, "family")
    if family == "textworld":
        return TextWorld([Spec(seed=1000 * seed + i) for i in range(prompts)])
    return Sums(prompts, seed=seed)


def setting(made: World, rollouts: int, k: int, seed: int) -> Setting:
    """Rollouts of the world in groups of :data:`GROUP`, and the estimate from ``k`` continuations of every prefix."""
    level: Unit = "turn" if made.layout == "turns" else "step"
    play, ask = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    walks = roll(made, GROUP, play, prompts=rollouts // GROUP)
    found = estimate(to_batch(made, walks), WalkSampler(made, walks), k, ask, level=level)
    marked = [made.mattered(place, c) for one in walks for place, c in zip(one.places, one.choices, strict=False)]
    return Setting(made, walks, found, np.asarray(marked, dtype=np.bool_))


def line(who: Entrant, at: Setting, seed: int) -> Line:
    """One method's credit for the rollouts against the estimate; what it samples is drawn apart from the estimate's."""
    ask: dict[str, Any] = {}
    if who.ask == "sampler":
        ask["sampler"] = WalkSampler(at.world, at.walks)
    if who.ask == "fit":
        ask["fit"] = True
    try:
        own = np.random.default_rng([seed, 3])
        credit = assign(at.found.batch, who.method, rng=own, **ask, **who.options)
        if not isinstance(credit, Credit):
            raise BenchError(f"{who.id} gives preferences: expected credit")
        return Line(
            who.id, agreement(credit, at.found, at.marked, at.world.favours), credit.bill.env_steps, credit.bill.generated
        )
    except ApportionError as error:
        return Line(who.id, None, refused=str(error))


def own_precision(at: Setting) -> Number:
    """Average precision of the estimate itself at what the world marks: how far planner (checker) and advantage agree."""
    credit = Credit.of(at.found.batch, at.found.level, at.found.value)
    return agreement(credit, at.found, at.marked, at.world.favours).precision


def run(
    family: str, methods: Sequence[str] | None, rollouts: int, k: int, seed: int, say: Callable[[str], None]
) -> tuple[Setting, Iterator[Line]]:
    """The setting, and the methods' lines as they come."""
    if rollouts < GROUP or rollouts % GROUP:
        raise BenchError(f"rollouts = {rollouts}: expected a multiple of {GROUP}, the rollouts of one game or problem")
    who = chosen(family, methods)
    if family == "textworld":
        textworld()  # whether it is there
        say(f"making {rollouts // GROUP} games, where the cache does not have them (about half a minute for the first)")
    made = world(family, rollouts // GROUP, seed)
    say(f"{rollouts} rollouts, and {k} continuations from every prefix of them")
    at = setting(made, rollouts, k, seed)

    def lines() -> Iterator[Line]:
        for one in who:
            say(f"method {one.id}")
            yield line(one, at, seed)

    return at, lines()


FAMILIES: tuple[str, ...] = get_args(Family)
