"""What trainers mean by GAE over observation tokens and by a group's statistics, against loops written from their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, OptionError

#: Two policy tokens, four of a tool, two policy tokens; the critic sees more in what the tool wrote.
MASK = [1, 1, 0, 0, 0, 0, 1, 1]
VALUE = [0.5, 0.5, 0.9, 0.9, 0.9, 0.9, 0.5, 0.5]
TABLE = {
    (1.0, 1.0): {name: [0.500, 0.500, 0.500, 0.500] for name in ("skip", "openrlhf", "skyrl", "turn")},
    (1.0, 0.95): {
        "skip": [0.429, 0.451, 0.475, 0.500],
        "openrlhf": [0.261, 0.275, 0.475, 0.500],
        "skyrl": [0.420, 0.442, 0.475, 0.500],
        "turn": [0.475, 0.475, 0.500, 0.500],
    },
    (0.99, 0.95): {
        "skip": [0.402, 0.433, 0.465, 0.500],
        "openrlhf": [0.211, 0.230, 0.465, 0.500],
        "skyrl": [0.364, 0.393, 0.465, 0.500],
        "turn": [0.465, 0.465, 0.500, 0.500],
    },
}


def _gae(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "gae", **options)
    assert isinstance(credit, Credit)
    return credit


def _grpo(reward: list[float], group: list[int], **options: Any) -> Any:
    credit = assign(Batch.from_turns([[1]] * len(reward), outcome=reward, group=group), "grpo", **options)
    assert isinstance(credit, Credit)
    return credit.unit


def loop(r: Any, v: Any, mask: Any, gamma: float, lam: float, semantics: str) -> list[float]:
    """One trajectory, token by token from the end, as each definition has it."""
    advantage, carry, following = [0.0] * len(r), 0.0, 0.0
    for t in reversed(range(len(r))):
        here, earned = v[t], r[t]
        if semantics == "skip" and not mask[t]:
            continue
        if semantics == "openrlhf" and not mask[t]:
            here = earned = 0.0
        carry = earned + gamma * following - here + gamma * lam * carry
        following = here
        if mask[t]:
            advantage[t] = carry
    return advantage


@pytest.mark.parametrize(("gamma", "lam"), TABLE)
def test_first_table_of_the_conformance_page(gamma: float, lam: float) -> None:
    batch = Batch.from_padded(action=[MASK], turns="mask", token_reward=[[0.0] * 7 + [1.0]], value=[VALUE])
    for name, shown in TABLE[gamma, lam].items():
        option = {"unit": "turn"} if name == "turn" else {"semantics": name}
        got = _gae(batch, gamma=gamma, lam=lam, **option).token
        assert_allclose(got[batch.action], shown, atol=5e-4)
        if name != "turn":
            assert_allclose(got, loop([0] * 7 + [1], VALUE, MASK, gamma, lam, name), atol=1e-12)


@pytest.mark.parametrize(
    ("masked_reward", "semantics", "shown"),
    [
        ("move", "skip", [0.475, 0.500]),
        ("move", "openrlhf", [0.475, 0.500]),
        ("drop", "skip", [-0.475, -0.500]),
        ("keep", "skyrl", [0.429, 0.451]),
    ],
)
def test_second_table_where_a_reward_on_an_observation_goes(masked_reward: str, semantics: str, shown: list[float]) -> None:
    batch = Batch.from_padded(
        action=[[1, 1, 0, 0]],
        attention=[[1, 1, 1, 1]],
        token_reward=[[0.0, 0.0, 0.0, 1.0]],
        value=[[0.5] * 4],
        masked_reward=masked_reward,
    )
    assert_allclose(_gae(batch, lam=0.95, semantics=semantics).token, [*shown, 0, 0], atol=5e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["skip", "openrlhf", "skyrl"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
)
def test_every_semantics_is_its_loop(seed: int, semantics: str, gamma: float, lam: float, stray: bool) -> None:
    rng = np.random.default_rng(seed)
    rows, width = int(rng.integers(1, 5)), int(rng.integers(1, 12))
    mask = rng.random((rows, width)) < 0.6
    mask[np.arange(rows), rng.integers(0, width, rows)] = True
    reward = rng.normal(size=mask.shape) * (mask | (stray and semantics == "skyrl"))
    value = rng.normal(size=mask.shape)
    batch = Batch.from_padded(
        action=mask, attention=np.ones_like(mask), turns="mask", token_reward=reward, value=value, masked_reward="keep"
    )
    credit = _gae(batch, gamma=gamma, lam=lam, semantics=semantics)
    for i in range(rows):
        expected = np.array(loop(reward[i], value[i], mask[i], gamma, lam, semantics))
        got = credit.token[i * width : (i + 1) * width]
        assert_allclose(got, expected, atol=1e-12)
        assert_allclose(credit.targets["value"][i * width : (i + 1) * width], (expected + value[i]) * mask[i], atol=1e-12)


def test_without_discounts_all_agree_wherever_rewards_sit_on_policy_tokens() -> None:
    rng = np.random.default_rng(3)
    mask = rng.random((6, 30)) < 0.5
    mask[:, 0] = True
    batch = Batch.from_padded(action=mask, token_reward=rng.normal(size=mask.shape) * mask, value=rng.normal(size=mask.shape))
    skip, zeroed, through = (_gae(batch, semantics=s).token for s in ("skip", "openrlhf", "skyrl"))
    assert_allclose(zeroed, skip, atol=1e-12)
    assert_allclose(through, skip, atol=1e-12)


def test_a_bootstrap_value_follows_the_last_token_whatever_wrote_it() -> None:
    batch = Batch.from_turns([[3]], action=[1, 1, 0], outcome=[0.0], value=[0.2, 0.4, 0.7], truncated=[True], bootstrap=[0.8])
    second = 0.9 * 0.8 - 0.4
    assert_allclose(_gae(batch, gamma=0.9, lam=0.5).token, [0.9 * 0.4 - 0.2 + 0.45 * second, second, 0.0])
    for semantics, seen in (("openrlhf", 0.0), ("skyrl", 0.7)):
        tail = 0.9 * 0.8 - seen
        second = 0.9 * seen - 0.4 + 0.45 * tail
        got = _gae(batch, gamma=0.9, lam=0.5, semantics=semantics).token
        assert_allclose(got, [0.9 * 0.4 - 0.2 + 0.45 * second, second, 0.0])


def test_whitening_counts_what_each_trainer_counts() -> None:
    rng = np.random.default_rng(5)
    mask = rng.random((4, 9)) < 0.5
    mask[:, 0] = True
    value, reward = rng.normal(size=mask.shape), rng.normal(size=mask.shape) * mask
    batch = Batch.from_padded(action=mask, attention=np.ones_like(mask), token_reward=reward, value=value)

    def raw(semantics: str, everywhere: bool) -> Any:
        counted = np.ones_like(mask) if everywhere else mask
        rows = zip(reward, value, mask, strict=True)
        if everywhere:  # what the recursion says on observation tokens too
            return np.array([loop(r, v, np.ones(9), 0.9, 0.8, "skip") for r, v, _ in rows]), counted
        return np.array([loop(r, v, m, 0.9, 0.8, semantics) for r, v, m in rows]), counted

    for semantics, everywhere in (("skip", False), ("openrlhf", False), ("skyrl", True)):
        a, counted = raw(semantics, everywhere)
        x = a[counted]
        spread = np.sqrt(max(x.var(), 1e-8)) if semantics == "openrlhf" else np.sqrt(x.var(ddof=1) + 1e-8)
        expected = np.where(mask, (a - x.mean()) / spread, 0.0)
        got = _gae(batch, gamma=0.9, lam=0.8, semantics=semantics, whiten=True)
        assert_allclose(got.token.reshape(mask.shape), expected, atol=1e-12)
        assert_array_equal(got.targets["value"], _gae(batch, gamma=0.9, lam=0.8, semantics=semantics).targets["value"])


def test_semantics_that_make_no_sense_are_refused() -> None:
    batch = Batch.from_turns([[3]], action=[1, 0, 1], outcome=[1.0])
    with pytest.raises(ValueError, match="semantics = 'slime': expected one of skip, openrlhf, skyrl"):
        _gae(batch, value=[0.0] * 3, semantics="slime")
    with pytest.raises(OptionError, match="unit='turn' has none"):
        _gae(batch, value=[0.0] * 3, semantics="openrlhf", unit="turn")
    holed = [0.0, np.nan, 0.0]
    with pytest.raises(OptionError, match=r"'value'\[1\] = nan: expected a number at every token: .* reads observation"):
        _gae(batch, value=holed, semantics="skyrl")
    assert np.isfinite(_gae(batch, value=holed, semantics="openrlhf").token).all()


def test_a_kept_reward_needs_a_token_to_stay_on_and_is_lost_by_nobody_else() -> None:
    given: dict[str, Any] = {"action": [[1, 1, 0, 0]], "token_reward": [[0.0, 0.0, 0.0, 1.0]], "masked_reward": "keep"}
    with pytest.raises(BatchError, match=r"token_reward\[0, 3\] = 1 lies on padding.*attention="):
        Batch.from_padded(**given)
    batch = Batch.from_padded(attention=[[1, 1, 1, 1]], group=["p"], **given)
    assert batch.token_reward is not None
    assert_array_equal(batch.token_reward, [0, 0, 0, 1])
    assert_array_equal(batch.reward, [1])
    assert_array_equal(batch.rewards("token"), [0, 1, 0, 0])
    assert_array_equal(batch.rewards("token", stray="keep"), [0, 0, 0, 1])


def test_a_dropped_reward_is_gone_for_every_method() -> None:
    batch = Batch.from_padded(
        action=[[1, 1, 0], [1, 1, 1]], token_reward=[[0.0, 0.25, 1.0], [0.0, 0.0, 1.0]], masked_reward="drop"
    )
    assert_array_equal(batch.reward, [0.25, 1.0])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["sample", "population"]), st.floats(0, 1))
def test_one_spread_for_the_batch_is_its_formula(seed: int, spread: Any, eps: float) -> None:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(3), rng.integers(2, 5, 3))
    reward = rng.normal(size=group.size)
    mean = np.array([reward[group == g].mean() for g in group])
    ddof = int(spread == "sample")
    batch = (reward - mean) / (reward.std(ddof=ddof) + eps)
    centred = (reward - mean) / (np.sqrt(np.sum((reward - mean) ** 2) / (reward.size - ddof)) + eps)
    given_ = {"eps": eps, "spread": spread}
    assert_allclose(_grpo(reward.tolist(), group.tolist(), spread_over="batch", **given_), batch, atol=1e-9)
    assert_allclose(_grpo(reward.tolist(), group.tolist(), spread_over="centred_batch", **given_), centred, atol=1e-9)


def test_equal_rewards_and_lone_rollouts_under_one_spread() -> None:
    assert_array_equal(_grpo([0.7] * 4, [0, 0, 1, 1], spread_over="batch", eps=0.0), 0.0)
    assert_array_equal(_grpo([0.7] * 4, [0, 0, 1, 1], spread_over="centred_batch", eps=0.0), 0.0)
    sd = np.std([1.0, 0.0, 0.5], ddof=1) + 1e-6
    assert_allclose(_grpo([1.0, 0.0, 0.5], [0, 0, 1], spread_over="batch", single="raw"), np.array([0.5, -0.5, 0.5]) / sd)
    assert_allclose(_grpo([1.0, 0.0, 0.5], [0, 0, 1], spread_over="batch", single="zero"), np.array([0.5, -0.5, 0.0]) / sd)
    with pytest.raises(BatchError, match="single member"):
        _grpo([1.0, 0.0, 0.5], [0, 0, 1], spread_over="batch")
    with pytest.raises(ValueError, match="spread_over = 'all'"):
        _grpo([1.0, 0.0], [0, 0], spread_over="all")


def test_rows_and_steps_count_once_under_one_spread() -> None:
    by_turn = Batch.from_turns([[1, 1, 1], [1], [1], [1]], rows="turn", outcome=[1.0, 0.0, 0.0, 0.5], group=[0, 0, 1, 1])
    credit = assign(by_turn, "grpo", count="row", spread_over="batch")
    assert isinstance(credit, Credit)
    sd = np.std([1, 1, 1, 0, 0, 0.5], ddof=1) + 1e-6
    assert_allclose(credit.unit, np.array([0.25, -0.75, -0.25, 0.25]) / sd)
    scored = Batch.from_turns([[1, 1], [1], [1, 1]], process=[0.9, np.nan, 0.2, 0.4, -0.3], group=[0, 0, 0])
    credit = assign(scored, "grpo", supervision="process", spread_over="batch")
    assert isinstance(credit, Credit)
    x = np.array([0.9, 0.2, 0.4, -0.3])
    z = (x - x.mean()) / (x.std(ddof=1) + 1e-6)
    assert_allclose(credit.unit, [z[0], 0.0, z[1], z[2] + z[3], z[3]])
