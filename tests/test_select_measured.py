"""The selector that goes by measurements: needs are met, cost decides, distance is said, and it is compared honestly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apportion.bench.knobs import entrant
from apportion.bench.selection import grid
from apportion.bench.selection.answer import answer, code
from apportion.bench.selection.bills import cost
from apportion.bench.selection.cases import HAVE, advise, cases, profile_of
from apportion.bench.selection.collect import collect, repeat, way
from apportion.bench.selection.compare import compare
from apportion.bench.selection.measured import BILL, Measured, compared, measured, read
from apportion.bench.selection.nearest import OUTSIDE, distances
from apportion.bench.selection.needs import lacks, needs
from apportion.bench.selection.rank import rank
from apportion.bench.selection.said import compared_text
from apportion.bench.selection.worth import LOWEST, NO_WAY, log_cost, log_net, resamples, scale, worth
from apportion.bench.suites import SUITES
from apportion.bench.tasks import find as find_task
from apportion.errors import BenchError
from apportion.registry import methods
from apportion.survey.profile import Profile, profile
from tests.commands import typed
from tests.tiny_suite import TINY

#: Cost of learning by entrant, in a made-up world of two settings; capo needs a judge, vineppo forks, gae a critic.
COSTS = {"rloo": 100.0, "grpo": 110.0, "gigpo": 50.0, "vineppo": 20.0, "gae": 40.0, "capo-judge80": 10.0}


def _learned(cost: float) -> dict[str, dict[str, list[float]]]:
    return {"0.1": {"reached": [1.0] * 3, "way": [1.0] * 3, "cost": [cost * f for f in (0.98, 1.0, 1.02)]}}


def _gradient(rho: float, price: float = 1.0) -> dict[str, dict[str, list[float]]]:
    """Moments of an update with this alignment; RLOO's norm stands for its noise."""
    one = {"inner": [rho] * 3, "norm2": [1.0] * 3, "truth2": [1.0] * 3, "price": [price] * 3}
    return {"64": {**one}, "256": {**one}}


def _rloo() -> dict[str, dict[str, list[float]]]:
    """Unbiased: noise to signal c / B with c = 640."""
    return {str(b): {"inner": [1.0] * 3, "norm2": [1 + 640 / b] * 3, "truth2": [1.0] * 3, "price": [1.0] * 3} for b in (64, 256)}


def _setting(id_: str, layout: str, horizon: int, split: str, **more: Any) -> dict[str, Any]:
    base = {"tokens": 2, "agents": 1, "hidden": False, "repeat": 0.7, "success": 0.25, "sha256": "0" * 64}
    return {"id": id_, "layout": layout, "horizon": horizon, "split": split, **base, **more}


def _world(**changed: Any) -> Measured:
    bill = dict.fromkeys(BILL, 0.0) | {"price": 100.0}
    rows: list[list[Any]] = []
    for task, length in (("short", 10), ("long", 30), ("held", 20)):
        for name, spent in COSTS.items():
            extra = {"vineppo": {"generated": 4.0 * length**2}, "capo-judge80": {"judge_calls": 4.0}}.get(name, {})
            priced = bill | extra | {"price": 100.0 + 100.0 * len(extra)}
            rows.append([task, name, {"learning": _learned(spent), "bill": [priced[k] for k in BILL]}])
    settings = [
        _setting("short", "turns", 10, "fit"),
        _setting("long", "turns", 30, "fit"),
        _setting("held", "turns", 20, "held-out"),
    ]
    data = {"format": 2, "about": {}, "group": 8, "seeds": 3, "entrants": sorted(COSTS), "settings": settings, "rows": rows}
    prices = {"generated": 1.0, "scored": 0.3, "env_steps": 5.0, "judge_calls": 500.0, "trained": 2.0}
    return read({**data, "prices": prices, **changed})


def _user(**given: Any) -> Profile:
    return profile({"setting": "agentic", "turns": 20, "states_repeat": "yes", **given})


def test_every_method_has_an_entrant_that_a_user_could_have() -> None:
    assert {entrant(e).method for e in grid.ENTRANTS} == set(methods())
    assert not any(entrant(e).ask in ("truth", "forks", "experts", "hint", "policy") for e in grid.ENTRANTS)


