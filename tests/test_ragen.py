"""RAGEN: the card's filter, its normalisations, and bi-level GAE with turns whose reward is 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError

from .batches import random_batch

_REWARDS = [1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 10, -1, 0.9, -0.5]
_GROUPS = Batch.from_turns([[1]] * 16, outcome=np.array(_REWARDS, dtype=float), group=np.repeat([1, 2, 3, 4], 4).tolist())


def _run(batch: Batch, id_: str = "ragen", **options: Any) -> Credit:
    credit = assign(batch, id_, **options)
    assert isinstance(credit, Credit)
    return credit


def _kept(credit: Credit) -> list[Any]:
    assert credit.batch.group is not None
    return sorted(set(credit.batch.group.to_list()))


@pytest.mark.parametrize(("share", "kept"), [(0.5, [1, 4]), (0.25, [4]), (0.01, [4]), (0.75, [1, 3, 4])])
def test_worked_filter_of_the_card(share: float, kept: list[int]) -> None:
    credit = _run(_GROUPS, share=share)
    assert _kept(credit) == kept
    assert credit.rows is not None
    assert credit.batch.same(_GROUPS.take(credit.rows))
    assert credit.diagnostics["kept_prompts"] == len(kept)
    spreads = {1: 0.5774, 2: 0.0, 3: 0.5, 4: 5.1630}
    assert_allclose(credit.diagnostics["kept_spread"], np.mean([spreads[g] for g in kept]), atol=5e-5)
    assert_allclose(credit.diagnostics["spread"], np.mean(list(spreads.values())), atol=5e-5)


def test_worked_advantages_of_the_card() -> None:
    credit = _run(_GROUPS, share=0.5)
    assert_allclose(credit.unit[:4], [0.8660, -0.8660, 0.8660, -0.8660], atol=5e-5)
    one = _GROUPS.take(np.arange(12, 16))
    z = _run(one, normalise="asym_clip")  # GRPO on the normalised rewards: undo its scale
    wanted = np.array([1.4817, -0.6488, -0.2808, -0.5520])
    assert_allclose(z.unit, (wanted - wanted.mean()) / wanted.std(ddof=1), atol=1e-4)


def test_everything_is_kept_with_share_one_and_then_it_is_grpo() -> None:
    credit, grpo = _run(_GROUPS, share=1.0), _run(_GROUPS, "grpo")
    assert credit.rows is None
    assert_array_equal(credit.token, grpo.token)
    assert credit.loss == grpo.loss
    part = _run(_GROUPS, share=0.5)
    assert part.rows is not None
    assert_array_equal(part.token, grpo.token[part.rows])  # one token a row: statistics of a prompt are its own


def test_the_smallest_spread_can_be_kept_and_ties_go_to_the_first() -> None:
    assert _kept(_run(_GROUPS, order="smallest")) == [2]
    flat = Batch.from_turns([[1]] * 4, outcome=[1.0, 1.0, 0.3, 0.3], group=["a", "a", "b", "b"])
    credit = _run(flat, share=0.5)
    assert _kept(credit) == ["a"]
    assert_array_equal(credit.token, 0.0)


def test_shares_are_not_lost_to_rounding() -> None:
    rewards = np.stack([np.arange(100.0), np.zeros(100)], axis=1).ravel()
    batch = Batch.from_turns([[1]] * 200, outcome=rewards, group=np.repeat(np.arange(100), 2).tolist())
    assert _run(batch, share=0.29).diagnostics["kept_prompts"] == 29  # 0.29 x 100 is 28.99...


def test_a_prompt_of_one_rollout_has_no_spread_and_goes_first() -> None:
    batch = Batch.from_turns([[1]] * 3, outcome=[9.0, 1.0, 0.0], group=["a", "b", "b"])
    assert _kept(_run(batch, share=0.5)) == ["b"]
    with pytest.raises(BatchError, match="single member"):
        _run(batch, share=1.0)
    assert_allclose(_run(batch, share=1.0, single="raw").unit[0], 9.0, rtol=1e-5)


# --- normalisations -----------------------------------------------------------------------------------------

_TWO = Batch.from_turns([[1]] * 5, outcome=[0.0, 1.0, 5.0, 5.0, 7.0], group=["a", "a", "b", "b", "c"])


def test_rewards_are_normalised_over_the_prompt_or_the_batch() -> None:
    def seen(how: str, over: str) -> Any:
        credit = _run(_TWO, share=1.0, normalise=how, normalise_over=over, single="raw", eps=0.0)
        return credit.unit[-1]  # a group of one keeps what normalising made of its reward

    x = np.array([0.0, 1.0, 5.0, 5.0, 7.0])
    assert seen("identity", "batch") == 7.0
    assert_allclose(seen("mean", "batch"), 7.0 - x.mean())
    assert_allclose(seen("mean_std", "batch"), (7.0 - x.mean()) / (x.std(ddof=1) + 1e-6))
    assert seen("mean", "group") == 0.0
    assert seen("mean_std", "group") == 0.0


def test_the_clip_of_normalised_rewards_is_lopsided() -> None:
    x = np.array([0.0] * 30 + [100.0, -100.0])
    batch = Batch.from_turns([[1]] * 32, outcome=x, group=["a"] * 32)
    clipped = np.clip((x - x.mean()) / (x.std(ddof=1) + 1e-6), -1, 3)
    assert clipped.max() == 3
    assert clipped.min() == -1
    got = _run(batch, normalise="asym_clip").unit
    assert_allclose(got, (clipped - clipped.mean()) / (clipped.std(ddof=1) + 1e-6))


def test_a_spread_that_is_rounding_is_no_signal() -> None:
    batch = Batch.from_turns([[1]] * 2, outcome=[0.3, 0.3 + 1e-7], group=["a", "a"])
    assert_array_equal(_run(batch, normalise="mean_std").token, 0.0)
    alone = Batch.from_turns([[1]] * 2, outcome=[3.0, 4.0], group=["a", "b"])
    assert_allclose(_run(alone, share=1.0, normalise="mean", single="raw").unit, [3.0, 4.0], rtol=1e-5)  # skipped


# --- bi-level GAE ---------------------------------------------------------------------------------------------

_V = np.array([0.1, 0.2, 0.3, np.nan, np.nan, 0.4, 0.5, 0.6])
_ACTION = np.array([1, 1, 1, 0, 0, 1, 1, 1], dtype=bool)


def _turns(rewards: tuple[float, float] = (0.5, 1.0)) -> Batch:
    return Batch.from_turns([[3, 5]], action=_ACTION, turn_reward=rewards, group=["a"])


@pytest.mark.parametrize(
    ("lam", "advantage", "returns", "white"),
    [
        (
            1.0, [1.35, 1.25, 1.15, 0.60, 0.50, 0.40], [1.45, 1.45, 1.45, 1, 1, 1],
            [1.1298, 0.8920, 0.6541, -0.6541, -0.8920, -1.1298],
        ),
        (
            0.5, [0.39, 0.58, 0.96, 0.25, 0.30, 0.40], [0.49, 0.78, 1.26, 0.65, 0.80, 1.00],
            [-0.3450, 0.3834, 1.8402, -0.8818, -0.6901, -0.3067],
        ),
    ],
)  # fmt: skip
def test_worked_bi_level_of_the_card(lam: float, advantage: list[float], returns: list[float], white: list[float]) -> None:
    credit = _run(_turns(), value=_V, estimator="bi_level", lam=lam, whiten=False)
    assert_allclose(credit.token[_ACTION], advantage)
    assert_allclose(credit.targets["value"][_ACTION], returns)
    assert not credit.token[~_ACTION].any()
    assert_allclose(_run(_turns(), value=_V, estimator="bi_level", lam=lam).token[_ACTION], white, atol=5e-5)


@pytest.mark.parametrize(
    ("lam", "flat"), [(1.0, [1.4, 1.3, 1.2, 0.6, 0.5, 0.4]), (0.5, [0.3313, 0.4625, 0.7250, 0.2500, 0.3000, 0.4000])]
)
def test_worked_flat_recursion_of_the_card(lam: float, flat: list[float]) -> None:
    credit = _run(_turns(), value=_V, estimator="gae", lam=lam, whiten=False)
    assert_allclose(credit.token[_ACTION], flat, atol=5e-5)


def test_a_turn_rewarded_with_zero_is_still_a_turn() -> None:
    zero = _run(_turns((0.0, 1.0)), value=_V, estimator="bi_level", whiten=False)
    tiny = _run(_turns((1e-12, 1.0)), value=_V, estimator="bi_level", whiten=False)
    assert_allclose(zero.token, tiny.token, atol=1e-9)
    assert_allclose(zero.token[2], 0.0 + 0.95 * 0.6 - 0.3 + 0.95 * 0.4)
    nothing = _run(_turns((0.0, 0.0)), value=_V, estimator="bi_level", whiten=False)
    assert_allclose(nothing.token[[2, 7]], [0.95 * 0.6 - 0.3 + 0.95 * -0.6, -0.6])


def test_bi_level_is_the_flat_recursion_where_there_is_one_turn_or_no_discount() -> None:
    batch = random_batch(0, n=4).with_columns(token_reward=None)
    one = Batch.from_turns([[4], [3]], outcome=[1.0, 0.0], value=np.linspace(0, 1, 7), group=["a", "a"])
    settings: list[tuple[Batch, dict[str, Any]]] = [
        (one, {"gamma_turn": 0.3, "lam": 0.7}),
        (batch, {"gamma_turn": 1.0, "lam": 1.0}),
    ]
    for given, options in settings:
        both = [_run(given, estimator=e, share=1.0, gamma=1.0, **options) for e in ("bi_level", "gae")]
        assert_allclose(both[0].token, both[1].token, atol=1e-12)


def test_the_flat_recursion_is_gae_whitened_over_what_was_kept() -> None:
    batch = random_batch(1, n=6).with_columns(truncated=None, bootstrap=None)
    assert_allclose(_run(batch, estimator="gae", share=1.0).token, _run(batch, "gae", whiten=True).token)
    half = _run(batch, estimator="gae", share=0.5)
    assert_allclose(half.token, _run(half.batch, "gae", whiten=True).token)
    assert half.batch.n_trajectories < batch.n_trajectories


def test_values_follow_the_rows_that_were_taken() -> None:
    batch = Batch.from_turns([[2], [1], [3], [1]], outcome=[0.0, 0.0, 2.0, 0.0], group=["a", "a", "b", "b"])
    value = np.arange(7.0)
    credit = _run(batch, value=value, estimator="gae", share=0.5, whiten=False)
    assert_allclose(credit.token, [2 - 3, 2 - 4, 2 - 5, 0 - 6])
    with pytest.raises(OptionError, match=r"'value'\[4\] = nan"):
        _run(batch, value=np.where(np.arange(7) == 4, np.nan, value), estimator="gae", share=0.5)
    _run(batch, value=np.where(np.arange(7) == 0, np.nan, value), estimator="gae", share=0.5)  # not in what was kept


def test_a_critic_can_be_learned_and_is_needed() -> None:
    batch = random_batch(2, n=8).with_columns(value=None)
    with pytest.raises(MissingColumn, match="value"):
        _run(batch, estimator="bi_level")
    assert _run(batch, estimator="bi_level", fit=True, rng=0, buckets=64).bill.trained > 0


# --- loss and options -------------------------------------------------------------------------------------------


def test_the_clip_is_the_trainers_or_its_own() -> None:
    assert _run(_GROUPS).loss.clip is None
    assert _run(_GROUPS).loss.denominator == "sequence"
    clip = _run(_GROUPS, clip=(0.2, 0.28)).loss.clip
    assert clip is not None
    assert_allclose(clip, np.tile([0.8, 1.28], (4, 1)))


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"share": 0.0}, "share"), ({"share": 1.1}, "share"), ({"gamma_turn": 2.0}, "gamma_turn"), ({"lam": -1.0}, "lam"),
        ({"clip": (1.2, 0.28)}, "clip"), ({"estimator": "gae", "normalise": "mean"}, "whole rollouts"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(option: dict[str, Any], match: str) -> None:
    with pytest.raises(OptionError, match=match):
        _run(_turns(), value=_V, **option)
