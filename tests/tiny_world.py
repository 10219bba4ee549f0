"""A world small enough to work out by hand: two switches, and a lamp that needs both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from apportion.bench.worlds.walks import About, Options, Seen, World


class Lamp:
    """Each choice sets the next switch up or down, or waits. Reward 1 when both are up; ends when both are set."""

    family = "lamp"
    limit = 4
    favours = 1
    prompts = ("even", "loaded")
    UP = (0.5, 0.8)  # chance of up, by prompt, where it does not wait
    WAIT = 0.2

    def __init__(self, layout: Literal["turns", "steps"] = "turns", replays: bool = True) -> None:
        self.layout, self.replays = layout, replays

    def about(self, prompt: int) -> About:
        how = {"up": self.UP[prompt], "wait": self.WAIT}
        return About("a lamp", how, {"kind": "scripted"}, "numpy", "Apache-2.0", "switches set up", [self.prompts[prompt], how])

    def start(self, prompt: int) -> tuple[int, ...]:
        return (prompt,)

    def options(self, place: tuple[int, ...]) -> Options:
        up = self.UP[place[0]] * (1 - self.WAIT)
        return Options(("switch down", "switch up", "wait"), (1 - self.WAIT - up, up, self.WAIT))

    def after(self, place: tuple[int, ...], choice: int) -> tuple[int, ...]:
        return place if choice == 2 else (*place, choice)

    def ended(self, place: tuple[int, ...]) -> bool:
        return len(place) == 3

    def reward(self, place: tuple[int, ...]) -> float:
        return float(place[1:] == (1, 1))

    def mattered(self, place: tuple[int, ...], choice: int) -> bool:
        return choice == 1

    def read(self, prompt: int, choices: Sequence[str]) -> Seen:
        told = [f"After {i} choices the lamp is dark.\n" for i in range(len(choices) + 1)]
        return Seen(tuple(told[:-1]), tuple(told)) if self.layout == "turns" else Seen((told[0],), (told[0], "end"))


def exact(world: World, place: object, left: int) -> float:
    """The value of a place by trying everything: for tests of what is estimated."""
    if left == 0 or world.ended(place):
        return world.reward(place)
    chances = enumerate(world.options(place).chance)
    return sum(p * exact(world, world.after(place, i), left - 1) for i, p in chances if p > 0)
