"""A2TGPO: the card's example, turn groups, sums of changing length, clip ranges, nulls, source and stand-in."""

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
GAINS = [[0.3, 0.1], [0.1, -0.2], [0.2]]


def _logp(gains: Any, start: float = -1.0) -> Any:
    """Log-probabilities with these rises; what stands at the end of a trajectory is never read."""
    return np.concatenate([[*(start + np.concatenate(([0.0], np.cumsum(g)))), NAN] for g in gains])


def _batch(outcome: Any = (1.0, 0.0, 0.0)) -> Batch:
    return Batch.from_turns([[1, 1, 1], [1, 1, 1], [1, 1]], outcome=list(outcome), group=[0, 0, 0])


def _a2tgpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "a2tgpo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _a2tgpo(_batch(), answer_logp=_logp(GAINS), gain="log")
    assert_allclose(credit.unit, [1.8861, 1.7142, 1.4142, -1.1790, -1.0071, -0.7071, -0.7071, -0.7071], atol=5e-5)
    assert_allclose(credit.parts["gain"][:5] / 0.3, [1.5731, 1.0, 0, -1.5731, -1.0], atol=5e-5)
    assert_allclose(credit.parts["gain"] + credit.parts["outcome"], credit.unit)
    scale = np.array([1.1637, 1.1386, 1, 0.8363, 0.8614, 1, 1, 1])
    assert credit.loss.clip is not None
    assert_allclose(credit.loss.clip, np.stack([1 - scale * 3e-3, 1 + scale * 4e-3], axis=1), atol=5e-7)
    assert (credit.loss.ratio, credit.loss.form, credit.loss.denominator) == ("turn", "geometric", "sequence")


def test_probabilities_are_the_default_and_change_the_gains() -> None:
    p = [[0.1, 0.4, 0.5], [0.1, 0.2, 0.1], [0.1, 0.3]]
    logp = np.concatenate([[*np.log(x), NAN] for x in p])
    rises = [np.diff(x) for x in p]  # 0.3, 0.1 / 0.1, -0.1 / 0.2
    same = _a2tgpo(_batch(), answer_logp=_logp(rises, -5.0), gain="log")
    assert_allclose(_a2tgpo(_batch(), answer_logp=logp).unit, same.unit, atol=1e-9)
    assert np.abs(_a2tgpo(_batch(), answer_logp=logp, gain="log").unit - same.unit).max() > 0.01


def test_gains_are_compared_with_the_same_turn_only() -> None:
    moved = _logp([[0.3, 0.1 + 0.05], [0.1, -0.2 + 0.05], [0.2]])  # all second turns rose by the same
    assert_allclose(
        _a2tgpo(_batch(), answer_logp=moved, gain="log").unit, _a2tgpo(_batch(), answer_logp=_logp(GAINS), gain="log").unit
    )


def test_a_turn_nobody_else_reaches_gains_nothing_and_keeps_the_plain_clip() -> None:
    batch = Batch.from_turns([[1, 1, 1], [1, 1], [1, 1]], outcome=[1, 0, 0], group=[0, 0, 0])
    credit = _a2tgpo(batch, answer_logp=_logp([[0.3, 0.9], [0.1], [0.2]], -3.0), gain="log")
    assert credit.parts["gain"][1] == 0
    assert credit.loss.clip is not None
    assert_array_equal(credit.loss.clip[1], [1 - 3e-3, 1 + 4e-3])
    assert_allclose(credit.parts["gain"][0], 0.3 * 1.2247 / np.sqrt(2), atol=5e-5)  # it is one of the two terms all the same


def test_prompts_share_no_statistics() -> None:
    rng = np.random.default_rng(0)
    batch = Batch.from_turns([[1] * 3] * 4, outcome=rng.normal(size=4), group=[0, 1, 0, 1])
    logp = -rng.exponential(size=16)
    whole = _a2tgpo(batch, answer_logp=logp).unit.reshape(4, 3)
    part = _a2tgpo(batch.take([1, 3]), answer_logp=logp.reshape(4, 4)[[1, 3]].ravel())
    assert_allclose(part.unit.reshape(2, 3), whole[[1, 3]])


def test_discounts_and_the_root_of_the_number_of_terms() -> None:
    batch = Batch.from_turns([[1] * 4] * 2, outcome=[1.0, 1.0], group=[0, 0])
    logp = _logp([[0.2, 0.1, 0.3], [0.0, 0.0, 0.0]])
    credit = _a2tgpo(batch, answer_logp=logp, gain="log", gamma=0.5, alpha=2.0)
    assert_allclose(credit.unit[:4], 2 * np.array([1.75 / np.sqrt(3), 1.5 / np.sqrt(2), 1.0, 0.0]), atol=1e-4)
    assert_allclose(credit.unit[4:], -credit.unit[:4])  # outcomes are equal: gains alone


def test_one_turn_is_grpo_with_the_population_s_spread() -> None:
    batch = Batch.from_turns([[2], [2], [2]], outcome=[1.0, 0.0, 0.0], group=[0, 0, 0])
    credit = _a2tgpo(batch, answer_logp=np.full(6, -1.0))
    grpo = assign(batch, "grpo", spread="population", eps=1e-6)
    assert isinstance(grpo, Credit)
    assert_allclose(credit.token, grpo.token, atol=1e-6)
    assert credit.diagnostics["asked"] == 1.0


def test_without_weight_on_gains_it_is_the_outcome_with_an_adaptive_clip() -> None:
    credit = _a2tgpo(_batch(), answer_logp=_logp(GAINS), gain="log", alpha=0.0)
    assert_array_equal(credit.unit, credit.parts["outcome"])
    assert credit.loss.clip is not None
    assert np.ptp(credit.loss.clip[:, 0]) > 0
    plain = _a2tgpo(_batch(), answer_logp=_logp(GAINS), gain="log", width=0.0, clip_low=0.1, clip_high=0.2)
    assert plain.loss.clip is not None
    assert_allclose(plain.loss.clip, np.tile([0.9, 1.2], (8, 1)))


