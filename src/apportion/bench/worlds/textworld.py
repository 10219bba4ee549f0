"""The world of TextWorld's games: who walks there, what is read, and which commands the planner wanted."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ...errors import BenchError
from .games import Logic, Spec, State, made, textworld
from .walks import About, Options, Seen

#: A place in a game: which game, and which state of its logic.
Place = tuple[int, int]


class TextWorld:
    """Games in the hands of a walker who follows the planner now and then.

    At every turn all admissible commands of the game may be written. With chance ``follows`` it is the next command of
    the planner's remaining quest, else any admissible one, all equally likely (always so where there is no plan left).
    Reward 1 for a game won within ``limit`` commands. Rollouts are read from the compiled Inform game, command by
    command; what follows from a place is computed in the game's own logic, and the two are checked against each other
    along every rollout that is read.

    games: specs of games to make, or paths of compiled ones (.z8, .json beside it).
    """

    family = "textworld"
    layout: Literal["turns", "steps"] = "turns"
    replays = True
    favours = 1

    def __init__(self, games: Sequence[Spec | Path], *, follows: float = 0.3, limit: int = 16) -> None:
        if not 0.0 <= follows < 1.0 or limit < 1 or not games:
            raise BenchError(
                f"follows = {follows}, limit = {limit}, {len(games)} games: expected 0 to below 1, at least 1, at least 1"
            )
        tw = textworld()
        self.paths = [made(game) if isinstance(game, Spec) else Path(game) for game in games]
        self.logic = [Logic(tw.Game.load(str(path.with_suffix(".json")))) for path in self.paths]
        self._games = tuple(games)
        self._names = tuple(game.name if isinstance(game, Spec) else game.stem for game in games)
        self.follows, self.limit = follows, limit
        self._cached = lru_cache(maxsize=4096)(self._read)

    @property
    def prompts(self) -> tuple[str, ...]:
        return self._names

    def about(self, prompt: int) -> About:
        path, game = self.paths[prompt], self._games[prompt]
        how = {"file": path.name} if isinstance(game, Path) else game._asdict()
        return About(
            f"Inform game {self._names[prompt]}", {"game": how},
            {"kind": "scripted", "follows": self.follows, "limit": self.limit},
            "textworld", "MIT", "commands on the planner's remaining quest",
            json.loads(path.with_suffix(".json").read_text("utf-8")),
        )  # fmt: skip

    def start(self, prompt: int) -> Place:
        return prompt, 0

    def state(self, place: Place) -> State:
        return self.logic[place[0]].states[place[1]]

    def options(self, place: Place) -> Options:
        return _options(self.state(place), self.follows)

    def after(self, place: Place, choice: int) -> Place:
        return place[0], self.logic[place[0]].after(place[1], self.state(place).commands[choice])

    def ended(self, place: Place) -> bool:
        state = self.state(place)
        return state.won or state.lost

    def reward(self, place: Place) -> float:
        return float(self.state(place).won)

    def mattered(self, place: Place, choice: int) -> bool:
        """Whether the command lay on the planner's remaining quest: fewer commands are left after it, or the game is won."""
        before, after = self.state(place), self.state(self.after(place, choice))
        if before.plan is None:
            return False
        return after.won or (after.plan is not None and len(after.plan) < len(before.plan))

    def read(self, prompt: int, choices: Sequence[str]) -> Seen:
        """Play the commands in the compiled game. A key is the room and the inventory as they were described."""
        return self._cached(prompt, tuple(choices))

    def _read(self, prompt: int, choices: tuple[str, ...]) -> Seen:
        env = _started(str(self.paths[prompt]))
        logic = self.logic[prompt]
        got, number = env.reset(), 0
        texts, keys = [], []
        for t, command in enumerate([*choices, None]):
            state = logic.states[number]
            over = bool(got.won), bool(got.lost)
            seen = tuple(got.admissible_commands)
            if over != (state.won, state.lost) or (not any(over) and seen != state.commands):
                raise BenchError(
                    f"{self._names[prompt]}: the compiled game and its logic disagree after '{'; '.join(choices[:t])}': "
                    f"won, lost {over} and {state.won, state.lost}; only one admits {sorted(set(seen) ^ set(state.commands))}"
                )
            told = logic.game.objective if t == 0 else got.feedback.split("\n>")[0]
            look = "\n".join(part.strip() for part in (got.description, got.inventory) if part)
            keys.append(look)
            if command is None:
                break
            texts.append(f"{told.strip()}\n{look}\n")
            got, _, _ = env.step(command)
            number = logic.after(number, command)
        return Seen(tuple(texts), tuple(keys))


@lru_cache(maxsize=1 << 16)
def _options(state: State, follows: float) -> Options:
    n = len(state.commands)
    wanted = state.plan[0] if state.plan and state.plan[0] in state.commands else None
    free = 1.0 if wanted is None else 1.0 - follows
    chance = [free / n + (follows if command == wanted else 0.0) for command in state.commands]
    return Options(state.commands, tuple(chance))


@lru_cache(maxsize=32)
def _started(path: str) -> Any:
    """The compiled game, running."""
    tw = textworld()
    warnings.filterwarnings("ignore", message="Game .* is not fully supported")  # what TextWorld itself adds is all we read
    asked = tw.EnvInfos(description=True, inventory=True, admissible_commands=True, won=True, lost=True)
    return tw.start(path, request_infos=asked)
