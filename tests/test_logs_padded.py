"""(B, T) dumps, rows of token ids, and a batch's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.errors import BatchError, OptionError
from apportion.logs import open_log

from .test_logs_chat import lines, said

MASK = np.array([[1, 1, 0, 0, 1, 1], [1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 1, 1]])
IDS = np.arange(18).reshape(3, 6)
DUMP: dict[str, Any] = {
    "response_mask": MASK,
    "responses": IDS,
    "attention_mask": np.concatenate([np.zeros((3, 2)), MASK | 1], axis=1).astype(int),
    "input_ids": np.zeros((3, 8), dtype=int),
    "old_log_probs": np.where(MASK, -0.5, np.nan),
    "values": np.full((3, 6), 0.25, dtype=np.float32),
    "rm_scores": np.eye(3, 6)[:, ::-1],
    "uid": np.array(["p", "q", "p"]),
}


def saved(path: Path, **changes: Any) -> Path:
    with open(path, "wb") as file:
        np.savez(file, **{k: v for k, v in {**DUMP, **changes}.items() if v is not None})
    return path


def test_a_dump_is_read_by_the_names_trainers_give(tmp_path: Path) -> None:
    log = open_log(saved(tmp_path / "dump"))
    assert (log.format, log.trajectories, log.groups) == ("padded", 3, 2)
    expected = ap.Batch.from_padded(
        response_mask=MASK, attention_mask=MASK | 1, ids=IDS, logp=DUMP["old_log_probs"], value=DUMP["values"],
        token_reward=DUMP["rm_scores"], group=["p", "q", "p"], turns="mask",
    )  # fmt: skip
    assert log.batch().same(expected)
    assert said(log, "runs of policy tokens")
    assert said(log, "token_reward") == "token_reward is 'rm_scores'."
    assert [b.n_trajectories for b in log.batches("group", 1)] == [2, 1]
    assert np.array_equal([b.reward.sum() for b in log.batches("trajectory", 1)], expected.reward)


def test_one_reward_a_row_turn_ids_and_a_tool_mask_are_found(tmp_path: Path) -> None:
    turn_ids = np.where(MASK, np.cumsum(np.diff(MASK, axis=1, prepend=0) == 1, axis=1), -1)
    path = saved(
        tmp_path / "dump", rm_scores=None, rewards=[1.0, 0.0, 0.5], response_mask=None, completion_mask=MASK | 1, tool_mask=MASK,
        turn_ids=turn_ids,
    )  # fmt: skip
    log = open_log(path)
    batch = log.batch()
    assert batch.need("outcome").tolist() == [1.0, 0.0, 0.5]
    assert batch.action.sum() == MASK.sum()
    assert np.diff(batch.trajectory_turns).tolist() == [2, 2, 2]
    assert said(log, "'completion_mask' times 'tool_mask'")
    assert open_log(path, reward="values").batch().token_reward is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"response_mask": None}, "no mask of the policy's tokens: expected one of response_mask"),
        ({"response_mask": MASK * 2}, r"response_mask\[0, 0\] = 2"),
        ({"response_mask": MASK[0]}, "response_mask has shape"),
        ({"response_mask": MASK * [[0], [1], [1]]}, r"action\[0\] has no action token: leave that row out"),
        ({"tool_mask": MASK[:, :3]}, "masks differ in shape"),
        ({"old_log_probs": np.full((3, 6), np.nan)}, r"logp\[0, 0\] = nan on a policy token"),
        ({"attention_mask": MASK * 0}, r"action\[0, 0\] is set where attention\[0, 0\] is 0"),
        ({"uid": np.array([{}, 1, 2])}, "not readable as named arrays"),
    ],
)
def test_a_broken_dump_is_refused_with_its_place(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(BatchError, match=message):
        open_log(saved(tmp_path / "dump", **changes))


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BatchError, match=r"no array 'reward_x' for the outcome \(it has attention_mask"):
        open_log(saved(tmp_path / "dump"), reward="reward_x")


ROW: dict[str, Any] = {
    "prompt_ids": [1, 2], "completion_ids": [3, 4, 5, 6], "completion_mask": [1, 1, 1, 1], "tool_mask": [1, 0, 1, 1],
    "reward": 1.0, "uid": "p",
}  # fmt: skip


def test_rows_of_token_ids_are_read_one_by_one(tmp_path: Path) -> None:
    everywhere, written = [-0.5, 9, -0.25, -0.125], [-0.5, -0.25, -0.125]
    log = open_log(lines(tmp_path / "a", {**ROW, "logprobs": everywhere}, {**ROW, "logprobs": written}))
    assert log.format == "padded"
    batch = log.batch()
    assert batch.need("ids").tolist() == [1, 2, 3, 4, 5, 6] * 2
    assert batch.turn_offsets.tolist() == [0, 3, 6, 9, 12]
    assert batch.need("logp").tolist() == [0, 0, -0.5, 0, -0.25, -0.125, 0, 0, -0.5, 0, -0.25, -0.125]
    assert batch.need("outcome").tolist() == [1.0, 1.0]
    assert said(log, "runs of policy tokens")
    assert log.groups == 1


def test_a_response_at_the_end_of_all_tokens_is_found_by_its_length(tmp_path: Path) -> None:
    row = {"tokens": [1, 2, 3, 4], "response_length": 2, "loss_mask": [1, 1], "rollout_log_probs": [-0.5, -0.25], "reward": 0.0}
    batch = open_log(lines(tmp_path / "a", row)).batch()
    assert batch.action.tolist() == [False, False, True, True]
    assert batch.need("logp").tolist() == [0, 0, -0.5, -0.25]


def test_what_follows_the_last_turn_joins_it(tmp_path: Path) -> None:
    row = {"response_ids": [1, 2, 3, 4], "response_mask": [1, 0, 1, 0], "reward": 0.0}
    assert open_log(lines(tmp_path / "a", row)).batch().turn_offsets.tolist() == [0, 1, 4]


def test_turn_ids_keep_adjacent_turns_apart(tmp_path: Path) -> None:
    row = {"response_ids": [1, 2, 3], "response_mask": [1, 1, 1], "turn_ids": [0, 1, 1], "reward": 0.0}
    assert open_log(lines(tmp_path / "a", row)).batch().turn_offsets.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"completion_mask": [1, 1]}, "completion_mask has 2 entries, but there are 4 tokens"),
        ({"tool_mask": [0, 0, 0, 0]}, "the mask has no token of the policy"),
        ({"logprobs": [-0.5, 0.0, float("nan"), -0.5]}, r"logprobs\[1\] = nan"),
        ({"logprobs": [-0.5]}, "logprobs has 1 entries, but the policy wrote 3"),
        ({"completion_ids": [3, 4, 5, 6.5]}, "completion_ids: expected a list of token ids"),
        ({"turn_ids": [0, 0]}, "turn_ids has 2 entries"),
        ({"turn_ids": [1, 0, 0, 0]}, r"turn_ids\[2\] = 0 comes after a larger id|turn_ids\[1\] = 0 comes after"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, changes: Any, message: str) -> None:
    good = {**ROW, "logprobs": [-0.5, 0.0, -0.5, -0.5]}
    with pytest.raises(BatchError, match=f"a, line 2: ({message})"):
        open_log(lines(tmp_path / "a", good, {**good, **changes}))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_batchs_own_file_is_itself_and_comes_in_pieces(tmp_path: Path, kind: str) -> None:
    batch = ap.example("agent")
    getattr(batch, f"to_{kind}")(tmp_path / "own")
    log = open_log(tmp_path / "own")
    assert (log.format, log.assumed, log.trajectories, log.groups) == ("batch", (), 8, 2)
    assert log.batch().same(batch)
    parts = list(log.batches("group", 1))
    assert [p.n_trajectories for p in parts] == [4, 4]
    assert np.array_equal(np.concatenate([p.reward for p in parts]), batch.reward)
    rows = ap.Batch.from_turns([[1, 2], [3, 4, 5], [6]], rows="turn", outcome=[1.0, 2.0, 3.0], group=["p", "q", "p"])
    getattr(rows, f"to_{kind}")(tmp_path / "rows")
    assert [(p.n_rows, p.reward.tolist()) for p in open_log(tmp_path / "rows").batches("group", 1)] == [
        (3, [1.0, 3.0]),
        (3, [2.0]),
    ]
    with pytest.raises(BatchError, match="no key can be chosen"):
        open_log(tmp_path / "own", reward="x")
    with pytest.raises(BatchError, match="was taken for 'batch'"):
        open_log(tmp_path / "own", format="chat")
    with pytest.raises(OptionError, match="format = 'cha'"):
        open_log(tmp_path / "own", format="cha")  # type: ignore[arg-type]