def test_equal_gains_are_nothing_and_a_gain_of_zero_counts() -> None:
    assert not _a2tgpo(_batch((1, 1, 1)), answer_logp=_logp([[0.1, 0.2], [0.1, 0.2], [0.1]]), gain="log").unit.any()
    logp = _logp([[0.0, 0.1], [0.3, 0.1], [0.6]], -3.0)
    first = _a2tgpo(_batch((0, 0, 0)), answer_logp=logp, gain="log").unit[[0, 3, 6]]
    assert_allclose(first / 0.3 * np.sqrt([2, 2, 1]), [-1.2247, 0.0, 1.2247], atol=5e-5)


def test_no_division_without_a_spread() -> None:
    credit = _a2tgpo(_batch(), answer_logp=_logp(GAINS), gain="log", spread="none")
    assert_allclose(credit.parts["outcome"][[0, 3, 6]], [2 / 3, -1 / 3, -1 / 3])
    assert_allclose(credit.parts["gain"][:2], [0.3 * (0.1 + 0.15) / np.sqrt(2), 0.3 * 0.15])


def test_the_variance_holds_1e_8_and_the_spread_1e_6() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[1e-4, 0.0], group=[0, 0])
    for eps in (1e-6, 1.0):
        credit = _a2tgpo(batch, answer_logp=np.full(4, -1.0), eps=eps)
        assert_allclose(credit.unit[0], 5e-5 / (np.sqrt(25e-10 + 1e-8) + eps))


def test_a_turn_beside_a_null_enters_no_statistic_no_sum_and_no_count() -> None:
    batch = Batch.from_turns([[1] * 4] * 2, outcome=[1.0, 1.0], group=[0, 0])
    logp = _logp([[0.2, 0.1, 0.3], [0.0, 0.0, 0.0]])
    logp[2] = NAN  # after the second turn of the first rollout
    credit = _a2tgpo(batch, answer_logp=logp, gain="log")
    n = [1.0, 0.0, 0.0]  # of first turns; second and third stand alone
    assert_allclose(credit.unit[:4], [0.3 * n[0], 0, 0, 0], atol=1e-5)
    assert_allclose(credit.unit[4:], [-0.3 / np.sqrt(3), 0, 0, 0], atol=1e-5)
    assert credit.diagnostics["asked"] == 4 / 6


def test_the_policy_is_asked_once_and_the_answer_is_privileged() -> None:
    policy = FakePolicy()
    credit = _a2tgpo(_batch(), policy=policy, rng=0)
    assert policy.seen == [["prefix"]]
    assert credit.bill == Bill(scored=8.0)
    assert credit.evidence["answer_logp"]["provenance"] == "privileged"


def test_a_policy_that_cannot_answer_is_refused() -> None:
    class Mute:
        provenance = "text_refeed"

        def logp(self, batch: Batch, rng: np.random.Generator, *, hindsight: Any = None) -> Asked:
            return Asked(np.zeros(batch.n_tokens), Bill())

    with pytest.raises(OptionError, match="Mute, which has no answer_logp"):
        _a2tgpo(_batch(), policy=Mute())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"gamma": 1.1}, "gamma = 1.1"), ({"gamma": -0.1}, "gamma"), ({"spread": "sample"}, "population's"),
        ({"width": 1.0}, "width"), ({"width": -0.1}, "width"), ({"clip_low": 1.0}, "clip_low"), ({"clip_high": -1}, "clip_high"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _a2tgpo(_batch(), answer_logp=_logp(GAINS), **option)


def test_positive_log_probabilities_are_refused_by_index() -> None:
    with pytest.raises(OptionError, match=r"'answer_logp'\[2\] = 0.3"):
        _a2tgpo(_batch(), answer_logp=[-1, -1, 0.3, -1, -1, -1, -1, -1, -1, -1, -1])


def _decided(n: int, shuffled: bool, seed: int = 0) -> tuple[Batch, Any]:
    """Rollouts whose second turn decides, and the third is shown it; or outcomes dealt out at random."""
    rng = np.random.default_rng(seed)
    good = rng.random(n) < 0.5
    ids = rng.integers(0, 1000, (n, 6))
    ids[:, [0, 2, 4]] = 7
    ids[:, 3] = ids[:, 4] = np.where(good, 20, 21)
    outcome = (rng.random(n) < np.where(good, 0.9, 0.1)).astype(float)
    outcome = rng.permutation(outcome) if shuffled else outcome
    columns: dict[str, Any] = {"action": np.tile([False, True], 3 * n), "ids": ids.ravel(), "group": np.arange(n) % 10}
    return Batch.from_turns([[2, 2, 2]] * n, outcome=outcome, **columns), good


def _told(n: int, shuffled: bool = False) -> float:
    """How much more a good second turn gains than a bad one, by a belief learned from n outcomes."""
    batch, good = _decided(n, shuffled)
    credit = _a2tgpo(batch, fit=True, rng=0, spread="none", alpha=1.0)
    own = credit.parts["gain"].reshape(n, 3)[:, 1]
    assert credit.evidence["answer_logp"]["provenance"] == "learned"
    return float(own[good].mean() - own[~good].mean())


def test_belief_learned_from_outcomes_improves_with_data_and_is_at_chance_on_shuffled_outcomes() -> None:
    few, many, exact = _told(20), _told(600), 0.8
    assert abs(many - exact) < abs(few - exact)
    assert abs(many - exact) < 0.2
    assert abs(_told(600, shuffled=True)) < 0.1
