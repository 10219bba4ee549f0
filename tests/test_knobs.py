"""Entrants with one knob turned are entrants like any other."""

from __future__ import annotations

import numpy as np
import pytest

from apportion.bench.cells import run_cell
from apportion.bench.draws import streams
from apportion.bench.entrants import run_entrant
from apportion.bench.knobs import entrant
from apportion.bench.records import MEASURES, Cell, grouped
from apportion.bench.suites import plan
from apportion.bench.tasks import find
from apportion.cli.common import listed
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


def test_a_second_knob_is_no_second_method() -> None:
    both = "vineppo@replay=text,replay_noise=0.2,k=8"
    assert listed(f"rloo, {both} ,grpo,") == ["rloo", both, "grpo"]
    assert listed("vineppo@k=2,vineppo@k=4") == ["vineppo@k=2", "vineppo@k=4"]
    assert listed("a/b,k=2") == ["a/b", "k=2"]


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


def test_a_group_of_another_size_keeps_the_batch() -> None:
    turned = entrant("gigpo@group=4")
    assert (turned.group, turned.method) == (4, "gigpo")
    assert grouped(turned, 64, 8) == (16, 4)
    assert grouped(entrant("gigpo"), 64, 8) == (8, 8)
    settings = plan("smoke").settings
    prices = {}
    for id_ in ("rloo@group=2", "rloo@group=32", "rloo"):
        made = {r.metric: r.value for r in run_cell(Cell(id_, "bifurcation/horizon-10", 0, "gradient"), settings)}
        prices[id_] = made["price"]
        assert made["norm2"] > 0
    assert len(set(prices.values())) == 1, "as many trajectories, whatever the group"


def test_the_group_reaches_every_measure() -> None:
    """A group of two compares with one other rollout: RLOO's advantages are then the difference of two rewards."""
    task = find("bifurcation/horizon-10")
    turned = entrant("rloo@group=2")
    world, own = streams(Cell(turned.id, task.id, 0, "cost"), 64)
    outcome = run_entrant(turned, task, task.start_theta, *grouped(turned, 64, 8), world, own)
    reward = outcome.rollouts.reward.reshape(-1, 2)
    np.testing.assert_allclose(outcome.credit.on("trajectory").reshape(-1, 2)[:, 0], reward[:, 0] - reward[:, 1])
    made = plan("smoke", methods=["rloo", "rloo@group=2"]).settings
    for measure in MEASURES:
        one, two = (
            {r.metric: r.value for r in run_cell(Cell(id_, task.id, 0, measure), made)} for id_ in ("rloo", "rloo@group=2")
        )
        if measure == "cost":
            assert one["price"] == two["price"]
        else:
            assert one != two, measure


def test_several_epochs_are_a_knob_of_everybody() -> None:
    assert entrant("gigpo@epochs=4").epochs == 4
    made = plan("smoke", methods=["gigpo@epochs=4"]).settings
    task = "bifurcation/horizon-10"
    once, often, shipped = (
        {r.metric: r.value for r in run_cell(Cell(id_, task, 0, "learning"), made)} for id_ in ("grpo", "grpo@epochs=4", "grpo-4")
    )
    assert often == shipped
    assert often["updates"] >= 4
    assert often["cost"] / often["updates"] < once["cost"] / once["updates"]


def test_a_tree_that_grows_more_starts_from_less() -> None:
    assert entrant("at2po@branches=1").fresh == 2
    assert entrant("at2po@branches=3").fresh == 6
    assert entrant("carl@forks=2").fresh == 2
    assert entrant("carl@forks=12,group=16").fresh == 12
    assert entrant("at2po").fresh == 4
    for id_ in ("carl@forks=7", "carl@group=4", "at2po@branches=0", "carl@forks=x"):
        with pytest.raises(BenchError, match="expected"):
            entrant(id_)


def test_a_group_that_does_not_divide_a_batch_is_refused_before_work() -> None:
    with pytest.raises(BenchError, match="gigpo@group=7: groups of 7 do not divide the batch of 64 that gradient"):
        plan("smoke", methods=["gigpo@group=7"])
    with pytest.raises(BenchError, match="batch of 16 that cost"):
        plan("smoke", methods=["gigpo@group=32"])
    for text in ("1", "2.5", "true", "x"):
        with pytest.raises(BenchError, match="whole number of at least 2"):
            entrant(f"gigpo@group={text}")
    with pytest.raises(BenchError, match="rloo: groups of 8 do not divide the batch of 60; a divisor"):
        grouped(entrant("rloo"), 60, 8)
