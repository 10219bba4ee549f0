"""``apportion lens``: a log in, one page out; whole groups, nulls as nulls, credit made before or now."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion import Batch, Credit, Loss
from apportion.cli import lens as command
from apportion.report.lens import LONGEST_TEXT, fit_budget, lens_data

from .commands import typed as run

TOOL = "\n".join(f"line {k} of a long output" for k in range(900)) + "\nerror 42: the end"


def chats(groups: int = 3, members: int = 4, turns: int = 5, tool: str = TOOL) -> list[dict[str, Any]]:
    made = []
    for g in range(groups):
        for r in range(members):
            messages: list[dict[str, Any]] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": f"task {g}"}]
            for t in range(turns + r):
                messages.append({"role": "assistant", "content": f"call {t} <b>now</b>"})
                messages.append({"role": "tool", "content": f"{g} {t}: {tool}", "tool_call_id": f"c{t}"})
            messages.append({"role": "assistant", "content": "done"})
            made.append({"messages": messages, "reward": float(r % 2), "task": f"task {g}", "id": f"run-{g}-{r}"})
    return made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats()))
    return path


def embedded(page: Path) -> Any:
    found = re.search(
        r'<script type="application/json" id="data-lens">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found is not None
    return json.loads(found.group(1))


def test_a_page_of_a_log_with_roles_sizes_and_credit(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    page = log.with_name("lens.html")
    status, out, _ = run(capsys, "lens", log, "--methods", "grpo, gigpo", "-o", page)
    assert status == 0
    assert f"wrote {page}: 12 trajectories; grpo, gigpo" in out
    data = embedded(page)
    assert [len(t["trajectories"]) for t in data["tasks"]] == [4, 4, 4]
    first = data["tasks"][0]["trajectories"][0]
    assert [len(t) for t in (first["turns"], *first["methods"].values())] == [6, 6, 6]
    assert first["turns"][0]["text"].startswith("system: be brief\nuser: task 0\nassistant: call 0 <b>now</b>")
    tokens, own = first["turns"][1]["tokens"]
    assert tokens > 900
    assert 0 < own < 20
    text = page.read_text(encoding="utf-8")
    assert "12 trajectories in 3 groups" in text
    assert "left out" not in text


def test_a_long_tool_output_does_not_hide_what_the_policy_wrote(log: Path) -> None:
    batch = Batch.from_messages([{k: chat[k] for k in ("messages", "reward")} for chat in chats(groups=1, members=2)])
    data, _ = fit_budget(lens_data(batch, {"r": Credit.of(batch, "turn", np.zeros(batch.n_turns))}))
    text = data["tasks"][0]["trajectories"][0]["turns"][1]["text"]
    assert len(text) <= LONGEST_TEXT
    assert text.startswith("tool: 0 0: line 0 of a long output")
    assert "more characters" in text
    assert "error 42: the end\nassistant: call 1 <b>now</b>" in text


def test_what_the_policy_wrote_is_shortened_last() -> None:
    said = " ".join(f"thought {k}" for k in range(100))
    chat = [{"role": "user", "content": TOOL}, {"role": "assistant", "content": said}]
    batch = Batch.from_messages([{"messages": chat, "reward": 1.0}])
    data, _ = fit_budget(lens_data(batch, {"r": Credit.of(batch, "turn", np.zeros(1))}))
    text = data["tasks"][0]["trajectories"][0]["turns"][0]["text"]
    assert text.endswith(f"assistant: {said}")
    assert text.count("more characters") == 1


def test_groups_are_shown_whole_and_the_rest_is_counted(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    page = log.with_name("lens.html")
    told = {}
    for most in (4, 9, 2):
        status, out, _ = run(capsys, "lens", log, "--methods", "rloo", "-o", page, "--force", "--trajectories", most, "--json")
        assert status == 0
        told[most] = json.loads(out)
        sizes = [len(t["trajectories"]) for t in embedded(page)["tasks"]]
        assert sizes == {4: [4], 9: [4, 4], 2: [2]}[most]  # the first group alone is cut where it must
        assert f"{12 - sum(sizes)} more trajectories left out" in re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
    assert [(t["trajectories"], t["left_out"]) for t in told.values()] == [(4, 8), (8, 4), (2, 10)]


def test_a_page_is_full_before_it_is_too_large(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    page = log.with_name("lens.html")
    monkeypatch.setattr(command, "PAGE", 35_000)
    _, out, _ = run(capsys, "lens", log, "--methods", "rloo", "-o", page, "--json")
    shown = [len(t["trajectories"]) for t in embedded(page)["tasks"]]
    assert set(shown) == {4}
    assert json.loads(out)["left_out"] == 12 - sum(shown) > 0
    assert len(json.dumps(embedded(page))) < 35_000
    monkeypatch.setattr(command, "PAGE", 8_000)  # not even one group
    run(capsys, "lens", log, "--methods", "rloo", "-o", page, "--force")
    assert 0 < len(embedded(page)["tasks"][0]["trajectories"]) < 4


def test_credit_made_before_stands_beside_credit_made_now(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    table, page = log.with_name("c.parquet"), log.with_name("lens.html")
    for gamma, out in ((0.5, table), (1.0, log.with_name("d.parquet"))):
        run(capsys, "assign", log, "--method", "gigpo", "--method", "carl", "-o", out, "--option", f"gigpo.gamma={gamma}")
    status, text, err = run(
        capsys, "lens", log, "--methods", "gigpo", "--credit", table, "--credit", log.with_name("d.parquet"), "-o", page, "--json"
    )
    assert (status, err) == (0, "")
    rows = json.loads(text)["rows"]
    assert rows[0] == "gigpo"
    assert [r.split()[0] for r in rows] == ["gigpo", "gigpo", "carl", "gigpo", "carl"]
    assert len(set(rows)) == 5
    shown = embedded(page)["tasks"][0]["trajectories"][0]
    made = ap.read_credit(table).to_pylist()
    expected = [r["value"] for r in made if r["trajectory"] == shown["id"] and r["method"] == "gigpo"]
    assert shown["methods"][rows[1]] == pytest.approx(expected, rel=1e-3)
    carl = shown["methods"]["carl"]
    assert None in carl
    assert shown["dropped"]["carl"] == [k for k, v in enumerate(carl) if v is None]
    assert "gigpo" not in shown["dropped"]


def test_a_table_of_other_rollouts_is_refused_by_name(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    batch = Batch.from_turns([[1]] * 2, outcome=[1.0, 0.0], trajectory=["x", "y"])
    with ap.CreditWriter(log.with_name("c.parquet")) as out:
        out.append(Credit.of(batch, "turn", np.zeros(2), method="mine", loss=Loss(clip=np.ones((2, 2)))))
    page = log.with_name("lens.html")
    status, _, err = run(capsys, "lens", log, "--credit", log.with_name("c.parquet"), "-o", page)
    assert status == 2
    assert "c.parquet: it has no rows for the trajectories of this log" in err
    assert not page.exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to show: name methods"),
        (["--methods", "vineppo"], "cannot feed vineppo: it has no prefix_value"),
        (["--methods", "gigpo", "--group", "nokey"], "nokey"),
        (["--methods", "rloo", "--steps"], "--steps: "),
        (["--methods", "rloo", "--credit", "none.parquet"], "none.parquet: no such file"),
        (["--methods", "rloo", "-o", "page.pdf"], "its name must end in .html or .htm"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_and_leave_nothing(
    capsys: pytest.CaptureFixture[str], log: Path, argv: list[str], message: str
) -> None:
    out = ["-o", log.with_name("lens.html")] if "-o" not in argv else []
    status, _, err = run(capsys, "lens", log, *argv, *out)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in log.parent.iterdir()] == [log.name]


def test_an_existing_page_is_kept_without_force(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    page = log.with_name("lens.html")
    page.write_text("mine")
    assert run(capsys, "lens", log, "--methods", "rloo", "-o", page)[0] == 2
    assert page.read_text() == "mine"


def test_the_page_opens_where_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    opened: list[str] = []
    monkeypatch.setattr("typer.launch", opened.append)
    page = log.with_name("lens.html")
    run(capsys, "lens", log, "--methods", "rloo", "-o", page, "--open")
    assert opened == [page.resolve().as_uri()]


def test_steps_are_columns_where_the_log_has_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ap.example("math").to_jsonl(tmp_path / "math.jsonl")
    run(capsys, "lens", tmp_path / "math.jsonl", "--methods", "pure", "--steps", "-o", tmp_path / "lens.html")
    data = embedded(tmp_path / "lens.html")
    assert data["unit"] == "step"
    assert [len(x["turns"]) for x in data["tasks"][0]["trajectories"]] == [4, 4, 4, 4]
