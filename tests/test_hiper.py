"""HiPER: the card's worked example, options that span turns, each advantage to its own words, penalties, and its critic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion import Batch, Spans
from apportion.credit import Credit
from apportion.errors import ApportionError, BatchError, MissingColumn, OptionError
from apportion.evidence.options import actions, options
from apportion.evidence.options_critic import LearnedOptions, fit_options
from apportion.evidence.saving import load_learned, save_learned

_V: dict[str, Any] = {"v_low": [0.3, 0.4, 0.5, 0.8], "v_high": [0.35, np.nan, 0.6, np.nan], "v_term": [0.3, 0.4, 0.5, 0.7]}
_LABELS = ("switch", "subgoal", "action")


def _spans(n_turns: int, starts: list[int], n_tokens: int = 3) -> dict[str, Spans]:
    """Turns of three tokens, one for each part; options that start at these turns."""
    begin = np.array(starts) * 3
    token = np.arange(3 * n_turns)
    return {"option": Spans(begin, np.append(begin[1:], 3 * n_turns)), "part": Spans(token, token + 1, _LABELS * n_turns)}


def _card(starts: list[int] | None = None, **changes: Any) -> Batch:
    columns: dict[str, Any] = {"turn_reward": [0, 0, 0, 1], "spans": _spans(4, [0, 2] if starts is None else starts), **changes}
    return Batch.from_turns([[3] * 4], **columns)


def _hiper(batch: Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "hiper", **{"norm": False, **options})
    assert isinstance(credit, Credit)
    return credit


def _by_label(credit: Credit, label: str) -> Any:
    return credit.unit[np.array(credit.batch.spans["part"].label) == label]


CARD = [
    ({}, [0.3, 0.2, 0.5, 0.2], [0.63, 0.4], [0.3, 0.2, 0.5, 0.3]),
    ({"gamma": 0.9, "lam": 0.95}, [0.1797, 0.14, 0.391, 0.2], [0.3669, 0.3], [0.186, 0.14, 0.4, 0.3]),
    ({"keep_penalty": -0.3}, [0.225, 0.125, 0.425, 0.125], [0.4838, 0.325], [0.225, 0.125, 0.425, 0.225]),
]


@pytest.mark.parametrize(("how", "low", "high", "term"), CARD)
def test_worked_example(how: dict[str, Any], low: list[float], high: list[float], term: list[float]) -> None:
    credit = _hiper(_card(), **_V, **how)
    assert_allclose(_by_label(credit, "action"), low, atol=6e-5)
    assert_allclose(_by_label(credit, "subgoal")[[0, 2]], high, atol=6e-5)
    assert_allclose(_by_label(credit, "switch"), term, atol=6e-5)


def test_worked_targets_and_normalised_values() -> None:
    targets = _hiper(_card(), **_V).targets
    assert_allclose(targets["v_low"], [0.6, 0.6, 1, 1], atol=1e-12)
    assert_allclose(targets["v_high"], [0.98, 1], atol=1e-12)
    assert_allclose(targets["v_term"], [0.6, 0.6, 1, 1], atol=1e-12)
    normal = _hiper(_card(), **_V, keep_penalty=-0.3, norm=True)
    assert_allclose(_by_label(normal, "action"), [0, -0.8165, 1.6330, -0.8165], atol=6e-5)
    assert_allclose(normal.targets["v_low"], _hiper(_card(), **_V, keep_penalty=-0.3).targets["v_low"])
    # two options: one above, one below; the switch parts over all four turns
    assert_allclose(_by_label(normal, "subgoal")[[0, 2]], [1, -1], atol=1e-6)
    uneven = _hiper(_card([0, 1]), **{**_V, "v_high": [0.35, 0.6, np.nan, np.nan]}, norm=True)  # options count, not their turns
    assert_allclose(np.abs(_by_label(uneven, "subgoal")[[0, 1]]), [1, 1], atol=1e-6)
    term = np.array([0.225, 0.125, 0.425, 0.225])
    assert_allclose(_by_label(normal, "switch"), (term - term.mean()) / (term.std() + 1e-8), atol=1e-9)


def test_each_advantage_goes_to_its_own_words_and_repeated_subgoals_leave_the_loss() -> None:
    credit = _hiper(_card(), **_V)
    assert credit.level == "segment"
    assert credit.segment == "part"
    assert_array_equal(credit.token, credit.unit)  # a token a part
    kept = np.ones(12, dtype=bool)
    kept[[4, 10]] = False  # subgoals of turns 1 and 3
    assert credit.keep is not None
    assert credit.scored is not None
    assert_array_equal(credit.keep, kept)
    assert_array_equal(credit.scored, kept)
    assert not credit.token[[4, 10]].any()
    kinds = np.tile(_LABELS, 4)
    for name, label in (("low", "action"), ("high", "subgoal"), ("term", "switch")):
        assert not credit.parts[name][kinds != label].any()
    assert_array_equal(sum(credit.parts.values()), credit.unit)


def test_options_span_turns_whose_advantages_end_with_them() -> None:
    """Trap: the action before a boundary hears of what comes after through V_high only."""
    one, two = _hiper(_card([0]), **_V), _hiper(_card(), **_V)
    assert_allclose(_by_label(one, "action"), [0.7, 0.6, 0.5, 0.2], atol=1e-12)
    louder = _hiper(_card(turn_reward=[0, 0, 0, 9]), **_V)
    assert_allclose(_by_label(louder, "action")[:2], _by_label(two, "action")[:2])
    assert not np.allclose(_by_label(louder, "action")[2:], _by_label(two, "action")[2:])
    assert_allclose(_hiper(_card(), **{**_V, "v_high": [0.35, 0, 0.9, 0]}).unit[[2, 5]], [0.6, 0.5], atol=1e-12)


def test_never_switching_is_gae_over_turns_and_the_return_less_v_high() -> None:
    rng = np.random.default_rng(0)
    lengths = [[3] * 4, [3] * 2]
    spans = _spans(6, [0, 4])
    batch = Batch.from_turns(lengths, turn_reward=rng.normal(size=6), outcome=[1.0, 0.0], spans=spans)
    v = {n: rng.normal(size=6) for n in ("v_low", "v_high", "v_term")}
    credit = _hiper(batch, **v, gamma=0.9, lam=0.8)
    gae = ap.assign(batch, "gae", value=np.repeat(v["v_low"], 3), gamma=0.9, lam=0.8, unit="turn")
    assert isinstance(gae, Credit)
    assert_allclose(_by_label(credit, "action"), gae.unit, atol=1e-12)
    to_go = ap.assign(batch, "gae", value=np.zeros(18), gamma=0.9, lam=1.0, unit="turn").unit  # type: ignore[union-attr]
    assert_allclose(_by_label(credit, "subgoal")[[0, 4]], (to_go - v["v_high"])[[0, 4]], atol=1e-12)
    assert_allclose(_by_label(credit, "switch"), to_go - v["v_term"], atol=1e-12)


def test_always_switching_the_levels_differ_by_their_values_alone() -> None:
    batch = _card([0, 1, 2, 3])
    v = dict.fromkeys(("v_low", "v_high", "v_term"), _V["v_term"])
    credit = _hiper(batch, **v, lam=0.3, lam_seg=0.0, gamma=0.9)
    for label in _LABELS:  # one-step errors of one value
        assert_allclose(_by_label(credit, label), [0.06, 0.05, 0.13, 0.3], atol=1e-12)
    # with lam_seg the choice of a subgoal hears of the options after it
    assert_allclose(_by_label(_hiper(batch, **v, gamma=0.9, lam_seg=1.0), "subgoal")[2], 0.9 - 0.5, atol=1e-12)


def test_discounts_of_an_option_count_its_turns() -> None:
    batch = Batch.from_turns([[3] * 5], turn_reward=[1, 2, 4, 8, 16], spans=_spans(5, [0, 3]))
    v = {"v_low": [0.0] * 5, "v_term": [0.0] * 5, "v_high": [1.0, 0, 0, 3.0, 0]}
    credit = _hiper(batch, **v, gamma=0.5, lam_seg=0.5)
    second = 8 + 0.5 * 16 - 3
    first = 1 + 0.5 * 2 + 0.25 * 4 + 0.125 * 3 - 1 + 0.125 * 0.5 * second
    assert_allclose(_by_label(credit, "subgoal")[[0, 3]], [first, second], atol=1e-12)
    assert_allclose(_by_label(credit, "switch"), [3.375, 4.75, 5.5, 16, 16], atol=1e-12)


def test_the_first_turn_opens_an_option_and_is_never_kept() -> None:
    batch = Batch.from_turns([[3] * 2] * 2, turn_reward=[0.0] * 4, spans={**_spans(4, [0, 2])})
    v = dict.fromkeys(("v_low", "v_term", "v_high"), [0.0] * 4)
    assert_allclose(_by_label(_hiper(batch, **v, keep_penalty=-1.0), "switch"), [-0.5, -0.5, -0.5, -0.5], atol=1e-12)
    fixed = _hiper(batch, **v, keep_penalty=-1.0, keep_mode="fixed")
    assert_allclose(_by_label(fixed, "switch"), [-1, -1, -1, -1], atol=1e-12)
    table = options(batch, np.zeros(4, dtype=bool))
    assert_array_equal(table.start, [0, 6])
    assert_array_equal(table.end, [6, 12])
    assert_array_equal(options(batch, np.array([False, True, False, False])).start, [0, 3, 6])


def test_keep_penalty_is_the_share_of_keep_turns() -> None:
    one = _hiper(_card([0]), **_V, keep_penalty=-0.4)  # three of four turns, in all -.3
    assert_allclose(_by_label(one, "switch") - _by_label(_hiper(_card([0]), **_V), "switch"), [-0.3, -0.3, -0.2, -0.1])


def test_trajectories_do_not_bootstrap_from_each_other() -> None:
    spans = _spans(8, [0, 2, 4, 6])
    both = Batch.from_turns([[3] * 4] * 2, turn_reward=[0, 0, 0, 1, 0, 0, 0, 0], spans=spans)
    v = {n: np.nan_to_num(np.tile(x, 2)) for n, x in _V.items()}
    credit = _hiper(both, **v)
    assert_allclose(credit.unit[:12], _hiper(_card(), **_V).unit, atol=1e-12)


def test_a_cut_off_episode_ends_in_its_bootstrap_value_at_every_level() -> None:
    cut = _card(truncated=[True], bootstrap=[5.0], turn_reward=[0.0] * 4)
    credit = _hiper(cut, **_V, lam_seg=1.0)
    assert_allclose(_by_label(credit, "action"), [0.3, 0.2, 4.5, 4.2], atol=1e-12)
    assert_allclose(_by_label(credit, "switch"), [0.3, 0.2, 4.5, 4.3], atol=1e-12)
    assert_allclose(_by_label(credit, "subgoal")[[0, 2]], [5 - 0.35, 5 - 0.6], atol=1e-12)
    whole = _card(truncated=[False], bootstrap=[5.0])
    assert_array_equal(_hiper(whole, **_V).unit, _hiper(_card(), **_V).unit)


def test_where_parts_overlap_a_token_adds_them_up_and_the_rest_is_left_out() -> None:
    # six tokens a turn: one seen, a word of reasoning, then switch; the action is all the policy wrote after the reasoning
    part = Spans(np.array([2, 2, 1]), np.array([3, 5, 2]), ("switch", "action", "thought"))
    spans = {"option": Spans(np.array([0]), np.array([6])), "part": part}
    action = [False, True, True, True, True, False]
    batch = Batch.from_turns([[6]], outcome=[1.0], spans=spans, action=action)
    credit = _hiper(batch, v_low=[0.25], v_term=[0.5], v_high=[0.0])
    assert_allclose(credit.unit, [0.5, 0.75, 0.0])
    assert_allclose(credit.token, [0, 0, 1.25, 0.75, 0.75, 0])
    assert credit.keep is not None
    assert credit.scored is not None
    assert credit.keep.tolist() == [False, False, True, True, True, False]
    assert credit.scored.tolist() == [True, True, False]


def test_a_part_on_observation_tokens_credits_and_keeps_only_what_the_policy_wrote() -> None:
    spans = {"option": Spans(np.array([0]), np.array([3])), "part": Spans(np.array([0]), np.array([3]), ("action",))}
    batch = Batch.from_turns([[3]], outcome=[1.0], spans=spans, action=[False, True, False])
    credit = _hiper(batch, v_low=[0.25], v_term=[np.nan], v_high=[0.0])
    assert_allclose(credit.token, [0, 0.75, 0])
    assert credit.keep is not None
    assert credit.keep.tolist() == [False, True, False]


def test_normalisation_is_over_turns_that_have_the_part() -> None:
    part = Spans(np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4]), ("switch", "action", "action", "action"))
    spans = {"option": Spans(np.array([0, 2]), np.array([2, 4])), "part": part}
    batch = Batch.from_turns([[2], [1, 1]], outcome=[1.0, 5.0], spans=spans)
    v = {"v_low": [0.0, 0.0, 0.0], "v_term": [0.0, np.nan, np.nan], "v_high": [0.0, 0.0, np.nan]}
    credit = _hiper(batch, **v, norm=True)
    assert_allclose(credit.unit[1:], (np.array([1, 5, 5]) - 11 / 3) / np.std([1, 5, 5]), atol=1e-7)
    assert credit.unit[0] == 0.0  # one switch alone has no spread


def test_equal_advantages_normalise_to_exactly_nothing() -> None:
    batch = Batch.from_turns([[3] * 3] * 2, outcome=[0.1] * 2, spans=_spans(6, [0, 3]))
    v = dict.fromkeys(("v_low", "v_term", "v_high"), [0.7] * 6)
    assert not _hiper(batch, **v, norm=True).token.any()


def test_a_changed_subgoal_on_a_keep_turn_pays() -> None:
    def credit(said: list[int], **how: Any) -> Any:
        ids = [x for s in said for x in (1, s, 2)]
        return _by_label(_hiper(_card(ids=ids), **_V, consistency_penalty=-1.0, **how), "switch") - _by_label(
            _hiper(_card(ids=ids), **_V, **how), "switch"
        )

    assert_allclose(credit([5, 5, 6, 6]), [0, 0, 0, 0], atol=1e-12)  # a switch may change it
    assert_allclose(credit([5, 7, 6, 6]), [-1, -1, 0, 0], atol=1e-12)  # the rest of the option hears of it
    assert_allclose(credit([5, 5, 6, 8]), [0, 0, -1, -1], atol=1e-12)
    with pytest.raises(MissingColumn, match="ids"):
        _hiper(_card(), **_V, consistency_penalty=-1.0)
    cases = {(1, 4): ("subgoal", "switch"), (2, 5): ("switch", "subgoal"), (0, 1, 4): ("switch", "subgoal", "switch")}
    for at, labels in cases.items():  # only one of the two turns says a subgoal
        part = Spans(np.array(at), np.array(at) + 1, labels)
        spans = {"option": Spans(np.array([0]), np.array([6])), "part": part}
        batch = Batch.from_turns([[3] * 2], outcome=[0.0], ids=range(6), spans=spans)
        v = {"v_low": [0.0] * 2, "v_term": [0.0] * 2, "v_high": [0.0] * 2}
        assert not _hiper(batch, **v, consistency_penalty=-1.0).unit.any()


def test_the_order_of_the_tables_does_not_matter() -> None:
    spans = _spans(4, [0, 2])
    mixed = {
        "option": Spans(spans["option"].start[::-1].copy(), spans["option"].end[::-1].copy()),
        "part": Spans(spans["part"].start[::-1].copy(), spans["part"].end[::-1].copy(), spans["part"].label[::-1]),
    }
    assert_array_equal(_hiper(_card(spans=mixed), **_V).token, _hiper(_card(), **_V).token)


def _tables(**changes: Any) -> Batch:
    return _card(spans={**_spans(4, [0, 2]), **changes})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"option": Spans(np.array([0, 5]), np.array([5, 12]))}, r"spans\['option'\]\[0\]: expected whole turns"),
        ({"option": Spans(np.array([0, 9]), np.array([6, 12]))}, r"spans\['option'\]\[1\]"),
        ({"option": Spans(np.array([0]), np.array([6]))}, r"spans\['option'\]\[0\]"),
        ({"option": Spans(np.array([0, 0]), np.array([6, 12]))}, r"spans\['option'\]\[1\]"),
        ({"part": Spans(np.array([1, 2]), np.array([2, 4]), ("switch", "action"))}, r"spans\['part'\]\[1\] = \[2, 4\)"),
        ({"part": Spans(np.array([1]), np.array([2]))}, "no labels"),
    ],
)
def test_tables_that_do_not_fit_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(BatchError, match=match):
        _hiper(_tables(**changes), **_V)


def test_bad_input_is_refused() -> None:
    with pytest.raises(BatchError, match="'part'"):
        _hiper(_card(spans={"option": _spans(4, [0])["option"]}), **_V)
    with pytest.raises(MissingColumn, match="spans="):
        _hiper(_card(spans={}), **_V)
    crossing = Batch.from_turns([[3] * 2] * 2, outcome=[1.0, 0.0], spans=_spans(4, [0]))
    with pytest.raises(BatchError, match=r"spans\['option'\]\[0\]: expected whole turns of one trajectory"):
        _hiper(crossing, **_V)
    for name, at in (("v_low", 1), ("v_term", 3), ("v_high", 2)):
        bad = np.array(_V[name])
        bad[at] = np.nan
        with pytest.raises(OptionError, match=rf"'{name}'\[{at}\] = nan"):
            _hiper(_card(), **{**_V, name: bad})
    with pytest.raises(OptionError, match="lam_seg = 2"):
        _hiper(_card(), **_V, lam_seg=2.0)
    with pytest.raises(BatchError, match="one decision per turn"):
        options(_card(), np.zeros(3, dtype=bool))


def _rollouts(n: int, seed: int, shuffled: bool = False) -> Batch:
    """Two subgoals (words 5, 6); what was seen (1 or 2) says which pays: V_low should tell, V_term cannot know the subgoal."""
    rng = np.random.default_rng(seed)
    seen, subgoal = rng.integers(1, 3, n), rng.integers(5, 7, n)
    chance = np.where(seen == 1, np.where(subgoal == 5, 0.9, 0.5), np.where(subgoal == 5, 0.1, 0.5))
    outcome = (rng.random(n) < chance).astype(float)
    if shuffled:
        outcome = rng.permutation(outcome)
    ids = np.stack([seen, np.full(n, 9), subgoal, np.full(n, 8), seen, np.full(n, 9), subgoal, np.full(n, 8)], axis=1)
    first = np.arange(n)[:, None] * 8 + np.array([1, 2, 3, 5, 6, 7])
    part = Spans(first.ravel(), first.ravel() + 1, _LABELS * 2 * n)
    option = Spans(np.arange(n) * 8, np.arange(n) * 8 + 8)
    action = np.tile([False, True, True, True], 2 * n)
    return Batch.from_turns(
        [[4, 4]] * n, outcome=outcome, ids=ids.ravel(), action=action, spans={"option": option, "part": part},
        trajectory=[f"{seed}-{i}" for i in range(n)],
    )  # fmt: skip


def _learned(batch: Batch) -> LearnedOptions:
    return fit_options(batch, np.random.default_rng(0), gamma=1.0, folds=5, ridge=3.0, buckets=256)


def _error(learned: LearnedOptions, batch: Batch, name: str) -> float:
    value = learned.evidence(batch).arrays[name]
    return float(np.mean((value - batch.reward[batch.within("turn", "trajectory")]) ** 2))


def test_the_critic_improves_with_data_and_the_low_value_knows_the_subgoal() -> None:
    held_out = _rollouts(4000, 99)
    error = {n: np.mean([_error(_learned(_rollouts(n, s)), held_out, "v_low") for s in range(4)]) for n in (16, 64, 512)}
    assert error[16] > error[64] > error[512]
    learned = _learned(_rollouts(512, 0))
    exact = np.mean([0.09, 0.25, 0.09, 0.25])
    assert error[512] < exact + 0.01
    blind = np.mean([0.7 * 0.3, 0.3 * 0.7])
    assert abs(_error(learned, held_out, "v_term") - blind) < 0.015
    assert abs(_error(learned, held_out, "v_high") - blind) < 0.015


def test_high_is_learned_where_options_open_and_term_everywhere() -> None:
    # what is seen at the second turn is unlike what was seen at the first, and pays only there
    n = 200
    ids = [x for i in range(n) for x in (1, 9, 2 + i % 2, 9)]
    reward = [x for i in range(n) for x in (0.0, float(i % 2))]
    spans = {
        "option": Spans(np.arange(n) * 4, np.arange(n) * 4 + 4),
        "part": Spans(np.arange(1, 4 * n, 2), np.arange(2, 4 * n + 1, 2), ("action",) * 2 * n),
    }
    batch = Batch.from_turns([[2, 2]] * n, turn_reward=reward, ids=ids, action=[False, True] * 2 * n, spans=spans)
    found = _learned(batch).evidence(batch).arrays
    gap = {name: v[3::4].mean() - v[1::4].mean() for name, v in found.items()}  # second turns, after 3 and after 2
    assert gap["v_term"] > 0.9
    assert gap["v_low"] > 0.9
    assert abs(gap["v_high"]) < 0.1


def test_the_critic_is_at_chance_on_shuffled_outcomes() -> None:
    held_out = _rollouts(4000, 99)
    chance = float(held_out.reward.var())
    for name in ("v_low", "v_term", "v_high"):
        found = np.mean([_error(_learned(_rollouts(256, s, shuffled=True)), held_out, name) for s in range(4)])
        assert found > chance - 0.005


def test_no_trajectory_is_part_of_its_own_values() -> None:
    batch = _rollouts(40, 3)
    before = _learned(batch).evidence(batch).arrays
    outcome = np.array(batch.outcome)
    outcome[7] = 100.0
    changed = batch.with_columns(outcome=outcome)
    after = _learned(changed).evidence(changed).arrays
    own = batch.within("turn", "trajectory") == 7
    for name, values in before.items():
        assert_array_equal(values[own], after[name][own])
        assert not np.allclose(values[~own], after[name][~own], atol=1e-3)


def test_the_critic_is_saved_and_restored_bit_by_bit(tmp_path: Path) -> None:
    batch, other = _rollouts(40, 3), _rollouts(10, 4)
    learned: Any = _learned(batch)
    save_learned(learned, tmp_path / "critic.npz")
    twin = load_learned(tmp_path / "critic.npz")
    assert isinstance(twin, LearnedOptions)
    for one in (batch, other):
        for name, values in learned.evidence(one).arrays.items():
            assert_array_equal(values, twin.evidence(one).arrays[name])
    assert twin.bill == learned.bill
    assert learned.bill.trained == batch.action.sum()


def test_fit_feeds_the_method() -> None:
    batch = _rollouts(60, 5)
    credit = ap.assign(batch, "hiper", fit=True, rng=0, buckets=64)
    assert isinstance(credit, Credit)
    assert credit.bill.trained > 0
    assert credit.diagnostics["options"] == 1.0
    assert credit.diagnostics["turns"] == 2.0
    with pytest.raises(ApportionError):
        ap.assign(batch.with_columns(spans={}), "hiper", fit=True, rng=0)


def test_turns_that_are_nothing_but_action_use_the_low_value_only() -> None:
    batch = Batch.from_turns([[3] * 4], turn_reward=[0, 0, 0, 1])
    batch = batch.with_columns(spans={"option": options(batch, np.array([0, 0, 1, 0], dtype=bool)), "part": actions(batch)})
    credit = _hiper(batch, **{**_V, "v_term": [np.nan] * 4})
    assert_allclose(credit.unit, [0.3, 0.2, 0.5, 0.2], atol=1e-12)
    assert_allclose(credit.token, np.repeat(credit.unit, 3))
    assert credit.kept.all()