def test_the_split_is_a_partition_of_the_grid() -> None:
    assert not set(grid.FIT) & set(grid.HELD_OUT)
    assert set(grid.SHORT) | set(grid.LONG) == set(grid.FIT) | set(grid.HELD_OUT)
    assert (
        {find_task(t.partition("@")[0]).layout for t in grid.FIT}
        == {find_task(t.partition("@")[0]).layout for t in grid.HELD_OUT}
        == {"turns", "steps", "team"}
    )


@pytest.mark.parametrize(
    ("have", "first", "out"),
    [
        ({"aux_model": "no", "can_fork": "no"}, "gigpo", {"vineppo", "gae", "capo-judge80"}),
        ({"aux_model": "no", "can_fork": "no", "states_repeat": "no"}, "rloo", {"vineppo", "gae", "capo-judge80", "gigpo"}),
        ({"can_fork": "yes"}, "vineppo", {"gae", "capo-judge80"}),
        ({"critic": "yes"}, "gae", {"vineppo", "capo-judge80"}),
        ({"judge": "yes", "critic": "yes", "can_fork": "yes"}, "capo-judge80", set()),
        ({}, "gigpo", {"vineppo", "gae", "capo-judge80"}),
    ],
)
def test_what_the_user_lacks_is_left_out_and_the_cheapest_of_the_rest_is_first(
    have: dict[str, str], first: str, out: set[str]
) -> None:
    found = rank(_user(**have), _world())
    assert found.ranked[0].entrant == first
    assert set(found.out) == out
    assert all(why for why in found.out.values())


def test_what_was_not_said_is_not_assumed_and_the_reason_names_the_flag() -> None:
    said, silent = (lacks(entrant("vineppo"), _user(**p))[0] for p in ({"can_fork": "no"}, {}))
    assert said.known
    assert not silent.known
    assert "--can-fork" in said.says
    assert "--can-fork" in silent.says


def test_budget_and_groups_of_one_exclude() -> None:
    assert [x.need for x in lacks(entrant("vineppo"), _user(can_fork="yes", budget="low"), 2.0)] == ["budget"]
    assert lacks(entrant("vineppo"), _user(can_fork="yes", budget="medium"), 2.0) == []
    assert [x.need for x in lacks(entrant("grpo"), _user(G=1))] == ["group"]
    assert [x.need for x in lacks(entrant("hicra"), _user(critic="yes"))] == ["setting"]
    assert needs(entrant("remax")) == ("sampler",)


def test_worth_is_cost_beside_rloo_with_an_interval_over_seeds_and_settings() -> None:
    found = {r.entrant: r for r in rank(_user(can_fork="yes"), _world()).ranked}
    assert found["vineppo"].worth == pytest.approx(5.0, rel=1e-6)
    assert found["rloo"].worth == 1.0
    assert found["vineppo"].low < 5.0 < found["vineppo"].high
    assert found["vineppo"].tied
    assert not found["grpo"].tied


def test_a_run_that_ends_on_the_way_counts_as_the_share_it_had_come() -> None:
    m = _world()
    m.learning["short", "gigpo"][0.1]["way"][:] = (1.0, 0.25, 0.25)
    assert log_cost(m, "short", "gigpo") == pytest.approx(np.log(150.0 / 1.5))
    m.learning["short", "gigpo"][0.1]["way"][:] = 0.0
    assert log_cost(m, "short", "gigpo") == pytest.approx(np.log(150.0 / (3 * NO_WAY)))


def test_a_method_is_judged_at_the_learning_rate_that_suits_it() -> None:
    m = _world()
    m.learning["short", "gigpo"][0.5] = {k: v.copy() for k, v in m.learning["short", "gigpo"][0.1].items()}  # type: ignore[index]
    m.learning["short", "gigpo"][0.5]["cost"][:] = 30.0
    assert log_cost(m, "short", "gigpo") == pytest.approx(np.log(30.0))
    m.learning["short", "gigpo"][0.5]["way"][:] = 0.1
    assert log_cost(m, "short", "gigpo") == pytest.approx(np.log(50.0))


def test_a_price_is_taken_from_the_settings_that_may_be_looked_at() -> None:
    m, user = _world(), _user(can_fork="yes", T=40)
    seen, unseen = (cost(m, "vineppo", user, among) for among in (None, ["short", "long"]))
    assert seen is not None
    assert unseen is not None
    assert seen.at[0] == "held"
    assert set(unseen.at) == {"short", "long"}


