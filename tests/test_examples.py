"""The examples feed the methods they are there to show."""

from __future__ import annotations

import numpy as np
import pytest

import apportion as ap
from apportion.errors import OptionError

NAMES = ("agent", "math", "tree")
FEEDS = {
    "agent": {"carl", "gae", "gigpo", "grpo", "hcapo", "pooled_td", "pure", "rloo", "tempo"},
    "math": {"gae", "gigpo", "grpo", "hcapo", "pure", "rloo", "tempo"},
    "tree": {"carl", "gigpo", "grpo", "pooled_td", "rloo", "tempo"},
}


@pytest.mark.parametrize(("name", "method"), [(n, m) for n in NAMES for m in sorted(FEEDS[n])])
def test_an_example_feeds_its_methods(name: str, method: str) -> None:
    batch, spec = ap.example(name), ap.get(method)
    missing = any(e not in batch.present for e in spec.evidence)
    credit = ap.assign(batch, method, rng=0, fit=missing)
    assert isinstance(credit, ap.Credit)
    assert np.isfinite(credit.token).all()
    assert (credit.token != 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_the_same_every_time(name: str) -> None:
    batch = ap.example(name)
    assert batch.same(ap.example(name))
    assert batch.group is not None
    assert batch.group.n == 2
    assert batch.n_trajectories == 8
    assert not batch.action.all()
    assert 0 < batch.need("outcome").mean() < 1
    assert batch.action_count("trajectory").max() <= batch.need("limit")


def test_states_of_the_agent_recur_within_and_between_trajectories() -> None:
    batch = ap.example("agent")
    keys = batch.need("state").codes[batch.prefix_before]
    homes = {k: set(batch.within("turn", "trajectory")[keys == k].tolist()) for k in np.unique(keys)}
    assert sum(len(h) > 1 for h in homes.values()) >= 8
    assert any((keys[batch.within("turn", "trajectory") == i] == k).sum() > 1 for k in homes for i in range(8))


def test_answers_share_their_first_tokens_and_one_is_cut_off_at_the_limit() -> None:
    batch = ap.example("math")
    cut = int(np.argmax(batch.need("truncated")))
    assert batch.action_count("trajectory")[cut] == batch.limit
    o = batch.offsets("trajectory")
    first, second = (batch.need("ids")[o[i] : o[i + 1]][:30] for i in (0, 1))
    np.testing.assert_array_equal(first, second)
    assert batch.n_steps == 30


def test_the_tree_has_the_credit_of_the_papers_worked_example() -> None:
    batch = ap.example("tree")
    credit = ap.assign(batch, "carl")
    assert isinstance(credit, ap.Credit)
    trained = np.logical_or.reduceat(credit.kept, batch.turn_offsets[:-1])
    kept = {int(n): v for n, v, k in zip(batch.need("node"), credit.unit, trained, strict=True) if k}
    np.testing.assert_allclose([kept[n] for n in (0, 7, 1, 3, 5)], [-1 / 3, 1 / 3, -1 / 3, 2 / 3, -1 / 3])
    assert not {2, 4, 6, 8} & set(kept)


def test_an_unknown_example_names_the_known_ones() -> None:
    with pytest.raises(OptionError, match="agent, math, tree"):
        ap.example("chess")
