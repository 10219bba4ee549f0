"""Rollouts that were cut off: what comes after them is their bootstrap, or is not known and not audited."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from apportion.audit.ask import ask
from apportion.audit.design import design
from apportion.audit.run import audit
from apportion.audit.subjects import of_sampler
from apportion.batch import Batch
from apportion.errors import BenchError
from apportion.evidence import Asked, Bill

rng = np.random.default_rng
N = 24


class Half:
    """Worth a half wherever it goes on from."""

    provenance = "text_refeed"

    def continuations(self, batch: Batch, prefixes: Any, k: int, rng: np.random.Generator, *, axis: str = "prefix") -> Asked:
        return Asked(0.5 + 0.01 * rng.normal(size=(len(prefixes), k)), Bill())

    def branch(self, batch: Batch, prefixes: Any, rng: np.random.Generator) -> Any:
        raise NotImplementedError


def log(steps: bool = False, **more: Any) -> Batch:
    """Two units a rollout, in turns of two tokens or in steps of one turn."""
    how: dict[str, Any] = {"outcome": [0.0] * N, "group": np.repeat(np.arange(N // 2), 2), **more}
    if steps:
        return Batch.from_turns([[4]] * N, steps=[[2, 2]] * N, **how)
    return Batch.from_turns([[2, 2]] * N, action=[False, True] * (2 * N), **how)


@pytest.mark.parametrize("steps", [False, True])
def test_a_bootstrap_stands_after_the_last_unit_of_a_rollout_that_was_cut_off(steps: bool) -> None:
    cut = np.arange(N) % 2 == 0
    of = of_sampler("log", log(steps, truncated=cut, bootstrap=[0.8] * N), lambda batch: Half())
    plan = design(of.batch, of.level, 8 * 2 * N, 8, rng(0))
    assert plan.units.tolist() == list(range(2 * N))
    change = ask(of.batch, of.sampler(), plan, rng(1)).halves.mean(axis=0)
    expected = np.stack([np.zeros(N), np.where(cut, 0.3, -0.5)], axis=1).ravel()  # 0.8 - 0.5 where cut off, else 0 - 0.5
    np.testing.assert_allclose(change, expected, atol=0.05)
    assert f"after the last {of.level} of the 12 rollouts cut off stands their bootstrap" in of.notes


@pytest.mark.parametrize("steps", [False, True])
def test_without_a_bootstrap_the_last_unit_is_left_out_and_that_is_said(steps: bool) -> None:
    cut = np.arange(N) % 2 == 0
    of = of_sampler("log", log(steps, truncated=cut), lambda batch: Half())
    plan = design(of.batch, of.level, 8 * 2 * N, 8, rng(0))
    assert set(range(2 * N)) - set(plan.units.tolist()) == {2 * i + 1 for i in range(N) if cut[i]}
    assert any(note.startswith(f"12 rollouts were cut off and have no bootstrap, so the value after their last {of.level}")
               for note in of.notes)  # fmt: skip
    report = audit(of, ["rloo"], budget=8 * 2 * N, per_unit=8)
    assert report.changes.design.units.size == 2 * N - 12


def test_a_batch_that_says_nothing_of_it_is_as_before() -> None:
    for batch in (log(), log(truncated=[False] * N)):
        of = of_sampler("log", batch, lambda batch: Half())
        assert len(of.notes) == 1
        assert design(of.batch, "turn", 8 * 2 * N, 8, rng(0)).units.size == 2 * N


def test_where_nothing_is_left_the_reason_is_given() -> None:
    single = Batch.from_turns([[2]] * N, outcome=[0.0] * N, truncated=[True] * N)
    with pytest.raises(BenchError, match=r"0 trajectories \(24 left out: cut off there, without bootstrap\)"):
        design(single, "turn", 1024, 8, rng(0))