def test_the_way_is_from_the_start_to_the_target() -> None:
    column = {"reached": [1.0, 0, 0, 0], "start": [0.2] * 4, "attainable": [1.0] * 4, "final": [0.9, 0.5, 0.1, 0.8 - 1e-12]}
    found = way({k: np.asarray(v) for k, v in column.items()}, 0.8)
    assert found == pytest.approx([1.0, 0.5, 0.0, 1.0])


def test_the_gradient_stands_in_where_nobody_was_trained() -> None:
    rows = [["short", "rloo", {"gradient": _rloo()}]]
    rows += [["short", name, {"gradient": _gradient(rho)}] for name, rho in (("grpo", 0.5), ("gigpo", -0.5))]
    m = _world(rows=rows)
    noise = 1 / 0.5**2 - 1
    assert log_net(m, "short", "grpo") == pytest.approx(np.log(640 / 256 / noise))
    assert log_net(m, "short", "gigpo") == LOWEST
    assert log_net(m, "short", "rloo") == 0.0
    found = worth(m, "short", "grpo", scale(m, ["short"]))
    assert found is not None
    assert found[1] == "gradient"
    assert [r.entrant for r in rank(_user(), m, ["short"]).ranked][-1] == "gigpo"


def test_gradients_are_brought_to_the_scale_of_learning_from_the_settings_given() -> None:
    names = {"grpo": 0.3, "gigpo": 0.6, "vineppo": 0.9, "rloo": 0.0}
    rows: list[list[Any]] = [["short", "rloo", {"gradient": _rloo(), "learning": _learned(100.0)}]]
    for name, rho in list(names.items())[:3]:
        net = 640 / 256 / (1 / rho**2 - 1)
        rows.append(["short", name, {"gradient": _gradient(rho), "learning": _learned(100.0 / net**0.25)}])
    found = scale(_world(rows=rows), ["short"])
    assert found.slope == pytest.approx(0.25, rel=1e-3)
    assert found.rank == pytest.approx(1.0)
    assert found.pairs == 3
    assert scale(_world(rows=rows), []).pairs == 0


def test_distance_is_declared_and_its_terms_are_named() -> None:
    near = distances(_user(hidden="yes"), _world(), ["short", "long"])
    assert [n.setting.id for n in near] == ["long", "short"]
    assert near[0].distance == pytest.approx(1 + np.log(1.5) / np.log(10))
    assert dict(near[0].terms)["hidden"] == 1.0
    assert dict(distances(_user(), _world(), ["short"])[0].terms) == {"units": pytest.approx(np.log(2) / np.log(10))}
    assert distances(profile({"setting": "reasoning"}), _world(), ["short"]) == []


def test_near_settings_count_more_than_far_ones() -> None:
    m = _world()
    m.learning["short", "gigpo"][0.1]["cost"][:] = 400.0
    near, far = (next(r for r in rank(_user(turns=n), m).ranked if r.entrant == "gigpo") for n in (10, 30))
    assert near.worth < far.worth


def test_a_setting_far_from_anything_measured_is_called_outside() -> None:
    assert not rank(_user(), _world()).outside
    far = rank(_user(turns=5000), _world())
    assert far.outside
    assert far.distance is not None
    assert far.distance > OUTSIDE


def test_bills_grow_with_length_tokens_and_k() -> None:
    m, user = _world(), _user(can_fork="yes", T=40)
    base = cost(m, "vineppo", user)
    longer = cost(m, "vineppo", _user(can_fork="yes", turns=40, T=80))
    wider = cost(m, "vineppo", _user(can_fork="yes", T=80))
    more = cost(m, "vineppo", _user(can_fork="yes", T=40, K=16))
    judge = cost(m, "capo-judge80", _user(judge="yes", T=4000))
    assert base is not None and longer is not None and wider is not None and more is not None and judge is not None  # noqa: PT018
    assert base.counts["generated"] == pytest.approx(4 * 20**2)
    assert longer.counts["generated"] == pytest.approx(4 * 40**2)
    assert wider.counts["generated"] == pytest.approx(2 * base.counts["generated"])
    assert more.counts["generated"] == pytest.approx(4 * base.counts["generated"])
    assert judge.counts["judge_calls"] == pytest.approx(4.0)
    assert cost(m, "vineppo", profile({"setting": "agentic"})) is None


