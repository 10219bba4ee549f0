"""The audit on a task whose truth is known: it must agree with the exact answer within its interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from apportion.audit.ask import Retaker, ask
from apportion.audit.credit import at_units, chosen, credit_of
from apportion.audit.design import design
from apportion.audit.estimate import agreement
from apportion.audit.run import audit
from apportion.audit.subjects import Subject, of_task
from apportion.batch import Batch
from apportion.bench import catalog
from apportion.bench.layouts import situation
from apportion.bench.oracle import oracle, truth
from apportion.bench.samplers import TabularSampler
from apportion.bench.tabular import Float
from apportion.credit import Credit
from apportion.errors import BenchError
from tests.audited import Echo

TASK = "interaction/or"
METHODS = ("rloo", "pooled_td", "exact")
rng = np.random.default_rng


def subject(seed: int, rollouts: int = 80, task: str = TASK) -> Subject:
    return of_task(task, rollouts, 4, rng([seed, 7]))


def exact(of: Subject, level: str = "latent") -> Float:
    """Q - V of every unit, from the state that is restored."""
    made = of.sampler()
    assert isinstance(made, TabularSampler)
    with oracle():
        solved = truth(made.rollouts.task, made.rollouts.theta)
        found: Float = getattr(solved, level)[situation(made.rollouts, of.batch)]
    return found


def test_the_audit_agrees_with_the_exact_answer_within_its_interval_and_without_correction_it_would_not() -> None:
    """Twelve audits of other rollouts; the exact correlation is that over the units of all of them."""
    sums = {id_: np.zeros(6) for id_ in METHODS}
    found = {id_: [] for id_ in METHODS}  # type: ignore[var-annotated]
    for seed in range(12):
        of = subject(seed)
        delta = exact(of)
        plan = design(of.batch, "turn", 16384, 32, rng([seed, 8]))
        changes = ask(of.batch, of.sampler(), plan, rng([seed, 9]))
        for who in chosen(METHODS, truth=True):
            credit = credit_of(who, of, rng(seed))
            c, known = at_units(credit, of.batch, "turn", np.arange(of.batch.n_turns))
            assert known.all()
            sums[who.id] += np.array([c.size, c.sum(), float(c @ c), delta.sum(), float(delta @ delta), float(c @ delta)])
            found[who.id].append(agreement(c[plan.units], changes.halves, plan.cluster))
    held = []
    for id_, (n, a, aa, b, bb, ab) in sums.items():
        r = (ab / n - a * b / n**2) / math.sqrt((aa / n - (a / n) ** 2) * (bb / n - (b / n) ** 2))
        inside = [one.correlation.low <= r <= one.correlation.high for one in found[id_] if not one.undefined]
        assert len(inside) >= 11
        held += inside
        assert abs(np.mean([one.correlation.value for one in found[id_]]) - r) < 0.07
        assert np.mean([one.plain for one in found[id_]]) < 0.8 * r  # what is left in without correction
    assert np.mean(held) > 0.87  # 36 intervals: at 95 % fewer than 31 happen once in a hundred


def test_the_sign_agreement_of_the_exact_answer_is_whole_but_for_the_bias_that_is_said() -> None:
    values = []
    for seed in range(4):
        report = audit(subject(seed), ["exact"], budget=32768, per_unit=64, seed=seed)
        line = report.lines[0].found
        assert line is not None
        values.append(line.sign.value)
        assert line.sign.high >= 1.0 or line.sign.value > 0.9
    assert 0.95 < np.mean(values) < 1.1


def test_halves_are_unbiased_and_know_nothing_of_each_other_nor_of_neighbours() -> None:
    of = subject(1, 40)
    plan = design(of.batch, "turn", of.batch.n_turns * 64, 64, rng(0))
    assert plan.units.size == of.batch.n_turns
    errors = ask(of.batch, of.sampler(), plan, rng(1)).halves - exact(of)[plan.units]
    assert float(np.abs(errors.mean(axis=1)).max()) < 4 * errors.std() / math.sqrt(plan.units.size)
    assert abs(np.corrcoef(errors[0], errors[1])[0, 1]) < 4 / math.sqrt(plan.units.size)
    same = of.batch.within("turn", "trajectory")[1:] == of.batch.within("turn", "trajectory")[:-1]
    together = np.corrcoef(errors[0, 1:][same], errors[0, :-1][same])[0, 1]
    assert abs(together) < 4 / math.sqrt(np.count_nonzero(same))  # one prefix shared by two units would make it -1/2


def test_an_action_taken_again_leaves_the_luck_of_the_answer_out() -> None:
    of = of_task("bifurcation/lucky", 20, 2, rng(3))
    plan = design(of.batch, "turn", 20 * 100 * 32, 32, rng(0))
    sampler = of.sampler()
    assert isinstance(sampler, Retaker)
    assert isinstance(sampler, TabularSampler)
    without = ask(of.batch, sampler, plan, rng(1))
    with_luck = ask(of.batch, TabularSampler(sampler.rollouts), plan, rng(1))
    assert (without.measured, with_luck.measured) == ("advantage", "change")
    delta = exact(of)[plan.units]
    # the luck is in the second: its covariance between halves is more than the advantage's variance
    assert_allclose(np.cov(without.halves)[0, 1], delta.var(), atol=0.0006)
    assert np.cov(with_luck.halves)[0, 1] > delta.var() + 0.0006


def test_without_an_action_again_a_change_is_the_difference_of_neighbouring_prefixes_and_the_end_is_the_reward() -> None:
    batch = Batch.from_turns([[2, 2, 2]] * 10, outcome=[float(i) for i in range(10)], group=list("aabbccddee"))
    plan = design(batch, "turn", 30 * 8, 8, rng(0))
    sampler = Echo()
    found = ask(batch, sampler, plan, rng(0))  # type: ignore[arg-type]
    prefix = batch.prefix_before[plan.units]
    last = plan.units % 3 == 2
    expected = np.where(last, batch.reward[plan.units // 3] - prefix, 1.0)
    assert_allclose(found.halves, np.stack([expected, expected]))
    assert all(k == 2 for _, k in sampler.asked)
    assert not any(np.isin(asked, batch.prefix_offsets[1:] - 1).any() for asked, _ in sampler.asked)
    assert found.replica == 0


def test_what_came_back_with_nothing_is_left_out_and_counted() -> None:
    class Holes(Echo):
        def continuations(self, batch, prefixes, k, rng, *, axis="prefix"):  # type: ignore[no-untyped-def]
            asked = super().continuations(batch, prefixes, k, rng, axis=axis)
            asked.values[prefixes == batch.prefix_before[4]] = np.nan
            asked.values[prefixes == 0, 0] = np.nan  # one of two is enough
            return asked

    batch = Batch.from_turns([[2, 2]] * 10, outcome=[1.0] * 10, group=list("aabbccddee"))
    found = ask(batch, Holes(), design(batch, "turn", 20 * 8, 8, rng(0)), rng(0))  # type: ignore[arg-type]
    assert found.lost == 1
    assert np.isfinite(found.halves).all()
    assert 4 not in found.design.units
    assert 0 in found.design.units


def test_every_unit_is_as_likely_and_trajectories_get_their_share() -> None:
    batch = Batch.from_turns([[1] * 4] * 20 + [[1] * 12] * 10, outcome=[0.0] * 30, group=[i // 2 for i in range(30)])
    counts = np.zeros(batch.n_turns)
    for seed in range(400):
        plan = design(batch, "turn", 50 * 8, 8, rng(seed))
        counts[plan.units] += 1
        own = np.bincount(batch.within("turn", "trajectory")[plan.units], minlength=30)
        assert set(own[:20].tolist()) <= {1, 0}
        assert set(own[20:].tolist()) <= {2, 3, 4}
    assert_allclose(counts / 400, 50 / 200, atol=0.1)
    assert (plan.over, plan.each) == ("prompts", 2)
    even = Batch.from_turns([[1] * 4] * 20, outcome=[0.0] * 20)
    places = design(even, "turn", 20 * 8, 8, rng(0)).units % 4  # one of each trajectory, not the same of all
    assert np.bincount(places, minlength=4).min() > 0
    few = batch.with_columns(group=None)
    assert design(few, "turn", 400, 8, rng(0)).over == "rollouts"


def test_the_same_seed_gives_the_same_audit_whatever_methods_stand_beside() -> None:
    one = audit(subject(0), ["rloo"], budget=8192, per_unit=32, seed=3)
    two = audit(subject(0), ["vineppo@k=2", "rloo"], budget=8192, per_unit=32, seed=3)
    assert repr(one.lines[0].found) == repr(next(line.found for line in two.lines if line.method == "rloo"))
    paid = next(line for line in two.lines if line.method == "vineppo@k=2")
    assert paid.bill.generated > 0
    other = audit(subject(0), ["rloo"], budget=8192, per_unit=32, seed=4)
    assert repr(other.lines[0].found) != repr(one.lines[0].found)


def test_steps_and_teams_are_audited_and_the_oracle_is_compared_with_nobody() -> None:
    for task, level in (("tiny/steps", "step"), ("team/chain", "turn")):
        report = audit(subject(0, 48, task), ["exact", "rloo"], budget=2048, per_unit=16)
        assert report.changes.design.level == level
        assert [line.oracle for line in report.lines] == [False, True]
        assert not report.pairs


def test_credit_is_found_by_trajectory_and_what_is_out_of_the_loss_is_not_counted() -> None:
    batch = Batch.from_turns([[1, 1], [1], [1, 1, 1]], trajectory=["a", "b", "c"], outcome=[0.0, 0.0, 0.0])
    part = batch.take([2, 0])
    keep = np.ones(part.n_tokens, dtype=np.bool_)
    keep[1] = False
    credit = Credit.of(part, "turn", np.arange(5.0), keep=keep)
    values, known = at_units(credit, batch, "turn", np.arange(6))
    assert known.tolist() == [True, True, False, True, False, True]
    assert values[known].tolist() == [3, 4, 0, 2]


@pytest.mark.parametrize(
    ("methods", "how", "said"),
    [
        (["rloo"], {"budget": 60, "per_unit": 4}, "at least 16"),
        (["rloo"], {"per_unit": 6}, "multiple of 4"),
        (["rloo"], {"per_unit": 2}, "multiple of 4"),
        (["rloo", "rloo"], {}, "named twice"),
        ([], {}, "no method"),
        (["no_such"], {}, "no method 'no_such'"),
        (["pure-judge80"], {}, "asks for 'judge'"),
        (["sharp"], {}, "sharp does not enter on turns, as interaction/or has"),
        (["dr_mas"], {}, "dr_mas needs agent"),
    ],
)
def test_what_cannot_be_audited_is_refused_by_name_before_anything_is_asked(
    methods: list[str], how: dict[str, Any], said: str
) -> None:
    def nobody() -> TabularSampler:
        raise AssertionError("asked")

    of = subject(0, 16)
    with pytest.raises(BenchError, match=said):
        audit(Subject(of.name, of.batch, of.level, nobody, of.restore, exact=of.exact), methods, **how)


def test_too_few_rollouts_are_refused() -> None:
    with pytest.raises(BenchError, match="4 trajectories: expected at least 8"):
        audit(subject(0, 4), ["rloo"])
    with pytest.raises(BenchError, match="multiple of --per-prompt 4"):
        subject(0, 6)


def test_the_task_is_the_one_that_was_asked_for() -> None:
    made = subject(0, 8).sampler()
    assert isinstance(made, TabularSampler)
    assert made.rollouts.task.id == catalog.find(TASK).id
