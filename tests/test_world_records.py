"""Records of real text worlds: a truth that is never called exact, and a hash of what was walked in."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pytest

from apportion.bench.metadata import PROTOCOL
from apportion.bench.statistics import studentised
from apportion.bench.worlds.marks import precision
from apportion.bench.worlds.measure import Setting, own_precision, setting
from apportion.bench.worlds.record import WorldRecord, digest, records, schema
from apportion.cli import main
from tests.tiny_world import Lamp


@pytest.fixture(scope="module")
def at() -> Setting:
    return setting(Lamp(), 16, 32, 3)


def plain(one: WorldRecord) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(one.model_dump_json())
    return data


def test_every_prompt_has_a_record_that_the_schema_accepts(at: Setting) -> None:
    made = records(at, 3)
    assert [one.task_id for one in made] == ["lamp/even", "lamp/loaded"]
    for one in made:
        jsonschema.Draft202012Validator(schema()).validate(plain(one))
        assert WorldRecord.model_validate(plain(one)) == one
        assert one.protocol == PROTOCOL
        assert one.replay.env_steps == 1
    assert sum(one.truth.units for one in made) == at.found.value.size
    assert sum(one.marks.marked for one in made) == at.marked.sum() > 0
    assert sum(one.reward.rewarded for one in made) == sum(walk.reward > 0 for walk in at.walks)
    assert [one.truth.continuations for one in made] == [32, 32]
    width = sum(one.truth.width * one.truth.units for one in made) / at.found.value.size
    assert width == pytest.approx(float((at.found.high - at.found.low).mean()))


def test_a_truth_that_is_called_exact_is_refused(at: Setting) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    good = plain(records(at, 3)[0])
    changes: list[tuple[str, str | None, Any]] = [
        ("truth", "kind", "exact"), ("truth", "continuations", 0), ("truth", "interval", "none"), ("truth", "more", 1),
        ("protocol", None, "0.9"), ("protocol", None, PROTOCOL + ".1"), ("sha256", None, "x"), ("more", None, 1),
    ]  # fmt: skip
    for name, inner, value in changes:
        wrong = copy.deepcopy(good)
        if inner is None:
            wrong[name] = value
        else:
            wrong[name][inner] = value
        assert list(validator.iter_errors(wrong)), (name, inner)
        with pytest.raises(ValueError, match="validation error"):
            WorldRecord.model_validate(wrong)
    for name in ("truth", "sha256", "protocol"):
        assert list(validator.iter_errors({k: v for k, v in good.items() if k != name}))


def test_the_hash_is_of_the_prompt_and_of_nothing_else(at: Setting) -> None:
    first = records(at, 3)
    other = records(setting(Lamp(), 16, 4, 9), 9)
    assert [a.sha256 for a in first] == [b.sha256 for b in other]
    assert first[0].sha256 != first[1].sha256
    changed = Lamp()
    changed.WAIT = 0.3
    assert records(setting(changed, 16, 4, 9), 9)[0].sha256 != first[0].sha256
    assert digest({"a": 1, "b": "é"}) == digest({"b": "é", "a": 1}) != digest({"a": 1, "b": "e"})


def test_the_command_prints_the_schema_without_any_library(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "worlds", "--schema"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == schema()


def test_precision_by_hand_with_ties_as_one_level() -> None:
    score, marked = np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, True])
    once = np.ones((1, 4))
    # 1/3 of the marked at precision 1, 1/3 at 2/3, 1/3 at 3/4
    assert precision(score, marked, np.arange(4), once)[0] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert np.isnan(precision(score, np.ones(4, dtype=np.bool_), np.arange(4), once)[0])
    assert np.isnan(precision(score, np.zeros(4, dtype=np.bool_), np.arange(4), once)[1]).all()
    twice = np.array([[2.0, 0.0, 0.0, 2.0]])  # the first and the last drawn twice: all are marked
    assert np.isnan(precision(score, marked, np.arange(4), twice)[1]).all()
    some = np.array([[0.0, 1.0, 1.0, 2.0]])
    assert precision(score, marked, np.arange(4), some)[1] == pytest.approx(1 / 3 * 1 / 2 + 2 / 3 * 3 / 4)


def test_the_interval_of_precision_covers_what_many_rollouts_say() -> None:
    """Units of 40 rollouts: a third marked, their scores higher by one; the figure of 20,000 rollouts is the truth."""
    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[Any, Any, Any]:
        lift = rng.normal(size=n)  # rollouts differ
        row = np.repeat(np.arange(n), 5)
        marked = rng.random(row.size) < 1 / 3
        return marked + rng.normal(size=row.size) + lift[row], marked, row

    score, marked, row = drawn(20_000)
    true = precision(score, marked, row, np.ones((1, 20_000)))[0]
    held = 0
    for _ in range(60):
        score, marked, row = drawn(40)
        weight = rng.multinomial(40, np.full(40, 1 / 40), size=200).astype(np.float64)
        value, samples = precision(score, marked, row, weight)
        low, high = studentised(value, samples, 40, within=(0.0, 1.0))
        held += low <= true <= high
    assert 50 <= held <= 60


def test_the_estimate_agrees_with_what_the_world_marks(at: Setting) -> None:
    found = own_precision(at)
    assert found.low <= found.value <= found.high
    assert found.low > at.marked.mean()
