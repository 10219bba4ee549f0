"""IGPO: the card's worked example, both normalisations, gains of exactly zero, nulls, its source and its stand-in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.evidence import Asked, Bill

from .fakes import FakePolicy

NAN = np.nan


def _batch(outcome: Any = (1.0, 0.0), group: Any = (0, 0)) -> Batch:
    return Batch.from_turns([[1, 1, 1], [1, 1, 1]], outcome=list(outcome), group=list(group))


def _logp(*beliefs: Any) -> Any:
    """Answer log-probabilities of trajectories; what stands at their end is never read."""
    return np.log([p for b in beliefs for p in (*b, 0.123)])


LOGP = _logp([0.10, 0.40, 0.35], [0.10, 0.15, 0.70])


def _igpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "igpo", **options)
    assert isinstance(credit, Credit)
    return credit


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"normalise": "separate"}, [0.2484, -0.1273, 1.0, -0.2484, 0.4494, -1.0]),
        ({"normalise": "separate", "gamma": 0.9}, [0.1712, -0.2273, 1.0, -0.2034, 0.5494, -1.0]),
        ({}, [0.8754, 0.8978, 1.8629, -0.8754, -0.1796, -0.8305]),
        ({"gamma": 0.9}, [0.6179, 0.7115, 1.8629, -0.7827, -0.0965, -0.8305]),
    ],
)
def test_worked_example_of_the_card(options: Any, expected: list[float]) -> None:
    credit = _igpo(_batch(), answer_logp=LOGP, **options)
    assert_allclose(credit.unit, expected, atol=5e-5)
    assert_allclose(credit.parts["gain"] + credit.parts["outcome"], credit.unit)
    assert credit.loss.denominator == "token"


def test_worked_beliefs_of_the_card() -> None:
    mean = np.mean([-0.5, -0.9, -1.2])
    bare = {"answer_logp": [mean, mean, np.log(0.5), 0, 0, 0, 0, 0], "spread": "none"}
    gains = _igpo(Batch.from_turns([[1, 1, 1], [1, 1, 1]], outcome=[0.0, 0.0], group=[0, 1]), **bare, normalise="separate")
    step = 0.5 - 0.4204  # the second turn's gain, the first one's is 0
    assert_allclose(gains.unit[:3], [0.0, step / 2, 0.0], atol=5e-5)
    log = _igpo(_batch(group=[0, 1]), answer_logp=LOGP, gain="log", spread="none", normalise="separate")
    first, second = [1.3863, -0.1335], [0.4055, 1.5404]
    for got, raw in ((log.unit[:3], first), (log.unit[3:], second)):
        centred = np.array(raw) - np.mean(raw)
        assert_allclose(got, [centred.sum(), centred[1], 0.0], atol=5e-5)


def test_turns_differ_where_all_rollouts_fail() -> None:
    credit = _igpo(_batch([0.0, 0.0]), answer_logp=LOGP, normalise="separate")
    assert_allclose(credit.unit, [-0.7516, -1.1273, 0, 0.7516, 1.4494, 0], atol=5e-5)
    assert_array_equal(credit.parts["outcome"], 0.0)


@pytest.mark.parametrize("normalise", ["joint", "separate"])
def test_a_gain_of_exactly_zero_counts_and_keeps_its_turn(normalise: Any) -> None:
    flat = _logp([0.2, 0.2, 0.5], [0.1, 0.3, 0.2])  # the first turn changed nothing
    nearly = _logp([0.2, 0.2 + 1e-9, 0.5], [0.1, 0.3, 0.2])
    for gamma in (1.0, 0.5):
        exact, close = (_igpo(_batch(), answer_logp=x, normalise=normalise, gamma=gamma) for x in (flat, nearly))
        assert_allclose(exact.unit, close.unit, atol=1e-6)
        assert exact.scored is not None
        assert exact.scored.all()
    rewards = np.array([0.0, 0.3, 0.2, -0.1])  # of the four gains; dropping the zero would move mean and spread
    if normalise == "separate":
        n = (rewards - rewards.mean()) / (np.sqrt(rewards.var() + 1e-8) + 1e-6)
        credit = _igpo(_batch(), answer_logp=flat, normalise=normalise)
        assert_allclose(credit.parts["gain"], [n[0] + n[1], n[1], 0, n[2] + n[3], n[3], 0])
        assert credit.token[0] != credit.token[1]  # its tokens do not take the next turn's value


def test_a_normalised_reward_of_exactly_zero_keeps_its_turn() -> None:
    symmetric = _logp([0.3, 0.4, 0.6], [0.3, 0.6, 0.5])  # gains 0.1, 0.2, 0.3, -0.1 …
    middle = _logp([0.3, 0.5, 0.5], [0.3, 0.4, 0.6])  # … and 0.2, 0, 0.1, 0.2: none at the mean 0.125
    at_mean = _logp([0.2, 0.3, 0.5], [0.2, 0.3, 0.3])  # gains 0.1, 0.2, 0.1, 0: the mean is 0.1
    for logp in (symmetric, middle, at_mean):
        credit = _igpo(_batch(), answer_logp=logp, normalise="separate", gamma=0.5)
        p = np.exp(logp).reshape(2, 4)[:, :3]
        gains = np.diff(p, axis=1)
        n = (gains - gains.mean()) / (np.sqrt(gains.var() + 1e-8) + 1e-6)
        expected = np.column_stack([n[:, 0] + 0.5 * n[:, 1], n[:, 1], np.zeros(2)])
        assert_allclose(credit.parts["gain"].reshape(2, 3), expected, atol=1e-9)


def test_joint_and_separate_differ_in_what_a_reward_is_compared_with() -> None:
    small = _logp([0.100, 0.101, 0.102], [0.100, 0.100, 0.101])  # gains far smaller than outcomes
    joint, separate = (_igpo(_batch(), answer_logp=small, normalise=m) for m in ("joint", "separate"))
    assert np.ptp(joint.parts["gain"].reshape(2, 3)[:, 1]) < 0.01  # drowned by the outcomes
    assert np.ptp(separate.parts["gain"].reshape(2, 3)[:, 1]) < 1e-9
    assert np.ptp(separate.parts["gain"].reshape(2, 3)[:, 0]) > 0.5


def test_one_turn_is_grpo_with_the_population_s_spread() -> None:
    batch = Batch.from_turns([[2], [2], [2]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0])
    credit = _igpo(batch, answer_logp=np.full(6, -1.0))
    grpo = assign(batch, "grpo", spread="population", eps=1e-6)
    assert isinstance(grpo, Credit)
    assert_allclose(credit.token, grpo.token, atol=1e-6)  # up to the 1e-8 in the variance
    assert credit.diagnostics["asked"] == 1.0


def test_with_gamma_0_a_turn_has_its_own_reward_only() -> None:
    credit = _igpo(_batch(), answer_logp=LOGP, normalise="separate", gamma=0.0)
    assert_allclose(credit.unit, [0.3758, -1.1273, 1, -0.6979, 1.4494, -1], atol=5e-5)


def test_the_variance_holds_1e_8_and_the_spread_1e_6() -> None:
    outcome = np.array([1e-4, 0.0])
    batch = Batch.from_turns([[1], [1]], outcome=outcome, group=[0, 0])
    credit = _igpo(batch, answer_logp=np.full(4, -1.0))
    assert_allclose(credit.unit, (outcome - 5e-5) / (np.sqrt(25e-10 + 1e-8) + 1e-6))
    wide = _igpo(batch, answer_logp=np.full(4, -1.0), eps=1.0)
    assert_allclose(wide.unit, (outcome - 5e-5) / (np.sqrt(25e-10 + 1e-8) + 1.0))


def test_a_set_of_one_gets_nothing() -> None:
    batch = Batch.from_turns([[1, 1]], outcome=[1.0], group=[0])
    assert_array_equal(_igpo(batch, answer_logp=np.log([0.1, 0.4, 0.5]), normalise="separate").unit, 0.0)
    joint = _igpo(batch, answer_logp=np.log([0.1, 0.4, 0.5]))  # a gain of 0.3 and an outcome of 1
    assert_allclose(joint.unit, [0.0, 1.0], atol=1e-5)


def test_a_turn_beside_a_null_has_no_gain_and_passes_on_what_comes_later() -> None:
    holed = LOGP.copy()
    holed[5] = NAN  # after the second rollout's first turn
    credit = _igpo(_batch(), answer_logp=holed, normalise="separate")
    gains = np.array([0.3, -0.05])
    n = (gains - gains.mean()) / (np.sqrt(gains.var() + 1e-8) + 1e-6)
    assert_allclose(credit.unit, [n[0] + n[1] + 1, n[1] + 1, 1, -1, -1, -1], atol=1e-5)
    assert credit.scored is not None
    assert credit.scored.all()  # what it passes on is credit, not a null
    by_itself = _igpo(_batch(), answer_logp=holed, normalise="separate", gamma=0.0)
    assert by_itself.scored is not None
    assert_array_equal(by_itself.scored, [True, True, True, False, False, True])
    assert_array_equal(by_itself.unit[3:5], 0.0)
    assert credit.diagnostics["asked"] == 0.5
    silent = _igpo(_batch(), answer_logp=np.full(8, NAN))
    assert_allclose(silent.unit, [1, 1, 1, -1, -1, -1], atol=1e-5)


def test_prompts_share_no_statistics() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[1] * 3] * 4, outcome=rng.normal(size=4), group=[0, 1, 0, 1])
    logp = -rng.exponential(size=16)
    for normalise in ("joint", "separate"):
        whole = _igpo(batch, answer_logp=logp, normalise=normalise).unit.reshape(4, 3)
        part = _igpo(batch.take([1, 3]), answer_logp=logp.reshape(4, 4)[[1, 3]].ravel(), normalise=normalise)
        assert_allclose(part.unit.reshape(2, 3), whole[[1, 3]])


def test_weights_change_joint_rewards_only() -> None:
    plain = _igpo(_batch(), answer_logp=LOGP)
    heavy = _igpo(_batch(), answer_logp=LOGP, outcome_weight=0.0)
    gains = np.array([0.3, -0.05, 0.0, 0.05, 0.55, 0.0])
    n = (gains - gains.mean()) / (np.sqrt(gains.var() + 1e-8) + 1e-6)
    assert_allclose(heavy.unit, n.reshape(2, 3)[:, ::-1].cumsum(axis=1)[:, ::-1].ravel())
    assert np.abs(plain.unit - heavy.unit).max() > 0.5
    scaled = _igpo(_batch(), answer_logp=LOGP, gain_weight=3.0, outcome_weight=3.0)
    assert_allclose(scaled.unit, plain.unit, atol=1e-4)
    same = [_igpo(_batch(), answer_logp=LOGP, normalise="separate", gain_weight=w).unit for w in (1.0, 3.0)]
    assert_allclose(same[0], same[1], atol=1e-4)


def test_the_policy_is_asked_once_and_the_answer_is_privileged() -> None:
    policy = FakePolicy()
    credit = _igpo(_batch(), policy=policy, rng=0)
    assert policy.seen == [["prefix"]]
    assert credit.bill == Bill(scored=6.0)
    assert credit.evidence["answer_logp"]["provenance"] == "privileged"


def test_a_policy_that_cannot_answer_is_refused() -> None:
    class Mute:
        provenance = "text_refeed"

        def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Any = None) -> Asked:
            return Asked(np.zeros(batch.n_tokens), Bill())

    with pytest.raises(OptionError, match="Mute, which has no answer_logp"):
        _igpo(_batch(), policy=Mute())


@pytest.mark.parametrize(
    ("option", "message"), [({"gamma": 1.1}, "gamma = 1.1"), ({"gamma": -0.1}, "gamma"), ({"spread": "sample"}, "population's")]
)
def test_options_out_of_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _igpo(_batch(), answer_logp=LOGP, **option)


def test_positive_log_probabilities_are_refused_by_index() -> None:
    with pytest.raises(OptionError, match=r"'answer_logp'\[2\] = 0.3"):
        _igpo(_batch(), answer_logp=[-1, -1, 0.3, -1, -1, -1, -1, -1])


def test_belief_learned_from_outcomes_rewards_the_turn_that_decides() -> None:
    rng = np.random.default_rng(0)
    n = 400
    good = rng.random(n) < 0.5
    ids = rng.integers(0, 1000, (n, 6))
    ids[:, [0, 2, 4]] = 7
    ids[:, 3] = ids[:, 4] = np.where(good, 20, 21)  # the second turn decides, and the third is shown it
    outcome = (rng.random(n) < np.where(good, 0.9, 0.1)).astype(float)
    batch = Batch.from_turns(
        [[2, 2, 2]] * n, action=np.tile([False, True], 3 * n), ids=ids.ravel(), outcome=outcome, group=np.arange(n) % 50
    )  # fmt: skip
    credit = _igpo(batch, fit=True, rng=0, spread="none", normalise="separate")
    rise = -np.diff(credit.parts["gain"].reshape(n, 3), axis=1)  # its own reward, less the mean
    assert rise[good, 1].mean() - rise[~good, 1].mean() > 0.4
    assert abs(rise[good, 0].mean() - rise[~good, 0].mean()) < 0.1
    assert credit.bill.trained > 0
    assert credit.evidence["answer_logp"]["provenance"] == "learned"
