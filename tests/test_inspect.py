"""``apportion inspect``: what a log holds, which methods it feeds, and the next command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch
from apportion.doctor.inventory import feeding, inventory

from .commands import typed as run
from .sick import healthy


def methods(*batches: Batch) -> dict[str, dict[str, Any]]:
    return {line["method"]: line for line in feeding(inventory(batches))}


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Six chats of two prompts, the reward under a name of its own."""
    path = tmp_path / "my chats.jsonl"
    rows = []
    for i in range(6):
        ask, answer = {"role": "user", "content": f"q {i % 2}"}, {"role": "assistant", "content": f"answer {i}"}
        rows.append({"messages": [ask, answer], "grade": float(i > 2), "task_id": f"q{i % 2}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_figures_of_a_batch() -> None:
    batch = Batch.from_turns(
        [[2, 3], [1], [4, 4]],
        action=[0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0],
        outcome=[1.0, 0.0, 0.5],
        turn_reward=[0.0, 2.0, 0.0, 0.0, 0.0],
        group=["a", "a", "b"],
    )
    plain = inventory([batch]).to_plain()
    assert (plain["trajectories"], plain["turns"], plain["tokens"], plain["policy_tokens"], plain["groups"]) == (3, 5, 14, 11, 2)
    assert plain["group_sizes"] == {"low": 1, "median": 1.5, "high": 2}
    assert plain["turns_each"] == {"low": 1, "median": 2.0, "high": 2}
    assert plain["tokens_each"] == {"low": 1, "median": 5.0, "high": 8}
    reward = plain["reward"]
    assert reward["where"] == {"outcome": {"count": 3, "not_zero": 2}, "turn_reward": {"count": 5, "not_zero": 1}}
    assert (reward["low"], reward["high"], reward["mean"], reward["distinct"]) == (0.0, 3.0, pytest.approx(3.5 / 3), 3)
    assert sum(reward["histogram"]["counts"]) == 3


def test_pieces_add_up_to_the_whole() -> None:
    batch = healthy()
    pieces = [batch.take(range(a, a + 20)) for a in range(0, 80, 20)]
    assert inventory(pieces).to_plain() == inventory([batch]).to_plain()


def test_methods_are_ready_can_learn_or_lack_something() -> None:
    plain = methods(Batch.from_turns([[1], [1]], outcome=[0.0, 1.0], group=["a", "a"]))
    assert (plain["rloo"]["status"], plain["rloo"]["how"]) == ("ready", "")
    assert (plain["gae"]["status"], plain["gae"]["how"]) == ("can learn", "value: --fit learns it from the log")
    assert (plain["gigpo"]["status"], plain["gigpo"]["lacks"]) == ("lacks", ["state"])
    assert "--state observation" in plain["gigpo"]["how"]
    assert "ask a sampler" in plain["vineppo"]["how"]
    assert set(plain) == set(ap.methods())


def test_a_column_that_only_some_batches_have_feeds_nobody() -> None:
    batch = healthy(groups=2)
    assert methods(batch, batch.with_columns(state=None))["gigpo"]["status"] == "lacks"
    found = inventory([batch, batch.with_columns(state=None)])
    assert "state (in 50 %)" in dict(found.facts())["columns"]


def test_ready_comes_first() -> None:
    order = [line["status"] for line in feeding(inventory([healthy(groups=2)]))]
    assert order == sorted(order, key=["ready", "can learn", "lacks"].index)


def test_every_ready_method_does_run() -> None:
    batch = healthy(groups=3, limit=1000)
    for line in feeding(inventory([batch])):
        if line["status"] == "ready":
            assert ap.assign(batch, line["method"]).batch is not None


def test_the_page_fits_100_columns_and_ends_with_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ap.example("agent").to_jsonl("agent.jsonl")
    status, out, err = run(capsys, "inspect", "agent.jsonl")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "agent.jsonl · batch"
    assert "8 trajectories, 56 turns" in out
    assert "2 groups of 4 rollouts" in out
    assert lines[-1] == "next: apportion doctor agent.jsonl"


def test_the_next_command_asks_for_what_most_methods_lack(chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "inspect", str(chats))
    command = out.splitlines()[-1].removeprefix("next: ")
    assert "none found" in out
    assert shlex.split(command) == ["apportion", "inspect", str(chats), "--reward", "KEY"]
    argv = shlex.split(command.replace("KEY", "grade"))[1:]
    status, out, _ = run(capsys, *argv)
    assert status == 0
    assert shlex.split(out.splitlines()[-1].removeprefix("next: ")) == ["apportion", "doctor", str(chats), "--reward", "grade"]


def test_without_groups_the_next_command_asks_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Batch.from_turns([[1], [1]], outcome=[0.0, 1.0]).to_jsonl(tmp_path / "log.jsonl")
    _, out, _ = run(capsys, "inspect", str(tmp_path / "log.jsonl"))
    assert out.splitlines()[-1].endswith("--group KEY")


def test_json_holds_the_same(chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "inspect", str(chats), "--reward", "grade", "--json")
    told = json.loads(out)
    assert status == 0
    assert (told["format"], told["trajectories"], told["groups"], told["reward"]["mean"]) == ("chat", 6, 2, 0.5)
    assert told["assumed"]
    assert {m["method"] for m in told["methods"] if m["status"] == "ready"} >= {"rloo", "grpo", "gigpo"}
    assert told["next"].startswith("apportion doctor ")


def test_names_in_a_log_cannot_write_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = Batch.from_turns([[1], [1]], outcome=np.arange(2.0), group=["a", "a"], agent=["\x1b[31mred", "\x07"])
    batch.to_jsonl(tmp_path / "log.jsonl")
    _, out, _ = run(capsys, "inspect", str(tmp_path / "log.jsonl"))
    assert "red (1)" in out
    assert not {"\x1b", "\x07"} & set(out)


def test_a_log_that_is_not_there_is_one_clean_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "inspect", str(tmp_path / "none.jsonl"))
    assert (status, out, err.count("\n")) == (2, "", 1)
