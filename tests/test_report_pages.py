"""What the pages of methods, tasks and families say, against known answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apportion.bench import catalog
from apportion.bench.metadata import record
from apportion.report import summarise
from apportion.report.families import family_cards, slug
from apportion.report.methods_view import MOST, highlights, method_pages
from apportion.report.read import read_run
from apportion.report.tasks_view import task_pages

from .fake_run import write_rows, write_run


def estimate(value: Any, low: Any = None, high: Any = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high}


def gradient(method: str, task: str, net: dict[str, Any], verdict: str = "aligned", batch: int = 64) -> dict[str, Any]:
    rho = estimate(-0.4) if verdict == "pushes the wrong way" else estimate(0.4)
    return {"method": method, "task": task, "batch": batch, "verdict": verdict, "net": net, "rho": rho}


def learning(method: str, task: str, cost: Any, speedup: dict[str, Any], **more: Any) -> dict[str, Any]:
    row = {"method": method, "task": task, "cost": estimate(cost), "speedup": speedup, "spent": 900.0}
    return row | {"at_least": None, "at_most": None} | more


def said(rows: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(r["task"], r["text"]) for r in rows]


def test_highlights_say_only_what_an_interval_decides() -> None:
    summary = {
        "reference_batch": 64,
        "gradient": [
            gradient("rloo", "a", estimate(1.0, 1.0, 1.0)),
            gradient("m", "a", estimate(3.0, 2.0, 4.0)),
            gradient("m", "b", estimate(5.0, 0.9, 40.0)),  # may be nothing
            gradient("m", "c", estimate(0.2, 0.1, 0.4)),
            gradient("m", "f", estimate(0.5, 0.1, 2.0)),  # may be as good
            gradient("m", "d", estimate(None), "pushes the wrong way"),
            gradient("m", "e", estimate(9.0, 8.0, 10.0), batch=512),  # another batch size
        ],
        "learning": [
            learning("rloo", "a", 100.0, estimate(1.0, 1.0, 1.0)),
            learning("rloo", "b", "inf", estimate(1.0, 1.0, 1.0)),
            learning("m", "a", "inf", estimate(0.0, 0.0, 0.0), at_most=0.1),
            learning("m", "b", 30.0, estimate("inf"), at_least=30.0),
        ],
    }
    shines, fails = highlights(summary)
    assert said(shines["m"]) == [
        ("b", "learning is >30.0× cheaper than RLOO"),
        ("a", "a trajectory is worth 3.00× one of RLOO’s, at equal cost"),
    ]
    assert said(fails["m"]) == [
        ("d", "pushes the wrong way (alignment −0.40)"),
        ("a", "never learnt, after 900 price units; RLOO did"),
        ("c", "a trajectory is worth 0.200× one of RLOO’s, at equal cost"),
    ]
    assert "rloo" not in shines


def test_highlights_are_few_and_the_strongest_first() -> None:
    rows = [gradient("m", f"t{k}", estimate(2.0 + k, 1.5, 99.0)) for k in range(MOST + 4)]
    shines, _ = highlights({"reference_batch": 64, "gradient": rows, "learning": []})
    assert [r["task"] for r in shines["m"]] == [f"t{k}" for k in reversed(range(4, MOST + 4))]


def test_methods_say_what_the_registry_and_the_inventory_know(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", seeds=2, lens=False))
    pages = method_pages(run, summarise(run.folder))
    known = pages["library"]["gigpo"]
    assert known["arxiv"] == "2505.10978"
    assert (known["unit"], known["status"]) == ("turn", "verified")
    assert set(known["reads"]) == {"group", "reward", "state"}
    assert pages["library"]["exact"] == {}  # no method of ours: the truth
    assert pages["entrants"]["pure-judge80"]["method"] == "pure"
    assert not set("*`") & set(pages["library"]["pooled_td"]["summary"])


def test_an_entrant_says_what_it_asks_and_its_options(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", seeds=2, lens=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["entrants"][3] |= {"ask": "sampler", "options": {"k": 4}, "epochs": 1, "keeps": False, "source": {"group": 2}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    entrant = method_pages(read_run(folder), summarise(folder))["entrants"]["vineppo"]
    assert entrant["asks"] == "fresh continuations"
    assert entrant["options"] == {"k": "4", "group": "2"}


def run_of(folder: Path, id_: str, sha256: str) -> Path:
    folder.mkdir()
    write_rows(
        folder, [("rloo", id_, 0, "learning", k, 64, 0.1, v) for k, v in (("start", 0.125), ("attainable", 0.5), ("cost", 9.0))]
    )
    task = catalog.find(id_)
    definition = {**task.describe(), "sha256": sha256, "id": id_, "family": task.family, "tags": [], "horizon": task.horizon}
    manifest = {"tasks": [definition], "entrants": [{"id": "rloo", "title": "RLOO"}]}
    (folder / "manifest.json").write_text(json.dumps(manifest, default=str))
    return folder


def test_a_task_that_ships_shows_its_exact_record(tmp_path: Path) -> None:
    task = catalog.find("team/two")
    run = read_run(run_of(tmp_path / "run", "team/two", task.describe()["sha256"]))
    (page,) = task_pages(run, {"tasks": list(run.tasks.values())})
    exact = record(task)
    assert (page["start"], page["best"]) == (exact.values.expected_return, exact.values.optimum)
    assert page["knobs"]["replay: mode"] == "exact"
    assert page["slug"] == "team~two"


def test_a_task_that_has_changed_since_the_run_shows_what_the_run_says(tmp_path: Path) -> None:
    run = read_run(run_of(tmp_path / "run", "team/two", "0" * 64))
    (page,) = task_pages(run, {"tasks": list(run.tasks.values())})
    assert (page["start"], page["best"]) == (0.125, 0.5)
    assert "replay: mode" not in page["knobs"]


def test_a_family_names_its_best_only_if_measured_on_all_its_tasks() -> None:
    def row(method: str, value: float, tasks: int, **more: Any) -> dict[str, Any]:
        made = {"family": "f", "score": "speed", "method": method, "oracle": False, "iqm": estimate(value, value, value)}
        return made | {"poi": estimate(0.7, 0.6, 0.8), "tasks": ["a", "b"][:tasks], "of": 2, "bound": False} | more

    rows = [row("choosy", 9.0, 1), row("exact", 8.0, 2, oracle=True), row("plain", 2.0, 2), row("slow", 0.5, 2)]
    summary = {
        "aggregate": rows,
        "tasks": [{"id": "f/a", "family": "f"}, {"id": "f/b", "family": "f"}],
        "methods": [{"id": r["method"], "name": r["method"].upper()} for r in rows],
    }
    (card,) = family_cards(summary)
    assert card["best"]["speed"] == {
        "name": "PLAIN", "slug": "plain", "beats": True, "figure": "2.00×", "interval": "2.00× to 2.00×",
    }  # fmt: skip
    assert card["best"]["alignment"] is None
    never = [row("plain", 0.0, 2)]
    assert family_cards({**summary, "aggregate": never})[0]["best"]["speed"] is None
    unsure = [row("plain", 2.0, 2, poi=estimate(0.6, 0.4, 0.8))]
    assert family_cards({**summary, "aggregate": unsure})[0]["best"]["speed"]["beats"] is False


@pytest.mark.parametrize(("id_", "address"), [("team/two", "team~two"), ("gigpo@group=4", "gigpo@group=4")])
def test_an_id_is_one_part_of_an_address(id_: str, address: str) -> None:
    assert slug(id_) == address
