"""SCAR: the card's worked example, its forms, v(S) as blanked text and as replays, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence import Asked, Bill
from apportion.evidence.coalitions import Plan, step_values
from apportion.evidence.text_model import TextModel
from apportion.ops.shapley import owen, shapley

from .fakes import FakeSampler

#: v of {}, {1}, {2}, {1,2}, {3}, {1,3}, {2,3}, {1,2,3}
_V = np.array([0.1, 0.5, 0.2, 0.9, 0.1, 0.4, 0.3, 1.2])


def _scar(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "scar", **options)
    assert isinstance(credit, Credit)
    return credit


def _card(**columns: Any) -> Batch:
    kl = np.array([0, 0.01, 0, -0.02, 0.01])  # beta times the log-ratio
    return Batch.from_turns(
        [[5]], steps=[[2, 2, 1]], outcome=[1.2], group=[0], logp=kl / 0.1 - 1.0, ref_logp=-np.ones(5), **columns
    )


def test_worked_example_of_the_card() -> None:
    sv = owen(_V, [0, 0, 1])
    r = _scar(_card(), shapley=sv, form="reward", alpha=0.8, beta=0.1)
    assert r.kind == "reward"
    assert_allclose(r.token, [0, 0.45, 0, 0.32, 0.35], atol=5e-5)
    assert_allclose(r.unit, [0.225, 0.16, 0.35], atol=5e-5)
    assert_allclose(_scar(_card(), shapley=shapley(_V), form="reward").token, [0, 0.6, 0, 0.4, 0.1], atol=5e-5)


def test_without_dense_reward_it_is_the_sparse_one_and_rloo() -> None:
    batch = Batch.from_turns([[1, 2], [1], [2, 1]], outcome=[1.0, 0.0, 0.5], group=[0, 0, 0])
    sv = np.arange(5.0)
    assert_allclose(_scar(batch, shapley=sv, alpha=0.0, form="reward").token, [0, 0, 1, 0, 0, 0, 0.5])
    got, rloo = _scar(batch.take([0, 2]), shapley=np.arange(4.0), alpha=0.0), assign(batch.take([0, 2]), "rloo")
    assert isinstance(rloo, Credit)
    assert_allclose(got.token, rloo.token)  # rollouts of equally many steps


def test_what_is_still_to_be_paid_against_the_others_at_the_same_step() -> None:
    batch = Batch.from_turns([[1, 2], [1], [2, 1]], outcome=[1.0, 0.0, 0.5], group=[0, 0, 0])
    sv = [0.7, 0.1, -0.2, 0.3, 0.4]
    go, over = np.array([0.8, 0.1, -0.2, 0.7, 0.4]), {0: [0, 2, 3], 1: [1, 4]}
    expected = [0.8 - 0.25, 0.1 - 0.2, -0.2 - 0.75, 0.7 - 0.3, 0.4 - 0.05]
    assert go.size == sum(map(len, over.values()))
    credit = _scar(batch, shapley=sv)
    assert_allclose(credit.unit, expected)
    assert_allclose(credit.token, np.array(expected)[batch.within("token", "turn")])
    assert_allclose(_scar(batch, shapley=sv, form="payment").unit, [0.7 - 0.05, 0.1 - 0.2, -0.2 - 0.5, 0.3 - 0.25, 0.4 - 0.05])


def test_the_residual_makes_the_rewards_add_up_to_the_return() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0])
    for alpha in (1.0, 0.3):
        r = _scar(batch, shapley=[0.5, 0.1, 0.2, 0.2], form="reward", residual="last", alpha=alpha).token
        assert_allclose(r.reshape(2, 2).sum(axis=1), [1.0, 0.0], atol=1e-12)
        assert_allclose(r[0], 0.5 * alpha)
    plain = _scar(batch, shapley=[0.5, 0.1, 0.2, 0.2], form="reward").token
    assert_allclose(plain, [0.5, 0.1, 0.2, 0.2])


def test_the_penalty_inside_a_step_is_still_to_be_paid_there() -> None:
    batch = Batch.from_turns([[2], [2]], outcome=[1.0, 0.0], group=[0, 0], logp=[-1, -2, -1, -1], ref_logp=[-1.5, -1, -1, -1])
    credit = _scar(batch, shapley=[0.6, 0.2], beta=0.2)
    r = np.array([-0.1, 0.6 + 0.2, 0.0, 0.2])
    assert_allclose(credit.token, [r[0] + r[1] - 0.2, r[1] - 0.2 + (0 - 0), 0.2 - 0.7, 0.2 - 0.7])


def test_with_a_critic_it_is_gae_on_the_dense_rewards() -> None:
    value = np.array([0.1, -0.2, 0.4, 0.3, 0.0])
    sv = shapley(_V)
    r = _scar(_card(value=value), shapley=sv, form="reward", alpha=0.8, beta=0.1).token
    gae = assign(Batch.from_turns([[5]], token_reward=r), "gae", value=value, gamma=0.9, lam=0.7)
    got = _scar(_card(value=value), shapley=sv, form="gae", alpha=0.8, beta=0.1, gamma=0.9, lam=0.7)
    assert isinstance(gae, Credit)
    assert_allclose(got.token, gae.token)
    assert_allclose(got.targets["value"], gae.targets["value"])
    with pytest.raises(MissingColumn, match="value"):
        _scar(_card(), shapley=sv, form="gae")


def test_a_trajectory_without_payments_keeps_its_reward_at_the_end() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.5], group=[0, 0])
    for residual in ("none", "last"):
        credit = _scar(batch, shapley=[0.3, np.nan, 0.2, 0.1], form="reward", residual=residual)
        assert_allclose(credit.token[:2], [0.0, 1.0])
        assert credit.diagnostics["paid"] == 0.5


# --- where v comes from ----------------------------------------------------------------------------


def _values(lengths: list[int], plan: Plan, worth: Any = None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Shapley values of the steps in a game whose v is 2 (step 0) + 3 (steps 0 and 1) + place / 10."""
    batch = Batch.from_turns([[1] * n for n in lengths], outcome=np.zeros(len(lengths)))
    owner = batch.within("turn", "trajectory")
    place = np.arange(owner.size) - batch.trajectory_turns[owner]
    asked: list[np.ndarray] = []

    def v(keep: np.ndarray) -> np.ndarray:
        asked.append(keep.copy())
        first, second = (np.bincount(owner, keep & (place == p), len(lengths)) for p in (0, 1))
        return 2 * first + 3 * first * second + np.bincount(owner, keep * place / 10, len(lengths))

    whole = v(np.ones(owner.size, dtype=bool))
    asked.clear()
    return step_values(batch, worth or v, whole, plan, np.random.default_rng(0))[0], asked


