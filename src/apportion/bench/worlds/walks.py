"""What a world has to say, and how its policy walks in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import BenchError

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]


class Options(NamedTuple):
    """What the policy may write at a place, and how likely each is (positive, sums to 1)."""

    texts: tuple[str, ...]
    chance: tuple[float, ...]


class Seen(NamedTuple):
    """What stood before each choice of a walk, and a key of what was seen there; the end has a key too, no text."""

    texts: tuple[str, ...]
    keys: tuple[str, ...]


class About(NamedTuple):
    """What a prompt is, for its record: a title, the settings that made it, those of the policy that walks in it, the library
    (name, licence), what marks choices, and ``content``: all that defines it, as JSON-able data whose digest is its hash."""

    title: str
    definition: dict[str, Any]
    policy: dict[str, Any]
    library: str
    licence: str
    marks: str
    content: Any


class World(Protocol):
    """Prompts, places and a policy. A place holds all that matters for what follows but the number of choices left;
    where a choice leads is certain, so that a walk can be replayed from its choices alone.

    layout: "turns", each with what is shown before it, or "steps" of one answer. limit: most choices of a walk.
    replays: whether a place is reached again by taking every step anew (billed), or by re-reading a text (not).
    favours: +1 where labels mark what helped, -1 where they mark what harmed.
    """

    family: str
    layout: Literal["turns", "steps"]
    limit: int
    replays: bool
    favours: int

    @property
    def prompts(self) -> tuple[str, ...]:
        """The name of every prompt (game, problem)."""
        ...

    def about(self, prompt: int) -> About: ...
    def start(self, prompt: int) -> Hashable: ...
    def options(self, place: Any) -> Options: ...
    def after(self, place: Any, choice: int) -> Hashable: ...
    def ended(self, place: Any) -> bool: ...
    def reward(self, place: Any) -> float:
        """Reward in [0, 1] of a walk that ends here, or is cut off here."""
        ...

    def mattered(self, place: Any, choice: int) -> bool:
        """Whether the world's own planner or checker marks this choice."""
        ...

    def read(self, prompt: int, choices: Sequence[str]) -> Seen:
        """What the policy is shown along a walk, from the world itself."""
        ...


@dataclass(frozen=True)
class Walk:
    """One rollout: the places it came through (one more than choices), what was chosen there, and its reward."""

    prompt: int
    places: tuple[Any, ...]
    choices: tuple[int, ...]
    reward: float

    @property
    def length(self) -> int:
        return len(self.choices)


def walk(world: World, prompt: int, rng: np.random.Generator, before: Walk | None = None, keep: int = 0) -> Walk:
    """The policy walks to the end or to the limit, from the start or from the place after ``keep`` choices of ``before``."""
    places: list[Any] = [world.start(prompt)] if before is None else list(before.places[: keep + 1])
    choices = [] if before is None else list(before.choices[:keep])
    while len(choices) < world.limit and not world.ended(places[-1]):
        choices.append(draw(world.options(places[-1]), rng.random()))
        places.append(world.after(places[-1], choices[-1]))
    return Walk(prompt, tuple(places), tuple(choices), world.reward(places[-1]))


def outcome(world: World, place: Any, left: int, rng: np.random.Generator) -> tuple[float, int, int]:
    """Reward of a fresh walk from a place with ``left`` choices to go; how many it took, and the tokens it wrote."""
    from .batches import pieces

    taken = tokens = 0
    while taken < left and not world.ended(place):
        options = world.options(place)
        choice = draw(options, rng.random())
        tokens += len(pieces(options.texts[choice]))
        place = world.after(place, choice)
        taken += 1
    return world.reward(place), taken, tokens


def draw(options: Options, u: float) -> int:
    """The choice at which the cumulative chance passes ``u`` in [0, 1)."""
    reach = 0.0
    for i, chance in enumerate(options.chance):
        reach += chance
        if u < reach:
            return i
    return len(options.chance) - 1  # the chances came to a little less than 1


def roll(world: World, group: int, rng: np.random.Generator, *, prompts: int | None = None) -> list[Walk]:
    """``group`` walks from each of the first ``prompts`` prompts (default: all), prompt by prompt."""
    n = len(world.prompts) if prompts is None else prompts
    if group < 1 or not 0 < n <= len(world.prompts):
        raise BenchError(f"{group} rollouts of {n} prompts: expected at least 1 of 1 to {len(world.prompts)}")
    return [walk(world, p, rng) for p in range(n) for _ in range(group)]
