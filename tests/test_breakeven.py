"""Where evidence begins to pay, read off a sweep."""

from __future__ import annotations

from typing import Any

import pytest

from apportion.report.breakeven import breakeven_rows, breakeven_text


def row(method: str, net: float | None, batch: int = 512) -> dict[str, Any]:
    verdict = "aligned" if net is not None else "undetermined"
    return {"task": "t", "method": method, "batch": batch, "verdict": verdict, "net": {"value": net, "low": net, "high": net}}


def curve(*nets: float | None) -> dict[str, Any]:
    rows = [row("rloo", 1.0), row("judge@a=0.5", 9.0, batch=64)]
    rows += [row(f"judge@a={0.6 + 0.1 * i:g}", net) for i, net in enumerate(nets)]
    [found] = breakeven_rows(rows, 512)
    return found


def test_break_even_lies_between_the_points_on_a_log_scale() -> None:
    found = curve(0.25, 0.5, 2.0, 4.0)
    assert [p["at"] for p in found["points"]] == [0.6, 0.7, 0.8, 0.9]
    assert found["even"] == pytest.approx(0.75)
    assert breakeven_text({"breakeven": [found]}) == ["judge on t: worth its price from a 0.75 on"]


def test_a_dip_counts_only_its_last_crossing() -> None:
    assert curve(2.0, 0.5, 2.0)["even"] == pytest.approx(0.75)


def test_never_and_always() -> None:
    assert curve(0.1, 0.2)["even"] is None
    assert breakeven_text({"breakeven": [curve(0.1, 0.2)]}) == ["judge on t: not worth its price up to a 0.7 (best net 0.200×)"]
    assert curve(1.5, 3.0)["even"] == 0.6
    assert curve(None, 3.0)["even"] == 0.7  # below, the update does not surely point uphill
    assert curve(3.0, None)["even"] is None


def test_groups_have_a_best_size_and_no_threshold() -> None:
    rows = [row(f"gigpo@group={g}", net) for g, net in ((16, 1.5), (2, 0.5), (4, 2.5), (8, None))]
    [found] = breakeven_rows(rows, 512)
    assert [p["at"] for p in found["points"]] == [2, 4, 8, 16]
    assert found["label"] == "rollouts of a prompt (group size)"
    assert found["best"]["at"] == 4
    assert breakeven_text({"breakeven": [found]}) == ["gigpo on t: best at group 4 (2.50×)"]
    [nothing] = breakeven_rows([row("gigpo@group=4", None)], 512)
    assert nothing["best"] is None
    assert breakeven_text({"breakeven": [nothing]}) == ["gigpo on t: no group is known to help"]


def test_rows_without_a_knob_make_no_curve() -> None:
    assert breakeven_rows([row("rloo", 1.0), row("judge@form=sum", 1.0), row("judge@a=1,b=2", 1.0)], 512) == []
    assert breakeven_rows([row("grpo@epochs=4", 1.0)], 512) == [], "one update knows no epochs"
