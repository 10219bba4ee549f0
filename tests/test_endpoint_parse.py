"""Answers of a judge are read exactly, or not at all; what a judge is shown is what stands in the batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apportion import Batch
from apportion.errors import MissingColumn
from apportion.evidence.endpoint.parse import contract, scores
from apportion.evidence.wording import filled, questions_of, wording

LEVELS = (-1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        '{"scores": [1, 0, -1]}',
        'The second does nothing.\n{"scores": [1, 0, -1]}\n',
        'First I thought {"scores": [0, 0, 0]}, but no.\n```json\n{"scores": [1.0, 0, -1]}\n```',
        '{"scores": [1, 0, -1], "why": {"note": "}"}}',
        '{"why": {"note": "\\"scores\\": {"}, "scores": [1, 0, -1]}',
        '{"draft": {"scores": [0, 0, 0]}, "scores": [1, 0, -1]}',
        '{"scores": [1, 0, -1], "of": "scores", "why": {"note": "scores"}} \n```\n',
    ],
)
def test_the_last_scores_are_read(text: str) -> None:
    assert scores(text, 3, LEVELS) == [1.0, 0.0, -1.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The scores are 1, 0 and -1.",
        "[1, 0, -1]",
        '{"scores": [1, 0]}',  # too few
        '{"scores": [1, 0, -1, 0]}',  # too many
        '{"scores": [1, 0, 0.5]}',  # not on the scale
        '{"scores": ["1", "0", "-1"]}',  # text
        '{"scores": [true, false, true]}',
        '{"scores": [1, 0, NaN]}',
        '{"scores": [1, 0, Infinity]}',
        '{"score": [1, 0, -1]}',
        '{"scores": {"a": 1}}',
        '{"scores": [1, 0, -1',  # cut off
        '{"scores": ' + "[" * 100_000,
        # no draft stands in for what came of it
        'For example {"scores": [1, 1, 1]} would be all fine.\n{"scores": [-1, 0, 0,]}',
        'For example {"scores": [1, 1, 1]} would be all fine.\n{"scores": [-1, 0',
        'First {"scores": [1, 1, 1]}. Then: {"scores": null}',
        '{"scores": [1, 1, 1]} No wait, that is wrong. The scores are -1, 0 and 0.',
        """{"scores": [1, 1, 1]} then {'scores': [0, 0, 0]}""",
        '{"scores": [1, 1, 1]}\n{"sco',
        '{"scores": [1, 1, 1]} "scores"',
        '{"scores": [1, 1, 1]} {"note": "scores"}',
        '{"draft": {"scores": [1, 1, 1]}}',
        '[{"scores": [1, 1, 1]}]',
    ],
)
def test_what_is_not_exactly_what_was_asked_for_is_not_read(text: str) -> None:
    assert scores(text, 3, LEVELS) is None


def test_null_is_a_unit_the_judge_cannot_tell_and_not_zero() -> None:
    found = scores('{"scores": [null, 0, 1]}', 3, LEVELS)
    assert found is not None
    assert math.isnan(found[0])
    assert found[1:] == [0.0, 1.0]


def test_a_process_reward_is_between_minus_one_and_one() -> None:
    assert scores('{"scores": [0.25]}', 1, None) == [0.25]
    assert scores('{"scores": [1.5]}', 1, None) is None


def test_the_contract_says_how_many_and_on_which_scale() -> None:
    assert "exactly 3 entries" in contract(3, LEVELS)
    assert "-1, 0, 1" in contract(3, LEVELS)
    assert "one entry" in contract(1, None)


def test_places_in_a_task_are_no_places_of_ours() -> None:
    made = filled("Q {question} U {units}", "say {units} or {reference}", None, ["a {question}"], "turn")
    assert made == "Q say {units} or {reference} U <turn_0>\na {question}\n</turn_0>"


CHATS = [
    [
        {"role": "system", "content": "You help."},
        {"role": "user", "content": "Two and two?"},
        {"role": "assistant", "content": "Let me add."},
        {"role": "user", "content": "Well?"},
        {"role": "assistant", "content": "Four."},
    ],
    [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Red."}],
]


def test_units_and_tasks_in_words() -> None:
    batch = Batch.from_messages(CHATS, outcome=[1.0, 0.0])
    turns = wording(batch, "turn")
    assert len(turns) == 3
    assert "Let me add." in turns[0]
    assert "Four." in turns[1]
    assert wording(batch, "trajectory")[1] == turns[2]
    assert questions_of(batch) == ["You help.\n\nTwo and two?", "Name a colour."]


def test_units_finer_than_turns_are_decoded_from_their_ids() -> None:
    batch = Batch.from_turns([[2, 2]], outcome=[1.0], ids=np.array([5, 6, 7, 8]))
    assert wording(batch, "token", lambda ids: "".join(map(str, ids))) == ["5", "6", "7", "8"]
    with pytest.raises(MissingColumn, match="decode"):
        wording(Batch.from_messages(CHATS, outcome=[1.0, 0.0]), "token")
    with pytest.raises(MissingColumn, match="no text"):
        wording(batch, "turn")
