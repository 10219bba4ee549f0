"""TextWorld's games: exact replay, the planner's marks, and that logic and compiled game are one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("textworld")

from apportion.bench.worlds import textworld as module
from apportion.bench.worlds.batches import to_batch
from apportion.bench.worlds.games import Logic, Spec, made
from apportion.bench.worlds.measure import own_precision, setting
from apportion.bench.worlds.record import digest, records
from apportion.bench.worlds.sampler import WalkSampler
from apportion.bench.worlds.textworld import TextWorld
from apportion.bench.worlds.truth import estimate
from apportion.bench.worlds.walks import roll
from apportion.errors import BenchError

rng = np.random.default_rng
SPEC = Spec(rooms=2, objects=2, quest=3, seed=1)


@pytest.fixture(scope="module")
def world(game_folder: Path) -> TextWorld:
    return TextWorld([SPEC], limit=12)


@pytest.fixture(scope="module")
def by_hand() -> Any:
    """A locked chest in the hall, its key on a table in the kitchen, east of it; the gem in the chest is wanted."""
    from textworld.generator import GameMaker

    maker = GameMaker()
    hall, kitchen = maker.new_room("hall"), maker.new_room("kitchen")
    maker.connect(hall.east, kitchen.west)
    maker.set_player(hall)
    chest, key, gem, table = (maker.new(type=t, name=n) for t, n in (("c", "chest"), ("k", "key"), ("o", "gem"), ("s", "table")))
    chest.add_property("locked")
    maker.add_fact("match", key, chest)
    chest.add(gem)
    table.add(key)
    hall.add(chest)
    hall.add(maker.new(type="f", name="apple"))  # of no use
    kitchen.add(table)
    maker.set_quest_from_commands(
        ["go east", "take key from table", "go west", "unlock chest with key", "open chest", "take gem from chest"]
    )
    return maker.build()


def test_the_planners_marks_in_a_game_made_by_hand(by_hand: Any) -> None:
    world = TextWorld.__new__(TextWorld)
    world.logic, world.follows = [Logic(by_hand)], 0.3
    marked = {}
    place = world.start(0)
    route = [
        "look",
        "go east",
        "go west",
        "go east",
        "take key from table",
        "drop key",
        "take key",
        "inventory",
        "go west",
        "unlock chest with key",
        "lock chest with key",
        "unlock chest with key",
        "open chest",
        "take gem from chest",
    ]
    for t, command in enumerate(route):
        choice = world.state(place).commands.index(command)
        marked[t, command] = world.mattered(place, choice)
        place = world.after(place, choice)
    wasted = {(0, "look"), (2, "go west"), (5, "drop key"), (7, "inventory"), (10, "lock chest with key")}
    assert {at for at, on_quest in marked.items() if not on_quest} == wasted
    assert world.ended(place)
    assert world.reward(place) == 1.0
    assert world.state(place).plan is None


def test_the_walker_follows_the_plan_with_the_chance_it_says(by_hand: Any) -> None:
    world = TextWorld.__new__(TextWorld)
    world.logic, world.follows = [Logic(by_hand)], 0.3
    options = world.options(world.start(0))
    n = len(options.texts)
    assert {"go east", "look", "inventory", "examine chest"} <= set(options.texts)
    for text, chance in zip(*options, strict=True):
        assert chance == pytest.approx(0.7 / n + (0.3 if text == "go east" else 0))


def test_two_ways_to_one_situation_are_one_state_and_different_situations_are_not(by_hand: Any) -> None:
    logic = Logic(by_hand)

    def reached(*commands: str) -> int:
        number = 0
        for command in commands:
            number = logic.after(number, command)
        return number

    held = reached("take apple")
    assert held != 0
    assert logic.states[held].plan == logic.states[0].plan
    assert "drop apple" in logic.states[held].commands
    assert reached("look") == reached("take apple", "drop apple") == 0
    assert reached("take apple", "go east") == reached("go east", "go west", "take apple", "go east")


def test_a_command_that_is_not_admissible_is_refused(by_hand: Any) -> None:
    with pytest.raises(BenchError, match="'open chest' is not admissible"):
        Logic(by_hand).after(0, "open chest")


def test_walks_can_be_replayed_in_another_process_word_by_word(world: TextWorld, game_folder: Path) -> None:
    walks = roll(world, 4, rng(0))
    batch = to_batch(world, walks)
    assert batch.text is not None
    code = (
        "import json, numpy as np\n"
        "from apportion.bench.worlds.textworld import TextWorld\n"
        "from apportion.bench.worlds.games import Spec\n"
        "from apportion.bench.worlds.walks import roll\n"
        "from apportion.bench.worlds.batches import to_batch\n"
        f"world = TextWorld([Spec(*{tuple(SPEC)!r})], limit=12)\n"
        "batch = to_batch(world, roll(world, 4, np.random.default_rng(0)))\n"
        "print(json.dumps([batch.text, batch.logp.tolist(), batch.outcome.tolist()]))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "7", "XDG_CACHE_HOME": str(game_folder)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    text, logp, reward = json.loads(out.splitlines()[-1])
    assert tuple(text) == batch.text
    assert batch.logp is not None
    assert logp == batch.logp.tolist()
    assert reward == batch.reward.tolist()


def test_logic_and_compiled_game_agree_along_random_walks_planner_included(world: TextWorld) -> None:
    import textworld

    asked = textworld.EnvInfos(policy_commands=True, admissible_commands=True, won=True)
    env = textworld.start(str(world.paths[0]), request_infos=asked)
    for one in roll(world, 6, rng(3)):
        seen = env.reset()
        for place, choice in zip(one.places, one.choices, strict=False):
            state = world.state(place)
            assert tuple(seen.admissible_commands) == state.commands
            assert tuple(seen.policy_commands) == state.plan
            seen, _, _ = env.step(state.commands[choice])
        assert float(seen.won) == one.reward
    env.close()


def test_a_game_whose_logic_says_otherwise_is_refused(world: TextWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = [state._replace(won=i == 0) for i, state in enumerate(world.logic[0].states)]
    monkeypatch.setattr(world.logic[0], "states", wrong)
    with pytest.raises(BenchError, match="disagree"):
        world._read(0, ())


def test_turns_hold_what_was_read_and_the_command(world: TextWorld) -> None:
    walks = roll(world, 3, rng(1))
    batch = to_batch(world, walks)
    assert batch.text is not None
    assert batch.state is not None
    assert batch.n_turns == sum(one.length for one in walks)
    objective = world.logic[0].game.objective
    for i, one in enumerate(walks):
        first = batch.text[batch.trajectory_turns[i]]
        assert first is not None
        assert first.startswith(objective)
        assert first.endswith("> " + world.state(one.places[0]).commands[one.choices[0]])
    # to look around changes nothing that is seen
    keys = batch.state.to_list()
    turns = [(i, t) for i, one in enumerate(walks) for t in range(one.length)]
    stood = [walks[i].places[t] == walks[i].places[t + 1] for i, t in turns]
    same = [keys[p] == keys[p + 1] for p in batch.prefix_before.tolist()]
    assert any(stood)
    assert all(s for s, stays in zip(same, stood, strict=True) if stays)
    assert not all(same)


def test_continuations_have_the_exact_value_and_pay_for_the_replay(world: TextWorld) -> None:
    walks = roll(world, 2, rng(5))
    batch, sampler = to_batch(world, walks), WalkSampler(world, walks)
    value: dict[Any, float] = {}

    def exact(place: Any, left: int) -> float:
        if left == 0 or world.ended(place):
            return world.reward(place)
        if (place, left) not in value:
            chances = enumerate(world.options(place).chance)
            value[place, left] = sum(p * exact(world.after(place, i), left - 1) for i, p in chances)
        return value[place, left]

    found = estimate(batch, sampler, 400, rng(6))
    true = np.concatenate([np.diff([exact(p, world.limit - t) for t, p in enumerate(one.places)]) for one in walks])
    assert np.mean((found.low <= true) & (true <= found.high)) > 0.85
    assert np.abs(found.value - true).max() < 0.15
    last = batch.prefix_offsets[1] - 2
    bill = sampler.continuations(batch, np.array([last]), 5, rng(0)).bill
    before = walks[0].length - 1
    assert 5 * (before + 1) <= bill.env_steps <= 5 * world.limit
    assert bill.env_steps > 5 * before


def test_a_game_has_a_record_whose_hash_is_that_of_what_it_was_compiled_from(world: TextWorld) -> None:
    at = setting(world, 8, 32, 0)
    [one] = records(at, 0)
    assert one.sha256 == digest(json.loads(world.paths[0].with_suffix(".json").read_text()))
    assert one.definition == {"game": {"rooms": 2, "objects": 2, "quest": 3, "seed": 1}}
    assert one.truth.kind == "estimate"
    assert one.replay.env_steps == 1
    assert one.marks.favours == 1
    [other] = records(setting(TextWorld([world.paths[0]], follows=0.5, limit=12), 8, 2, 1), 1)
    assert other.sha256 == one.sha256
    assert other.definition == {"game": {"file": "game.z8"}}
    assert own_precision(at).low > at.marked.mean()  # the planner and the estimate were never told of each other


def test_a_game_is_made_once_and_then_taken_from_the_cache(
    world: TextWorld, game_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(SPEC)
    assert path.is_relative_to(game_folder / "apportion")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr("apportion.bench.worlds.games._make", lambda *given: pytest.fail("made again"))
    assert hashlib.sha256(made(SPEC).read_bytes()).hexdigest() == before
    assert [p.name for p in path.parent.parent.iterdir()] == [SPEC.name]
    assert module.TextWorld([path]).prompts == ("game",)


def test_a_game_that_fails_to_be_made_leaves_nothing(game_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: Spec, path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("the compiler broke")

    monkeypatch.setattr("apportion.bench.worlds.games._make", broken)
    spec = Spec(seed=99)
    with pytest.raises(RuntimeError):
        made(spec)
    assert not [p for p in (game_folder / "apportion").rglob("*") if spec.name in p.name or p.name.startswith(".making-")]
