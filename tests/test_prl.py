"""PRL: the card's worked example in both forms, steps, variants, and what it is at the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.layouts import to_batch
from apportion.bench.tasks import find
from apportion.bench.world import roll
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

_DELTA = np.array([0.2, -0.1, 0.4, 0.1, 0.3, 0.1, 0.0, -0.2, 0.3])
_TOKENS = [0.2571, 0.3571, 0.3071, 0.5071, 0.5571, -0.8071, -0.7571, -0.7571, -0.8571]


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "logp": _DELTA - 2.0, "ref_logp": [-2.0] * 9}
    return Batch.from_turns([[5], [4]], **{**columns, **changes})


def _prl(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "prl", **{"eta": 2.0, "step_len": 2, **options})
    assert isinstance(credit, Credit)
    return credit


def _grpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "grpo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    steps = [0.3571, 0.3571, 0.5071, 0.5071, 0.5571, -0.7571, -0.7571, -0.8571, -0.8571]
    credit = _prl(_batch())
    assert_allclose(credit.token, steps, atol=5e-5)
    assert_allclose(credit.parts["outcome"], [0.7071] * 5 + [-0.7071] * 4, atol=5e-5)
    assert_allclose(_prl(_batch(), step_len=1).token, _TOKENS, atol=5e-5)


def test_defaults_are_those_of_the_first_script() -> None:
    credit = assign(_batch(), "prl")
    assert isinstance(credit, Credit)
    assert_allclose(credit.token, _prl(_batch(), eta=200.0, step_len=256).token)
    assert credit.loss.denominator == "token"
    # both answers are one step: what counts is the log-ratio of the last token alone
    assert_allclose(credit.parts["process"], [-0.3 / 200] * 9)


def test_steps_of_the_batch_take_the_place_of_a_length() -> None:
    stepped = Batch.from_turns(
        [[5], [4]], steps=[[3, 2], [1, 3]], outcome=[1.0, 0.0], group=[0, 0], logp=_DELTA - 2.0, ref_logp=[-2.0] * 9
    )
    ends = [2, 2, 2, 4, 4, 5, 8, 8, 8]
    assert_allclose(_prl(stepped, split="steps").token, np.array(_TOKENS)[ends], atol=5e-5)
    turns = Batch.from_turns([[3, 2], [1, 3]], outcome=[1.0, 0.0], group=[0, 0], logp=_DELTA - 2.0, ref_logp=[-2.0] * 9)
    assert_array_equal(_prl(turns, split="steps").token, _prl(stepped, split="steps").token)


def test_lengths_count_policy_tokens_and_run_on_across_turns() -> None:
    spaced = Batch.from_turns(
        [[1, 6], [5]], outcome=[1.0, 0.0], group=[0, 0],
        action=[True, False, True, True, True, True, False, False, True, True, True, True],
        logp=np.insert(_DELTA, [1, 5, 5], 1.0) - 2.0, ref_logp=[-2.0] * 12,
    )  # fmt: skip
    for length in (1, 2, 3, 4):
        inner = _prl(spaced, step_len=length).token[spaced.action]
        assert_allclose(inner, _prl(_batch(), step_len=length).token, atol=1e-12)


def test_the_prm_branch_has_raw_rewards_every_token_and_no_steps() -> None:
    raw = _prl(_batch(), adv="prm").token
    ahead = np.array([0.9, 0.7, 0.8, 0.4, 0.3, 0.2, 0.1, 0.1, 0.3])
    assert_allclose(raw, np.array([1.0] * 5 + [0.0] * 4) - ahead / 2, atol=1e-12)
    assert_array_equal(raw, _prl(_batch(), adv="prm", step_len=99).token)


def test_k3_adds_the_convex_part_of_the_tokens_to_come_only() -> None:
    got = _prl(_batch(), step_len=1, divergence="k3").parts["process"]
    convex = np.exp(-_DELTA) + _DELTA - 1
    expected = [-(_DELTA[t] + convex[t + 1 : end].sum()) / 2 for end, own in ((5, range(5)), (9, range(5, 9))) for t in own]
    assert_allclose(got, expected, atol=1e-12)
    far = _batch(logp=[-80.0] + [-2.0] * 8)
    with pytest.raises(OptionError, match=r"ref_logp\[0\] is 78 nats"):
        _prl(far, divergence="k3")
    assert np.isfinite(_prl(far).token).all()


def test_where_the_policy_is_its_reference_it_is_grpo_bit_for_bit() -> None:
    batch = _batch(ref_logp=_DELTA - 2.0)
    for options in ({}, {"step_len": 1}, {"split": "steps"}, {"divergence": "k3"}):
        assert_array_equal(_prl(batch, **options).token, _grpo(batch).token)
    assert_array_equal(_prl(batch, spread="none").token, _grpo(batch, spread="none").token)


def test_equal_rewards_leave_the_pull_towards_the_reference() -> None:
    credit = _prl(_batch(outcome=[1.0, 1.0]), step_len=1)
    assert_allclose(credit.token, -np.array([0.9, 0.7, 0.8, 0.4, 0.3, 0.2, 0.1, 0.1, 0.3]) / 2, atol=1e-12)
    assert_array_equal(_prl(_batch(outcome=[1.0, 1.0], ref_logp=_DELTA - 2.0)).token, 0.0)


def test_a_step_end_of_exactly_nothing_stays_nothing() -> None:
    batch = _batch(outcome=[0.0, 0.0], logp=-2.0 + np.array([0.0, 0.5, -0.5, 0.0, 0.3, 0.0, 0.0, 0.0, 0.0]))
    assert_allclose(_prl(batch).token[:4], [-0.15, -0.15, -0.15, -0.15], atol=1e-12)
    flat = _batch(outcome=[0.0, 0.0], logp=-2.0 + np.array([0.1, 0.0, 0.0, -0.3, 0.3, 0.0, 0.0, 0.0, 0.0]))
    assert_allclose(_prl(flat).token[:5], [0.0, 0.0, 0.0, 0.0, -0.15], atol=1e-12)


def test_a_prompt_with_one_rollout_is_refused_unless_told_otherwise() -> None:
    lone = _batch().take([0])
    with pytest.raises(BatchError, match="single member"):
        _prl(lone)
    assert_allclose(_prl(lone, single="raw").parts["outcome"], 1 / (1 + 1e-6))
    assert_array_equal(_prl(lone, single="zero").parts["outcome"], 0.0)


@pytest.mark.parametrize(("option", "message"), [({"eta": 0.0}, "eta = 0"), ({"step_len": 0}, "step_len = 0")])
def test_options_out_of_range_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _prl(_batch(), **option)


def test_it_names_the_log_probabilities_it_lacks() -> None:
    for name in ("logp", "ref_logp"):
        with pytest.raises(MissingColumn, match=f"'{name}'"):
            _prl(_batch(**{name: None}))


def test_on_checkpoints_it_leaves_grpo_as_the_policy_leaves_its_reference() -> None:
    apart = []
    for percent in (0, 25, 50, 100):
        task = find(f"reasoning/steps-10@{percent}")
        rollouts = roll(task, task.start_theta, 8, 8, np.random.default_rng(0))
        batch = to_batch(rollouts, reference=True)
        apart.append(float(np.abs(_prl(batch, split="steps").token - _grpo(batch).token).mean()))
    assert apart[0] == 0.0
    assert 0.0 < apart[1] < apart[2] < apart[3]