@pytest.mark.parametrize(
    ("task", "name"), [(t, e) for t in ("horizon-30", "steps-30") for e in ("vineppo", "gae", "capo-judge80")]
)
def test_at_the_size_that_was_measured_a_bill_is_what_was_measured(task: str, name: str) -> None:
    m = measured()
    s = next(x for x in m.settings.values() if x.id.endswith("/" + task))
    said = {"setting": "agentic", "turns": 30} if s.layout == "turns" else {"setting": "reasoning", "N": 30}
    found = cost(m, name, profile({**said, "T": 30 * s.written}))
    assert found is not None
    assert found.times == pytest.approx(m.price(s.id, name), rel=0.1)


def test_the_answer_says_what_stands_in_for_what_and_what_to_type() -> None:
    found = answer(_user(judge="yes", critic="no", can_fork="no", T=400), _world())
    best = found["measured"]["candidates"][0]
    assert best["entrant"] == "capo-judge80"
    assert "simulated judge" in best["stands_in"]
    assert best["code"] == 'ap.assign(batch, "capo", judge=judge, k=4)'
    assert best["cost"]["per_rollout"]["judge_calls"] == pytest.approx(4.0)
    assert {o["entrant"] for o in found["measured"]["out"]} == {"vineppo", "gae"}
    assert code(entrant("gigpo")) == 'ap.assign(batch, "gigpo")'
    json.dumps(found)


def test_where_trees_disagree_the_answer_shows_it() -> None:
    found = answer(_user(turns=60, aux_model="no", can_fork="no", step_verifier="no", budget="low"), _world())
    said = {d["method"]: d for d in found["disagreements"]}
    assert said["carl"]["named_by"] == ["table"]
    assert any(p["tree"] == "figure" and "turns <= 30" in p["when"] for p in said["carl"]["elsewhere"])
    craft = next(c for t in found["trees"] for c in t["candidates"] if c["method"] == "craft")
    assert not craft["implemented"]
    assert "without an implementation" in craft["why_not"][0]


def test_a_comparison_never_lets_ours_see_the_task_it_is_judged_on() -> None:
    m = _world()
    spoiled = _world()
    for e in COSTS:
        spoiled.learning["held", e][0.1]["cost"][:] = 1.0 if e == "grpo" else 1000.0
    case = next(c for c in cases(m, ["held"]) if c.have == "forks")
    assert advise(m, case)["measured"] == advise(spoiled, case)["measured"]
    assert advise(m, case)["measured"].entrants[0] == ("vineppo",)


def test_shares_and_regret_are_those_of_the_measured_costs() -> None:
    found = compare(_world(), draws=50, tasks=["held"])
    rows = {r["selector"]: r for r in found["rows"]}
    assert found["cases"] == len(HAVE)
    assert rows["measured"]["first"]["value"] == 1.0
    assert rows["measured"]["excess"]["value"] == pytest.approx(1.0)
    assert rows["always GRPO"]["first"]["value"] == 0.0
    best = [50.0, 40.0, 10.0, 20.0, 10.0]  # the batch, a critic, judge and critic, forks, all
    assert rows["always GRPO"]["excess"]["value"] == pytest.approx(np.exp(np.mean(np.log(110.0 / np.array(best)))))
    assert rows["best on the other seeds"]["first"]["value"] == 1.0
    assert 0.0 < rows["at random"]["first"]["value"] < 1.0
    assert 0.0 < rows["guide"]["silent"] < 1.0
    assert rows["always GRPO"]["ours_ahead"]["value"] == 1.0
    assert any("less often" not in line and "more often" in line for line in compared_text(found))


def test_who_is_best_on_the_other_seeds_is_judged_by_the_one_left_out() -> None:
    m = _world()
    for i, e in enumerate(("rloo", "grpo", "gigpo")):  # each the best by far on a seed of its own, and by luck
        m.learning["held", e][0.1]["cost"][:] = [1.0 if seed == i else 1000.0 for seed in range(3)]
    found = compare(replace(m, entrants=("rloo", "grpo", "gigpo")), draws=50, tasks=["held"])
    rows = {r["selector"]: r for r in found["rows"]}
    assert rows["best on the other seeds"]["first"]["value"] == 0.0
    assert rows["best on the other seeds"]["excess"]["value"] == pytest.approx(1000.0)


def test_the_world_it_is_judged_on_is_not_looked_at_with_another_policy_either() -> None:
    m = _world()
    near = {**m.settings, "held@50": replace(m.settings["held"], id="held@50", split="fit")}
    twin = {("held@50", e): {0.1: {**cell[0.1], "cost": cell[0.1]["cost"] * (100.0 if e != "grpo" else 0.01)}}
            for (t, e), cell in m.learning.items() if t == "held"}  # fmt: skip
    seen = replace(m, settings=near, learning={**m.learning, **twin}, bills={**m.bills, **{("held@50", e): m.bills["held", e]
                   for t, e in m.bills if t == "held"}})  # fmt: skip
    case = next(c for c in cases(m, ["held"]) if c.have == "forks")
    assert advise(m, case)["measured"] == advise(seen, case)["measured"]


