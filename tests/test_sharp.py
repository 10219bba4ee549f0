"""SHARP: the card's worked example, its three rewards, redundant workers, where marginals come from, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.evidence import Asked, Bill
from apportion.evidence.coalitions import Plan
from apportion.evidence.teams import left_out, shapley_shares

from .fakes import FakeSampler

NULL = np.nan
ACC = [1.0, 1.0, 0.0, 0.0]
#: of the card: a planner and one or two workers in each of four rollouts
EPISODE = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
AGENT = ["planner", "worker", "worker", "planner", "worker", "planner", "worker", "worker", "planner", "worker"]
DELTA = [NULL, 1, 0, NULL, 0, NULL, 0, -1, NULL, 0]
TOOLS = [NULL, 1, 0.5, NULL, 1, NULL, 0, 1, NULL, 0.5]
PLANNER = np.array([a == "planner" for a in AGENT])


def _card(**changes: Any) -> Batch:
    columns: dict[str, Any] = {
        "outcome": [ACC[e] for e in EPISODE], "group": [0] * 10, "agent": AGENT, "episode": EPISODE, **changes,
    }  # fmt: skip
    return Batch.from_turns([[1, 2]] * 10, **columns)


def _sharp(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "sharp", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _sharp(_card(), marginal=DELTA, tools=TOOLS)
    assert_allclose(credit.unit[PLANNER], [1.1767, 0.7845, -1.1767, -0.7845], atol=5e-5)
    assert_allclose(credit.unit[~PLANNER], [1.4357, 0.6715, 0.7410, -0.7873, -1.3430, -0.7178], atol=5e-5)
    assert_allclose(sum(credit.parts.values()), credit.unit, atol=1e-12)
    assert credit.diagnostics == {"measured": 0.6, "harmful": 1 / 6}
    apart = _sharp(_card(group=EPISODE, agent=range(10)), marginal=DELTA, tools=TOOLS, single="raw", eps=0.0)
    assert_allclose(apart.unit[PLANNER], [1.25, 1.0, -0.25, 0.0])
    assert_allclose(apart.unit[~PLANNER], [1.6, 1.05, 1.1, 0.0, -0.4, 0.05])


@pytest.mark.parametrize("single", ["raw", "zero"])
def test_its_summands_add_up_where_there_is_no_spread(single: str) -> None:
    # the first role's rewards make up for each other, the second acted once
    batch = Batch.from_turns([[1]] * 5, outcome=[1.0, 1.0, 0.5, 0.5, 0.25], group=[0] * 5, agent=["w"] * 4 + ["p"])
    credit = _sharp(batch, marginal=[0.0, 0.0, 1.0, 1.0, 2.0], lambda_p=0.0, single=single)
    assert_array_equal(credit.unit[:4], 0.0)
    assert_allclose(credit.unit[4], 1.25 if single == "raw" else 0.0, atol=1e-5)
    assert_allclose(sum(credit.parts.values()), credit.unit, atol=1e-12)
    assert max(np.abs(part).max() for part in credit.parts.values()) < 1.1


@pytest.mark.parametrize(
    ("share", "expected"), [("mean", [1.25, 1.0, -0.25, 0]), ("sum", [1.5, 1, -0.5, 0]), ("zero", [1, 1, 0, 0])]
)
def test_what_a_planner_gets_of_its_workers_share(share: str, expected: list[float]) -> None:
    r = _sharp(_card(group=EPISODE, agent=range(10)), marginal=DELTA, tools=TOOLS, planner_share=share, single="raw", eps=0.0)
    assert_allclose(r.unit[PLANNER], expected)


def test_roles_are_compared_with_themselves() -> None:
    more = np.array(DELTA)
    more[~PLANNER] += 7.0  # all workers alike: no worker learns from it
    a, b = (_sharp(_card(), marginal=m, tools=TOOLS) for m in (DELTA, more))
    assert_allclose(a.unit[~PLANNER], b.unit[~PLANNER], atol=1e-9)
    one = _sharp(_card(agent=None), marginal=DELTA, tools=TOOLS)
    assert one.unit.mean() == pytest.approx(0, abs=1e-12)
    assert abs(one.unit[PLANNER].mean()) > 0.01


def test_prompts_are_compared_with_themselves() -> None:
    two = _card(group=[0] * 5 + [1] * 5, outcome=[1.0] * 5 + [0.0] * 5)
    credit = _sharp(two, marginal=np.zeros(10), lambda_p=0.0)
    assert not credit.unit.any()
    assert credit.diagnostics["harmful"] == 0.0
    mostly = [NULL, NULL, 0.5, NULL, -0.5, NULL, -0.2, NULL, NULL, -1.0]
    assert _sharp(two, marginal=mostly, lambda_p=0.0).diagnostics["harmful"] == 0.75


def test_without_its_own_rewards_it_is_grpo_within_roles() -> None:
    credit = _sharp(_card(), marginal=DELTA, lambda_s=0.0, lambda_p=0.0)
    for who in (PLANNER, ~PLANNER):
        rows = np.flatnonzero(who)
        grpo = assign(_card().take(rows), "grpo", spread="population")
        assert isinstance(grpo, Credit)
        assert_allclose(credit.unit[rows], grpo.unit, atol=1e-12)


def test_one_rollout_of_a_role_is_no_group() -> None:
    first = _card().take([0, 1, 2])
    credit = _sharp(first, marginal=[NULL, 1, 0], tools=[NULL, 1, 1])
    assert credit.unit[0] == 0.0
    assert credit.unit[1] > 0
    with pytest.raises(BatchError, match="single member"):
        _sharp(first, marginal=[NULL, 1, 0], tools=[NULL, 1, 1], single="error")


class _Or(FakeSampler):
    """Rollouts of a planner and two workers: worth 1 as soon as one worker keeps its message."""

    def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
        self.asked.append(("step", np.flatnonzero(fresh).tolist()))
        kept = ~fresh.reshape(batch.count("episode"), 3)
        worth = np.asarray(kept[:, 1:].any(axis=1), dtype=np.float64)
        return Asked(np.repeat(worth[:, None], k, axis=1), Bill(generated=float(k * fresh.sum())))


def _or(n: int = 2) -> Batch:
    return Batch.from_turns(
        [[1]] * 3 * n, outcome=[1.0] * 3 * n, group=[0] * 3 * n, agent=["planner", "one", "two"] * n,
        episode=np.repeat(np.arange(n), 3).tolist(),
    )  # fmt: skip


def test_leave_one_out_gives_redundant_workers_nothing_and_shapley_half_each() -> None:
    batch, rng, workers = _or(), np.random.default_rng(0), np.tile([False, True, True], 2)
    without, bill = left_out(batch, _Or(), workers, 3, rng)
    assert_array_equal(1.0 - without, [NULL, 0, 0] * 2)
    assert bill.generated == 12.0
    for plan in (Plan(), Plan(0, 400)):
        shares, _, _ = shapley_shares(batch, _Or(), workers, 1, plan, rng)
        assert_array_equal(np.isnan(shares), ~workers)
        assert_allclose(shares[workers], 0.5, atol=1e-12 if plan.players else 0.1)
        assert_allclose(shares[workers].reshape(2, 2).sum(axis=1), 1.0)
    everybody, _, _ = shapley_shares(batch, _Or(), np.ones(6, dtype=bool), 1, Plan(), rng)
    assert_allclose(everybody, [0, 0.5, 0.5] * 2, atol=1e-12)  # the planner adds nothing to any coalition


def test_a_sole_worker_who_matters_gets_all_of_it() -> None:
    batch = _or()
    found = assign(batch, "sharp", sampler=_Or(), planner="planner", lambda_p=0.0)
    assert isinstance(found, Credit)
    sampler = _Or()
    shares, bill, how = shapley_shares(batch, sampler, np.tile([False, True, False], 2), 2, Plan(), np.random.default_rng(0))
    assert_array_equal(shares, [NULL, 0, NULL] * 2)  # the other one still stands in for it
    assert sampler.asked == [("step", [1, 4])]
    assert bill.generated == 4.0
    assert how == {"coalitions": 1.0, "exact": 1.0}
    nobody = shapley_shares(batch, sampler, np.zeros(6, dtype=bool), 1, Plan(), np.random.default_rng(0))
    assert np.isnan(nobody[0]).all()


def test_agents_are_left_out_one_of_each_rollout_at_a_time() -> None:
    sampler = _Or()
    credit = _sharp(_or(), sampler=sampler, k=2, lambda_p=0.0)
    assert sampler.asked == [("step", [0, 3]), ("step", [1, 4]), ("step", [2, 5])]
    assert credit.bill.generated == 12.0
    assert credit.diagnostics["measured"] == 1.0
    sampler = _Or()
    credit = _sharp(_or(), sampler=sampler, planner="planner", lambda_p=0.0)
    assert sampler.asked == [("step", [1, 4]), ("step", [2, 5])]
    assert credit.diagnostics["measured"] == pytest.approx(2 / 3)
    ragged = _or().take([0, 1, 2, 3])  # the second rollout has its planner only

    class Flips(FakeSampler):
        pass

    flips = Flips()
    _sharp(ragged, sampler=flips, lambda_p=0.0)
    assert flips.asked == [("step", [0, 3]), ("step", [1]), ("step", [2])]


def test_shapley_is_asked_for_and_says_what_it_took() -> None:
    credit = _sharp(_or(3), sampler=_Or(), estimator="shapley", planner="planner", lambda_p=0.0)
    assert credit.diagnostics["exact"] == 1.0
    assert credit.diagnostics["coalitions"] == 3.0
    assert credit.evidence["marginal"]["sampler"]["estimator"] == "shapley"


def test_the_game_of_each_rollout_is_its_own_however_trajectories_are_ordered() -> None:
    """Worth of a rollout: its number times 1 if its second agent keeps its message."""

    class Second(FakeSampler):
        def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
            worth = np.zeros(batch.count("episode"))
            of, who = batch.within("trajectory", "episode"), np.array(batch.need("agent").to_list())
            names = np.array(batch.need("episode").names)
            for i in np.flatnonzero(~fresh & (who == "b")):
                worth[of[i]] = names[of[i]]
            return Asked(np.repeat(worth[:, None], k, axis=1), Bill(generated=1.0))

    episode = [3, 5, 5, 3]
    batch = Batch.from_turns([[1]] * 4, outcome=[3.0, 5.0, 5.0, 3.0], group=[0] * 4, agent=["a", "b", "a", "b"], episode=episode)
    everyone = np.ones(4, dtype=bool)
    shares, _, _ = shapley_shares(batch, Second(), everyone, 1, Plan(), np.random.default_rng(0))
    assert_allclose(shares, [0, 5, 0, 3])
    without, _ = left_out(batch, Second(), everyone, 1, np.random.default_rng(0))
    assert_allclose(batch.reward - without, [0, 5, 0, 3])
    apart = batch.with_columns(agent=batch.need("agent"), group=batch.need("episode"))
    found = assign(apart, "sharp", sampler=Second(), lambda_p=0.0, lambda_s=0.1, single="raw", eps=0.0)
    assert isinstance(found, Credit)
    assert_allclose(found.unit, [3.0, 5.5, 5.0, 3.3])


def test_what_it_refuses() -> None:
    with pytest.raises(OptionError, match=r"tools\[1\] = 1.5"):
        _sharp(_card(), marginal=DELTA, tools=[NULL, 1.5, *TOOLS[2:]])
    with pytest.raises(OptionError, match=r"tools\[1\] = -0.5"):
        _sharp(_card(), marginal=DELTA, tools=[NULL, -0.5, *TOOLS[2:]])
    with pytest.raises(OptionError, match="planner = 'boss': the batch's agents are 'planner', 'one', 'two'"):
        _sharp(_or(), sampler=_Or(), planner="boss")
    with pytest.raises(OptionError, match="k = 0"):
        _sharp(_or(), sampler=_Or(), k=0)
    with pytest.raises(ValueError, match="estimator"):
        _sharp(_or(), sampler=_Or(), estimator="owen")

    class Lost(FakeSampler):
        def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
            raise RuntimeError("the world is gone")

    with pytest.raises(OptionError, match="the world is gone"):
        _sharp(_or(), sampler=Lost(), estimator="shapley")

    class Short(FakeSampler):
        def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
            return Asked(np.zeros((1, k)), Bill())

    with pytest.raises(OptionError, match=r"shape \(1, 1\), expected \(2, 1\)"):
        _sharp(_or(), sampler=Short())
    null = _sharp(_card(), marginal=[NULL] * 10, tools=TOOLS)
    assert np.isfinite(null.unit).all()
    assert null.diagnostics == {"measured": 0.0, "harmful": 0.0}
