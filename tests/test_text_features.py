"""Features a written function may read: what they count, and what they never look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from apportion import Batch
from apportion.errors import MissingColumn, OptionError
from apportion.evidence.text_features import DONE, SEEN, Vocabulary, described, telling_words, text_features

#: one trajectory of three turns, one of two. o: shown, a: written
#:           turn 0    turn 1    turn 2       | turn 3   turn 4
IDS = [5, 6, 7, 5, 6, 7, 6, 0, 7, 9, 8, 5, 7, 9, 9, 5]
ACT = [0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1]
LENGTHS = [[3, 4, 4], [2, 3]]


def _batch(**more: Any) -> Batch:
    return Batch.from_turns(LENGTHS, **{"ids": IDS, "action": np.array(ACT, dtype=bool), **more})


def _all(batch: Batch, *names: str) -> list[list[float]]:
    found = text_features(batch, "turn", names)
    return [found[n].tolist() for n in names]


def test_what_each_feature_counts() -> None:
    batch = _batch()
    position, seen, seen_before, written, written_before = _all(
        batch, "position", "seen", "seen_before", "written", "written_before"
    )
    assert position == [0, 1, 2, 0, 1]
    assert seen == [2, 2, 1, 1, 1]  # token 8, after the words of its turn, is not what they were written on
    assert seen_before == [0, 2, 4, 0, 1]
    assert written == [1, 2, 2, 1, 2]
    assert written_before == [0, 1, 3, 0, 1]
    seen_again, written_again = _all(batch, "seen_again", "written_again")
    assert seen_again == [0, 1, 0, 0, 0]  # 5 6 twice; the other rollout's 5 is its own
    assert written_again == [0, 0, 0, 0, 0]
    new, copied = _all(batch, "new", "copied")
    assert new == [1, 0, 0.5, 1, 0]  # 7; 7 6; 7 9; 7; 9 5 after 9 was shown
    assert copied == [0, 0.5, 0, 0, 0.5]
    saw_5, saw_8, wrote_7, wrote_9 = _all(batch, "saw_5", "saw_8", "wrote_7", "wrote_9")
    assert saw_5 == [1, 1, 0, 1, 0]
    assert saw_8 == [0] * 5
    assert wrote_7 == [1, 1, 1, 1, 0]
    assert wrote_9 == [0, 0, 1, 0, 1]


def test_repetitions_are_of_the_whole_in_order() -> None:
    batch = Batch.from_turns([[2, 2, 2, 1, 2]], ids=[1, 2, 2, 1, 1, 2, 1, 1, 2])
    assert _all(batch, "written_again") == [[0, 0, 1, 0, 2]]
    nothing = Batch.from_turns([[1, 2, 1]], ids=[0, 0, 0, 0], action=[True, False, True, True])
    assert _all(nothing, "seen_again", "written_again") == [[0, 0, 1], [0, 1, 2]]  # a token 0 is not nothing


def test_steps_are_counted_like_turns() -> None:
    batch = Batch.from_turns([[5]], steps=[[2, 3]], ids=[4, 1, 2, 1, 1], action=[False, True, True, True, True])
    found = text_features(batch, "step", ["written", "seen", "position", "wrote_1"])
    assert [found[n].tolist() for n in found] == [[1, 3], [1, 0], [0, 1], [1, 2]]


def test_words_of_text_stand_in_for_ids() -> None:
    batch = Batch.from_turns([[1, 1, 1]], text=["go left now", "go left now", None])
    found = text_features(batch, "turn", ["wrote_left", "written_again", "seen", "written"])
    assert_array_equal(found["wrote_left"], [1, 1, 0])
    assert_array_equal(found["written_again"], [0, 1, 0])
    assert_array_equal(found["seen"], [0, 3, 3])  # what was said the turn before
    assert set(telling_words(batch, "turn", 5).wrote) == {"go", "left", "now"}
    with pytest.raises(MissingColumn, match="ids"):
        text_features(_batch(ids=None), "turn", ["seen"])


def test_an_unknown_feature_and_a_word_of_the_wrong_kind_are_refused() -> None:
    for name in ("reward", "state", "seen_x", "length", "written_5"):
        with pytest.raises(OptionError, match=f"no feature '{name}': there are position, seen"):
            text_features(_batch(), "turn", [name])
    with pytest.raises(OptionError, match="name words by their ids, not 'stop'"):
        text_features(_batch(), "turn", ["saw_stop"])
    with pytest.raises(OptionError, match="cannot be part of a name"):
        Vocabulary(wrote=("don't",))
    with pytest.raises(OptionError, match="words = -1"):
        telling_words(_batch(), "turn", -1)


def test_nothing_but_text_is_looked_at_and_nothing_after_the_unit() -> None:
    rng = np.random.default_rng(0)
    names = list(described("turn", Vocabulary(("7", "9"), ("5",)), done=True))
    assert set(names) == {*SEEN, *DONE, "wrote_7", "wrote_9", "saw_5"}
    plain = text_features(_batch(), "turn", names)
    told = _batch(
        outcome=[1.0, 0.0], state=rng.integers(0, 9, 7).tolist(), group=[0, 0], turn_reward=rng.random(5), logp=-rng.random(16)
    )
    later = _batch(ids=[*IDS[:7], *rng.integers(0, 20, 9)])
    for name in names:
        assert_array_equal(text_features(told, "turn", [name])[name], plain[name])
        assert_array_equal(text_features(later, "turn", [name])[name][:2], plain[name][:2])
    shown_only = _batch(ids=np.where(np.array(ACT, dtype=bool), 77, IDS))
    for name in described("turn", Vocabulary(("7",), ("5",)), done=False):
        assert_array_equal(text_features(shown_only, "turn", [name])[name], plain[name])


def test_words_that_tell_units_apart_are_in_about_half_of_them() -> None:
    ids = np.concatenate([[[1, 2 + i % 2, 9 if i == 0 else 1, 100 + i % 4, 50] for i in range(8)]])
    batch = Batch.from_turns([[5] * 8], ids=ids.ravel(), action=np.tile([False, False, False, True, True], 8), outcome=[1.0])
    found = telling_words(batch, "turn", 2)
    assert found.saw == ("2", "3")
    assert found.wrote == ("100", "101")
    assert telling_words(batch, "turn", 0) == Vocabulary()
    assert telling_words(batch, "turn", 99).saw == ("2", "3", "9", "1")
    assert telling_words(batch.with_columns(outcome=[0.0]), "turn", 2) == found


def test_a_vocabulary_is_saved_as_it_is() -> None:
    for words in (Vocabulary(), Vocabulary(("7", "x_1"), ("5",))):
        assert Vocabulary.load(words.save("v"), "v") == words
    assert "{" not in "".join(described("step", Vocabulary(("7",), ("5",)), done=True).values())


def test_features_agree_with_a_plain_count_on_random_texts() -> None:
    rng = np.random.default_rng(1)
    lengths = [rng.integers(2, 6, rng.integers(1, 6)).tolist() for _ in range(20)]
    n = sum(map(sum, lengths))
    action = rng.random(n) < 0.5
    ends = np.cumsum([x for part in lengths for x in part]) - 1
    action[ends] = True
    ids = rng.integers(0, 4, n)
    batch = Batch.from_turns(lengths, ids=ids, action=action)
    found = text_features(batch, "turn", [*SEEN, *DONE])
    unit, start = 0, 0
    for part in lengths:
        past: list[tuple[int, bool]] = []
        shown_past: list[list[int]] = []
        written_past: list[list[int]] = []
        for place, size in enumerate(part):
            own = [(int(ids[i]), bool(action[i])) for i in range(start, start + size)]
            first = [a for _, a in own].index(True)
            shown, written = [w for w, _ in own[:first]], [w for w, a in own if a]
            opened = dict(reversed(own))  # who used each word first
            fresh = sum(opened[w] and w not in {x for x, _ in past} for w in written)
            want: dict[str, Any] = {
                "position": place, "seen": len(shown), "written": len(written), "seen_before": sum(not a for _, a in past),
                "written_before": sum(a for _, a in past), "seen_again": shown_past.count(shown),
                "written_again": written_past.count(written), "copied": np.mean([w in shown for w in written]),
                "new": fresh / len(written),
            }  # fmt: skip
            for name, value in want.items():
                assert_allclose(found[name][unit], value, err_msg=name)
            past += own
            shown_past.append(shown)
            written_past.append(written)
            unit, start = unit + 1, start + size
