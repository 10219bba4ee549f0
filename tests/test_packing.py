"""What is fast must still be right: shared columns, packing in one pass, rewards and whitening without copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.edges.take import ranges
from apportion.errors import BatchError, CreditError
from apportion.ops import packing
from apportion.ops.groups import whiten
from apportion.ops.scans import gae_and_returns


def test_a_batch_never_shares_memory_with_what_the_user_may_still_write() -> None:
    value, view = np.array([0.5, 0.25]), np.array([1.0, 2.0])
    frozen_view = view[:]
    frozen_view.setflags(write=False)  # read-only, but not the owner: who holds ``view`` can write
    batch = Batch.from_turns([[1], [1]], value=value, token_reward=frozen_view)
    value[0] = view[0] = 9.0
    assert batch.need("value")[0] == 0.5
    assert batch.need("token_reward")[0] == 1.0


def test_a_changed_batch_shares_the_columns_that_stayed() -> None:
    batch = Batch.from_turns([[1], [1]], value=[0.5, 0.25])
    assert batch.with_columns(outcome=[1.0, 0.0]).value is batch.value


def test_token_rewards_that_stand_where_they_belong_are_not_copied_and_cannot_be_written() -> None:
    batch = Batch.from_turns([[2], [2]], token_reward=[0.0, 1.0, 0.0, -1.0])
    assert batch.rewards("token") is batch.token_reward
    with pytest.raises(ValueError, match="read-only"):
        batch.rewards("token")[0] = 1.0
    credit = assign(batch, "gae", value=np.zeros(4))
    assert isinstance(credit, Credit)
    assert_array_equal(credit.token, [1, 1, -1, -1])
    assert_array_equal(batch.need("token_reward"), [0, 1, 0, -1])
    more = batch.with_columns(outcome=[5.0, 5.0])
    assert_array_equal(more.rewards("token"), [0, 6, 0, 4])


def test_token_rewards_on_observations_move_to_the_last_policy_token_of_their_step() -> None:
    batch = Batch.from_turns([[3, 2]], action=[1, 1, 0, 0, 1], token_reward=[1.0, 2.0, 4.0, 8.0, 16.0])
    assert_array_equal(batch.rewards("token"), [1, 6, 0, 0, 24])
    assert_array_equal(batch.rewards("turn"), [7, 24])


def test_ranges_leave_out_what_is_empty() -> None:
    start, length = np.array([5, 9, 0, 3]), np.array([2, 0, 3, 0])
    assert_array_equal(ranges(start, length), [5, 6, 0, 1, 2])
    assert ranges(start[:0], length[:0]).size == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_packing_and_unpacking_agree_with_indexing(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    padded: NDArray[Any] = rng.normal(size=(4, 7)).astype(dtype)
    padded[rng.random((4, 7)) < 0.2] = np.nan
    at = rng.permutation(28)[:15]
    action = np.isfinite(padded.ravel()[at]) & (rng.random(15) < 0.7)
    values, bad = packing.pack(padded, at, action, -1.0, 1.0)
    plain = padded.ravel()[at].astype(np.float64)
    assert bad == -1
    assert_array_equal(values, np.where(action | (np.abs(plain) <= 1), plain, 0))
    out = np.zeros(28, dtype=np.float32)
    packing.unpack(values, at, action, out)
    expected = np.zeros(28, dtype=np.float32)
    expected[at[action]] = values[action]
    assert_array_equal(out, expected)


def test_attention_with_holes_packs_the_attended_tokens_only() -> None:
    attention = np.array([[1, 0, 1, 1], [0, 1, 1, 0]])
    batch = Batch.from_padded(action=attention, attention=attention, value=np.arange(8.0).reshape(2, 4))
    assert_array_equal(batch.need("value"), [0, 2, 3, 5, 6])
    assert np.diff(batch.offsets("row")).tolist() == [3, 2]


def test_a_bad_value_on_a_policy_token_is_named_by_row_and_column() -> None:
    value = np.zeros((2, 3), dtype=np.float32)
    value[1, 2] = np.inf
    with pytest.raises(BatchError, match=r"value\[1, 2\] = inf on a policy token"):
        Batch.from_padded(action=np.ones((2, 3)), value=value)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_whitening_is_that_of_numpy_also_far_from_zero_and_in_place(scale: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    x, active = offset * scale + scale * rng.normal(size=5003), rng.random(5003) < 0.6
    x[~active] = np.nan  # never looked at
    seen = x[active]
    expected = (seen - seen.mean()) / np.sqrt(seen.var(ddof=1) + 1e-8)
    got = whiten(x, active)
    assert_allclose(got[active], expected, rtol=0, atol=1e-8)
    assert_array_equal(got[~active], 0)
    assert whiten(x, active, out=x) is x
    assert_array_equal(x, got)


def test_equal_values_whiten_to_exactly_zero_and_nearly_equal_ones_do_not() -> None:
    equal = np.full(3000, 0.1)
    assert_array_equal(whiten(equal, np.ones(3000, dtype=np.bool_)), 0)
    equal[-1] += 1e-9
    assert (whiten(equal, np.ones(3000, dtype=np.bool_), eps=1e-30) != 0).all()


@pytest.mark.parametrize("segments", [1, 2, 3, 6])
def test_gae_in_place_is_gae(segments: int) -> None:
    rng = np.random.default_rng(segments)
    offsets = np.concatenate(([0], np.cumsum(rng.integers(1, 9, segments))))
    n = int(offsets[-1])
    r, v, active, end = rng.normal(size=n), rng.normal(size=n), rng.random(n) < 0.6, rng.normal(size=segments)
    fresh, returns = gae_and_returns(r, v, active, offsets, 0.9, 0.8, end)
    assert_allclose(returns, np.where(active, fresh + v, 0), rtol=1e-15)
    in_place, again = gae_and_returns(r, v, active, offsets, 0.9, 0.8, end, out=r)
    assert in_place is r
    assert_array_equal(in_place, fresh)
    assert_array_equal(again, returns)


def test_token_credit_that_is_its_own_token_array_is_still_checked() -> None:
    batch = Batch.from_turns([[2]], action=[0, 1])
    for bad, message in (([1.0, 1.0], "observation token"), ([0.0, np.nan], "not finite")):
        values = np.array(bad)
        with pytest.raises(CreditError, match=message):
            Credit(batch, "token", unit=values, token=values)
