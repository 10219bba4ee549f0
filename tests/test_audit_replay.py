"""A replay is compared with the rollout in all that an audit reads of it: what is seen, what is earned, and when it ends."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.audit.environment import Episode, read_episodes, rollouts
from apportion.audit.policies import act
from apportion.audit.restored import sampler, verify
from apportion.audit.subjects import of_environment
from apportion.errors import BenchError
from tests.audited import STEPS, Saving, Scale, either

rng = np.random.default_rng
PLACES = [(i, 0) for i in range(8)]


def played(env: Any) -> list[Episode]:
    return rollouts(env, either, 8, 4, rng(0), lambda done, total: None)


class Paying(Scale):
    """Earns 1 with every action, to the last."""

    def step(self, action: str) -> tuple[str, float, bool]:
        seen, _, done = super().step(action)
        return seen, 1.0, done


class Moody(Scale):
    """Shows the same again, and pays as it likes at the end."""

    pays = itertools.count(1)

    def step(self, action: str) -> tuple[str, float, bool]:
        seen, _, done = super().step(action)
        return seen, float(next(self.pays)) * done, done


class Tiring(Scale):
    """Each life after the eighth ends after two actions."""

    lives = 0

    def reset(self, prompt: Any) -> str:
        self.lives += 1
        return super().reset(prompt)

    def step(self, action: str) -> tuple[str, float, bool]:
        seen, reward, done = super().step(action)
        return seen, reward, done or (self.lives > 8 and len(self.added) == 2)


def logged(path: Path, made: list[Episode], **more: Any) -> list[Episode]:
    def row(one: Episode) -> dict[str, Any]:
        return {"prompt": one.prompt, "observations": one.observations, "actions": one.actions, **more}

    paid = [{} if "rewards" in more else {"reward": sum(one.rewards)} for one in made]
    path.write_text("\n".join(json.dumps(row(one) | r) for one, r in zip(made, paid, strict=True)))
    return read_episodes(path)


def test_a_replay_that_earns_otherwise_is_refused_wherever_the_audited_places_are() -> None:
    env = Moody()
    made = played(env)
    with pytest.raises(BenchError, match=rf"prompt 0: after {STEPS} actions replay earned \d+ .* the rollout had 4; .*seed"):
        verify(sampler(env, either, made), PLACES)
    assert verify(sampler(Scale(), either, played(Scale())), PLACES) == (8, 8, 0)


def test_a_replay_that_ends_early_is_refused() -> None:
    env = Tiring()
    made = played(env)
    with pytest.raises(BenchError, match=f"after 2 actions replay is over, the rollout had {STEPS} actions"):
        verify(sampler(env, either, made), PLACES)


def test_a_replay_that_goes_on_where_the_rollout_ended_is_refused() -> None:
    short = [Episode(one.prompt, one.observations[:3], one.actions[:2], [0.0, 0.0], True) for one in played(Scale())]
    with pytest.raises(BenchError, match=r"after 2 actions replay goes on, the rollout had ended.*limit"):
        verify(sampler(Scale(), either, short), PLACES)
    two = Scale()
    two.limit = 2  # now it is the environment that ends there
    assert verify(sampler(two, either, short), PLACES).same == 8


def test_snapshots_whose_reward_is_another_are_counted() -> None:
    class Purse(Saving):
        paid = itertools.count()

        def step(self, action: str) -> tuple[str, float, bool]:
            seen, _, done = super().step(action)
            return seen, float(next(self.paid)), done

    env = Purse()
    assert verify(sampler(env, either, played(env)), PLACES).same == 0


def test_a_total_is_compared_at_the_end(tmp_path: Path) -> None:
    made = played(Scale())
    log = logged(tmp_path / "log.jsonl", made)
    assert all(one.total for one in log)
    assert verify(sampler(Scale(), either, log), PLACES) == (8, 8, 0)
    log[3].rewards[-1] += 1
    with pytest.raises(BenchError, match=rf"after {STEPS} actions replay earned [01] in all, the rollout had [12];"):
        verify(sampler(Scale(), either, log), PLACES)


def test_a_total_hides_rewards_on_the_way_unless_actions_are_taken_again(tmp_path: Path) -> None:
    log = logged(tmp_path / "log.jsonl", played(Paying()))
    with pytest.raises(BenchError, match=r'replay earned 1 with action 1.* give "rewards", one an action'):
        verify(sampler(Paying(), either, log), PLACES)

    class Again(Paying):
        reseed = Saving.reseed

    made = played(Again())
    for one, told in zip(made, logged(tmp_path / "again.jsonl", made), strict=True):
        told.dice = one.dice
        assert verify(sampler(Again(), either, [told]), [(0, 1)]) == (1, 1, 0)
        told.rewards[-1] += 1
        with pytest.raises(BenchError, match="in all"):
            verify(sampler(Again(), either, [told]), [(0, 1)])


def test_a_total_that_cannot_be_compared_is_said(tmp_path: Path) -> None:
    class Again(Scale):
        reseed = Saving.reseed

    log = logged(tmp_path / "log.jsonl", played(Again()))
    of = of_environment("scale", Again(), either, log)
    assert of.verified is not None
    assert "the total reward of 8 rollouts could not be compared" in of.verified(np.arange(0, 8 * STEPS, STEPS))


def test_a_log_longer_than_the_limit_is_refused_and_the_rollout_named() -> None:
    class Short(Scale):
        limit = STEPS - 1

    made = played(Scale())
    made[1].actions, made[1].rewards, made[1].observations = ["left"] * 9, [0.0] * 9, ["x"] * 10
    short = [Episode(one.prompt, ["a", "b"], ["x"], [0.0], True) for one in made[:2]]
    with pytest.raises(BenchError, match=r"rollout 3 \(prompt 0\) has 9 actions, .* end after 3: set .* limit .* at least 9"):
        of_environment("scale", Short(), either, [*short, short[0], made[1]])
    with pytest.raises(BenchError, match=r"rollout 0 \(prompt 0\) has 4 actions, .* at least 4"):
        of_environment("scale", Short(), either, [made[0]])
    assert of_environment("scale", Scale(), either, played(Scale())).level == "turn"  # exactly at the limit


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"rewards": [0, None]}, r"rewards\[1\] is None: expected a number"),
        ({"rewards": [0, float("nan")]}, r"rewards\[1\] is nan"),
        ({"rewards": ["1", 0]}, r"rewards\[0\] is '1'"),
        ({"rewards": 5}, "TypeError"),
        ({"reward": None}, "reward is None"),
        ({"rewards": [0, 1], "dice": "x"}, "dice is 'x'"),
        ({"rewards": [0, 1], "actions": "xy"}, "lists of texts"),
    ],
)
def test_a_reward_that_is_no_number_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"observations": ["a", "b", "c"], "actions": ["x", "y"], **row}))
    with pytest.raises(BenchError, match=f"bad.jsonl, line 1: .*{said}"):
        read_episodes(path)


@pytest.mark.parametrize("answer", [("seen", None, False), ("seen", "much", False), ("seen", 0.0), ("seen", 0.0, 1, 2, {}), None])
def test_a_step_that_answers_otherwise_is_one_sentence(answer: Any) -> None:
    class Odd(Scale):
        def step(self, action: str) -> tuple[str, float, bool]:
            return answer  # type: ignore[no-any-return]

    with pytest.raises(BenchError, match="expected a text and a number, and whether it is over"):
        played(Odd())


def test_a_reset_that_shows_no_text_is_one_sentence() -> None:
    class Gym(Scale):
        def reset(self, prompt: Any) -> str:
            return super().reset(prompt), {}  # type: ignore[return-value]

    with pytest.raises(BenchError, match=r"answered reset\(0\).*expected a text"):
        played(Gym())


def test_a_policy_is_given_its_dice_however_it_takes_them() -> None:
    def second(history: list[str], generator: np.random.Generator) -> str:
        return str(generator.integers(9))

    def named(history: list[str], *, rng: np.random.Generator) -> str:
        return str(rng.integers(9))

    def third(history: list[str], greedy: bool = False, rng: np.random.Generator | None = None) -> str:
        assert rng is not None
        return "no" if greedy else str(rng.integers(9))

    expected = str(rng(0).integers(9))
    assert [act(policy, ["a"], rng(0)) for policy in (second, named, third)] == [expected] * 3

    def setting(history: list[str], temperature: float = 0.5) -> str:
        return str(temperature)

    assert act(setting, ["a"], rng(0)) == "0.5"  # dice are no temperature
    assert act(lambda *told: str(len(told)), ["a"], rng(0)) == "1"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (lambda history, *, key: "a", "also wants key"),
        (lambda history, rng, depth: "a", "also wants depth"),
        (lambda history, temperature, rng: "a", "also wants temperature"),
        (lambda: "a", "takes no history"),
        (lambda *, rng: "a", "takes no history"),
    ],
)
def test_a_policy_that_wants_more_is_refused_before_anything_is_begun(policy: Any, said: str) -> None:
    class Untouched(Scale):
        def reset(self, prompt: Any) -> str:
            raise AssertionError("begun")

    with pytest.raises(BenchError, match=said):
        rollouts(Untouched(), policy, 4, 4, rng(0), lambda a, b: None)
    with pytest.raises(BenchError, match=said):
        of_environment("scale", Untouched(), policy, played(Scale()))
