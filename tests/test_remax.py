"""ReMax: the card's worked example in its three forms, the greedy rollout's source and its bill."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.bench.entrants import Entrant, run_entrant
from apportion.bench.tasks import find
from apportion.credit import Credit
from apportion.errors import MissingColumn, OptionError

from .batches import random_batch
from .fakes import FakeSampler

#: the card's first response, three tokens, with an observation token in between
_ACTION = [True, False, True, True]
_LOGP, _REF = np.array([-0.3, -9.0, -0.4, -0.6]), np.array([-0.5, -2.0, -0.5, -0.5])


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "remax", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_example_of_the_card() -> None:
    batch = Batch.from_turns([[2], [1]], outcome=[0.9, -0.2], group=["a", "b"])
    credit = _run(batch, greedy_reward=[0.6, 0.1])
    assert_allclose(credit.unit, [0.3, -0.3])
    assert_allclose(credit.token, [0.3, 0.3, -0.3])
    assert (credit.level, credit.loss.denominator) == ("trajectory", "trajectory")


def test_worked_official_tokens_of_the_card() -> None:
    batch = Batch.from_turns([[4]], action=_ACTION, outcome=[0.9], group=[0], logp=_LOGP, ref_logp=_REF)
    credit = _run(batch, greedy_reward=[0.6], form="official")
    assert_allclose(credit.token, [0.2711, 0, 0.2840, 0.3070], atol=5e-5)
    assert credit.loss.denominator == "token"
    no_kl = _run(batch.with_columns(logp=None, ref_logp=None), greedy_reward=[0.6], form="official", beta=0.0)
    assert_allclose(no_kl.token, [0.3 * 0.99**3, 0, 0.3 * 0.99**2, 0.3 * 0.99])
    cut = _run(batch, greedy_reward=[-9.0], form="official", beta=0.0, gamma=1.0)
    assert_allclose(cut.token, [5, 0, 5, 5])
    assert_allclose(_run(batch, greedy_reward=[9.0], form="official", beta=0.0, gamma=1.0).token, [-5, 0, -5, -5])
    assert_allclose(_run(batch, greedy_reward=[0.0], form="official", beta=0.0, gamma=1.0, clip=0.5).token, [0.5, 0, 0.5, 0.5])


def test_worked_returns_to_go_of_the_card() -> None:
    kl = np.where(_ACTION, -0.1 * (_LOGP - _REF), 0.0)
    batch = Batch.from_turns([[4]], action=_ACTION, outcome=[0.9], token_reward=kl, group=[0])
    assert_allclose(_run(batch, greedy_reward=[0.6], form="to_go").token, [0.28, 0, 0.30, 0.31])


def test_forms_agree_where_only_the_end_is_rewarded() -> None:
    batch = random_batch(0).with_columns(turn_reward=None, token_reward=None)
    b = np.array([0.3, -0.2])
    basic, to_go, official = (_run(batch, greedy_reward=b, form=f, **o) for f, o in (
        ("basic", {}), ("to_go", {}), ("official", {"beta": 0.0, "gamma": 1.0, "clip": 1e9}),
    ))  # fmt: skip
    assert_array_equal(basic.token, to_go.token)
    assert_allclose(basic.token, official.token)


def test_all_rollouts_of_a_prompt_share_its_baseline_and_equal_ones_get_nothing() -> None:
    batch = Batch.from_turns([[1], [1], [1]], outcome=[0.1, 0.3, 0.3], group=["a", "b", "a"])
    assert_allclose(_run(batch, greedy_reward=[0.1, 0.2]).unit, [0.0, 0.1, 0.2])
    for form in ("basic", "to_go"):
        assert_array_equal(_run(batch, greedy_reward=[0.1, 0.3], form=form).token[:2], 0.0)


def test_a_missing_baseline_is_refused_by_prompt() -> None:
    batch = Batch.from_turns([[1], [1]], outcome=[1.0, 0.0], group=["a", "b"])
    with pytest.raises(OptionError, match=r"'greedy_reward'\[1\] is null.*prompt 1"):
        _run(batch, greedy_reward=[0.5, np.nan])
    with pytest.raises(MissingColumn, match="logp"):
        _run(batch, greedy_reward=[0.5, 0.5], form="official")


def test_the_sampler_is_asked_once_per_prompt() -> None:
    batch = Batch.from_turns([[1]] * 4, outcome=[1.0, 0.0, 1.0, 0.0], group=["a", "a", "b", "b"])
    credit = _run(batch, sampler=FakeSampler(), rng=0)
    b = np.random.default_rng(0).integers(0, 2, 2)
    assert_allclose(credit.unit, batch.reward - b[[0, 0, 1, 1]])
    assert credit.bill.generated == 20


def test_a_sampler_that_cannot_be_greedy_or_answers_wrongly_is_refused() -> None:
    batch = Batch.from_turns([[1]], outcome=[1.0], group=["a"])

    class Plain:
        provenance = "exact_restore"
        continuations = FakeSampler.continuations
        branch = FakeSampler.branch

    with pytest.raises(OptionError, match=r"Plain has no greedy\(\)"):
        _run(batch, sampler=Plain())

    class Wide(FakeSampler):
        def greedy(self, batch: Batch, rng: np.random.Generator) -> Any:
            asked = super().greedy(batch, rng)
            return type(asked)(np.zeros(3), asked.bill)

    with pytest.raises(OptionError, match=r"shape \(3,\), expected \(1,\)"):
        _run(batch, sampler=Wide())


@pytest.mark.parametrize("option", [{"gamma": 1.1}, {"clip": 0.0}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _run(Batch.from_turns([[1]], outcome=[1.0], group=[0]), greedy_reward=[0.0], **option)


def test_on_a_task_the_baseline_is_the_greedy_reward_of_the_prompt_and_is_billed() -> None:
    task = find("bifurcation/horizon-10")
    entrant = Entrant("x", "remax", "", "sampler")
    outcome = run_entrant(entrant, task, task.start_theta, 8, 8, np.random.default_rng(0), np.random.default_rng(1))
    b = outcome.sampled.reward - outcome.credit.unit
    assert set(np.round(b, 9)) <= {0.0, 1.0}
    assert_array_equal(b.reshape(8, 8), np.repeat(b[::8, None], 8, axis=1))
    assert outcome.credit.bill.generated == 8 * 10 * task.words.shape[1]
