"""The HTML report and the lens as files: one page, nothing fetched, data that stays data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion import Batch, Credit
from apportion.errors import BenchError, CreditError
from apportion.pages.embed import safe_json
from apportion.report import write_lens, write_report
from apportion.report.compact import columns, compact
from apportion.report.lens import fit_budget, lens_data

from .fake_run import EVIL, fake_lens, write_run


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    return write_report(write_run(folder / "run", seeds=3), folder / "report.html").read_text(encoding="utf-8")


def embedded(html: str, id_: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{id_}">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def test_report_is_one_small_page_that_fetches_nothing(html: str) -> None:
    assert len(html.encode()) < 3_000_000
    assert not re.search(r"""<(script|img|link|iframe)[^>]*\s(src|href)=""", html)
    assert not re.search(r"@import|url\(\s*['\"]?https?:", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy.group(1)


def test_only_the_scripts_of_the_page_may_run(html: str) -> None:
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) > 6
    for script in scripts:
        assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in html


def test_data_cannot_leave_its_script_element(html: str) -> None:
    ours = len(re.findall(r"<script>|<script type=.application/json. id=.data-(?:summary|pages|lens).>", html))
    assert html.lower().count("<script") == html.lower().count("</script>") == ours
    text = embedded(html, "data-lens")["tasks"][0]["trajectories"][0]["turns"][1]["text"]
    assert text == EVIL
    assert "<img" not in html


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028\u2029", "]]>", "\x00\x7f", "'\"\\"])
def test_safe_json_survives_the_round_trip_without_markup(text: str) -> None:
    encoded = safe_json({text: [text]})
    assert json.loads(encoded) == {text: [text]}
    assert not set("<>&\u2028\u2029") & set(encoded)


def test_names_from_the_manifest_are_escaped(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2, lens=False)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["command"] = "<mark>bold</mark>"
    manifest["tasks"][0]["title"] = "<kbd>title</kbd>"
    manifest["entrants"][1]["title"] = "<ins>GRPO</ins>"
    (run / "manifest.json").write_text(json.dumps(manifest))
    html = write_report(run, tmp_path / "r.html").read_text(encoding="utf-8")
    for tag in ("<mark>", "<kbd>", "<ins>"):
        assert tag not in html.split("<script>")[0]
    assert "&lt;mark&gt;bold" in html


def test_licences_of_the_chart_libraries_travel_with_them(html: str) -> None:
    assert "Copyright 2010" in html
    assert "Observable, Inc." in html
    assert html.count("Permission to use, copy, modify, and/or distribute this software") == 2


def test_report_without_a_lens_has_no_lens_section(tmp_path: Path) -> None:
    html = write_report(write_run(tmp_path / "run", seeds=2, lens=False), tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="lens-root"' not in html


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2)
    assert write_report(run, tmp_path / "a.html").read_bytes() == write_report(run, tmp_path / "b.html").read_bytes()


def test_a_lens_whose_lengths_disagree_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2)
    lens = fake_lens()
    lens["tasks"][0]["trajectories"][1]["methods"]["grpo"].pop()
    (run / "lens.json").write_text(json.dumps(lens))
    with pytest.raises(BenchError, match=r"trajectory 'forks-20/1': 'grpo' has 19 values, expected 20"):
        write_report(run, tmp_path / "r.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_unfinished_runs_say_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seeds=2, lens=False)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"cells": 40, "missing": ["a", "b", "c"]}))
    html = write_report(run, tmp_path / "r.html").read_text(encoding="utf-8")
    assert re.search(r"Unfinished run:</strong> 3 of\s+40 cells", html)


def test_trajectories_are_dropped_from_every_task_alike_to_fit() -> None:
    whole = fake_lens()
    some, left_out = fit_budget(whole, budget=16_000)
    kept = [len(t["trajectories"]) for t in some["tasks"]]
    assert left_out == 6 - sum(kept)
    assert left_out > 0
    assert min(kept) >= 1
    assert fit_budget(whole)[1] == 0


def batch_of_two() -> Batch:
    return Batch.from_turns([[2, 3], [4]], outcome=[1.0, 0.0], group=["a", "b"], text=["look", "<b>go</b>", None])


def test_lens_of_a_log_shows_null_as_null(tmp_path: Path) -> None:
    batch = batch_of_two()
    plain = Credit.of(batch, "trajectory", np.array([0.5, -0.5]))
    scored = Credit.of(batch, "turn", np.array([0.2, 0.0, 0.0]), scored=np.array([True, True, False]))
    data = lens_data(batch, {"plain": plain, "scored": scored}, truth=[0.1, 0.2, 0.3])
    first, second = (t["trajectories"][0] for t in data["tasks"])
    assert [t["task"] for t in data["tasks"]] == ["a", "b"]
    assert first["methods"] == {"plain": [0.5, 0.5], "scored": [0.2, 0.0]}
    assert second["methods"] == {"plain": [-0.5], "scored": [None]}
    assert (first["truth"], second["truth"], first["reward"]) == ([0.1, 0.2], [0.3], 1.0)
    assert [t["text"] for t in first["turns"]] == ["look", "<b>go</b>"]
    assert second["turns"][0]["text"] == "(4 tokens, no text recorded)"
    html = write_lens(batch, {"plain": plain}, tmp_path / "lens.html").read_text(encoding="utf-8")
    assert "<b>go" not in html
    assert embedded(html, "data-lens")["tasks"][0]["trajectories"][0]["methods"] == {"plain": [0.5, 0.5]}


def test_lens_by_step(tmp_path: Path) -> None:
    batch = Batch.from_turns([[2, 3]], steps=[[2, 1, 2]], outcome=[1.0])
    credit = Credit.of(batch, "step", np.array([0.1, 0.2, 0.3]))
    data = lens_data(batch, {"m": credit}, unit="step")
    trajectory = data["tasks"][0]["trajectories"][0]
    assert trajectory["methods"]["m"] == [0.1, 0.2, 0.3]
    assert [t["text"] for t in trajectory["turns"]] == ["step 1, in turn 1", "step 2, in turn 2", "step 3, in turn 2"]


def test_lens_refuses_credit_of_another_batch_and_wrong_lengths(tmp_path: Path) -> None:
    batch = batch_of_two()
    other = Batch.from_turns([[1]], outcome=[1.0])
    credit = Credit.of(batch, "turn", np.zeros(3))
    with pytest.raises(CreditError, match=r"credits\['x'\] credits another batch"):
        write_lens(batch, {"x": Credit.of(other, "turn", np.zeros(1))}, tmp_path / "l.html")
    with pytest.raises(CreditError, match=r"truth has shape \(2,\), expected \(3,\)"):
        write_lens(batch, {"x": credit}, tmp_path / "l.html", truth=[1, 2])
    with pytest.raises(CreditError, match="credits is empty"):
        write_lens(batch, {}, tmp_path / "l.html")
    assert not list(tmp_path.iterdir())


def test_columns_keep_what_rows_said() -> None:
    share = {"value": 0.5, "low": 0.1, "high": 0.9, "runs": 7}
    rows: list[dict[str, Any]] = [
        {"task": "a", "cost": {"value": 1.0, "low": None, "high": "inf"}, "share": share},
        {"task": "b", "cost": dict.fromkeys(("value", "low", "high")), "only": {"value": 2.0, "low": 1.0, "high": 3.0}},
        {"task": "a", "seeds": 3},
    ]
    made = columns(rows)
    assert made["words"] == {"task": {"words": ["a", "b"], "at": [0, 1, 0]}}
    assert made["estimates"] == {"cost": [[1.0, None, "inf"], 0, None], "only": [None, [2.0, 1.0, 3.0], None]}
    assert made["plain"] == {"share": [share, None, None], "seeds": [None, None, 3]}
    assert compact({"gradient": rows, "goal": "80 %"}) == {"gradient": made, "goal": "80 %"}