def test_ours_is_shown_when_it_fails() -> None:
    m = _world()
    for e in COSTS:
        m.learning["held", e][0.1]["cost"][:] = 1.0 if e == "grpo" else 1000.0
    rows = {r["selector"]: r for r in compare(m, draws=50, tasks=["held"])["rows"]}
    assert rows["measured"]["first"]["value"] == 0.0
    assert rows["always GRPO"]["first"]["value"] == 1.0
    assert rows["always GRPO"]["ours_ahead"]["value"] == -1.0


def test_a_task_is_described_as_its_user_would() -> None:
    user = profile_of(_world().settings["held"], HAVE["only the batch"], 8)
    assert (user.setting, user.turns, user.states_repeat, user.judge) == ("agentic", 20, True, False)
    assert repeat(find_task("bifurcation/rare-states")) < 0.3 < repeat(find_task("bifurcation/horizon-10"))
    assert repeat(find_task("reasoning/steps-10")) == 0.0


def test_resamples_of_seeds_are_worked_out_once_each() -> None:
    index, which = resamples(3, 500)
    assert len(index) == 11
    assert index[0] == slice(None)
    assert which.shape == (501,)
    assert set(which[1:].tolist()) == set(range(1, 11))


def test_a_run_is_read_with_all_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SUITES, "tiny", TINY)
    assert typed(capsys, "bench", "run", "--suite", "tiny", "--jobs", 1, "--no-report", "--out", "run")[0] == 0
    (task,) = json.loads(Path("run/manifest.json").read_text())["tasks"]
    monkeypatch.setattr("apportion.bench.selection.collect.FIT", (task["id"],))
    monkeypatch.setattr("apportion.bench.selection.collect.HELD_OUT", ())
    data = collect([Path("run")])
    assert [row[:2] for row in data["rows"]] == [[task["id"], "pooled_td"], [task["id"], "rloo"]]
    for _, _, parts in data["rows"]:
        assert set(parts) == {"learning", "gradient", "bill"}
        assert len(parts["bill"]) == len(BILL)
        for moments in (*parts["learning"].values(), *parts["gradient"].values()):
            assert all(len(v) == 2 and None not in v[:1] for n, v in moments.items() if n != "cost")
    assert read(data).bills[task["id"], "rloo"]["price"] > 0


def test_run_folders_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no finished run here"):
        collect([tmp_path])
    with pytest.raises(BenchError, match="no run folder was given"):
        collect([])


def test_what_ships_is_the_grid_and_its_comparison_is_that_of_its_numbers() -> None:
    m = measured()
    assert set(m.settings) == set(grid.FIT) | set(grid.HELD_OUT)
    assert {s.id for s in m.settings.values() if s.split == "held-out"} == set(grid.HELD_OUT)
    assert set(m.entrants) >= set(grid.ENTRANTS)
    assert m.about["protocol"]
    assert all(len(d) == 64 for d in m.about["code"])
    kept = {(c["task"], c["have"]): c for c in compared()["by_case"]}
    few = cases(m, ["team/four"])
    assert few
    for case in few:
        assert len(case.open_to) == kept[case.task, case.have]["open_to"]
        said = advise(m, case)["measured"].entrants
        assert [e[0] for e in said[:4]] == kept[case.task, case.have]["says"]["measured"]


def test_costs_that_are_drawn_on_are_counted_and_said() -> None:
    """How much of the comparison rests on runs that never reached the target stands beside its numbers."""
    m, found = measured(), compared()
    cells = [
        np.concatenate([at["reached"] for at in cell.values()])
        for (task, _), cell in m.learning.items()
        if m.settings[task].split == "held-out"
    ]
    drawn = found["drawn_on"]
    assert drawn["never"] == sum(not np.nan_to_num(reached).any() for reached in cells)
    assert drawn["trained"] == len(cells)
    assert drawn["best"] == sum(m.trained(case["task"]) for case in found["by_case"])
    assert any(f"{drawn['never']} of the {drawn['trained']}" in line and "drawn on" in line for line in compared_text(found))
