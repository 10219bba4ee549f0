"""REINFORCE++: the card's worked examples, its two readings of observation tokens, and the batch's mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

from .batches import random_batch


def _run(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "reinforce_pp", **options)
    assert isinstance(credit, Credit)
    return credit


def _card(**columns: Any) -> Batch:
    kl = np.array([0.2, 0.0, 0.1, 0.5, -0.1])
    ref = np.full(5, -1.0)
    return Batch.from_turns([[3], [2]], outcome=[1.0, 0.0], logp=ref + kl, ref_logp=ref, **columns)


@pytest.mark.parametrize(
    ("semantics", "expected"),
    [
        ("verl", [0.7055, 0.7420, 0.7420, -1.1404, -1.0491]),
        ("openrlhf", [0.7887, 0.8296, 0.8296, -1.2751, -1.1729]),
    ],
)
def test_worked_example_of_the_card(semantics: str, expected: list[float]) -> None:
    credit = _run(_card(), beta=0.1, semantics=semantics)
    assert_allclose(credit.token, expected, atol=5e-5)
    assert credit.loss.denominator == "token"


def test_worked_baseline_variant_of_the_card() -> None:
    batch = Batch.from_turns([[2], [3], [1], [2]], outcome=[1.0, 0.0, 1.0, 1.0], group=["a", "a", "b", "b"])
    credit = _run(batch, variant="baseline")
    assert_allclose(credit.token, np.repeat([1.3481, -1.0485, 0.1498, 0.1498], [2, 3, 1, 2]), atol=5e-5)


def test_observation_tokens_are_skipped_or_count_for_gamma() -> None:
    batch = Batch.from_turns([[5], [1]], action=[1, 0, 0, 1, 1, 1], outcome=[1.0, 0.0])

    def returns(semantics: str) -> Any:
        token = _run(batch, gamma=0.5, semantics=semantics).token[batch.action]
        return (token - token[-1]) / (token[2] - token[-1])  # whitening undone: the last two are G = 1 and 0

    assert_allclose(returns("verl"), [0.25, 0.5, 1.0, 0.0])
    assert_allclose(returns("openrlhf"), [0.0625, 0.5, 1.0, 0.0])
    plain, other = (_run(batch, semantics=s).token for s in ("verl", "openrlhf"))
    n = batch.action.sum()
    assert_allclose(other, plain * np.sqrt(n / (n - 1)), rtol=1e-6)  # undiscounted they differ by ddof only


def test_every_token_counts_once_so_long_rollouts_weigh_more() -> None:
    batch = Batch.from_turns([[1], [3]], outcome=[1.0, 0.0])
    credit = _run(batch, semantics="openrlhf")
    assert_allclose(credit.token, np.repeat([0.75, -0.25] / np.sqrt(3 / 16), [1, 3]))


def test_a_prompt_with_equal_rewards_gets_credit_from_the_batch_but_equal_batches_none() -> None:
    batch = Batch.from_turns([[1], [5], [1], [1]], outcome=[1.0, 0.0, 0.3, 0.3], group=["a", "a", "b", "b"])
    assert np.abs(_run(batch, variant="baseline").token[-2:]).min() > 0.1
    for variant in ("plain", "baseline"):
        for semantics in ("verl", "openrlhf"):
            flat = _run(batch.with_columns(outcome=[0.1] * 4), variant=variant, semantics=semantics)
            assert_array_equal(flat.token, 0.0)
    apart = batch.with_columns(outcome=[0.1, 0.1, 0.7, 0.7])
    assert_array_equal(_run(apart, variant="baseline").token, 0.0)  # each prompt is flat


def test_a_prompt_of_one_has_a_choice() -> None:
    batch = Batch.from_turns([[1], [1], [1]], outcome=[1.0, 0.0, 4.0], group=["a", "a", "b"])
    g = {"raw": [0.5, -0.5, 4.0], "zero": [0.5, -0.5, 0.0]}
    for single, centred in g.items():
        x = np.asarray(centred)
        assert_allclose(_run(batch, variant="baseline", single=single).token, (x - x.mean()) / x.std(ddof=1), rtol=1e-6)
    assert_array_equal(_run(batch, variant="baseline").token, _run(batch, variant="baseline", single="raw").token)
    with pytest.raises(BatchError, match="single member"):
        _run(batch, variant="baseline", single="error")


def test_the_penalty_enters_the_return_and_needs_its_columns() -> None:
    batch = random_batch(2)
    assert batch.logp is not None
    assert batch.ref_logp is not None
    by_hand = batch.with_columns(
        token_reward=batch.token_reward + np.where(batch.action, -0.3 * (batch.logp - batch.ref_logp), 0.0)
    )
    assert_allclose(_run(batch, beta=0.3).token, _run(by_hand).token, atol=1e-12)
    with pytest.raises(MissingColumn, match="ref_logp"):
        _run(batch.with_columns(ref_logp=None), beta=0.3)
    with pytest.raises(MissingColumn, match="group"):
        _run(batch.with_columns(group=None), variant="baseline")


@pytest.mark.parametrize("option", [{"gamma": 1.2}, {"beta": -1.0}])
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected a number from 0 to 1"):
        _run(_card(), **option)


@pytest.mark.parametrize("option", [{"gamma": 0.9}, {"beta": 0.1}])
def test_the_baseline_variant_refuses_what_it_would_ignore(option: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="has neither"):
        _run(_card(group=[0, 0]), variant="baseline", **option)
