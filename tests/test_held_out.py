"""What a method learns from a batch and says of a trajectory never holds that trajectory's own outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch
from apportion.errors import MissingColumn
from apportion.registry import Method, keywords

N = 24
LEARNERS = sorted(id_ for id_, method in ap.methods().items() if method.fit is not None)


def _batch(**changes: Any) -> Batch:
    """Six prompts of four rollouts, two turns each, with every column that something is learned from."""
    rng = np.random.default_rng(0)
    tokens = 5 * N
    columns: dict[str, Any] = {
        "ids": rng.integers(0, 4, tokens), "logp": -rng.exponential(size=tokens), "ref_logp": -rng.exponential(size=tokens),
        "group": [i // 4 for i in range(N)], "outcome": rng.integers(0, 2, N).astype(float), "entropy": rng.random(tokens),
        "node": list(range(2 * N)), "parent": [-1 if u % 2 == 0 else u - 1 for u in range(2 * N)], **changes,
    }  # fmt: skip
    return Batch.from_turns([[2, 3]] * N, action=[False, True, False, True, True] * N, **columns)


def _learned(method: Method, batch: Batch) -> dict[str, Any]:
    assert method.fit is not None
    small = {"buckets": 64} if "buckets" in keywords(method.fit) else {}
    try:
        return dict(method.fit(batch, rng=np.random.default_rng(0), **small).evidence(batch).arrays)
    except MissingColumn as missing:
        pytest.skip(f"{method.id} learns from more than this batch has: {missing}")


#: Methods whose evidence is about the trajectory's own outcome, which it therefore follows.
KNOWN = {
    "hca": "hindsight is conditioned on the trajectory's own outcome, by definition",
    "hcapo": "so it is here",
}
#: Methods whose learned part may say the same whatever one outcome is.
SAME = {
    "hicra": "an n-gram is strategic or not: one answer more or less changes nothing here",
    "istar": "a first batch is scored before anything is learned from it",
}


@pytest.mark.parametrize(
    "id_",
    [pytest.param(id_, marks=pytest.mark.xfail(reason=KNOWN[id_], strict=True)) if id_ in KNOWN else id_ for id_ in LEARNERS],
)
def test_turning_one_outcome_round_leaves_what_is_said_of_that_rollout_as_it_was(id_: str) -> None:
    method, batch = ap.methods()[id_], _batch()
    before = _learned(method, batch)
    moved = 0.0
    for i in range(0, N, 5):
        other = batch.reward.copy()
        other[i] = 1.0 - other[i]
        after = _learned(method, _batch(outcome=other))
        for name, values in after.items():
            own = batch.within(method.evidence[name], "trajectory") == i
            change = np.abs(np.nan_to_num(values) - np.nan_to_num(before[name]))
            assert not change[own].any(), f"{name} of rollout {i} follows its own outcome"
            moved = max(moved, float(change.max()))
    assert moved > 0 or id_ in SAME, "nothing was learned from outcomes at all"


@pytest.mark.parametrize("id_", LEARNERS)
def test_nothing_is_learned_from_state_keys(id_: str) -> None:
    method = ap.methods()[id_]
    plain = _learned(method, _batch())
    keyed = _learned(method, _batch(state=[f"s{i % 3}" for i in range(3 * N)]))
    for name, values in plain.items():
        np.testing.assert_array_equal(keyed[name], values)
