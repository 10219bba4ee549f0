"""OmegaPRM: the card's worked search and selection, forms, nulls, what is asked and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import OptionError
from apportion.evidence import Evidence
from apportion.methods import omegaprm as module

from .fakes import FakeSampler

NAN = np.nan


def _group(wrong: int = 8, right: int = 2, outcome: Sequence[float] = (0.0, 1.0)) -> Batch:
    """A wrong rollout of ``wrong`` steps and a right one of the same prompt."""
    return Batch.from_turns(
        [[wrong], [right]], steps=[[1] * wrong, [1] * right], outcome=list(outcome), group=[0, 0]
    )  # fmt: skip


def _rates(mc: Sequence[float], k: int = 8) -> FakeSampler:
    """A sampler whose completions from prefix j are right with frequency ``mc[j - 1]`` exactly."""
    return FakeSampler(answer=lambda p: [1.0] * round(mc[p - 1] * k) + [0.0] * (k - round(mc[p - 1] * k)))


def _search(batch: Batch, sampler: FakeSampler, **options: Any) -> Evidence:
    return module.collect(batch, sampler, rng=np.random.default_rng(0), **options)


def _credit(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "omegaprm", **options)
    assert isinstance(credit, Credit)
    return credit


def test_worked_search_of_the_card() -> None:
    sampler = _rates([1, 0.875, 0.75, 0.25, 0, 0, 0, 0])
    found = _search(_group(), sampler)
    assert [asked for _, asked in sampler.asked] == [[4], [6], [5]]
    assert_allclose(found.arrays["success_rate"][:9], [0.5, NAN, NAN, NAN, 0.25, 0, 0, NAN, 0])
    assert_allclose(found.arrays["success_rate"][9:], [0.5, NAN, 1.0])
    assert found.bill.generated == 10 * 24
    assert found.diagnostics == {"dissected": 1.0, "probes": 3.0, "lost": 0.0}
    credit = _credit(_group(), success_rate=found.arrays["success_rate"])
    assert_allclose(credit.unit[:8], [0, 0, 0, 0, -0.25, 0, 0, 0])
    assert credit.scored is not None
    assert_array_equal(np.flatnonzero(credit.scored), [4, 5])
    first = _credit(_group(), success_rate=found.arrays["success_rate"], form="first_error")
    assert_array_equal(first.unit, [0, 0, 0, 0, -1, 0, 0, 0, 0, 0])
    assert first.scored is not None
    assert_array_equal(first.scored, [True] * 8 + [False] * 2)


def test_worked_priorities_of_the_card() -> None:
    q = [
        float(module.priority(np.array(mc), np.array(n), 0, 0, c_puct=0.0))
        for mc, n in ((0.75, 100.0), (0.25, 100.0), (0.75, 400.0))
    ]
    assert_allclose(q, [0.8234, 0.5822, 0.7729], atol=5e-5)
    u = [float(module.priority(np.array(0.75), np.array(100.0), n, total)) - q[0] for n, total in ((1, 1), (1, 9), (4, 9))]
    assert_allclose(u, [0.0625, 0.1875, 0.075], atol=5e-5)


@pytest.mark.parametrize("wrong_at", range(1, 9))
def test_the_search_ends_at_the_first_error_wherever_it_is(wrong_at: int) -> None:
    sampler = _rates([0.5] * (wrong_at - 1) + [0.0] * (9 - wrong_at))
    found = _search(_group(), sampler)
    credit = _credit(_group(), success_rate=found.arrays["success_rate"], form="first_error")
    assert_array_equal(np.flatnonzero(credit.unit), [wrong_at - 1])
    difference = _credit(_group(), success_rate=found.arrays["success_rate"])
    assert_allclose(difference.unit[wrong_at - 1], -0.5)  # both neighbours are always known
    assert found.diagnostics["probes"] <= 4


def test_a_success_that_returns_moves_the_search_past_the_first_error() -> None:
    found = _search(_group(), _rates([0.5, 0.0, 0.5, 0.5, 0, 0, 0, 0]))
    credit = _credit(_group(), success_rate=found.arrays["success_rate"], form="first_error")
    assert_array_equal(np.flatnonzero(credit.unit), [4])


@pytest.mark.parametrize("outcome", [[0.0, 0.0], [1.0, 1.0]])
def test_prompts_that_are_too_hard_or_too_easy_are_dropped(outcome: list[float]) -> None:
    sampler = FakeSampler()
    found = _search(_group(outcome=outcome), sampler)
    assert sampler.asked == []
    assert found.diagnostics["dissected"] == 0
    credit = _credit(_group(outcome=outcome), success_rate=found.arrays["success_rate"])
    assert_array_equal(credit.unit, 0.0)


def test_the_limit_takes_short_rollouts_first_prompt_by_prompt() -> None:
    lengths = [6, 4, 2, 3, 5, 2]
    batch = Batch.from_turns(
        [[n] for n in lengths], steps=[[1] * n for n in lengths], outcome=[0, 0, 1, 1, 0, 0], group=[0, 0, 0, 1, 1, 1]
    )  # fmt: skip
    for limit, expected in ((None, [0, 1, 4, 5]), (1, [1, 5]), (2, [0, 1, 4, 5])):
        sampler = FakeSampler()
        found = _search(batch, sampler, limit=limit)
        asked = batch.within("step_prefix", "trajectory")[[p for _, ps in sampler.asked for p in ps]]
        assert_array_equal(np.unique(asked), expected)
        assert found.diagnostics["dissected"] == len(expected)
    with pytest.raises(OptionError, match="limit = 0"):
        _search(batch, FakeSampler(), limit=0)


def test_a_probe_nothing_came_back_from_ends_its_search() -> None:
    found = _search(_group(), FakeSampler(answer=lambda p: [NAN] * 8))
    assert_allclose(found.arrays["success_rate"][:9], [0.5, *[NAN] * 7, 0])
    assert found.diagnostics == {"dissected": 1.0, "probes": 1.0, "lost": 1.0}
    assert_array_equal(_credit(_group(), success_rate=found.arrays["success_rate"]).unit, 0.0)


def test_a_right_rollout_is_credited_only_where_its_one_step_is_known() -> None:
    found = _search(_group(2, 1), _rates([0.5, 0.0]))
    credit = _credit(_group(2, 1), success_rate=found.arrays["success_rate"])
    assert_allclose(credit.unit, [0.0, -0.5, 0.5])


def test_given_every_rate_its_differences_are_those_of_math_shepherd() -> None:
    rates = np.random.default_rng(0).random(12)
    other = assign(_group(), "math_shepherd", success_rate=rates, form="difference", label="soft")
    assert isinstance(other, Credit)
    assert_array_equal(_credit(_group(), success_rate=rates).token, other.token)


def test_above_is_the_reward_that_counts_as_right() -> None:
    batch = _group(outcome=[0.5, 1.0])
    assert _search(batch, FakeSampler()).diagnostics["dissected"] == 0
    halves = FakeSampler(answer=lambda p: [0.5] * 8)
    found = _search(batch, halves, above=0.7)
    assert found.diagnostics["dissected"] == 1
    assert_allclose(found.arrays["success_rate"][[0, 4, 8]], [0.5, 0.0, 0.0])


def test_the_reward_model_scores_what_was_never_probed() -> None:
    rng = np.random.default_rng(1)
    n = 200
    ids = rng.integers(0, 1000, (n, 5))
    bad = rng.random(n) < 0.5
    ids[:, 0], ids[:, 2] = 7, np.where(bad, 21, 20)  # the second of four steps decides
    batch = Batch.from_turns(
        [[5]] * n, steps=[[2, 1, 1, 1]] * n, action=np.tile([False] + [True] * 4, n), ids=ids.ravel(),
        outcome=np.where(bad, 0.0, 1.0), group=np.arange(n) % 10,
    )  # fmt: skip
    sampler = FakeSampler(answer=lambda p: [1.0, 0.0] * 4 if p % 5 < 2 else [0.0] * 8)
    found = _search(batch, sampler, prm=True)
    rate = found.arrays["success_rate"].reshape(-1, 5)
    assert not np.isnan(rate).any()
    assert found.provenance == "learned"
    assert found.bill.trained > 0
    assert (rate[~bad, 2] - rate[bad, 2].mean()).mean() > 0.2


def test_what_is_no_share_is_refused_by_index() -> None:
    with pytest.raises(OptionError, match=r"'success_rate'\[2\] = 1.2"):
        _credit(_group(2, 1), success_rate=[0.5, 0.1, 1.2, 0.5, 1.0])
    with pytest.raises(OptionError, match="k = 0"):
        _search(_group(), FakeSampler(), k=0)
