"""ATIF documents: steps as turns, tokens as what is new in each prompt, rewards from wherever Harbor left them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.errors import BatchError
from apportion.logs import open_log

from .test_logs_chat import lines, said

AGENT = {"name": "solver", "version": "1", "model_name": "m"}


def agent_step(i: int, prompt: list[int], own: list[int], **more: Any) -> dict[str, Any]:
    metrics = {"prompt_token_ids": prompt, "completion_token_ids": own, "logprobs": [-0.5] * len(own)}
    return {"step_id": i, "source": "agent", "message": f"step {i}", "metrics": metrics, **more}


CALL = {"tool_call_id": "c1", "function_name": "look", "arguments": {"b": 1, "a": 2}}
SEEN = {"results": [{"source_call_id": "c1", "content": "A box."}]}
DOCUMENT: dict[str, Any] = {
    "schema_version": "ATIF-v1.8",
    "session_id": "s",
    "trajectory_id": "t",
    "agent": AGENT,
    "steps": [
        {"step_id": 1, "source": "system", "message": "Be good."},
        {"step_id": 2, "source": "user", "message": "Find the key."},
        agent_step(3, [1, 2, 3], [4, 5], tool_calls=[CALL], observation=SEEN, reasoning_content="Hm."),
        agent_step(4, [1, 2, 3, 4, 5, 6, 7], [8]),
    ],
    "extra": {"reward": 1.0, "task_id": "key"},
}


def test_steps_of_the_agent_are_turns_and_prompts_are_cut_to_what_is_new(tmp_path: Path) -> None:
    log = open_log(lines(tmp_path / "a", DOCUMENT))
    assert log.format == "atif"
    batch = log.batch()
    assert batch.need("ids").tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert batch.action.tolist() == [False] * 3 + [True] * 2 + [False] * 2 + [True]
    assert batch.turn_offsets.tolist() == [0, 5, 8]
    assert batch.need("logp").tolist() == [0, 0, 0, -0.5, -0.5, 0, 0, -0.5]
    assert batch.need("state").to_list() == ["Find the key.", "A box.", None]
    assert batch.need("outcome").tolist() == [1.0]
    assert batch.need("agent").to_list() == ["solver"]
    assert batch.trajectory.to_list() == ["t"]
    assert "log's own, with log-probabilities" in said(log, "Token ids")


def test_without_token_ids_the_text_is_read_with_calls_and_results(tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT)
    del document["steps"][2]["metrics"]["completion_token_ids"]
    log = open_log(lines(tmp_path / "a", document, {**DOCUMENT, "trajectory_id": "u"}))
    batch = log.batch()
    assert batch.logp is None
    first, second = batch.need("text")[:2]
    assert first.startswith("system: Be good.\nuser: Find the key.\nassistant: <|think|>Hm.step 3<|call|>")
    assert '"arguments":"{\\"a\\": 2, \\"b\\": 1}","name":"look"' in first
    assert second == "tool: A box.\nassistant: step 4"
    assert "1 of 2 trajectories have token ids" in said(log, "Text is cut into words")


def test_a_prompt_that_was_cut_shows_what_is_new_in_it(tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT)
    document["steps"][3]["metrics"]["prompt_token_ids"] = [1, 2, 9]
    log = open_log(lines(tmp_path / "a", document))
    assert log.batch().need("ids").tolist() == [1, 2, 3, 4, 5, 9, 8]
    assert said(log, "does not go on where the last turn ended")


def test_without_prompt_ids_only_the_policys_tokens_are_there(tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT)
    for step in document["steps"][2:]:
        del step["metrics"]["prompt_token_ids"]
    log = open_log(lines(tmp_path / "a", document))
    assert log.batch().action.tolist() == [True] * 3
    assert said(log, "tokens between turns are missing")


def test_subagents_are_trajectories_of_one_episode_and_group(tmp_path: Path) -> None:
    sub = {**deepcopy(DOCUMENT), "trajectory_id": "sub", "agent": {**AGENT, "name": "helper"}, "extra": None}
    log = open_log(
        lines(
            tmp_path / "a", {**DOCUMENT, "subagent_trajectories": [sub]}, {**DOCUMENT, "trajectory_id": "u", "session_id": "s2"}
        )
    )
    batch = log.batch()
    assert batch.trajectory.to_list() == ["t", "sub", "u"]
    assert batch.need("agent").to_list() == ["solver", "helper", "solver"]
    assert batch.within("trajectory", "group").tolist() == [0, 0, 0]
    assert batch.within("trajectory", "episode").tolist() == [0, 0, 1]
    assert batch.reward.tolist() == [1.0, 1.0, 1.0]
    assert said(log, "A subagent's trajectory has the reward of its episode")
    own = {**sub, "extra": {"reward": 0.25, "task_id": "key"}}
    assert open_log(lines(tmp_path / "b", {**DOCUMENT, "subagent_trajectories": [own]})).batch().reward.tolist() == [1.0, 0.25]


def test_our_own_keys_come_first_and_turns_may_carry_rewards_and_states(tmp_path: Path) -> None:
    document = deepcopy(DOCUMENT)
    document["extra"]["apportion"] = {"reward": 0.5, "group": "g"}
    for k, step in enumerate(document["steps"][2:]):
        step["extra"] = {"apportion": {"reward": float(k), "state": f"s{k}"}}
    batch = open_log(lines(tmp_path / "a", document)).batch()
    assert batch.need("outcome").tolist() == [0.5]
    assert batch.need("turn_reward").tolist() == [0.0, 1.0]
    assert batch.need("state").to_list() == ["s0", "s1", None]
    assert batch.group is not None
    assert batch.group.to_list() == ["g"]


@pytest.mark.parametrize(("field", "value"), [("is_copied_context", True), ("llm_call_count", 0)])
def test_steps_the_policy_did_not_write_here_are_context(tmp_path: Path, field: str, value: Any) -> None:
    document = deepcopy(DOCUMENT)
    document["steps"][2][field] = value
    log = open_log(lines(tmp_path / "a", document))
    assert log.batch().n_turns == 1
    assert said(log, "are context, not turns")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["steps"][1].update(source="robot"), r"steps\[1\]: source = 'robot'"),
        (lambda d: d["steps"][1].update(step_id=7), r"steps\[1\].step_id = 7: expected 2"),
        (lambda d: d.update(steps=d["steps"][:2]), "no step of the agent"),
        (lambda d: d.update(steps=[]), "'steps' is empty"),
        (lambda d: d["steps"][2]["metrics"].update(logprobs=[-0.5, float("nan")]), r"step 3: logprobs\[1\] = nan"),
        (lambda d: d["steps"][2]["metrics"].update(logprobs=[-0.5]), "step 3: logprobs has 1 entries, but the policy wrote 2"),
        (lambda d: d["steps"][2]["metrics"].update(completion_token_ids=[4, -1]), r"step 3: completion_token_ids\[1\] = -1"),
        (lambda d: d["steps"][2].update(tool_calls=["look"]), r"steps\[2\].tool_calls"),
        (lambda d: d.update(subagent_trajectories=[{"steps": []}]), r"subagent_trajectories\[0\].*'trajectory_id'"),
    ],
)
def test_a_broken_document_is_named_by_its_line(tmp_path: Path, change: Any, message: str) -> None:
    document = deepcopy(DOCUMENT)
    change(document)
    with pytest.raises(BatchError, match=f"a, line 2: {message}"):
        open_log(lines(tmp_path / "a", DOCUMENT, document))


def test_token_ids_outside_the_declared_vocabulary_are_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "a", DOCUMENT)
    assert open_log(path, vocab=9).trajectories == 1
    with pytest.raises(BatchError, match=r"a, line 1: token id 8 is outside the vocabulary of 8: another tokenizer's\?"):
        open_log(path, vocab=8)


def test_tokens_of_several_models_are_said(tmp_path: Path) -> None:
    other = {**DOCUMENT, "trajectory_id": "u", "agent": {**AGENT, "model_name": "n"}}
    assert "2 models (m, n)" in said(open_log(lines(tmp_path / "a", DOCUMENT, other)), "models")


def trial(root: Path, name: str, task: str, reward: Any, *, text: str | None = None) -> None:
    folder = root / name
    (folder / "agent").mkdir(parents=True)
    document = {k: v for k, v in DOCUMENT.items() if k not in ("extra", "trajectory_id")}
    (folder / "agent" / "trajectory.json").write_text(json.dumps(document, indent=2))
    (folder / "result.json").write_text(
        json.dumps({"trial_name": name, "task_name": task, "verifier_result": None if reward is None else {"rewards": reward}})
    )
    if text is not None:
        (folder / "verifier").mkdir()
        (folder / "verifier" / "reward.txt").write_text(text)


def test_a_folder_of_trials_has_tasks_as_groups_and_the_verifiers_rewards(tmp_path: Path) -> None:
    trial(tmp_path, "key__1", "key", {"reward": 1.0, "extra": 5})
    trial(tmp_path, "box__1", "box", {"speed": 0.25, "right": 0.5})
    trial(tmp_path, "key__2", "key", {"reward": 1.0}, text="0.125\n")  # what the verifier wrote comes first
    (tmp_path / "result.json").write_text(json.dumps({"id": "the job"}))
    log = open_log(tmp_path)
    batch = log.batch()
    assert batch.trajectory.to_list() == ["box__1", "key__1", "key__2"]
    assert batch.reward.tolist() == [0.75, 1.0, 0.125]
    assert batch.group is not None
    assert batch.group.to_list() == ["box", "key", "key"]
    assert np.diff(batch.trajectory_turns).tolist() == [2, 2, 2]
    assert [b.n_trajectories for b in log.batches("group", 1)] == [1, 2]


def test_a_broken_trial_is_named_by_its_file(tmp_path: Path) -> None:
    trial(tmp_path, "key__1", "key", {"reward": 1.0})
    trial(tmp_path, "key__2", "key", None)
    with pytest.raises(BatchError, match=r"key__2/agent/trajectory.json: no reward"):
        open_log(tmp_path)
    (tmp_path / "key__2" / "agent" / "trajectory.json").write_text("{")
    with pytest.raises(BatchError, match=r"key__2/agent/trajectory.json: not valid JSON"):
        open_log(tmp_path)
