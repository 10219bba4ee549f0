"""CCPO: the card's examples, the history that goes in and out, the bonus that is GRPO rescaled, votes, refusals."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError
from apportion.methods.ccpo import HISTORY, votes_without, wins

from .fakes import FakeSampler

BEFORE = {
    "delta_mean": 0.1, "delta_var": 0.25, "joint_mean": 0.6, "joint_var": 0.49**2, "solo_mean": 0.5, "solo_var": 0.25, "seen": 64,
}  # fmt: skip
JOINT, SOLO = [1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]


def _pairs(joint: Any = JOINT, **changes: Any) -> Batch:
    """Rollouts of a thinker and a solver."""
    n = len(joint)
    columns: dict[str, Any] = {
        "outcome": np.repeat(joint, 2), "group": [0] * 2 * n, "agent": ["thinker", "solver"] * n,
        "episode": np.repeat(np.arange(n), 2).tolist(), **changes,
    }  # fmt: skip
    return Batch.from_turns([[1]] * 2 * n, **columns)


def _ccpo(batch: Batch, solo: Any = SOLO, **options: Any) -> Credit:
    without = np.full(batch.n_trajectories, np.nan)
    without[0::2] = solo
    credit = assign(batch, "ccpo", without=without, **{"solver": "solver", **options})
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_first_version() -> None:
    credit = _ccpo(_pairs(), history=BEFORE)
    assert_allclose(credit.unit[0::2], [1.5, -0.5, -0.5, -0.5], atol=5e-5)
    assert_allclose(credit.unit[1::2], [-0.1767, 0.7611, -1.3455, 0.7611], atol=5e-5)
    raw = _ccpo(_pairs(group=np.repeat(np.arange(4), 2).tolist()), history=BEFORE, eps=0.0)  # a prompt each: A = r
    assert_allclose(raw.unit[0::2], [0.9468, -0.1974, -0.1974, -0.1974], atol=5e-5)
    assert_allclose(raw.unit[1::2], [-0.0013, 0.8990, -1.1234, 0.8990], atol=5e-5)
    assert credit.diagnostics["delta_mean"] == pytest.approx(0.1015)
    assert np.sqrt(credit.diagnostics["delta_var"]) == pytest.approx(0.4994, abs=5e-5)
    assert credit.diagnostics["seen"] == 68


@pytest.mark.parametrize(
    ("joint", "solo", "thinker", "solver"),
    [
        ([1, 1, -1, 1], [-1, -1, -1, 1], [0.55, 0.55, -1.65, 0.55], [0.5, 0.5, -1.5, 0.5]),
        ([1, -1, -1, 1], [1, 1, -1, 1], [1.1, -1.1, -1.1, 1.1], [1, -1, -1, 1]),
    ],
)
def test_worked_examples_of_the_later_versions(joint: Any, solo: Any, thinker: Any, solver: Any) -> None:
    credit = _ccpo(_pairs(joint), solo, variant="event", outcomes="signed")
    assert_allclose(credit.unit[0::2], thinker, atol=1e-12)
    assert_allclose(credit.unit[1::2], solver, atol=1e-12)
    assert_allclose(credit.parts["outcome"] + credit.parts["bonus"], credit.unit, atol=1e-12)
    halves = _ccpo(_pairs((np.array(joint) + 1) / 2), (np.array(solo) + 1) / 2, variant="event")
    assert_allclose(halves.unit, credit.unit, atol=1e-12)


@pytest.mark.parametrize("variant", ["event", "signed"])
def test_with_the_prompts_mean_it_is_grpo_rescaled_and_paired_solos_part_them(variant: str) -> None:
    rng = np.random.default_rng(0)
    joint, solo = rng.integers(0, 2, 8).astype(float), np.array([0, 0, 1, 0, 0, 1, 0, 0.0])
    joint[:2] = 0, 1
    grpo = assign(Batch.from_turns([[1]] * 8, outcome=joint, group=[0] * 8), "grpo", spread="none")
    assert isinstance(grpo, Credit)
    for lam in (0.2, 0.7):
        thinker = _ccpo(_pairs(joint), solo, variant=variant, lam=lam).unit[0::2]
        assert_allclose(thinker, (1 + lam / 2) * 2 * grpo.unit, atol=1e-12)  # rewards of +-1 are twice as far apart
        paired = _ccpo(_pairs(joint), solo, variant=variant, lam=lam, paired=True).unit[0::2]
        assert abs(np.corrcoef(paired, grpo.unit)[0, 1]) < 0.999
    half = np.array([0.0, 1.0] * 4)
    if variant == "event":  # b = 0: no event, and GRPO itself
        assert_allclose(_ccpo(_pairs(joint), half, variant=variant).unit[0::2], 2 * grpo.unit, atol=1e-12)
    divided = [_ccpo(_pairs(joint), solo, variant=variant, lam=lam, spread="sample", eps=0.0).unit[0::2] for lam in (0.0, 0.7)]
    assert_allclose(divided[0], divided[1], atol=1e-12)  # with a std not even the scale is left


def test_a_helper_is_paid_for_turning_failure_into_success_and_charged_for_the_reverse() -> None:
    credit = _ccpo(_pairs([1, 1, 0, 0]), [0, 1, 1, 0], variant="event", paired=True, lam=0.5)
    assert_allclose(credit.parts["bonus"][0::2], [0.5, 0, -0.5, 0])
    assert not credit.parts["bonus"][1::2].any()
    signed = _ccpo(_pairs([1, 1, 0, 0]), [0, 1, 1, 0], variant="signed", paired=True, lam=0.5)
    assert_allclose(signed.parts["bonus"][0::2], [0.5, 0, -0.5, 0])


def test_history_goes_out_as_it_must_come_in_and_survives_saving() -> None:
    first = _ccpo(_pairs(JOINT * 3), SOLO * 3)
    delta = np.array(JOINT * 3) - np.array(SOLO * 3)
    assert first.diagnostics["delta_mean"] == delta.mean()
    assert first.diagnostics["delta_var"] == delta.var()
    assert first.diagnostics["seen"] == 12
    second = _ccpo(_pairs(), history=first.diagnostics)
    saved = json.loads(json.dumps({name: first.diagnostics[name] for name in HISTORY}))
    again = _ccpo(_pairs(), history=saved)
    assert_array_equal(again.token, second.token)
    assert again.diagnostics == second.diagnostics
    for name, x in (("joint", np.array(JOINT)), ("solo", np.array(SOLO))):
        assert second.diagnostics[f"{name}_mean"] == pytest.approx(0.99 * first.diagnostics[f"{name}_mean"] + 0.01 * x.mean())
        assert second.diagnostics[f"{name}_var"] == pytest.approx(0.99 * first.diagnostics[f"{name}_var"] + 0.01 * x.var())
    half = _ccpo(_pairs(), history=first.diagnostics, decay=0.5)
    assert half.diagnostics["solo_mean"] == pytest.approx(0.5 * first.diagnostics["solo_mean"] + 0.25)


def test_the_batch_itself_never_enters_the_statistics_it_is_measured_by() -> None:
    raw = {"group": np.repeat(np.arange(4), 2).tolist()}
    a, b = (_ccpo(_pairs([1.0, x, 0.0, 1.0], **raw), history=BEFORE, eps=0.0) for x in (1.0, 0.0))
    assert_array_equal(a.unit[[0, 1, 4, 5, 6, 7]], b.unit[[0, 1, 4, 5, 6, 7]])


def test_before_there_is_history_nothing_is_shaped() -> None:
    raw: dict[str, Any] = {"group": np.repeat(np.arange(4), 2).tolist()}
    for history in (None, {**BEFORE, "seen": 9}):
        credit = _ccpo(_pairs(**raw), history=history, eps=0.0)
        assert_allclose(credit.unit[0::2], [1, 0, 0, 0])
        assert_allclose(credit.unit[1::2], JOINT)
    shaped = _ccpo(_pairs(**raw), history={**BEFORE, "seen": 10}, eps=0.0)
    assert_allclose(shaped.unit[0], 0.9468, atol=5e-5)
    assert_allclose(_ccpo(_pairs(**raw), history=BEFORE, min_seen=100, eps=0.0).unit[0::2], [1, 0, 0, 0])


def test_a_history_without_spread_divides_by_one_and_the_gate_stays_finite() -> None:
    group = {"group": np.repeat(np.arange(4), 2).tolist()}
    still = {**BEFORE, "delta_var": 1e-6, "delta_mean": 0.5}
    credit = _ccpo(_pairs(**group), history=still, eps=0.0, alpha=2.0)
    assert_allclose(credit.unit[0], np.tanh(2 * 0.5), atol=1e-5)
    far = _ccpo(_pairs(**group), history={**BEFORE, "delta_mean": 1e6}, eps=0.0, eta=1e6)
    assert_allclose(far.unit[1], (1 - 0.6) / 0.49, atol=1e-4)  # g = 1: the joint outcome alone
    none = _ccpo(_pairs(**group), history={**BEFORE, "delta_mean": -1e6}, eps=0.0)
    assert_allclose(none.unit[1], (0 - 0.5) / 0.5, atol=1e-4)  # g = 0: the solo outcome alone


def test_a_missing_solo_is_the_prompts_mean_and_without_any_the_outcome_is_the_contribution() -> None:
    two = {"group": [0] * 4 + [1] * 4}
    credit = _ccpo(_pairs(**two), [0.5, np.nan, np.nan, np.nan], spread="none")
    assert credit.diagnostics["unpaired"] == 0.75
    assert_allclose(credit.unit[[0, 2]], [0.0, 0.0])  # 1 - .5 both
    assert_allclose(credit.unit[[4, 6]], [-0.5, 0.5])  # R: 0 and 1
    assert credit.diagnostics["solo_mean"] == 0.25
    event = _ccpo(_pairs(**two), [0.0, np.nan, np.nan, np.nan], variant="event", paired=True)
    assert_allclose(event.parts["bonus"][0::2], 0.0)  # both helped in the first prompt, nothing known of the second
    assert_allclose(event.unit[[0, 2, 4, 6]], [0, 0, -1, 1])
    one = _ccpo(_pairs([1.0, 0.0]), [1.0, np.nan], variant="event", paired=True)
    assert_allclose(one.parts["bonus"][0::2], [0.1, -0.1])  # the second failed where the first's solver did not


def test_what_was_cut_off_earns_nothing_before_the_group_is_looked_at() -> None:
    cut = np.zeros(8, dtype=bool)
    cut[0] = True
    credit = _ccpo(_pairs(truncated=cut), spread="none")
    assert_allclose(credit.unit[0::2], 0.0)  # Delta was 1, 0, 0, 0
    assert_allclose(credit.unit[1::2], [0.25, 0.25, -0.75, 0.25])


def test_agents_are_compared_with_themselves() -> None:
    credit = _ccpo(_pairs(), solver=None, spread="none")
    assert_allclose(credit.unit[0::2], [0.75, -0.25, -0.25, -0.25])
    assert_allclose(credit.unit[1::2], [0.25, 0.25, -0.75, 0.25])  # nobody knows what happens without it: Delta = R


def test_votes_without_each_voter() -> None:
    def delta(votes: list[str]) -> list[float]:
        batch = Batch.from_turns(
            [[1]] * 3, outcome=[float(wins(votes, "A"))] * 3, group=["q"] * 3, agent=["a", "b", "c"], episode=[0] * 3
        )  # fmt: skip
        without = votes_without(batch, votes, {"q": "A"})
        credit = assign(batch, "ccpo", without=without, eps=0.0)
        assert isinstance(credit, Credit)
        return list(credit.unit.tolist())

    assert delta(["A", "A", "B"]) == [1, 1, 0]
    assert delta(["A", "B", "B"]) == [0, 0, 0]
    assert delta(["A", "A", "A"]) == [0, 0, 0]
    assert not wins([], "A")
    assert not wins(["A", "B"], "A")  # a tie
    assert wins(["A", None, "B", "A"], "A")
    two = Batch.from_turns([[1]] * 4, outcome=[1.0] * 4, group=["q"] * 4, episode=[1, 0, 1, 0])
    assert_array_equal(votes_without(two, ["A", "B", "B", "A"], ["A"] * 4), [0, 1, 1, 0])
    with pytest.raises(OptionError, match="answers has 1 entries, expected 4"):
        votes_without(two, ["A"], ["A"] * 4)


def test_leaving_an_agent_out_is_having_it_act_anew() -> None:
    batch = _pairs([1.0, 0.0])
    sampler = FakeSampler()
    credit = assign(batch, "ccpo", sampler=sampler, solver="solver", k=2)
    assert sampler.asked == [("step", [0, 2])]  # the thinkers of both rollouts, at once
    assert credit.bill.generated == 40.0
    sampler = FakeSampler()
    assign(batch, "ccpo", sampler=sampler)
    assert sampler.asked == [("step", [0, 2]), ("step", [1, 3])]


def test_what_it_refuses() -> None:
    with pytest.raises(OptionError, match=r"history has no 'delta_var'"):
        _ccpo(_pairs(), history={"delta_mean": 0.0})
    for name, value in (("solo_var", -1.0), ("joint_mean", np.nan), ("seen", -1.0)):
        with pytest.raises(OptionError, match=name):
            _ccpo(_pairs(), history={**BEFORE, name: value})
    _ccpo(_pairs(), history={**BEFORE, "delta_mean": -0.5})
    with pytest.raises(OptionError, match="solver = 'nobody': the batch's agents are 'thinker', 'solver'"):
        _ccpo(_pairs(), solver="nobody")
    with pytest.raises(OptionError, match="decay = 1"):
        _ccpo(_pairs(), decay=1.0)
    with pytest.raises(OptionError, match="k = 0"):
        assign(_pairs(), "ccpo", sampler=FakeSampler(), k=0)

    class Plain:
        provenance = "exact_restore"

        def continuations(self) -> None: ...

        def branch(self) -> None: ...

    with pytest.raises(OptionError, match="Plain has no replay"):
        assign(_pairs(), "ccpo", sampler=Plain())


def test_equal_rewards_are_exactly_nothing_whatever_the_size_of_the_teams() -> None:
    # a mean of two tenths and a mean of three are not the same number; what they differ by is no credit
    batch = Batch.from_turns(
        [[1]] * 5, outcome=[0.1] * 5, group=[0] * 5, agent=["a", "b", "a", "b", "c"], episode=[0, 0, 1, 1, 1]
    )  # fmt: skip
    for history in (None, BEFORE):
        credit = assign(batch, "ccpo", without=[0.1] * 5, history=history, single="zero")
        assert isinstance(credit, Credit)
        assert_array_equal(credit.token, 0.0)


def test_a_lone_rollout_of_an_agent_is_named_as_such() -> None:
    with pytest.raises(BatchError, match="pair of prompt and agent 0 has a single member"):
        _ccpo(_pairs([1.0]), [0.0], single="error")
