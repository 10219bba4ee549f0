"""HICRA: the card's worked example, marks, the code's variant, mining and matching of n-grams, saving."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch, Spans, assign
from apportion.credit import Credit
from apportion.errors import BatchError, MissingColumn, OptionError
from apportion.evidence.grams import Grams
from apportion.methods import hicra as module

R = [1.0, 0.0, 0.0, 0.0]


def _batch(lengths: Any = (2, 2, 2, 2), **columns: Any) -> Batch:
    return Batch.from_turns([[n] for n in lengths], **{"outcome": R, "group": [0] * 4, **columns})


def _hicra(batch: Batch, **options: Any) -> Credit:
    credit = assign(batch, "hicra", **options)
    assert isinstance(credit, Credit)
    return credit


FIRST = np.tile([1.0, 0.0], 4)  # the first token of every answer plans


def test_worked_example_of_the_card() -> None:
    credit = _hicra(_batch(), planning=FIRST)
    assert_allclose(credit.token, [0.90, 0.75] + [-0.20, -0.25] * 3)
    assert_allclose(credit.parts["group"], [0.75] * 2 + [-0.25] * 6)
    assert_allclose(credit.parts["planning"], [0.15, 0] + [0.05, 0] * 3)
    std = _hicra(_batch(), planning=FIRST, spread="sample")
    assert_allclose(std.token, [1.8, 1.5] + [-0.4, -0.5] * 3, atol=1e-5)
    assert credit.diagnostics["planning"] == 0.5


def test_punishment_of_plans_is_dampened_and_no_sign_turns() -> None:
    grpo = assign(_batch(), "grpo", spread="none")
    assert isinstance(grpo, Credit)
    for alpha in (0.0, 0.2, 0.7, 1.0):
        credit = _hicra(_batch(), planning=FIRST, alpha=alpha)
        factor = np.where(grpo.token > 0, 1 + alpha, 1 - alpha)
        assert_allclose(credit.token, np.where(FIRST > 0, factor, 1.0) * grpo.token)
        assert (credit.token * grpo.token >= 0).all()
    assert_array_equal(_hicra(_batch(), planning=np.zeros(8)).token, grpo.token)


def test_words_of_the_card_are_found_as_token_spans() -> None:
    vocabulary: dict[str, int] = {}

    def encode(text: str) -> list[int]:
        return [vocabulary.setdefault(w, len(vocabulary)) for w in text.lower().split()]

    words = encode("so let's try a different approach now x=3")
    ids = [*words, *[90] * 24]
    batch = _batch((8, 8, 8, 8), ids=ids)
    credit = _hicra(batch, learned=module.phrase_grams(encode))
    assert_allclose(credit.token[:8], [0.75, 0.9, 0.9, 0.9, 0.9, 0.9, 0.75, 0.75])
    assert_allclose(credit.token[8:], -0.25)


def test_phrases_are_entered_with_and_without_a_space_and_a_capital() -> None:
    seen: list[str] = []

    def encode(text: str) -> list[int]:
        seen.append(text)
        return [len(seen)]

    module.phrase_grams(encode, ["wait a bit"])
    assert seen == ["wait a bit", " wait a bit", "Wait a bit", " Wait a bit"]
    with pytest.raises(OptionError, match="at least one non-empty"):
        module.phrase_grams(lambda text: [], ["x"])


def test_overlapping_matches_are_joined_and_stay_within_the_policy_s_words() -> None:
    grams = Grams.of([[1, 2, 3], [3, 4], [5, 6]])
    ids = [9, 1, 2, 3, 4, 9, 1, 2, 5, 6, 3, 4, 1, 2, 3, 5]
    action = [True] * 8 + [True, False, True, True] + [True] * 4
    batch = Batch.from_turns([[6], [2], [4], [1, 3]], ids=ids, action=action, outcome=R, group=[0] * 4)
    # 1 2 | 5 6 over a boundary or an observation do not match; 3 4 does
    expected = [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert_array_equal(grams.mask(batch), np.array(expected, dtype=bool))
    apart = Batch.from_turns([[2], [1], [1], [1]], ids=[1, 2, 3, 3, 4], outcome=R, group=[0] * 4)
    assert not grams.mask(apart).any()


def test_spans_can_mark_what_plans() -> None:
    spans = {"planning": Spans(np.array([0, 1, 5]), np.array([2, 3, 6])), "other": Spans(np.array([7]), np.array([8]))}
    credit = _hicra(_batch(spans=spans), marks="spans")
    assert_array_equal(np.flatnonzero(credit.parts["planning"]), [0, 1, 2, 5])
    none = _batch(spans={"planning": Spans(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))})
    assert_array_equal(_hicra(none, marks="spans").parts["planning"], 0.0)
    with pytest.raises(MissingColumn, match="spans"):
        _hicra(_batch(), marks="spans")
    with pytest.raises(OptionError, match=r"spans \['other'\], expected a table 'planning'"):
        _hicra(_batch(spans={"other": spans["other"]}), marks="spans")


def test_observation_tokens_and_nulls_are_not_marked() -> None:
    batch = _batch(action=[False, True] * 4)
    shown = _hicra(batch, planning=np.ones(8))
    for values in (shown.token, shown.unit, *shown.parts.values()):
        assert_array_equal(values[::2], 0.0)
    credit = _hicra(_batch(), planning=[np.nan, 1.0, 0.5, -1.0, 0, 0, 0, 0])
    assert_array_equal(np.flatnonzero(credit.parts["planning"]), [1, 2])


def test_the_code_s_variant_adds_surprising_tokens_of_long_good_answers() -> None:
    entropy = np.concatenate([np.arange(10) / 10, np.arange(4), np.arange(10) + 5.0, np.arange(4)])
    batch = _batch((10, 4, 10, 4), outcome=[1.0, 1.0, 0.0, 0.0], entropy=entropy)
    credit = _hicra(batch, planning=np.zeros(28), variant="code")
    # rank floor(.7 x 10) = 7: above 0.7 are two tokens; the short one and the wrong ones add nothing
    assert_array_equal(np.flatnonzero(credit.parts["planning"]), [8, 9])
    assert_allclose(credit.token[[7, 8]], [0.5, 0.6])
    half = _hicra(batch, planning=np.zeros(28), variant="code", upper=0.5)
    assert_array_equal(np.flatnonzero(half.parts["planning"]), [6, 7, 8, 9])
    every = _hicra(batch, planning=np.zeros(28), variant="code", upper=1.0)
    assert_array_equal(np.flatnonzero(every.parts["planning"]), np.arange(1, 10))  # all but the least
    one = _hicra(batch, planning=np.zeros(28), variant="code", upper=0.0)
    assert_array_equal(one.parts["planning"], 0.0)
    both = _hicra(batch, planning=np.eye(28)[20], variant="code")
    assert_array_equal(np.flatnonzero(both.parts["planning"]), [8, 9, 20])  # plans of wrong answers too
    longest = _batch((6, 4, 10, 12), outcome=[1.0, 1.0, 0.0, 0.0], entropy=np.arange(32.0))
    assert_array_equal(_hicra(longest, planning=np.zeros(32), variant="code").parts["planning"], 0.0)
    even = _batch((4, 4, 4, 4), entropy=np.arange(16.0))  # none is longer than the mean
    assert_array_equal(_hicra(even, planning=np.zeros(16), variant="code").parts["planning"], 0.0)
    observed = np.where(np.arange(28) < 3, 99.0, entropy)
    seen = batch.with_columns(entropy=observed, action=np.arange(28) >= 3)
    assert_array_equal(
        np.flatnonzero(_hicra(seen, planning=np.zeros(28), variant="code").parts["planning"]), [8, 9]
    )  # fmt: skip
    with pytest.raises(MissingColumn, match="entropy"):
        _hicra(_batch(), planning=FIRST, variant="code")
    with pytest.raises(OptionError, match="upper = 2"):
        _hicra(batch, planning=np.zeros(28), variant="code", upper=2.0)


def test_equal_rewards_and_groups_of_one() -> None:
    assert_array_equal(_hicra(_batch(outcome=[0.1] * 4), planning=FIRST).token, 0.0)
    lone = Batch.from_turns([[2]], outcome=[1.0], group=[0])
    with pytest.raises(BatchError, match="single member"):
        _hicra(lone, planning=[1, 0])
    assert_array_equal(_hicra(lone, planning=[1, 0], single="zero").token, 0.0)


@pytest.mark.parametrize("alpha", [-0.1, 1.5])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(OptionError, match="alpha"):
        _hicra(_batch(), planning=FIRST, alpha=alpha)


# --- mining ---------------------------------------------------------------------------------------------


def _corpus(n: int = 40, seed: int = 0) -> tuple[Batch, np.ndarray[Any, Any]]:
    """Random answers of 12 tokens; four in five solved ones hold 1 2 3 4 somewhere, failures hold 5 6 7 8."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(100, 10_000, (n, 12))
    solved = np.arange(n) % 2 == 0
    at = rng.integers(0, 8, n)
    held = (np.arange(n) % 10 != 0) | ~solved
    for i in np.flatnonzero(held):
        ids[i, at[i] : at[i] + 4] = [1, 2, 3, 4] if solved[i] else [5, 6, 7, 8]
    batch = Batch.from_turns([[12]] * n, ids=ids.ravel(), outcome=solved.astype(float), group=np.arange(n) // 4)
    return batch, np.isin(ids, [1, 2, 3, 4]).ravel()


def _mine(batch: Batch, **options: Any) -> Grams:
    return module.fit(batch, rng=np.random.default_rng(0), **options)


def test_n_grams_that_solved_answers_share_are_found_and_others_not() -> None:
    batch, planted = _corpus()
    grams = _mine(batch)
    assert sorted(grams.length.tolist()) == [3, 3, 4]  # 1 2 3, 2 3 4 and 1 2 3 4
    assert_array_equal(grams.mask(batch), planted)
    credit = _hicra(batch, fit=True, rng=0)
    assert_array_equal(credit.parts["planning"] != 0, planted)
    assert credit.bill.trained == batch.n_tokens


def test_success_is_what_marks_and_a_fold_does_not_mark_itself() -> None:
    batch, _ = _corpus()
    failed = _mine(batch.with_columns(outcome=1 - batch.reward))
    assert_array_equal(failed.mask(batch), np.isin(batch.need("ids"), [5, 6, 7, 8]))
    pair = np.arange(24).reshape(2, 12)
    pair[1, 4:8] = pair[0, 4:8]
    two = Batch.from_turns([[12]] * 2, ids=pair.ravel(), outcome=[1.0, 1.0], group=[0, 0])
    grams = _mine(two, folds=2)
    assert grams.fold[-1].any()
    assert not grams.fold[:-1].any()  # one answer alone shares nothing
    assert not grams.mask(two).any()
    other = Batch.from_turns([[4]], ids=pair[0, 4:8], outcome=[0.0])
    assert grams.mask(other).all()  # what was not mined is matched with all


def test_the_top_is_a_quantile_of_document_frequencies() -> None:
    ids = np.arange(10 * 12).reshape(10, 12) + 1000
    ids[:, 0:3] = [1, 2, 3]  # in all ten
    ids[:5, 4:7] = [4, 5, 6]  # in five
    ids[:2, 8:11] = [7, 8, 9]  # in two
    batch = Batch.from_turns([[12]] * 10, ids=ids.ravel(), outcome=np.ones(10), group=[0] * 10)
    lengths = (3, 3)
    for top, expected in ((0.2, {1}), (0.5, {1, 4}), (1.0, {1, 4, 7})):
        grams = _mine(batch, lengths=lengths, top=top, folds=2)
        chosen = {first for first in (1, 4, 7) if _has(grams, [first, first + 1, first + 2])}
        assert chosen == expected
    assert grams.length.size == 3
    rare = _mine(batch, lengths=lengths, top=1.0, least=6, folds=2)
    assert [_has(rare, [f, f + 1, f + 2]) for f in (1, 4, 7)] == [True, False, False]
    assert _mine(batch, lengths=lengths, top=1.0, least=1, folds=2).length.size > 50


def _has(grams: Grams, gram: list[int]) -> bool:
    """Whether the n-gram is in the set mined from everything."""
    alone = Batch.from_turns([[len(gram)]], ids=gram, outcome=[0.0])
    return bool(grams.mask(alone).all())


def test_n_grams_of_one_meaning_count_together() -> None:
    ids = np.arange(8 * 6).reshape(8, 6) + 1000
    ids[:3, :3] = [1, 2, 3]
    ids[3:6, :3] = [11, 12, 13]  # the same in other words
    ids[:4, 3:6] = [7, 8, 9]
    batch = Batch.from_turns([[6]] * 8, ids=ids.ravel(), outcome=np.ones(8), group=[0] * 8)
    plain = _mine(batch, lengths=(3, 3), folds=2)
    assert [_has(plain, g) for g in ([1, 2, 3], [7, 8, 9])] == [False, True]

    def cluster(grams: Any) -> list[int]:
        return [0 if min(g) % 10 == 1 and max(g) < 100 else i + 1 for i, g in enumerate(grams)]

    joined = _mine(batch, lengths=(3, 3), folds=2, cluster=cluster)
    assert [_has(joined, g) for g in ([1, 2, 3], [11, 12, 13], [7, 8, 9])] == [True, True, False]
    with pytest.raises(OptionError, match="cluster returned 1 labels"):
        _mine(batch, cluster=lambda grams: [0])


def test_a_saved_set_matches_the_same() -> None:
    batch, _ = _corpus()
    grams = _mine(batch)
    again = Grams.load(grams.save())
    assert_array_equal(again.mask(batch), grams.mask(batch))
    assert again.bill == grams.bill


@pytest.mark.parametrize(
    ("options", "message"),
    [({"lengths": (4, 3)}, "lengths"), ({"lengths": (0, 3)}, "lengths"), ({"top": 0.0}, "top = 0"), ({"top": 1.1}, "top"),
     ({"least": 0}, "least = 0"), ({"folds": 1}, "folds = 1")],
)  # fmt: skip
def test_mining_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        _mine(_corpus()[0], **options)


def test_mining_needs_ids_and_two_answers() -> None:
    with pytest.raises(MissingColumn, match="ids"):
        _hicra(_batch(), fit=True)
    with pytest.raises(BatchError, match="held out"):
        _mine(Batch.from_turns([[3]], ids=[1, 2, 3], outcome=[1.0]))
    short = Batch.from_turns([[1], [1]], ids=[1, 2], outcome=[1.0, 0.0], group=[0, 0])
    assert not _mine(short).mask(short).any()
