"""ProxMO: the card's worked examples, tf-idf against its definition, and a baseline that mutes what is unlike all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import apportion as ap
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.ops.likeness import means_of_alike, tf_idf


def _proxmo(batch: ap.Batch, **options: Any) -> Credit:
    credit = ap.assign(batch, "proxmo", **options)
    assert isinstance(credit, Credit)
    return credit


def _batch(outcome: list[float], states: list[str | None], **more: Any) -> ap.Batch:
    """Rollouts of one turn, each in one state; nothing is written of where they ended."""
    columns: dict[str, Any] = {"group": [0] * len(outcome), **more}
    keys = [k for state in states for k in (state, None)]
    return ap.Batch.from_turns([[1]] * len(outcome), outcome=outcome, state=keys, **columns)


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [([1.0, 0, 0, 0], [0.7627, -0.2499, -0.2499, -0.2499]), ([1.0, 1, 1, 0], [0.2501, 0.2501, 0.2501, -0.7373])],
)
def test_worked_example_of_the_episode_part(rewards: list[float], expected: list[float]) -> None:
    assert_allclose(_proxmo(_batch(rewards, ["here"] * 4)).parts["episode"], expected, atol=6e-5)


def _gram(gram: Any) -> Any:
    """Unit vectors with these dot products."""
    n = len(gram)
    return np.tile(np.arange(n), n), np.linalg.cholesky(np.array(gram)).ravel(), np.arange(n + 1) * n


def test_worked_example_of_the_step_part() -> None:
    g, vectors = np.array([9.5, 0.0, 10.0]), _gram([[1, 0.9, 0.2], [0.9, 1, 0.3], [0.2, 0.3, 1]])
    baseline, own = means_of_alike(g, np.ones(3, dtype=np.int64), np.array([0, 3]), np.arange(3), vectors, 0.1)
    assert_allclose(baseline, [6.9458, 2.5599, 9.9907], atol=6e-5)
    assert_allclose(g - baseline, [2.5542, -2.5599, 0.0093], atol=6e-5)
    assert_allclose(own, [0.7309, 0.7306, 0.9988], atol=6e-5)


def test_cells_stand_for_their_items() -> None:
    rng = np.random.default_rng(0)
    word, value, ends = _gram([[1, 0.6, 0.1], [0.6, 1, 0.5], [0.1, 0.5, 1]])
    text, group, g = rng.integers(0, 3, 14), np.sort(rng.integers(0, 2, 14)), rng.normal(size=14)
    dense = value.reshape(3, 3)
    weight = np.exp(dense[text] @ dense[text].T / 0.3) * (group[:, None] == group)
    expected = weight @ g / weight.sum(axis=1)
    cell, at, count = np.unique(group * 3 + text, return_inverse=True, return_counts=True)
    task = np.searchsorted(cell, [0, 3, 6])
    total = np.bincount(at, weights=g).astype(np.float64)
    got, own = means_of_alike(total, count, task, cell % 3, (word, value, ends), 0.3)
    assert_allclose(got[at], expected, atol=1e-12)
    assert_allclose(own[at], np.diag(weight) / weight.sum(axis=1), atol=1e-12)


def test_a_text_unlike_all_others_gets_almost_nothing() -> None:
    """Trap: a turn is its own neighbour, so its own return is its baseline."""
    states: list[str | None] = ["red door", "red door", "red door", "blue window"]
    credit = _proxmo(_batch([1.0, 0.0, 0.0, 1.0], states))
    assert_allclose(credit.parts["step"][:3], [2 / 3, -1 / 3, -1 / 3], atol=1e-3)
    # exp(0) of weight on each of three others, exp(10) on itself
    assert_allclose(credit.parts["step"][3], 2.0 / (np.exp(10) + 3), atol=1e-9)
    assert credit.diagnostics["own_weight"] == pytest.approx(0.5, abs=1e-3)  # three turns of a third, one of almost one
    # a hot softmax is the group's plain mean
    assert_allclose(_proxmo(_batch([1.0, 0.0, 0.0, 1.0], states), tau=1e9).parts["step"], [0.5, -0.5, -0.5, 0.5], atol=1e-8)
    # a cold one compares equal texts only
    assert_allclose(_proxmo(_batch([1.0, 0.0, 0.0, 1.0], states), tau=1e-9).parts["step"][3], 0.0, atol=1e-12)


def test_where_texts_share_no_word_and_repeat_the_step_part_is_gigpos() -> None:
    rng = np.random.default_rng(1)
    states = [["kitchen", "garden", "cellar"][i] for i in rng.integers(0, 3, 24)]
    batch = ap.Batch.from_turns([[1, 1]] * 8, outcome=rng.normal(size=8), group=[0, 1] * 4, state=states)
    gigpo = ap.assign(batch, "gigpo").parts["step"]  # type: ignore[union-attr]
    assert gigpo.any()
    assert_allclose(_proxmo(batch, tau=1e-3).parts["step"], gigpo, atol=1e-12)
    assert not np.allclose(_proxmo(batch, tau=0.5).parts["step"], gigpo, atol=1e-2)


def test_likeness_is_that_of_tf_idf_vectors() -> None:
    texts: list[str | None] = ["Open the red door", "open the door, the DOOR", "a window", "the end of it"]
    words = [["open", "the", "red", "door"], ["open", "the", "door", "the", "door"], ["window"], ["the", "end", "of", "it"]]
    vocabulary = sorted({w for text in words for w in text})
    tf = np.array([[text.count(w) for w in vocabulary] for text in words])
    x = tf * (1 + np.log(5 / (1 + (tf > 0).sum(axis=0))))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    g = np.array([3.0, 0.0, 1.0, 0.5])
    weight = np.exp(x @ x.T / 0.1)
    expected = g - weight @ g / weight.sum(axis=1)
    assert_allclose(_proxmo(_batch(g.tolist(), texts)).parts["step"], expected, atol=1e-12)


def test_words_weigh_what_the_whole_batch_says() -> None:
    """The scope is the batch: a word that other prompts use often is worth less here."""
    here: list[str | None] = ["lamp one", "lamp two"]
    alone = _proxmo(_batch([1.0, 0.0], here)).parts["step"]
    more: list[str | None] = [*here, "lamp red", "lamp green", "lamp blue", "lamp grey"]
    together = _proxmo(_batch([1.0, 0.0, 1, 1, 1, 1], more, group=[0, 0, 1, 1, 1, 1])).parts["step"]
    assert abs(alone[0] - together[0]) > 1e-3
    assert not together[2:].any()


def test_only_the_most_frequent_words_count() -> None:
    # "room" is said four times, "aa" twice, the others once
    texts: list[str | None] = ["room aa", "room aa", "room bb", "room cc"]
    g = [1.0, 0.0, 1.0, 0.0]
    assert_allclose(_proxmo(_batch(g, texts), words=1).parts["step"], [0.5, -0.5, 0.5, -0.5], atol=1e-12)
    two = _proxmo(_batch(g, texts), words=2).parts["step"]
    assert_allclose(two[2], 1 + two[3], atol=1e-12)  # "bb" and "cc" are the same text by then
    assert not np.allclose(two, _proxmo(_batch(g, texts)).parts["step"], atol=1e-3)
    # among equals the first in order of the alphabet, "bb" before "cc", wherever they stand
    three = _proxmo(_batch(g, ["room aa", "room aa", "room cc", "room bb"]), words=3).parts["step"]
    assert_allclose(three, _proxmo(_batch(g, ["room aa", "room aa", "room", "room bb"])).parts["step"], atol=1e-12)


def test_words_said_equally_often_are_taken_in_order_of_the_alphabet() -> None:
    order = np.random.default_rng(4).permutation(12)
    credit = _proxmo(_batch(order.astype(float).tolist(), [f"w{i:02d}" for i in order]), words=6)
    assert (np.abs(credit.parts["step"][order < 6]) < 0.01).all()  # their own neighbours
    assert_allclose(credit.parts["step"][order >= 6], order[order >= 6] - 5.5, atol=1e-12)  # no words left


def test_letters_alone_are_no_words() -> None:
    lettered, plain = ("red a", "blue a", "a b"), ("red", "blue", "")
    g = [1.0, 0.0, 0.5]
    assert_allclose(_proxmo(_batch(g, [*lettered])).unit, _proxmo(_batch(g, [*plain])).unit, atol=1e-12)


def test_tf_idf_counts_a_text_as_often_as_it_occurs() -> None:
    word, offsets = np.array([0, 1, 0, 2, 2]), np.array([0, 2, 5, 5])
    kept, value, ends = tf_idf(word, offsets, np.array([3, 1, 2]), 10)
    idf = 1 + np.log(7 / (1 + np.array([4.0, 3.0, 1.0])))
    first, second = np.array([idf[0], idf[1]]), np.array([idf[0], 2 * idf[2]])
    assert ends.tolist() == [0, 2, 4, 4]
    assert_allclose(value, [*(first / np.linalg.norm(first)), *(second / np.linalg.norm(second))], atol=1e-12)
    # numbered by how often they are said: word 0 four times, word 1 three times, word 2 twice
    assert kept.tolist() == [0, 1, 0, 2]


def test_without_words_the_baseline_is_near_the_plain_mean() -> None:
    for nothing in (None, "a ! 1"):  # no key; a key without a word of two letters
        credit = _proxmo(_batch([1.0, 0.0, 0.0, 0.0], [nothing] * 4))
        assert_allclose(credit.parts["step"], [0.75, -0.25, -0.25, -0.25], atol=1e-12)
    mixed = _proxmo(_batch([1.0, 0.0, 0.0, 1.0], [None, "red door", "red door", "blue window"]))
    assert_allclose(mixed.parts["step"][0], 0.5, atol=1e-12)


def test_one_step_in_a_task_and_equal_rewards_give_exactly_nothing() -> None:
    lone = _proxmo(_batch([0.7], ["red door"]), single="zero")
    assert not lone.token.any()
    rng = np.random.default_rng(2)
    states: list[str | None] = [" ".join(f"word{i}" for i in rng.integers(0, 5, 3)) for _ in range(9)]
    for reward in (0.1, 0.7, 1.0 / 3):
        assert not _proxmo(_batch([reward] * 9, states), gamma=1.0).token.any()


def test_a_group_of_one_is_refused_or_measured_from_zero() -> None:
    lone = _batch([2.0], ["red door"])
    with pytest.raises(BatchError, match="single member"):
        _proxmo(lone)
    assert_allclose(_proxmo(lone, single="raw").parts["episode"], [2.0 * 1.05])  # p = 0: as hard as can be


def test_success_rate_comes_from_what_is_solved_and_rewards_keep_their_scale() -> None:
    ten = _proxmo(_batch([10.0, 0, 0, 0], ["here"] * 4)).unit
    assert_allclose(ten, 10 * _proxmo(_batch([1.0, 0, 0, 0], ["here"] * 4)).unit, atol=1e-12)
    said = _proxmo(_batch([1.0, 0, 0, 0], ["here"] * 4, success=[False, True, True, True])).parts["episode"]
    beta = 0.05 / (1 / (1 + np.exp(-1.0)) - 0.5)
    up, down = (1 + beta * (1 / (1 + np.exp(-x)) - 0.5) for x in (0.25**4, -(0.75**4)))
    assert_allclose(said, [0.75 * down, -0.25 * up, -0.25 * up, -0.25 * up], atol=1e-12)


def test_weights_run_from_one_less_to_one_more_target_range() -> None:
    n = 200
    rare, common = np.zeros(n), np.ones(n)
    rare[0], common[0] = 1.0, 0.0
    for target_range in (0.05, 0.2):
        got = [_proxmo(_batch(r.tolist(), ["here"] * n), target_range=target_range).parts["episode"][0] for r in (rare, common)]
        assert_allclose(got, [(1 - 1 / n) * (1 + target_range), -(1 - 1 / n) * (1 - target_range)], rtol=0.005)
    off = _proxmo(_batch(rare.tolist(), ["here"] * n), target_range=0.0).parts["episode"]
    assert_allclose(off, rare - rare.mean(), atol=1e-12)


def test_long_rollouts_weigh_more_only_where_rows_are_counted() -> None:
    batch = ap.Batch.from_turns([[1] * 3, [1]], outcome=[1.0, 0.0], group=[0, 0], state=["aa"] * 6)
    p = {"trajectory": 0.5, "row": 0.75}
    beta = 0.05 / (1 / (1 + np.exp(-1.0)) - 0.5)
    for statistics, share in p.items():
        up = 1 + beta * (1 / (1 + np.exp(-((1 - share) ** 4))) - 0.5)
        down = 1 + beta * (1 / (1 + np.exp(share**4)) - 0.5)
        got = _proxmo(batch, statistics=statistics).parts["episode"]
        assert_allclose(got, [up * (1 - share)] * 3 + [down * -share], atol=1e-12)


def test_later_rewards_are_discounted_and_omega_weighs_them() -> None:
    batch = ap.Batch.from_turns([[1, 1], [1, 1]], outcome=[1.0, 0.0], group=[0, 0], state=["aa", "bb", None] * 2)
    one, two = _proxmo(batch, gamma=0.5), _proxmo(batch, gamma=0.5, omega=2.0)
    assert_allclose(one.parts["step"], [0.25, 0.5, -0.25, -0.5], atol=1e-4)
    assert_allclose(two.parts["step"], 2 * one.parts["step"])
    assert_allclose(two.unit, two.parts["step"] + two.parts["episode"])


def _with_ids(**changes: Any) -> ap.Batch:
    """Two rollouts of two turns: what was seen, then one word of the policy (9)."""
    ids = [1, 2, 9, 3, 9, 1, 2, 9, 4, 4, 9]
    action = [False, False, True, False, True, False, False, True, False, False, True]
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "ids": ids, "action": action, **changes}
    return ap.Batch.from_turns([[3, 2], [3, 3]], **columns)


def test_what_was_seen_can_stand_in_for_state_keys() -> None:
    seen = _proxmo(_with_ids(), text="seen", gamma=1.0)
    named = _with_ids(state=["aa bb", "cc", None, "aa bb", "dd dd", None])
    assert_allclose(seen.unit, _proxmo(named, gamma=1.0).unit, atol=1e-12)
    # the ids are names of words
    other = _with_ids(ids=[7, 5, 9, 8, 9, 7, 5, 9, 6, 6, 9])
    assert_allclose(_proxmo(other, text="seen", gamma=1.0).unit, seen.unit, atol=1e-12)
    with pytest.raises(MissingColumn, match="ids"):
        _proxmo(_with_ids(ids=None), text="seen")
    with pytest.raises(MissingColumn, match="state="):
        _proxmo(_with_ids())


def test_seen_texts_that_share_words_are_as_alike_as_named_ones() -> None:
    rng = np.random.default_rng(5)
    names = ["aa", "bb", "cc", "dd", "ee", "ff"]
    seen = [sorted(rng.integers(0, 6, int(rng.integers(1, 4))).tolist()) for _ in range(14)]
    ids = [x for text in seen for x in (*text, 9)]
    action = [x for text in seen for x in (*[False] * len(text), True)]
    batch = ap.Batch.from_turns(
        [[len(text) + 1] for text in seen], outcome=rng.normal(size=14), group=[0, 1] * 7, ids=ids, action=action,
        state=[key for text in seen for key in (" ".join(names[x] for x in text), None)],
    )  # fmt: skip
    assert_allclose(_proxmo(batch, text="seen", tau=0.4).unit, _proxmo(batch, tau=0.4).unit, atol=1e-12)


def test_what_is_seen_after_a_turn_is_the_text_of_the_next() -> None:
    # the answer of the environment stands at the end of the turn before, in the second rollout
    batch = ap.Batch.from_turns(
        [[2, 2], [3, 1]], outcome=[1.0, 0.0], group=[0, 0], ids=[1, 9, 3, 9, 1, 9, 3, 9],
        action=[False, True, False, True, False, True, False, True],
    )  # fmt: skip
    step = _proxmo(batch, text="seen", gamma=1.0).parts["step"]
    assert_allclose(step, [0.5, 0.5, -0.5, -0.5], atol=1e-12)


def test_policies_that_saw_nothing_are_compared_with_everyone() -> None:
    batch = ap.Batch.from_turns([[1], [1], [1]], outcome=[1.0, 0.0, 0.0], group=[0] * 3, ids=[9, 9, 9])
    assert_allclose(_proxmo(batch, text="seen").parts["step"], [2 / 3, -1 / 3, -1 / 3], atol=1e-12)


def test_a_turn_that_saw_nothing_is_compared_with_everyone() -> None:
    action = [True, False, True, False, True, False, True]
    batch = ap.Batch.from_turns(
        [[1], [2], [2], [2]], outcome=[1.0, 0.0, 0.0, 1.0], group=[0] * 4, ids=[9, 1, 9, 1, 9, 2, 9], action=action
    )  # fmt: skip
    assert_allclose(_proxmo(batch, text="seen").parts["step"][0], 0.5, atol=1e-12)


def test_rows_that_are_turns_give_the_same_credit() -> None:
    states = ["aa", "bb", "cc", "aa", "cc", "bb"]
    columns: dict[str, Any] = {"outcome": [1.0, 0.0], "group": [0, 0], "state": states}
    whole, split = (ap.Batch.from_turns([[1, 1]] * 2, rows=rows, **columns) for rows in ("trajectory", "turn"))
    assert_array_equal(_proxmo(whole).unit, _proxmo(split).unit)


def test_bad_options_are_refused() -> None:
    batch = _batch([1.0, 0.0], ["aa", "aa"])
    for wrong, match in (({"gamma": 1.5}, "gamma = 1.5"), ({"tau": 0.0}, "tau = 0"), ({"words": 0}, "words = 0")):
        with pytest.raises(OptionError, match=match):
            _proxmo(batch, **wrong)
