"""What an agent loop hands over to verl's trainer: checked where it is said, and by row where it arrives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apportion.batch import Batch
from apportion.errors import BatchError
from apportion.integrations.verl import hand_over
from apportion.integrations.verl.handover import check_row, columns, runs, unit_ids


def output(*mask: int) -> Any:
    return SimpleNamespace(response_mask=list(mask), extra_fields={"turn_scores": []})


def test_what_is_handed_over_stands_in_extra_fields() -> None:
    out = hand_over(output(1, 1, 0, 1), state=["a", "b", "end"], turn_reward=[0.0, 1.0], success=None)
    assert out.extra_fields == {"turn_scores": [], "apportion": {"state": ["a", "b", "end"], "turn_reward": [0.0, 1.0]}}


def test_turns_are_runs_of_ones_unless_lengths_are_given() -> None:
    mask = np.array([0, 1, 1, 0, 1, 1, 1, 0]) == 1
    assert runs(mask).tolist() == [2, 3]
    assert check_row("row", {}, mask) == {"turn": 2, "step": 2}
    assert check_row("row", {"turn_lengths": [2, 1, 2]}, mask) == {"turn": 3, "step": 3}
    assert check_row("row", {"step_lengths": [1, 1, 3]}, mask) == {"turn": 2, "step": 3}
    assert unit_ids(np.array([2, 1, 2]), mask).tolist() == [-1, 0, 0, -1, 1, 2, 2, -1]


def test_everything_a_batch_knows_of_turns_and_trajectories_can_be_handed_over() -> None:
    known = columns()
    assert {"state", "turn_reward", "process", "node", "parent", "truncated", "bootstrap", "success", "agent", "episode"} <= set(
        known
    )
    assert not {"ids", "logp", "value", "outcome"} & set(known)
    assert set(known) - {"episode"} <= set(Batch.columns())


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"states": ["a"]}, "row 3: nothing called 'states' can be handed over; there are: .*state"),
        ({"state": ["a"]}, "row 3: state has 1 entries, but the row has 2 turns"),
        ({"state": ["a"] * 4}, "row 3: state has 4 entries"),
        ({"state": "ab"}, "row 3: state is str, expected a list"),
        ({"turn_reward": [0.0, 0.0, 0.0]}, "row 3: turn_reward has 3 entries, but the row has 2 turns"),
        ({"process": [0.1]}, "row 3: process has 1 entries, but the row has 2 steps"),
        ({"turn_lengths": [2, 2]}, "row 3: turn_lengths add up to 4, but response_mask has 3 policy tokens"),
        ({"turn_lengths": [3, 0]}, "row 3: turn_lengths"),
        ({"turn_lengths": [1.5, 1.5]}, "row 3: turn_lengths"),
        ({"step_lengths": [1, 2]}, "row 3: a turn ends after 2 policy tokens, inside a step"),
        (["state"], "row 3: .*expected a dictionary"),
    ],
)
def test_what_does_not_fit_the_row_is_refused_by_row_and_field(given: Any, match: str) -> None:
    with pytest.raises(BatchError, match=match):
        check_row("row 3", given, np.array([1, 1, 0, 1]) == 1)


def test_the_last_turn_is_cut_where_verl_cut_the_response() -> None:
    out = hand_over(output(1, 1, 0, 1), turn_lengths=[2, 5], turn_reward=[0.0, 1.0])
    assert out.extra_fields["apportion"]["turn_lengths"] == [2, 1]


def test_a_turn_beyond_the_response_is_an_error() -> None:
    with pytest.raises(BatchError, match="the last one has none left"):
        hand_over(output(1, 1, 0, 1), turn_lengths=[2, 1, 5], turn_reward=[0.0, 0.0, 1.0])


def test_a_mistake_leaves_the_output_as_it_was() -> None:
    out = output(1, 0, 1)
    with pytest.raises(BatchError):
        hand_over(out, state=["a"])
    assert out.extra_fields == {"turn_scores": []}
