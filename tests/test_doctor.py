"""The doctor's diagnosis as a whole: order, verdict, report, JSON, streaming, and the command."""

from __future__ import annotations

import gc
import json
import re
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch
from apportion.doctor import Diagnosis, Finding, examine, examine_log
from apportion.doctor.advice import ADVICE
from apportion.doctor.buckets import BUCKETS, bucket, equal_parts, positions, smallest
from apportion.doctor.refused import diagnose
from apportion.errors import ApportionError, BatchError, OptionError

from .commands import typed as run
from .sick import healthy

ROOT = Path(__file__).parent.parent


def sick() -> Batch:
    batch = healthy()
    return batch.with_columns(outcome=np.ones(80), turn_reward=np.zeros(batch.n_turns))


# --- the whole --------------------------------------------------------------------------------------
def test_worst_comes_first_and_the_verdict_names_it() -> None:
    diagnosis = examine(sick(), methods=["rloo"])
    ranks = [["problem", "warning", "note", "fine"].index(f.severity) for f in diagnosis.findings]
    assert ranks == sorted(ranks)
    assert {f.id for f in diagnosis.problems} == {"groups-without-signal", "reward-constant"}
    assert not diagnosis.healthy
    assert diagnosis.verdict.startswith("2 problems and 1 warning")
    assert diagnosis.verdict.endswith(f"begin with {diagnosis.findings[0].id}.")


def test_a_training_run_can_be_stopped_at_its_start() -> None:
    with pytest.raises(ApportionError, match="reward-constant: All 80 trajectories earn the same reward, 1"):
        examine(sick()).raise_for_problems()
    examine(healthy()).raise_for_problems()


def test_many_batches_add_up_to_one() -> None:
    batch = healthy(groups=12)
    pieces = [batch.take(range(a, a + 16)) for a in range(0, 48, 16)]
    methods = ["rloo", "gigpo", "gae"]
    together, apart = examine(batch, methods=methods).to_plain(), examine(pieces, methods=methods).to_plain()
    assert [f["id"] for f in together["findings"]] == [f["id"] for f in apart["findings"]]
    for one, other in zip(together["findings"], apart["findings"], strict=True):
        assert _close(one["figures"], other["figures"]), one["id"]
    assert together["holds"] == apart["holds"]


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.isclose(a, b, atol=1e-12)) if isinstance(a, float) else bool(a == b)


def test_what_cannot_be_read_is_a_finding_and_the_rest_is_examined() -> None:
    class Source:
        def __init__(self) -> None:
            self.left: list[Batch | BatchError] = [
                healthy(0, groups=2),
                BatchError("logs.jsonl, line 7: logp[3] = 2.0, expected at most 0"),
                healthy(1, groups=3),
            ]

        def __iter__(self) -> Iterator[Batch]:
            return self

        def __next__(self) -> Batch:
            if not self.left:
                raise StopIteration
            item = self.left.pop(0)
            if isinstance(item, BatchError):
                raise item
            return item

    diagnosis = examine(Source(), methods=["rloo"])
    assert diagnosis.holds["groups"] == 5
    refused = diagnosis.finding("logp-positive")
    assert refused is not None
    assert "line 7" in refused.says


def test_an_iterator_that_repeats_itself_does_not_hold_the_doctor_up() -> None:
    class Stuck:
        def __iter__(self) -> Iterator[Batch]:
            return self

        def __next__(self) -> Batch:
            raise BatchError("line 1: not valid JSON")

    diagnosis = examine(Stuck())
    assert [f.id for f in diagnosis.findings] == ["unreadable"]
    assert "nothing could be read" in str(diagnosis)


def test_memory_does_not_grow_with_the_number_of_batches() -> None:
    batch = healthy(groups=4)

    def batches(times: int) -> Iterator[ap.Batch]:
        for _ in range(times):
            gc.collect()  # what is kept counts, not what waits to be collected
            yield batch

    def peak(times: int) -> int:
        tracemalloc.start()
        examine(batches(times), methods=["rloo"])
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    assert peak(60) < 1.3 * peak(10)