@pytest.mark.parametrize("plan", [Plan(12, 1), Plan(0, 400), Plan(3, 400)])
def test_steps_are_paid_exactly_or_by_sampled_orders(plan: Plan) -> None:
    found, asked = _values([3, 1, 4, 2], plan)
    truth = [3.5, 1.6, 0.2, 2.0, 3.5, 1.6, 0.2, 0.3, 3.5, 1.6]
    assert_allclose(found, truth, atol=1e-12 if plan.players == 12 else 0.25)
    assert_allclose(np.add.reduceat(found, [0, 3, 4, 8]), [5.3, 2.0, 5.6, 5.1])  # efficiency, whatever the plan
    assert len(asked) == (15 if plan.players == 12 else 1 + 400 * 4 + (7 if plan.players == 3 else 0))


def test_a_trajectory_with_nothing_left_to_ask_is_not_replayed() -> None:
    sampler = FakeSampler()
    batch = Batch.from_turns([[1], [1, 1, 1]], outcome=[1.0, 1.0], group=[0, 0])
    credit = _scar(batch, sampler=sampler)
    fresh = [set(steps) for _, steps in sampler.asked]
    assert len(fresh) == 7  # 2^3 - 1 coalitions of the longer one
    assert [0 in f for f in fresh] == [True] + [False] * 6
    assert credit.bill.generated == 10.0 * (1 + 3 * 4)
    assert credit.diagnostics["coalitions"] == (1 + 7) / 2
    assert credit.diagnostics["exact"] == 1.0


def test_a_coalition_function_that_fails_says_so_and_a_null_leaves_its_trajectory_unpaid() -> None:
    def raises(keep: np.ndarray) -> np.ndarray:
        raise RuntimeError("the reward model is gone")

    with pytest.raises(OptionError, match="failed with 5 steps left out: the reward model is gone"):
        _values([3, 2], Plan(), raises)
    with pytest.raises(OptionError, match=r"shape \(1,\), expected \(2,\)"):
        _values([3, 2], Plan(), lambda keep: np.zeros(1))
    for plan in (Plan(), Plan(0, 2)):
        found, _ = _values([3, 2], plan, lambda keep: np.array([np.nan if not keep[0] else 1.0, 0.5]))
        assert_array_equal(np.isnan(found), [True] * 3 + [False] * 2)
    found, _ = _values([3, 2], Plan(), lambda keep: np.array([np.nan if keep[:3].tolist() == [False, True, True] else 1.0, 0.5]))
    assert_array_equal(np.isnan(found), [True] * 3 + [False] * 2)  # one coalition of eight is enough


class _Replays(FakeSampler):
    """Rollouts worth the number of choices that were kept, whatever was drawn anew."""

    def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
        kept = np.bincount(batch.within("step", "episode"), weights=~fresh)
        return Asked(np.repeat(kept[:, None], k, axis=1), Bill(generated=float(k)))


def test_replays_value_the_steps_that_are_kept() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1, 1]], outcome=[2.0, 3.0], group=[0, 0])
    found = ap.assign(batch, "scar", sampler=_Replays(), k=2, form="reward")
    assert isinstance(found, Credit)
    assert_allclose(found.unit, 1.0)
    assert found.bill.generated == 14.0  # 2 replays for each of 7 coalitions


