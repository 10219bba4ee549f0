"""Entrants with one knob turned are entrants like any other."""

from __future__ import annotations

import pytest

from apportion.bench.cells import run_cell
from apportion.bench.knobs import entrant
from apportion.bench.records import Cell
from apportion.bench.suites import plan
from apportion.errors import BenchError


def test_a_knob_reaches_the_method_or_the_source() -> None:
    assert entrant("vineppo@k=16").options["k"] == 16
    assert entrant("pure-judge80@accuracy=0.9").source["accuracy"] == 0.9
    both = entrant("pure-judge80@accuracy=0.7,form=sum")
    assert (both.source["accuracy"], both.options["form"]) == (0.7, "sum")
    assert both.title.endswith("accuracy 0.7,form sum")
    assert entrant("rloo").id == "rloo"


def test_turned_entrants_are_measured_under_their_own_name() -> None:
    made = plan("smoke", methods=["vineppo@k=2"])
    assert list(made.entrants) == ["rloo", "vineppo@k=2"]
    rows = run_cell(Cell("vineppo@k=2", "bifurcation/horizon-10", 0, "cost"), made.settings)
    plain = run_cell(Cell("vineppo", "bifurcation/horizon-10", 0, "cost"), made.settings)
    generated = [{r.metric: r.value for r in some}["generated"] for some in (rows, plain)]
    assert rows[0].method == "vineppo@k=2"
    assert generated[0] == pytest.approx(generated[1] / 2)


def test_what_cannot_be_turned_is_refused_by_name() -> None:
    for id_, said in {
        "vinepo@k=2": "vineppo",
        "vineppo@kk=2": "no knob 'kk'; did you mean k",
        "vineppo@k": "expected KNOB=VALUE",
        "vineppo@": "expected NAME@KNOB=VALUE",
        "rloo@accuracy=0.5": "asks no simulated judge",
    }.items():
        with pytest.raises(BenchError, match=said):
            entrant(id_)
