"""TextWorld's games: made from a seed, kept in a cache, their logic as a graph of states."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import BenchError

NEEDED = "needs {}: pip install 'apportion[worlds]'"


class Spec(NamedTuple):
    """How large a game is: rooms, things beside those of the quest, commands of the shortest solution; and its seed."""

    rooms: int = 3
    objects: int = 4
    quest: int = 5
    seed: int = 0

    @property
    def name(self) -> str:
        return f"r{self.rooms}-o{self.objects}-q{self.quest}-s{self.seed}"


def textworld() -> Any:
    """The library, or one sentence that says how to get it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import textworld
    except ImportError:
        raise BenchError("the family textworld " + NEEDED.format("TextWorld")) from None
    return textworld


def cache_folder() -> Path:
    """Where games are kept: ``$XDG_CACHE_HOME/apportion/textworld-VERSION`` (``~/.cache`` where that is not set)."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "apportion" / f"textworld-{textworld().__version__}"


def made(spec: Spec) -> Path:
    """The compiled Inform game (.z8, its .json beside it); made on the first call, then taken from the cache."""
    home = cache_folder()
    there = home / spec.name / "game.z8"
    if there.is_file():
        return there
    home.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=home, prefix=".making-"))
    try:
        _make(spec, work / "game.z8")
        try:
            work.rename(there.parent)
        except OSError:  # another process was first; equal specs make equal games
            if not there.is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return there


def _make(spec: Spec, path: Path) -> None:
    """Generate and compile. A seed whose quest cannot be built is replaced by the next of a fixed row of seeds."""
    tw = textworld()
    from textworld.generator import QuestGenerationError, compile_game, make_game

    for attempt in range(20):
        options = tw.GameOptions()
        options.kb = _knowledge()
        options.seeds = (1_000_003 * spec.seed + 7919 * attempt + 1) % 2**31
        options.nb_rooms, options.nb_objects, options.quest_length = spec.rooms, spec.objects, spec.quest
        options.path, options.file_ext = str(path), ".z8"
        try:
            game = make_game(options)
        except QuestGenerationError:
            continue
        compile_game(game, options)
        return
    raise BenchError(f"TextWorld found no quest for {spec.name} in 20 seeds: try more rooms or objects, or a shorter quest")


@cache
def _knowledge() -> Any:
    textworld()
    from textworld.generator.data import KnowledgeBase

    return KnowledgeBase.load()


class State(NamedTuple):
    """One state of a game. plan: the planner's remaining commands, None where it has none (won, lost, or out of reach)."""

    commands: tuple[str, ...]
    plan: tuple[str, ...] | None
    won: bool
    lost: bool


class Logic:
    """A game's own logic as a graph: states by number, found when first asked for. Nothing is run as text here.

    Two situations are one state if all facts, and all the planner keeps of every quest, are equal: whatever
    follows is then equal too. ``state[0]`` is the start.
    """

    def __init__(self, game: Any) -> None:
        textworld()
        from textworld.generator.game import GameProgression
        from textworld.generator.inform7 import Inform7Game

        self.game = game
        self._words = Inform7Game(game)
        self._number: dict[Any, int] = {}
        self._progress: list[Any] = []
        self._next: dict[tuple[int, str], int] = {}
        self.states: list[State] = []
        self._put(GameProgression(game, track_quests=True))

    def after(self, number: int, command: str) -> int:
        """The state that a command leads to; one that is not admissible is refused."""
        key = (number, command)
        if key not in self._next:
            progress = self._progress[number].copy()
            valid = progress.valid_actions
            spelled = self._words.gen_commands_from_actions(valid)
            if command not in spelled:
                raise BenchError(f"'{command}' is not admissible here: expected one of {', '.join(self.states[number].commands)}")
            progress.update(valid[spelled.index(command)])
            self._next[key] = self._put(progress)
        return self._next[key]

    def _put(self, progress: Any) -> int:
        key = _signature(progress)
        if key not in self._number:
            self._number[key] = len(self.states)
            self._progress.append(progress)
            self.states.append(self._read(progress))
        return self._number[key]

    def _read(self, progress: Any) -> State:
        commands = tuple(sorted(set(self._words.gen_commands_from_actions(progress.valid_actions))))
        policy = progress.winning_policy
        plan = None if policy is None else tuple(self._words.gen_commands_from_actions(policy))
        # the planner gives up a quest after a step it cannot take back; the game itself only looks at the facts
        won = all(
            quest.completed or any(event.event.is_triggering(progress.state) for event in quest.win_events)
            for quest in progress.quest_progressions
            if quest.completable and not quest.quest.optional
        )
        lost = any(quest.failed for quest in progress.quest_progressions if not quest.quest.optional)
        return State(commands, plan, won, lost and not won)


def _signature(progress: Any) -> Any:
    """All that decides what follows, as something to compare."""
    quests = []
    for quest in progress.quest_progressions:
        events = [*quest.win_events, *quest.fail_events]
        kept = [(e.triggered, e.untriggerable, e._policy, str(e._tree)) for e in events]
        quests.append((quest.nb_completions, *kept))
    return frozenset(progress.state.facts), tuple(quests)
