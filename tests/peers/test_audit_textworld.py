"""An audit of rollouts in TextWorld's games: how places were had again, and whether right and wrong credit are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

pytest.importorskip("textworld")

from apportion.audit.run import Line, audit
from apportion.audit.subjects import Subject, of_world
from apportion.bench.tabular import Float
from apportion.bench.worlds.sampler import WalkSampler
from apportion.credit import Credit
from tests.commands import typed

#: Two rooms, two things, a quest of three commands: small enough for backward induction over its logic.
GAMES = "textworld/r2-o2-q3-s1"
pytestmark = pytest.mark.usefixtures("game_folder")


@pytest.fixture(scope="module")
def subject(game_folder: Path) -> Subject:
    return of_world(GAMES, 48, 24, seed=0)


@pytest.fixture(scope="module")
def advantages(subject: Subject) -> Float:
    """Change in the exact value of the walker's policy at every turn, by backward induction in the games' logic."""
    sampler = subject.sampler()
    assert isinstance(sampler, WalkSampler)
    world, known = sampler.world, {}

    def value(place: Any, left: int) -> float:
        if left == 0 or world.ended(place):
            return world.reward(place)
        if (place, left) not in known:
            chances = enumerate(world.options(place).chance)
            known[place, left] = sum(p * value(world.after(place, i), left - 1) for i, p in chances)
        return known[place, left]

    along = [[value(p, world.limit - t) for t, p in enumerate(one.places)] for one in sampler.walks]
    return np.concatenate([np.diff(values) for values in along])


@pytest.fixture(scope="module")
def audited(subject: Subject) -> Callable[[Float], Line]:
    """The line of a credit that was made by hand: it stands where a task of the benchmark has its exact answer."""

    def line(values: Float) -> Line:
        made = replace(subject, exact=lambda: Credit.of(subject.batch, "turn", values))
        [found] = audit(made, ["exact"], budget=8192, per_unit=32).lines
        return found

    return line


def test_exact_credit_goes_with_the_change_in_value_and_the_truth_lies_in_its_interval(
    audited: Callable[[Float], Line], advantages: Float
) -> None:
    line = audited(advantages)
    assert line.verdict == "with the change in value"
    assert line.found is not None
    assert line.found.correlation.low <= 1.0 <= line.found.correlation.high + 1e-9  # cut at 1
    assert line.found.correlation.low > 0.5
    assert line.found.sign.value > 0.9


def test_the_same_credit_turned_around_goes_against_it(audited: Callable[[Float], Line], advantages: Float) -> None:
    line = audited(-advantages)
    assert line.verdict == "against it"
    assert line.found is not None
    assert line.found.correlation.high < -0.5


def test_shuffled_credit_stays_open_or_is_near_nothing(audited: Callable[[Float], Line], advantages: Float) -> None:
    said = [audited(np.random.default_rng(seed).permutation(advantages)) for seed in range(3)]
    assert sum(line.verdict == "open" for line in said) >= 2  # of twenty one is expected to stand out
    for line in said:
        assert line.found is not None
        assert abs(line.found.correlation.value) < 0.35


def test_the_report_says_how_places_were_had_again_and_the_noise_floor_is_that_of_independent_draws(
    subject: Subject, advantages: Float
) -> None:
    report = audit(subject, ["rloo", "gigpo"], budget=8192, per_unit=32)
    assert report.subject.restore == "replayed"
    assert "compared with the compiled games" in " ".join(report.subject.notes)
    assert report.changes.measured == "change"
    assert report.changes.replica == pytest.approx(report.changes.expected, rel=0.2)
    # what was estimated is the change in value itself: the errors are as large as the noise floor says
    units = report.changes.design.units
    errors = report.changes.halves - advantages[units]
    assert_allclose(errors.mean(), 0.0, atol=4 * errors.std() / np.sqrt(errors.size))
    assert errors.std() < 2 * report.changes.replica
    rloo = next(line for line in report.lines if line.method == "rloo")
    assert rloo.found is not None
    assert rloo.bill.env_steps == 0
    assert report.changes.bill.env_steps > report.spent  # a replay pays for the steps that lead back


def test_the_command_says_the_restore_and_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["audit", "--env", GAMES, "--methods", "rloo", "--budget", "1024", "--rollouts", "16", "--per-prompt", "8"]
    status, out, _ = typed(capsys, *how)
    assert status == 0
    assert "restore: replayed" in out
    assert "replica noise: the same prefix asked twice" in out
    status, out, _ = typed(capsys, *how, "--json")
    found = json.loads(out)
    assert (found["restore"], found["measured"], found["units"]) == ("replayed", "change", 32)
    assert found["replica_noise"] > 0