def test_a_source_that_cannot_replay_and_episodes_of_teams_are_refused() -> None:
    class Plain:
        provenance = "exact_restore"

        def continuations(self) -> None: ...

        def branch(self) -> None: ...

    batch = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=[0, 0])
    with pytest.raises(OptionError, match="Plain has no replay"):
        assign(batch, "scar", sampler=Plain())
    with pytest.raises(OptionError, match="episodes here have several"):
        assign(batch.with_columns(episode=ap.ids.Codes.of(["e", "e"])), "scar", sampler=FakeSampler())
    with pytest.raises(OptionError, match="k = 0"):
        assign(batch, "scar", sampler=FakeSampler(), k=0)
    plans: list[dict[str, Any]] = [{"players": 13}, {"orders": 0}]
    for wrong in plans:
        with pytest.raises(OptionError, match=next(iter(wrong))):
            assign(batch, "scar", sampler=FakeSampler(), **wrong)
    with pytest.raises(OptionError, match=r"alpha = 2"):
        _scar(batch, shapley=[0.1, 0.2], alpha=2.0)
    with pytest.raises(BatchError, match="single trajectory"):
        _scar(batch.take([0]), shapley=[0.1])


def test_blanking_a_step_takes_away_what_it_says_and_what_it_opens_for_the_next() -> None:
    ids = np.array([9, 1, 2, 3, 4, 9, 1, 2, 5, 4])
    batch = Batch.from_turns([[3, 2], [3, 2]], action=[False, *[True] * 4] * 2, ids=ids, outcome=[1.0, 0.0], group=[0, 0])
    rng = np.random.default_rng(0)
    weights = np.concatenate([rng.normal(size=(3, 64)), np.zeros((3, 1)), np.ones((3, 1))], axis=1)
    model = TextModel("step", weights, np.array([1], dtype=np.uint64), np.array([0]))
    prompt, seen, done = model.parts(batch)
    keep = np.array([False, True, True, False])
    _, seen_too, done_too = model.parts(batch, keep)
    assert done_too[0] == 0.0
    assert seen_too[0] == seen[0]  # the prompt still stands before it
    assert seen_too[1] == 0.0  # what stood there was written in the blanked step
    assert done_too[1] != done[1]
    assert done_too[3] == 0.0
    assert seen_too[3] == seen[3]
    assert_allclose(model.score(batch, keep)[1], prompt[1] + seen[2] + done[2] + seen[3])


def test_observation_tokens_get_nothing_in_any_form() -> None:
    action = [False, True, False, True, False, True, True]
    batch = Batch.from_turns([[4], [3]], action=action, outcome=[1.0, 0.0], group=[0, 0], value=np.arange(7) / 3 + 2)
    for form in ("to_go", "payment", "gae", "reward"):
        token = _scar(batch, shapley=[0.4, 0.3], form=form).token
        assert_array_equal(token[~batch.action], 0.0)
    assert_allclose(_scar(batch, shapley=[0.4, 0.3]).token, [0, 0.1, 0, 0.1, 0, -0.1, -0.1])


def test_a_truncated_trajectory_ends_with_its_bootstrap_value() -> None:
    batch = Batch.from_turns(
        [[1], [1]], outcome=[0.0, 0.0], group=[0, 0], value=[0.0, 0.0], truncated=[True, False], bootstrap=[0.5, 0.7]
    )
    assert_allclose(_scar(batch, shapley=[0.4, 0.3], form="gae").token, [0.9, 0.3])


@pytest.mark.parametrize("option", [{"gamma": 1.5}, {"lam": -0.1}])
def test_discounts_lie_between_zero_and_one(option: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _scar(_card(value=np.zeros(5)), shapley=shapley(_V), form="gae", **option)


class _Lossy(_Replays):
    """The second of two replays never comes back; neither does where step 0 is drawn anew alone."""

    def replay(self, batch: Batch, fresh: np.ndarray, k: int, rng: np.random.Generator) -> Asked:
        asked = super().replay(batch, fresh, k, rng)
        asked.values[:, 1] = np.nan
        if np.flatnonzero(fresh).tolist() == [0]:
            asked.values[0] = np.nan
        return asked


def test_a_replay_that_is_lost_is_left_out_and_a_lost_coalition_leaves_its_trajectory_unpaid() -> None:
    batch = Batch.from_turns([[1, 1], [1, 1, 1]], outcome=[2.0, 3.0], group=[0, 0])
    found = _scar(batch, sampler=_Lossy(), k=2, form="reward", rng=0)
    assert_allclose(found.unit, 1.0)
    assert found.diagnostics["paid"] == 1.0
    one = _scar(batch.take([0]), sampler=_Lossy(), k=2, form="reward", rng=0)
    assert one.diagnostics["paid"] == 0.0
    assert_allclose(one.unit, [0.0, 2.0])
