"""Chats with tool calls: turns, policy tokens, states, and the way back."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections import UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apportion import Batch
from apportion.edges import word_pieces
from apportion.edges.messages import from_messages, to_messages
from apportion.edges.word_pieces import many_word_ids, word_ids, words
from apportion.errors import BatchError

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "box"}'}}
CHAT: list[dict[str, Any]] = [
    {"role": "system", "content": "You are a robot."},
    {"role": "user", "content": "Find the key."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "The box is empty."},
    {"role": "assistant", "content": "Hm."},
    {"role": "assistant", "content": [{"type": "text", "text": "I give up."}]},
    {"role": "user", "content": "Pity!"},
]


def test_a_turn_is_an_assistant_message_with_what_came_before_it() -> None:
    batch = from_messages([CHAT, CHAT[1:3]])
    assert (batch.n_trajectories, batch.n_turns, batch.n_rows) == (2, 4, 2)
    assert batch.trajectory_turns.tolist() == [0, 3, 4]
    first, second, third, _ = batch.need("text")
    assert first.startswith("system: You are a robot.\nuser: Find the key.\nassistant: <|call|>")
    assert second == "tool: The box is empty.\nassistant: Hm."
    assert third == "assistant: I give up.\nuser: Pity!"


def test_policy_tokens_are_what_the_assistant_wrote_and_its_end_mark() -> None:
    pieces: list[str] = []

    def remember(text: str) -> list[int]:
        pieces.append(text)
        return [len(pieces) - 1]

    batch = from_messages([CHAT], tokenizer=remember)
    wrote = [pieces[i] for i in batch.need("ids")[batch.action]]
    call = '<|call|>{"function":{"arguments":"{\\"at\\": \\"box\\"}","name":"look"},"id":"c1","type":"function"}<|end|>'
    assert wrote == [call, "Hm.<|end|>", "I give up.<|end|>"]
    assert "<|assistant|>\n" in [pieces[i] for i in batch.need("ids")[~batch.action]]


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(words(text)) == text


def test_word_ids_are_the_same_in_every_process() -> None:
    code = "from apportion.edges.word_pieces import word_ids; print(word_ids('go to the hall'))"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert other.stdout.strip() == str(word_ids("go to the hall"))


ODD = st.text(alphabet="ab_ \t\n\x1c<|>!é字\u0301\u2003👍\ud800", max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=6), st.sampled_from([1, 7, 1 << 18]))
@example(["<||> <|a|> <|a| <|a", "", " <|b|>"], 1)
def test_much_text_is_cut_as_little_text_is(texts: list[str], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_pieces, "_LITTLE", 0)
        patch.setattr(word_pieces, "_CHUNK", chunk)
        ids, count = many_word_ids(texts)
    expected = [word_ids(t) for t in texts]
    assert count.tolist() == [len(e) for e in expected]
    assert ids.tolist() == [i for e in expected for i in e]


def test_the_table_of_words_is_begun_anew_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_pieces, "_LITTLE", 0)
    monkeypatch.setattr(word_pieces, "_CHUNK", 100)
    monkeypatch.setattr(word_pieces, "_SLOTS", 1 << 10)
    sizes: list[int] = []
    room = word_pieces._Table.make_room

    def watched(self: word_pieces._Table, n: int) -> None:
        room(self, n)
        sizes.append(self.used)
        assert 2 * (self.used + n) <= self.keys.size

    monkeypatch.setattr(word_pieces._Table, "make_room", watched)
    texts = [" ".join(f"w{i}" for i in range(k * 30, (k + 1) * 30)) for k in range(30)]  # 900 words, all different
    ids, count = many_word_ids([*texts, texts[0]])
    assert sizes.count(0) > 1
    assert count.tolist() == [30] * 31
    assert np.unique(ids).size == 900
    assert ids[:30].tolist() == ids[-30:].tolist() == word_ids(texts[0])


def test_an_assistant_message_of_weight_0_is_context() -> None:
    example = {"role": "assistant", "content": "An example.", "weight": 0}
    batch = from_messages([[CHAT[1], example, *CHAT[1:3]]], state="observation")
    assert batch.n_turns == 1
    assert "An example." in batch.need("text")[0]
    assert batch.action_count("turn").tolist() == from_messages([CHAT[1:3]]).action_count("turn").tolist()
    assert batch.need("state").to_list() == ["Find the key.\nFind the key.", None]
    with pytest.raises(BatchError, match="no assistant message"):
        from_messages([[CHAT[1], example]])


def test_messages_come_back_exactly_through_files_and_take(tmp_path: Path) -> None:
    chats = [CHAT, CHAT[1:3]]
    before = copy.deepcopy(chats)
    batch = from_messages(chats, trajectory=["a", 7])
    assert to_messages(batch) == before
    assert chats == before
    batch.to_jsonl(tmp_path / "b")
    assert to_messages(Batch.from_jsonl(tmp_path / "b")) == before
    assert to_messages(batch.take([1, 1, 0])) == [before[1], before[1], before[0]]
    with pytest.raises(BatchError, match="keep_messages=True"):
        to_messages(from_messages(chats, keep_messages=False))


def test_what_comes_back_is_a_copy() -> None:
    batch = from_messages([CHAT])
    to_messages(batch)[0][0]["content"] = "changed"
    assert to_messages(batch) == [CHAT]


def test_states_are_what_the_policy_was_just_shown() -> None:
    batch = from_messages([CHAT, CHAT[:3]], state="observation")
    keys = batch.need("state").to_list()
    assert keys == ["Find the key.", "The box is empty.", None, "Pity!", "Find the key.", None]
    assert from_messages([CHAT[:3]], state=[["s", "t"]]).need("state").to_list() == ["s", "t"]
    assert from_messages([CHAT]).state is None


def test_columns_come_from_the_dicts_or_from_keywords() -> None:
    rows = [
        {"messages": CHAT, "reward": 1.0, "group": "p", "turn_reward": [0.0, 0.5, 0.0], "model": "m"},
        {"messages": CHAT[:3], "outcome": 0.0, "group": "p", "turn_reward": [0.0]},
    ]
    batch = from_messages(rows, ignore=["model"], success=[True, False])
    assert batch.need("outcome").tolist() == [1.0, 0.0]
    assert batch.group is not None
    assert batch.group.to_list() == ["p", "p"]
    assert batch.need("turn_reward").tolist() == [0, 0.5, 0, 0]
    assert batch.need("success").tolist() == [True, False]


def test_the_tokenizer_is_named_and_may_return_an_encoding() -> None:
    class Encoding(UserDict):  # type: ignore[type-arg]
        pass

    def letters(text: str) -> Any:
        return Encoding({"input_ids": [ord(c) for c in text]})

    batch = from_messages([CHAT], tokenizer=letters)
    assert batch.meta["tokenizer"].endswith("letters")
    assert "words" in from_messages([CHAT]).meta["tokenizer"]
    assert "".join(map(chr, batch.need("ids").tolist())).startswith("<|system|>\nYou are a robot.<|end|>")


USER = {"role": "user", "content": "x"}
WROTE = {"role": "assistant", "content": "y"}
WRONG: list[tuple[Any, dict[str, Any], str]] = [
    ([], {}, "conversations is empty"),
    ([[WROTE], []], {}, r"conversations\[1\] is empty"),
    ([[WROTE], [USER]], {}, r"conversations\[1\] has no assistant message"),
    ([[USER, {"role": "robot", "content": "x"}]], {}, r"conversations\[0\], message 1: role = 'robot'"),
    ([[USER, {"content": "x"}]], {}, r"conversations\[0\], message 1: expected a dict with 'role'"),
    ([["hello"]], {}, r"conversations\[0\], message 0: expected a dict"),
    (["hello"], {}, r"conversations\[0\] is str"),
    ([[{**USER, "tool_calls": [CALL]}, WROTE]], {}, r"message 0: a user message has tool_calls"),
    ([[{**WROTE, "content": 3}]], {}, r"message 0: content is int"),
    ([[{**WROTE, "extra": object()}]], {}, r"conversations\[0\], message 0\['extra'\] is object"),
    ([{"chat": [WROTE]}], {}, r"conversations\[0\] has no 'messages'"),
    ([{"messages": [WROTE], "rewards": 1}], {}, r"conversations\[0\] has key 'rewards': did you mean .*reward"),
    ([{"messages": [WROTE], "reward": 1, "outcome": 1}], {}, "both 'reward' and 'outcome'"),
    ([{"messages": [WROTE], "reward": 1}, {"messages": [WROTE]}], {}, r"conversations\[1\] has no 'outcome'"),
    ([{"messages": [WROTE], "turn_reward": [1, 2]}], {}, r"conversations\[0\]: turn_reward needs a list of 1"),
    ([[WROTE]], {"state": "hash"}, "state = 'hash'"),
    ([[WROTE]], {"tokenizer": lambda text: []}, r"message 0: the tokenizer made no token of 'y<\|end\|>'"),
    ([[WROTE]], {"tokenizer": lambda text: text}, r"message 0: the tokenizer gave str"),
    ([[WROTE]], {"rewards": [1]}, "no column 'rewards'"),
    ([[WROTE]], {"trajectory": ["a", "b"]}, "trajectory has 2 entries, but there are 1"),
    ([[WROTE], [WROTE]], {"outcome": [1.0]}, "outcome has 1 entries, expected 2"),
]


@pytest.mark.parametrize(("chats", "options", "message"), WRONG)
def test_what_is_wrong_is_named_with_conversation_and_message(chats: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BatchError, match=message):
        from_messages(chats, **options)


def test_observation_tokens_get_no_credit() -> None:
    import apportion as ap

    batch = from_messages([CHAT, CHAT[:3]], outcome=[1.0, 0.0], group=["p", "p"])
    credit = ap.assign(batch, "rloo")
    assert isinstance(credit, ap.Credit)
    np.testing.assert_array_equal(credit.token != 0, batch.action)
