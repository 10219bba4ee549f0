"""SPRO: the card's worked example, what it is at the reference, its survivors, its checkpoints."""

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

_RATIO = np.array([0.1, 0.2, -0.1, 0.0, -0.3, 0.3, 0.1, 0.2, 0.5])


def _batch(**changes: Any) -> Batch:
    columns: dict[str, Any] = {"outcome": [1.0, 0.0, 1.0], "group": [0, 0, 0], "logp": _RATIO - 2.0, "ref_logp": [-2.0] * 9}
    return Batch.from_turns([[3], [2], [4]], **{**columns, **changes})


def _spro(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "spro", **options)
    assert isinstance(credit, Credit)
    return credit


def _grpo(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "grpo", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    credit = _spro(_batch(), beta=1.0, eps=0.0)
    msa = [-0.0333, 0.1667, -0.2, -0.1333, -0.4333, 0.1667, 0.2667, 0.2, 0.0]
    assert_allclose(credit.parts["process"], msa, atol=5e-5)
    assert_allclose(credit.parts["outcome"], [0.5774] * 3 + [-1.1547] * 2 + [0.5774] * 4, atol=5e-5)
    expected = [0.5440, 0.7440, 0.3774, -1.2880, -1.5880, 0.7440, 0.8440, 0.7774, 0.5774]
    assert_allclose(credit.token, expected, atol=1e-4)  # the card adds terms that are rounded already
    population = _spro(_batch(), beta=1.0, spread="population")
    assert_allclose(population.parts["outcome"][[0, 3]], [0.7071, -1.4142], atol=5e-5)


def test_default_beta_is_a_twentieth() -> None:
    whole, default = (_spro(_batch(), **o).parts["process"] for o in ({"beta": 1.0}, {}))
    assert_allclose(default, 0.05 * whole)


def test_the_last_survivor_is_its_own_mean_and_gets_nothing() -> None:
    credit = _spro(_batch(), beta=1.0)
    assert credit.parts["process"][-1] == 0.0
    two = _spro(_batch().take([0, 2]), beta=1.0)  # at position 3 only the longer one is left, at 2 both are
    assert two.parts["process"][-1] == 0.0
    assert_allclose(two.parts["process"][2], (0.2 - 0.6) / 2)


def test_the_masked_step_advantages_of_a_position_add_up_to_nothing() -> None:
    msa = _spro(_batch(), beta=1.0).parts["process"]
    for at in ([0, 3, 5], [1, 4, 6], [2, 7], [8]):
        assert abs(msa[at].sum()) < 1e-12


def test_where_the_policy_is_its_reference_it_is_grpo_bit_for_bit() -> None:
    batch = _batch(ref_logp=_RATIO - 2.0)
    assert_array_equal(_spro(batch, beta=7.0).token, _grpo(batch).token)
    assert_array_equal(_spro(_batch(), beta=0.0).token, _grpo(_batch()).token)
    assert _spro(batch).loss == _grpo(batch).loss


def test_equal_rewards_still_teach_unless_such_prompts_are_skipped() -> None:
    batch = _batch(outcome=[1.0, 1.0, 1.0])
    credit = _spro(batch)
    assert_array_equal(credit.parts["outcome"], 0.0)
    assert np.abs(credit.token).max() > 0.01
    assert_array_equal(credit.token, _spro(_batch()).parts["process"])
    assert_array_equal(_spro(batch, skip_equal=True).token, 0.0)
    assert_array_equal(_spro(_batch(), skip_equal=True).token, _spro(_batch()).token)
    assert_array_equal(_spro(_batch(outcome=[1.0] * 3, ref_logp=_RATIO - 2.0)).token, 0.0)


def test_skipping_goes_prompt_by_prompt() -> None:
    both = Batch.from_turns(
        [[2], [2], [2], [2]], outcome=[1.0, 1.0, 1.0, 0.0], group=[0, 0, 1, 1],
        logp=-np.arange(1.0, 9.0), ref_logp=-np.ones(8),
    )  # fmt: skip
    msa = _spro(both, skip_equal=True).parts["process"]
    assert_array_equal(msa[:4], 0.0)
    assert_array_equal(msa[4:], _spro(both).parts["process"][4:])


def test_positions_count_policy_tokens_only_and_turns_do_not_restart_them() -> None:
    spaced = Batch.from_turns(
        [[1, 3], [3], [2, 2]], outcome=[1.0, 0.0, 1.0], group=[0, 0, 0],
        action=[True, False, True, True, False, True, True, True, True, True, True],
        logp=np.insert(_RATIO, [1, 3], 0.0) - 2.0, ref_logp=np.insert(np.full(9, -2.0), [1, 3], -0.5),
    )  # fmt: skip
    assert_allclose(_spro(spaced).token[spaced.action], _spro(_batch()).token, atol=1e-12)


def test_prompts_share_no_positions() -> None:
    rng = np.random.default_rng(0)
    lengths = [[5], [1], [3], [7], [2]]
    batch = Batch.from_turns(
        lengths,
        outcome=rng.normal(size=5),
        group=[0, 1, 0, 1, 1],
        logp=-rng.exponential(size=18),
        ref_logp=-rng.exponential(size=18),
    )
    token = np.split(_spro(batch).token, [5, 6, 9, 16])
    for rows in ([0, 2], [1, 3, 4]):
        assert_allclose(_spro(batch.take(rows)).token, np.concatenate([token[i] for i in rows]), atol=1e-12)


def test_scale_and_clip_bound_the_added_term() -> None:
    plain = _spro(_batch(), beta=1.0).parts["process"]
    assert_allclose(_spro(_batch(), beta=1.0, msa_scale=0.1).parts["process"], 0.1 * plain)
    assert_allclose(_spro(_batch(), beta=1.0, msa_clip=0.15).parts["process"], np.clip(plain, -0.15, 0.15))
    with pytest.raises(OptionError, match="msa_clip = 0"):
        _spro(_batch(), msa_clip=0.0)


def test_a_prompt_with_one_rollout_is_refused_or_has_no_added_term() -> None:
    lone = _batch().take([2])
    with pytest.raises(BatchError, match="single member"):
        _spro(lone)
    assert_array_equal(_spro(lone, single="zero").token, 0.0)
    assert_allclose(_spro(lone, single="raw").token, 1.0, atol=1e-5)


def test_it_names_the_log_probabilities_it_lacks() -> None:
    for name in ("logp", "ref_logp"):
        with pytest.raises(MissingColumn, match=f"'{name}'"):
            _spro(_batch(**{name: None}))


def test_on_checkpoints_it_leaves_grpo_as_the_policy_leaves_its_reference() -> None:
    apart = []
    for percent in (0, 25, 50, 100):
        task = find(f"reasoning/steps-10@{percent}")
        rollouts = roll(task, task.start_theta, 8, 8, np.random.default_rng(0))
        batch = to_batch(rollouts, reference=True)
        apart.append(float(np.abs(_spro(batch).token - _grpo(batch).token).mean()))
    assert apart[0] == 0.0
    assert min(apart[1:]) > 0.02  # not in order: a policy that is surer of itself differs less within a group


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(OptionError, match=r"beta = -0\.1"):
        _spro(_batch(), beta=-0.1)
