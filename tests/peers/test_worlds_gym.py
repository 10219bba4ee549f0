"""Reasoning Gym's sums: planted wrong steps, the checker that finds them, and estimates against exact values."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("reasoning_gym")

from apportion.bench.worlds.batches import to_batch
from apportion.bench.worlds.gym import Problem, Sums, carries, check_steps
from apportion.bench.worlds.measure import run, setting
from apportion.bench.worlds.record import WorldRecord, digest, records
from apportion.bench.worlds.sampler import WalkSampler
from apportion.bench.worlds.truth import estimate
from apportion.bench.worlds.walks import Walk, roll
from apportion.cli import main
from apportion.errors import BenchError, OptionError
from tests.tiny_world import exact

rng = np.random.default_rng


def _lines(world: Sums, one: Walk) -> list[str]:
    return [world.options(place).texts[c] for place, c in zip(one.places, one.choices, strict=False)]


def test_the_checker_by_hand() -> None:
    problem = Problem("40 + 7 - 5 =", 40, ((1, 7), (-1, 5)), None)
    assert check_steps(["40 + 7 = 47", "47 - 5 = 42", "Answer: 42"], problem) == [True, True, True]
    # going on rightly from a wrong sum is right, and so is saying the true one
    slipped = ["40 + 7 = 48", "48 - 5 = 43", "Looking back, so far it is 42", "Answer: 42"]
    assert check_steps(slipped, problem) == [False, True, True, True]
    for line in ("40 + 7 = 33", "40 - 7 = 33", "40 + 5 = 45", "41 + 7 = 48", "40 and 7 is 47", "Answer: 40",
                 "Looking back, so far it is 47"):  # fmt: skip
        assert check_steps([line], problem) == [False]
    assert check_steps(["40 + 7 = 47", "47 - 5 = 42", "Answer: 43"], problem)[-1] is False
    assert check_steps(["40 + 7 = 47", "47 - 5 = 42", "42 - 5 = 37"], problem)[-1] is False


def test_the_checker_finds_every_planted_step_and_no_other() -> None:
    world = Sums(6, errs=0.15)
    planted = found = 0
    for one in roll(world, 40, rng(0)):
        wrong = []
        for before, after in zip(one.places, one.places[1:], strict=False):
            sign, term = world.problems[one.prompt].terms[before.taken] if after.taken > before.taken else (0, 0)
            wrong.append(after.taken > before.taken and after.value != before.value + sign * term)
        verdicts = check_steps(_lines(world, one), world.problems[one.prompt])
        assert [not v for v in verdicts] == wrong
        assert wrong == [world.mattered(place, c) for place, c in zip(one.places, one.choices, strict=False)]
        planted += sum(wrong)
        found += any(line.startswith("Looking back") for line in _lines(world, one))
    assert planted > 100
    assert found > 20


def test_the_outcome_is_reasoning_gyms_own_verdict() -> None:
    world = Sums(4, errs=0.1)
    for one in roll(world, 20, rng(1)):
        entry = world.problems[one.prompt].entry
        last = _lines(world, one)[-1]
        said = last.removeprefix("Answer: ") if last.startswith("Answer: ") else None
        assert one.reward == (said == entry["answer"]) == world.data.score_answer(said, entry)
    assert {one.reward for one in roll(world, 20, rng(1))} == {0.0, 1.0}


def test_options_are_a_distribution_and_errors_grow_with_carries() -> None:
    world = Sums(5, errs=0.1, looks_back=0.2)
    for one in roll(world, 10, rng(2)):
        for place in one.places[:-1]:
            options = world.options(place)
            assert sum(options.chance) == pytest.approx(1)
            assert min(options.chance) > 0
            assert len(set(options.texts)) == len(options.texts)
            back = [p for text, p in zip(*options, strict=True) if text.startswith("Looking back")]
            assert back == ([0.2] if place.value != world.true_sum(place) else [])
    assert [carries(99, 1), carries(12, 34), carries(100, -1), carries(-5, -7), carries(1, -100)] == [2, 0, 2, 1, 2]


def test_the_interval_covers_the_exact_advantage_about_as_often_as_it_says() -> None:
    world = Sums(2, terms=(3, 4), errs=0.15)
    covered: list[bool] = []
    for seed in range(12):
        walks = roll(world, 5, rng(seed))
        found = estimate(to_batch(world, walks), WalkSampler(world, walks), 32, rng(100 + seed), level="step")
        values = [[exact(world, place, world.limit - t) for t, place in enumerate(one.places)] for one in walks]
        true = np.concatenate([np.diff(v) for v in values])
        covered += ((found.low - 1e-9 <= true) & (true <= found.high + 1e-9)).tolist()
    assert len(covered) > 400
    assert np.mean(covered) > 0.93


def test_more_continuations_find_more_and_exactly_the_same_command_says_the_same() -> None:
    said: list[str] = []
    at, coming = run("gym", ["rloo", "vineppo", "vineppo@k=64"], 64, 32, 3, said.append)
    lines = {line.method: line for line in coming}
    rloo, few, many = (lines[id_].agreement for id_ in ("rloo", "vineppo", "vineppo@k=64"))
    assert rloo is not None and few is not None and many is not None  # noqa: PT018
    assert many.correlation.value > few.correlation.value > rloo.correlation.value - 0.1
    assert many.correlation.value > 0.75
    assert many.precision.low > rloo.precision.value + 0.2
    assert lines["vineppo"].generated > 0 == lines["vineppo"].env_steps == lines["rloo"].generated
    again, lines_again = run("gym", ["rloo"], 64, 32, 3, said.append)
    assert next(lines_again) == lines["rloo"]
    assert (again.found.value == at.found.value).all()
    assert again.found.batch.same(at.found.batch)


def test_what_cannot_enter_is_refused_before_work_starts() -> None:
    for methods, what in (
        (["nobody"], "no method 'nobody'"),
        (["gigpo"], "does not enter on steps"),
        (["pure-judge80"], "asks for 'judge'"),
        (["vineppo@replay=text"], "sets how states are had again, which real text worlds"),
    ):
        with pytest.raises(BenchError, match=what):
            run("gym", methods, 8, 2, 0, lambda text: None)
    with pytest.raises(BenchError, match="multiple of 8"):
        run("gym", None, 12, 2, 0, lambda text: None)
    with pytest.raises(OptionError, match="even number"):
        run("gym", None, 8, 3, 0, lambda text: None)


def _printed(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str]:
    try:
        main(["bench", "worlds", "--family", "gym", *given])
    except SystemExit as end:
        return int(end.code or 0), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_the_table_of_the_page_is_what_the_command_prints_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = _printed(capsys, "--rollouts", "64")
    assert status == 0
    assert max(map(len, said.splitlines())) <= 80
    assert said in (Path(__file__).parents[2] / "docs" / "worlds.md").read_text()


def test_who_was_named_and_gave_no_credit_is_said_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = _printed(capsys, "--rollouts", "8", "--continuations", "2", "--methods", "rloo,spo")
    assert status == 1
    assert max(map(len, said.splitlines())) <= 80
    assert "spo refused: this sampler goes on between steps" in said
    status, said = _printed(capsys, "--rollouts", "8", "--continuations", "2", "--methods", "rloo,spo", "--json")
    data = json.loads(said)
    assert status == 1
    assert data["truth"]["kind"] == "estimate"
    assert [sorted(method)[0] for method in data["methods"]] == ["average_precision", "method"]
    assert data["methods"][1]["refused"]


def test_a_problem_has_the_same_hash_whoever_walks_and_another_for_other_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--rollouts", "16", "--continuations", "2", "--record")
    status, said = _printed(capsys, *few)
    made = [WorldRecord.model_validate(one) for one in json.loads(said)]
    assert status == 0
    assert [one.task_id for one in made] == ["gym/chain_sum-0", "gym/chain_sum-1"]
    assert {one.truth.kind for one in made} == {"estimate"}
    assert made[0].definition["terms"] == [5, 8]
    assert made[0].library == {"reasoning_gym": version("reasoning_gym")}
    assert [digest(entry) for entry in Sums(2).data] == [one.sha256 for one in made]
    assert [records(setting(Sums(2, errs=0.1), 16, 2, 5), 5)[i].sha256 for i in (0, 1)] == [one.sha256 for one in made]
    _, said = _printed(capsys, *few, "--seed", "1")
    assert not {one["sha256"] for one in json.loads(said)} & {one.sha256 for one in made}
    _, said = _printed(capsys, *few[:-1], "--methods", "rloo", "--json")
    assert json.loads(said)["records"] == [one.model_dump(mode="json") for one in made]
    assert json.loads(said)["protocol"] == made[0].protocol
