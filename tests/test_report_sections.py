"""Sweeps, witness and estimands from a run: what is said follows from the intervals, and no further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from apportion.bench.sweeps import SWEEPS
from apportion.bench.witness import variants
from apportion.report.estimands import claimed, estimands_rows, estimands_text
from apportion.report.read import Run
from apportion.report.sweeps import change, sweeps_rows, sweeps_text
from apportion.report.witness import VERDICTS, WORLDS, witness_rows, witness_text

KNOB = SWEEPS["horizon"]
T10, T30, T100 = (task for value, task in KNOB.points if value in (10.0, 30.0, 100.0))

Cells = Mapping[tuple[str, str], Mapping[str, Sequence[float]]]


def run_of(cells: Cells, entrants: Mapping[str, Mapping[str, Any]], tasks: Sequence[str]) -> Run:
    """A run of identification rows: a value per seed."""
    seeds = tuple(range(len(next(iter(next(iter(cells.values())).values()))))) if cells else (0, 1, 2)
    values = {(m, t, 0, 0.0): {k: np.array(v) for k, v in cell.items()} for (m, t), cell in cells.items()}
    full = {m: {"id": m, "title": m.upper(), "method": m, "ask": "nothing", **e} for m, e in entrants.items()}
    return Run({}, {t: {"id": t} for t in tasks}, full, seeds, {"identification": values}, None)


def estimate(value: float | None, half: float = 0.0) -> dict[str, float | None]:
    return {"value": value, "low": None if value is None else value - half, "high": None if value is None else value + half}


def gradient(method: str, task: str, net: float | None, rho: float, half: float = 0.05) -> dict[str, Any]:
    verdict = "aligned" if rho > half else "pushes the wrong way" if rho < -half else "undetermined"
    return {
        "method": method,
        "task": task,
        "batch": 64,
        "net": estimate(net, half),
        "rho": estimate(rho, half),
        "verdict": verdict,
    }


def summary_of(run: Run, **found: Any) -> dict[str, Any]:
    methods = [{"id": m, "name": m.upper(), "oracle": run.is_oracle(m)} for m in run.methods()]
    return {"run": {"resamples": 200}, "reference_batch": 64, "methods": methods, **found}


def swept(*rows: dict[str, Any], oracle: Sequence[str] = ()) -> list[dict[str, Any]]:
    ids = dict.fromkeys(r["method"] for r in rows)
    run = run_of({}, {m: {"oracle": m in oracle} for m in ids}, [T10, T30, T100])
    return sweeps_rows(run, {"gradient": list(rows), "reference_batch": 64})


def line(method: str, *at: tuple[float | None, float]) -> list[dict[str, Any]]:
    return [gradient(method, task, net, rho) for task, (net, rho) in zip((T10, T30, T100), at, strict=False)]


def test_a_sweep_needs_two_points() -> None:
    assert swept(gradient("rloo", T10, 1.0, 0.5)) == []
    [row] = swept(*line("rloo", (1.0, 0.5), (1.0, 0.4)))
    assert [p["value"] for p in row["points"]] == [10.0, 30.0]


def test_a_change_is_told_only_where_intervals_lie_apart() -> None:
    falls, stays = line("gigpo", (3.1, 0.6), (1.0, 0.5), (0.4, 0.3)), line("tempo", (2.0, 0.6), (2.02, 0.6), (2.05, 0.6))
    [row] = swept(*line("rloo", (1.0, 0.5), (1.0, 0.4), (1.0, 0.3)), *falls, *stays)
    assert [c["method"] for c in row["changes"]] == ["gigpo"]
    assert "GIGPO falls from 3.10× at 10 to 0.400× at 100 (of 1 the intervals overlap)." in row["said"]
    assert "TEMPO" not in row["said"]
    assert KNOB.separates in row["said"]
    assert sweeps_text({"sweeps": [row]}) == [row["said"]]


def test_nothing_is_made_of_overlap() -> None:
    [row] = swept(*line("rloo", (1.0, 0.5), (1.0, 0.4)), *line("tempo", (2.0, 0.6), (2.05, 0.6)))
    assert row["changes"] == []
    assert row["said"].endswith("Seen here: nothing; the intervals of all 1 methods beside RLOO overlap.")


def test_a_method_that_turns_round_is_told_by_its_alignment() -> None:
    [row] = swept(*line("rloo", (1.0, 0.5), (1.0, 0.4)), *line("gigpo", (0.8, 0.4), (None, -0.3)))
    assert "GIGPO’s alignment falls from 0.400 at 10 to -0.300, the wrong way, at 30" in row["said"]


def test_oracles_are_drawn_and_never_told() -> None:
    [row] = swept(*line("rloo", (1.0, 0.5), (1.0, 0.4)), *line("exact", (20.0, 0.9), (200.0, 0.9)), oracle=["exact"])
    assert row["shown"] == ["rloo", "exact"]
    assert "EXACT" not in row["said"]


def test_a_knob_without_numbers_is_read_between_its_extremes() -> None:
    points = [("a", "x"), ("b", "y"), ("c", "z")]
    found = {"method": "m", "net": [estimate(2.0, 0.1), estimate(8.0, 0.1), estimate(1.0, 0.1)], "rho": [estimate(0.5)] * 3}
    assert change(found, points) == {
        "method": "m",
        "from": 1,
        "to": 2,
        "of": "net",
        "rises": False,
        "size": pytest.approx(np.log(8), abs=1e-5),
    }
    ordered = [(1.0, "x"), (2.0, "y"), (3.0, "z")]
    assert change(found, ordered) == {
        "method": "m",
        "from": 0,
        "to": 2,
        "of": "net",
        "rises": False,
        "size": pytest.approx(np.log(2), abs=1e-5),
    }


# witness


def world(sign: float, silent: float = 0.0, apart: float = 0.004) -> dict[str, list[float]]:
    return {"sign:contrast": [sign - apart, sign, sign + apart], "silent": [silent] * 3, "correlation:contrast": [sign - 0.5] * 3}


def judged(plus: dict[str, list[float]], minus: dict[str, list[float]], **entrant: Any) -> dict[str, Any]:
    cells = {("m", "witness/plus"): plus, ("m", "witness/minus"): minus}
    [row] = witness_rows(run_of(cells, {"m": entrant}, ["witness/plus", "witness/minus"]), {"run": {"resamples": 200}})
    return row


@pytest.mark.parametrize(
    ("plus", "minus", "verdict"),
    [
        (world(0.74), world(0.26), "claims to know"),
        (world(0.26), world(0.74), "claims to know"),
        (world(0.5, 1.0), world(0.5, 1.0), "abstains"),
        (world(0.5, 1.0), world(0.3, 0.5), "claims to know"),
        (world(0.5), world(0.501), "says nothing wrong"),
        (world(0.74), world(0.74), "tells them apart"),
        (world(0.7), world(0.45, apart=0.3), "undecided"),
    ],
)
def test_verdicts_follow_from_signs_and_silence(plus: Any, minus: Any, verdict: str) -> None:
    assert judged(plus, minus)["verdict"] == verdict
    assert verdict in VERDICTS


def test_both_worlds_are_needed_and_they_are_the_shipped_ones() -> None:
    assert {f"witness/{w}" for w in WORLDS} == set(variants())
    run = run_of({("m", "witness/plus"): world(0.7)}, {"m": {}}, ["witness/plus"])
    assert witness_rows(run, {"run": {"resamples": 50}}) == []


def test_what_a_method_goes_by_is_said() -> None:
    assert judged(world(0.7), world(0.3), ask="sampler")["evidence"] == "restored states"
    assert judged(world(0.7), world(0.3), ask="judge", oracle=True)["evidence"] == "the truth (oracle)"
    assert judged(world(0.7), world(0.3), ask="fit")["evidence"] == "the log"


def test_the_sentence_counts_who_claims_to_know() -> None:
    cells = {(m, f"witness/{w}"): world(s) for m, signs in {"a": (0.7, 0.3), "b": (0.5, 0.5), "o": (0.9, 0.9)}.items()
             for w, s in zip(WORLDS, signs, strict=True)}  # fmt: skip
    run = run_of(cells, {"a": {"ask": "sampler"}, "b": {}, "o": {"oracle": True}}, ["witness/plus", "witness/minus"])
    found = summary_of(run)
    rows = witness_rows(run, found)
    assert [r["method"] for r in rows] == ["a", "b", "o"]
    said = witness_text({**found, "witness": rows})
    assert said[0] == "Of 2 methods that are not told the truth, 1 claims to know (A); 1 says nothing wrong (B)."
    assert "1 of those who claim to know asked for states restored exactly (A)" in said[1]


# estimands


def scores(advantage: float, shapley: float | None, contrast: float) -> dict[str, list[float]]:
    near = (-0.01, 0.0, 0.01)
    cell = {"correlation": advantage, "correlation:contrast": contrast, "correlation:shapley": shapley}
    return {k: [np.nan if v is None else v + d for d in near] for k, v in cell.items()}


def estimated(cells: Cells, **entrants: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    tasks = list(dict.fromkeys(t for _, t in cells))
    run = run_of(cells, entrants, tasks)
    found = summary_of(run)
    rows = estimands_rows(run, found)
    return rows, {**found, "estimands": rows}


def test_each_method_is_scored_against_what_its_card_claims() -> None:
    """SCAR claims Shapley values (its card); RLOO an advantage; the paired gap is surer than either score."""
    cells = {
        ("exact", "x/or"): scores(1.0, 0.6, 0.99),
        ("rloo", "x/or"): scores(0.35, 0.3, 0.34),
        ("scar", "x/or"): scores(0.2, 0.5, 0.21),
    }
    rows, summary = estimated(cells, exact={"oracle": True}, rloo={}, scar={})
    assert rows["tasks"] == [{"task": "x/or", "with": {"contrast": 0.99, "shapley": 0.6}, "part": True}]
    of = {r["method"]: r for r in rows["methods"]}
    assert (of["scar"]["claims"], of["rloo"]["claims"], of["exact"]["claims"]) == ("shapley", "advantage", "advantage")
    assert of["scar"]["own"]["value"] == pytest.approx(0.5)
    assert of["scar"]["gap"] == pytest.approx({"value": 0.3, "low": 0.3, "high": 0.3})
    assert (of["scar"]["best"], of["scar"]["surely"]) == ("shapley", True)
    assert of["rloo"]["gap"]["value"] is None
    said = estimands_text(summary)
    assert said[0] == "Estimands part on x/or (shapley 0.600): the figure is the correlation with the advantage."
    assert (
        "surely resembles its own more in 1 (SCAR on x/or: shapley 0.500, advantage 0.200) and the advantage more in 0" in said[1]
    )


def test_an_estimand_that_a_task_lacks_scores_nobody() -> None:
    rows, summary = estimated({("scar", "x/long"): scores(0.2, None, 0.21)}, scar={})
    [row] = rows["methods"]
    assert row["claims"] == "shapley"
    assert row["own"]["value"] is None
    assert row["gap"]["value"] is None
    assert row["best"] == "contrast"
    assert rows["tasks"] == [{"task": "x/long", "with": {"contrast": None}, "part": False}]
    assert estimands_text(summary) == []


def test_without_identification_there_is_no_section() -> None:
    run = run_of({}, {"rloo": {}}, ["x/or"])
    assert estimands_rows(run, summary_of(run)) == {}


def test_a_method_of_ones_own_claims_nothing_known() -> None:
    assert claimed(run_of({}, {"mine": {}}, []), "mine") is None
