"""Environments of a user's own: rollouts in them, ways back to a place, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion.audit.ask import Retaker, ask
from apportion.audit.design import design
from apportion.audit.environment import Episode, read_episodes, rollouts, to_batch
from apportion.audit.restored import sampler, verify
from apportion.audit.run import audit
from apportion.audit.subjects import environment_of, load, of_environment
from apportion.errors import BenchError, OptionError
from apportion.evidence import Sampler
from tests.audited import STEPS, Forgetful, Saving, Scale, Shallow, echo, either, worth

rng = np.random.default_rng


def played(env: Any, count: int = 48, group: int = 4) -> list[Episode]:
    return rollouts(env, either, count, group, rng(0), lambda done, total: None)


def added(one: Episode) -> list[int]:
    return [int(seen[-1]) for seen in one.observations[1:]]


def test_a_rollout_reads_as_a_batch_with_what_was_seen_as_states() -> None:
    made = played(Scale())
    batch = to_batch(made)
    assert batch.n_trajectories == 48
    assert batch.n_turns == 48 * STEPS
    assert batch.count("group") == 12
    assert batch.state is not None
    assert batch.state.to_list()[: STEPS + 1] == made[0].observations
    assert batch.outcome is not None
    assert_allclose(batch.outcome, [added(one)[1] * added(one)[3] for one in made])
    assert batch.turn_reward is None
    early = Episode("p", ["a", "b", "c"], ["x", "y"], [0.5, 1.0], True)
    assert to_batch([early]).turn_reward.tolist() == [0.5, 1.0]  # type: ignore[union-attr]


def test_snapshots_with_fresh_dice_measure_the_exact_advantage() -> None:
    env = Saving()
    made = played(env)
    of = of_environment("scale", env, either, made)
    assert of.restore == "exact"
    assert isinstance(of.sampler(), Retaker)
    plan = design(of.batch, "turn", of.batch.n_turns * 32, 32, rng(0))
    found = ask(of.batch, of.sampler(), plan, rng(1))
    assert found.measured == "advantage"
    expected = []
    for unit in plan.units.tolist():
        one, t = made[unit // STEPS], unit % STEPS
        chance = 0.9 if one.actions[t] == "right" else 0.1
        before = added(one)
        q = sum(p * worth(t + 1, [*before[:t], x, *before[t + 1 :]]) for p, x in ((chance, 1), (1 - chance, 0)))
        expected.append(q - worth(t, before))
    errors = found.halves - np.asarray(expected)
    assert np.abs(errors.mean(axis=1)).max() < 4 * errors.std() / np.sqrt(plan.units.size)
    assert np.corrcoef(found.halves.mean(axis=0), expected)[0, 1] > 0.8
    assert 0.5 < found.replica / found.expected < 1.5


def test_replay_takes_the_same_steps_and_bills_them() -> None:
    env = Scale()
    made = played(env)
    of = of_environment("scale", env, either, made)
    assert of.restore == "replayed"
    assert not isinstance(of.sampler(), Retaker)
    assert isinstance(of.sampler(), Sampler)
    prefix = of.batch.prefix_offsets[5] + 2
    bill = of.sampler().continuations(of.batch, np.array([prefix]), 10, rng(0)).bill
    assert bill.env_steps == 10 * (2 + 2)
    assert bill.generated == 20
    assert Saving.save is not None
    exact = of_environment("scale", Saving(), either, played(Saving())).sampler()
    assert exact.continuations(of.batch, np.array([prefix]), 10, rng(0)).bill.env_steps == 20
    with pytest.raises(OptionError, match="finished"):
        of.sampler().continuations(of.batch, np.array([of.batch.prefix_offsets[6] - 1]), 1, rng(0))


def test_an_environment_that_reseeds_is_replayed_with_the_dice_it_had() -> None:
    class Reseeding(Scale):
        reseed = Saving.reseed

    made = played(Reseeding())
    trial = verify(sampler(Reseeding(), either, made), [(i, 3) for i in range(48)])
    assert trial.same == 48
    for one in made:
        one.dice = None
    with pytest.raises(BenchError, match="cannot be replayed"):
        verify(sampler(Reseeding(), either, made), [(i, 3) for i in range(48)])


def test_a_continuation_earns_all_rewards_from_its_prefix_on() -> None:
    class Paying(Scale):
        def step(self, action: str) -> tuple[str, float, bool]:
            seen, _, done = super().step(action)
            return seen, 1.0, done

    of = of_environment("paying", Paying(), either, played(Paying(), 4))
    got = of.sampler().continuations(of.batch, np.array([0, 1, 3]), 2, rng(0))
    assert got.values.tolist() == [[4, 4], [3, 3], [1, 1]]


def test_what_cannot_be_replayed_is_refused_before_anything_is_spent_and_the_place_is_named() -> None:
    env = Forgetful()
    of = of_environment("scale", env, either, played(env))
    with pytest.raises(BenchError, match=r"after \d actions replay shows 'weighing .*seed all dice"):
        audit(of, ["rloo"], budget=512, per_unit=8)


def test_snapshots_that_the_first_continuation_spoils_are_seen() -> None:
    places = [(i, 2) for i in range(48)]
    assert verify(sampler(Saving(), either, played(Saving())), places).same == 48
    assert verify(sampler(Shallow(), either, played(Shallow())), places).same < 48
    report = audit(of_environment("scale", Shallow(), either, played(Shallow())), ["rloo"], budget=512, per_unit=8)
    assert "snapshots are incomplete" in report.checked
    assert "0 of 64" in report.checked


def test_the_audit_tells_a_method_that_finds_the_weighings_from_noise() -> None:
    env = Saving()
    report = audit(of_environment("scale", env, either, played(env, 96, 8)), ["rloo", "gigpo"], budget=3072, per_unit=16)
    rloo = next(line for line in report.lines if line.method == "rloo")
    assert rloo.verdict == "with the change in value"
    assert rloo.found is not None
    # reward less a leave-one-out mean: the counted weighings move it, the others are noise to it
    assert 0.1 < rloo.found.correlation.value < 0.9
    assert report.spent == 3072
    assert report.checked.startswith("192 of 192")


def test_recorded_episodes_are_read_and_replayed(tmp_path: Path) -> None:
    made = played(Scale())
    path = tmp_path / "episodes.jsonl"
    lines = [
        {"prompt": one.prompt, "observations": one.observations, "actions": one.actions, "reward": one.rewards[-1]}
        for one in made
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    again = read_episodes(path)
    assert [one.actions for one in again] == [one.actions for one in made]
    assert to_batch(again).same(to_batch(made))
    assert verify(sampler(Scale(), either, again), [(3, 3)]).same == 1
    again[3].observations[2] += " or so"
    with pytest.raises(BenchError, match="after 2 actions"):
        verify(sampler(Scale(), either, again), [(3, 3)])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ('{"actions": ["a"], "rewards": [1]}', "observations"),
        ('{"observations": ["a"], "actions": ["a"], "rewards": [1]}', "one observation more"),
        ('{"observations": ["a", "b"], "actions": ["a"], "rewards": [1, 2]}', "as many rewards"),
        ('{"observations": ["a", 2], "actions": ["a"], "rewards": [1]}', "texts"),
    ],
)
def test_a_line_that_is_no_episode_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"observations": ["a", "b"], "actions": ["a"], "rewards": [1]}\n' + line)
    with pytest.raises(BenchError, match=r"bad.jsonl, line 2") as caught:
        read_episodes(path)
    assert said in str(caught.value)


def test_what_an_environment_or_a_policy_gives_is_checked() -> None:
    with pytest.raises(BenchError, match="policy said None"):
        rollouts(Scale(), lambda history: None, 4, 4, rng(0), lambda a, b: None)  # type: ignore[arg-type, return-value]

    class Bad(Scale):
        def step(self, action: str) -> tuple[str, float, bool]:
            return "x", float("nan"), False

    with pytest.raises(BenchError, match="expected a text and a number"):
        played(Bad())

    class Endless(Scale):
        limit = 0

    with pytest.raises(BenchError, match="limit is 0"):
        played(Endless())


def test_a_policy_is_told_all_that_was_seen_and_done() -> None:
    told: list[list[str]] = []

    def policy(history: list[str]) -> str:
        told.append(history)
        return "left"

    made = rollouts(Scale(), policy, 1, 1, rng(0), lambda a, b: None)[0]
    assert told[0] == ["scale 0"]
    assert told[2] == [made.observations[0], "left", made.observations[1], "left", made.observations[2]]
    told.clear()
    of = of_environment("scale", Scale(), policy, [made])
    of.sampler().continuations(of.batch, np.array([2]), 1, rng(0))
    assert told[0] == made.history(2)


def test_names_in_files_are_environments_or_makers_of_samplers(tmp_path: Path) -> None:
    assert isinstance(environment_of(Scale), Scale)
    assert environment_of(echo) is None
    assert isinstance(environment_of(lambda: Scale()), Scale)
    one = Scale()
    assert environment_of(one) is one
    path = tmp_path / "mine.py"
    path.write_text("here = 1\n")
    assert load(f"{path}:here", "--env") == 1
    for spec, said in ((f"{path}:there", "no name 'there'"), (f"{tmp_path}/no.py:x", "no file"), ("mine", "FILE.py:NAME")):
        with pytest.raises(BenchError, match=said):
            load(spec, "--env")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(BenchError, match="ZeroDivisionError"):
        load(f"{tmp_path}/broken.py:x", "--policy")


def test_a_file_is_run_once_for_all_its_names_and_anew_when_it_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "both.py"
    path.write_text("seen = []\ndef policy(history):\n    return seen\n")
    assert load(f"{path}:policy", "--policy")([]) is load(f"{path}:seen", "--env")
    path.write_text("seen = [1]\n")
    assert load(f"{path}:seen", "--env") == [1]
    path.write_text("seen = 1 / 0\n")
    for _ in range(2):  # what failed is not remembered as if it had run
        with pytest.raises(BenchError, match=r"--env .*ZeroDivisionError \(line 1\)"):
            load(f"{path}:seen", "--env")
