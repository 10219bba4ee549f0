"""``apportion audit`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apportion.cli import main

HERE = str(Path(__file__).parent / "audited.py")
SMALL = ["--budget", "512", "--per-unit", "8", "--rollouts", "32"]


def run(*argv: str) -> int:
    try:
        main(["audit", *argv])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_task_gives_a_table_and_json_with_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["--env", "interaction/or", "--methods", "rloo,exact,vineppo@k=2", "--budget", "8192", "--rollouts", "64"]
    assert run(*how) == 0
    told = capsys.readouterr()
    assert "spending 8,192 continuations: up to 256 units of 64 rollouts, 32 each; vineppo@k=2 asks" in told.err
    assert all(len(line) <= 98 for line in told.out.splitlines())
    assert "exact (oracle)" in told.out
    assert run(*how, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["restore"], data["measured"], data["continuations"]) == ("exact", "advantage", 8192)
    by = {one["method"]: one for one in data["methods"]}
    assert f"{by['rloo']['correlation']['value']:.2f}".lstrip("0") in told.out
    assert by["vineppo@k=2"]["bill"]["generated"] > 0
    assert data["replica_noise"] == pytest.approx(data["expected_noise"], rel=0.3)


def test_a_dry_run_says_what_would_be_spent_and_makes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    env = ["--env", f"{HERE}:Scale", "--policy", f"{HERE}:nobody", "--methods", "rloo"]
    assert run(*env, *SMALL, "--dry-run") == 0
    assert "would spend 512 continuations: up to 64 units of 32 rollouts, 8 each" in capsys.readouterr().out
    assert run(*env, *SMALL, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["units"] == 64


def test_an_environment_of_ones_own_is_audited_and_says_how_it_was_had_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--env", f"{HERE}:Scale", "--policy", f"{HERE}:either", "--methods", "rloo,gigpo", *SMALL) == 0
    out = capsys.readouterr().out
    assert "restore: replayed; 64 of 64 places" in out
    assert "value after a unit less value before it" in out
    assert "no reseed" in out
    assert run("--env", f"{HERE}:Saving", "--policy", f"{HERE}:either", "--methods", "rloo", *SMALL) == 0
    assert "restore: exact; 64 of 64 places" in capsys.readouterr().out


def test_a_sampler_of_ones_own_is_asked_about_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.jsonl"
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a b"}, {"role": "user", "content": "r"},
            {"role": "assistant", "content": "c"}]  # fmt: skip
    rows = [{"messages": chat, "reward": float(i % 2), "prompt_id": str(i // 2)} for i in range(24)]
    path.write_text("\n".join(map(json.dumps, rows)))
    how = ["--env", f"{HERE}:echo", "--log", str(path), "--group", "prompt_id", "--methods", "rloo", *SMALL]
    assert run(*how) == 0
    assert "restore: re-fed text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--env", "no/such", "--methods", "rloo"], "no task 'no/such'"),
        (["--env", "interaction/or", "--methods", "nothing"], "no method 'nothing'"),
        (["--env", "interaction/or", "--methods", "rloo", "--policy", "x.py:y"], "for an --env of your own"),
        (["--env", "interaction/or", "--methods", "rloo", "--budget", "10"], "--budget 10"),
        (["--env", "interaction/or", "--methods", "rloo", "--rollouts", "4"], "at least 8"),
        (["--env", f"{HERE}:Scale", "--methods", "rloo"], "give --policy"),
        (["--env", f"{HERE}:Scale", "--methods", "exact", "--policy", f"{HERE}:either"], "exact answer"),
        (["--env", f"{HERE}:Scale", "--methods", "rloo", "--policy", f"{HERE}:STEPS"], "expected a function"),
        (["--env", f"{HERE}:Scale", "--methods", "archer", "--policy", f"{HERE}:either"], "archer"),
        (["--env", f"{HERE}:Scale", "--methods", "aem", "--policy", f"{HERE}:either", *SMALL], "aem needs entropy"),
        (["--env", f"{HERE}:Forgetful", "--methods", "rloo", "--policy", f"{HERE}:either", *SMALL], "cannot be replayed"),
        (["--env", f"{HERE}:echo", "--methods", "rloo"], "with --log"),
        (["--env", f"{HERE}:STEPS", "--methods", "rloo"], "expected reset and step"),
        (["--env", "textworld/big", "--methods", "rloo"], "rROOMS-oOBJECTS"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


def test_a_method_refused_by_the_rollouts_has_its_sentence_and_the_others_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    env = ["--env", f"{HERE}:Scale", "--policy", f"{HERE}:either"]
    assert run(*env, "--methods", "rloo,at2po", *SMALL) in (1, 2)
    told = capsys.readouterr()
    assert "at2po" in told.out + told.err