def test_unknown_methods_and_odd_options_are_refused() -> None:
    with pytest.raises(OptionError, match="no method 'rlo'"):
        examine(healthy(), methods=["rlo"])
    with pytest.raises(OptionError, match="expected a list"):
        examine(healthy(), methods="rloo")
    with pytest.raises(OptionError, match="vocabulary = 0"):
        examine(healthy(), vocabulary=0)


# --- words ------------------------------------------------------------------------------------------
def test_every_finding_has_advice_and_a_section_in_the_documentation() -> None:
    sections = re.findall(r"^### (\S+)$", (ROOT / "docs" / "doctor.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(ADVICE)
    source = "".join(p.read_text() for p in (ROOT / "src" / "apportion" / "doctor").glob("*.py") if p.name != "advice.py")
    for id_ in ADVICE:
        assert f'"{id_}"' in source, f"nothing ever says {id_}"


@pytest.mark.parametrize(
    ("change", "id_"),
    [
        ({"logp": np.full(1, 2.0)}, "logp-positive"),
        ({"outcome": [np.nan]}, "reward-not-finite"),
        ({"value": [np.inf]}, "scores-not-finite"),
        ({"action": [0]}, "turns-without-policy"),
        ({"action": [2]}, "mask-not-binary"),
        ({"value": [1.0, 2.0]}, "shapes-disagree"),
        ({"outcome": [1.0], "turn_reward": [1.0]}, "rewards-said-twice"),
    ],
)
def test_what_a_batch_refuses_is_diagnosed(change: dict[str, Any], id_: str) -> None:
    with pytest.raises(BatchError) as caught:
        Batch.from_turns([[1]], **change)
    assert diagnose(str(caught.value)) == id_


def test_ids_used_twice_in_one_batch_are_diagnosed() -> None:
    with pytest.raises(BatchError) as caught:
        Batch.from_turns([[1], [1]], trajectory=["a", "a"])
    assert diagnose(str(caught.value)) == "duplicate-trajectories"


def test_the_report_fits_100_columns_and_shows_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(examine(ap.example("agent")))
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert re.search(r"rloo +[▲△·▽▼ ]{4,}", text)
    assert re.search(r"rloo +[ ▁▂▃▄▅▆▇█]{4,}", text)


def test_names_from_a_log_cannot_write_on_the_terminal() -> None:
    batch = Batch.from_turns([[1], [1]], trajectory=["\x1b[31mred", "b"], outcome=[1.0, 1.0], group=["\x07", "\x07"])
    assert "\x1b" not in str(examine(batch))
    assert "\x07" not in str(examine(batch))


def test_plain_data_is_json_without_nan() -> None:
    diagnosis = Diagnosis((Finding("length-bias", "note", "x", {"r": float("nan"), "n": np.int64(3), "a": np.array([1.0])}),), {})
    assert json.loads(json.dumps(diagnosis.to_plain(), allow_nan=False))["findings"][0]["figures"] == {
        "r": None,
        "n": 3,
        "a": [1.0],
    }


# --- buckets ----------------------------------------------------------------------------------------
def test_buckets_are_exact_when_small_and_narrow_when_large() -> None:
    values = np.unique(np.concatenate([np.arange(2000), np.geomspace(2000, 2**29, 5000).astype(np.int64)]))
    at = bucket(values)
    assert np.array_equal(at[:64], np.arange(64))
    assert (np.diff(at) >= 0).all()
    assert at.max() < BUCKETS
    low = np.array([smallest(int(i)) for i in at])
    assert (low <= values).all()
    assert (values < 1.03 * low + 1).all()
    assert all(smallest(int(bucket(np.array([smallest(i)]))[0])) == smallest(i) for i in range(200))


def test_equal_parts_cover_all_that_was_counted() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount(bucket(rng.integers(1, 5000, 10_000)), minlength=BUCKETS).astype(float)
    parts = equal_parts(counts, 10)
    assert len(parts) == 10
    assert sum(counts[a:b].sum() for a, b in parts) == 10_000
    assert max(counts[a:b].sum() for a, b in parts) < 1_500
    assert equal_parts(np.eye(1, BUCKETS, 7)[0], 10) == [(7, 8)]


def test_positions_cover_every_turn_once() -> None:
    for last in (0, 1, 5, 40, 1000):
        ranges = positions(last)
        assert ranges[0][0] == 0
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
        assert ranges[-1][0] <= last < ranges[-1][1]


# --- the command ------------------------------------------------------------------------------------
@pytest.fixture
def log(tmp_path: Path) -> Path:
    sick().to_jsonl(tmp_path / "sick.jsonl")
    return tmp_path / "sick.jsonl"


def test_the_command_prints_the_report_and_exits_0(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "doctor", str(log), "--methods", "rloo,grpo")
    assert (status, err) == (0, "")
    assert "✖ PROBLEM groups-without-signal" in out
    assert out.rstrip().splitlines()[-1].startswith("2 problems and 1 warning")
    assert "gigpo" not in out.replace("gigpo and pooled_td", "").replace("(gigpo", "").replace("in gigpo", "")


def test_strict_exits_1_only_where_there_is_a_problem(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "doctor", str(log), "--strict", "--methods", "rloo")[0] == 1
    healthy().to_jsonl(tmp_path / "well.jsonl")
    assert run(capsys, "doctor", str(tmp_path / "well.jsonl"), "--strict", "--methods", "rloo")[0] == 0


def test_json_holds_every_figure(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "doctor", str(log), "--json", "--methods", "rloo")
    told = json.loads(out)
    assert status == 0
    assert told["healthy"] is False
    findings = {f["id"]: f for f in told["findings"]}
    assert findings["groups-without-signal"]["figures"]["share_of_turns"] == 1.0
    assert findings["groups-without-signal"]["section"] == "docs/doctor.md#groups-without-signal"
    assert set(findings["reward-constant"]) == {"id", "severity", "says", "why", "do", "section", "figures", "places"}


def test_a_log_that_cannot_be_read_is_diagnosed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.jsonl"
    healthy(groups=2).to_jsonl(path)
    lines = path.read_text().splitlines()
    row = json.loads(lines[3])
    row["logp"] = [5.0] * len(row["logp"])
    path.write_text("\n".join([*lines[:3], json.dumps(row), *lines[4:]]) + "\n")
    status, out, err = run(capsys, "doctor", str(path), "--strict", "--methods", "rloo")
    assert (status, err) == (1, "")
    assert "✖ PROBLEM logp-positive" in out
    assert "broken.jsonl, line 4" in re.sub(r"\s+", " ", out)
    assert "1 line that cannot be used was left out: 4" in out
    assert "7 trajectories, 2 groups" in out


def test_several_bad_lines_are_each_named_by_their_own_number(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    chats = [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": f"a {i}"}], "reward": i % 2}
        for i in range(9)
    ]
    lines = [json.dumps(chat) for chat in chats]
    lines[2], lines[3], lines[7] = "{", '{"messages": 3}', "[1}"
    path.write_text("\n".join(lines) + "\n")
    diagnosis = examine_log(path, methods=["rloo"])
    assert diagnosis.holds["trajectories"] == 6
    assert "3 lines that cannot be used were left out: 3, 4, 8" in diagnosis.assumed
    refused = diagnosis.finding("unreadable")
    assert refused is not None
    assert refused.figures["errors"] == 3
    assert [re.search(r"line (\d+)", m).group(1) for m in refused.figures["messages"]] == ["3", "4", "8"]  # type: ignore[union-attr]
    assert path.read_text().splitlines() == lines


def test_a_log_of_which_nothing_can_be_read_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text('{"what": 1}\n')
    status, out, _ = run(capsys, "doctor", str(path))
    assert status == 2
    assert "✖ PROBLEM unreadable" in out


def test_a_log_that_is_not_there_is_one_clean_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "doctor", str(tmp_path / "none.jsonl"))
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_the_code_in_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "doctor.md").read_text(), re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-1] == "reward-on-masked-tokens"
