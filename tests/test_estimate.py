"""What a run will take is said before it starts, and nothing is run to say it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from apportion.bench import calibrate, estimate, suites
from apportion.bench.cells import run_cell
from apportion.bench.entrants import entrants
from apportion.bench.memory import PARENT, WORKER, Memory
from apportion.bench.records import Cell, Measure
from apportion.bench.settings import Gradient, Learning, Settings
from apportion.bench.tasks import FAMILIES
from apportion.cli import main
from apportion.cli.bench_plan import duration
from apportion.errors import BenchError

H10, H100 = "bifurcation/horizon-10", "bifurcation/horizon-100"


def test_times_of_batches_are_found_again() -> None:
    cost = estimate.BatchCost(0.01, 2e-6, 0.5, 0.0, 1.0)
    small, large, longer = (cost.seconds(batch, horizon, 10) for batch, horizon in ((64, 10), (512, 10), (64, 100)))
    assert calibrate.fitted(small, large, longer, (64, 512), (10, 100)) == pytest.approx(cost[:3])
    assert calibrate.fitted(small, large, None, (64, 512), (10, 0)) == pytest.approx((0.01, 2e-6, 0.0))


def test_more_work_is_estimated_to_take_longer() -> None:
    def taken(cell: Cell, **settings: object) -> float:
        return estimate.seconds(cell, Settings(**settings))  # type: ignore[arg-type]

    few, many = Gradient(batch_sizes=(64,), replicates=(2,)), Gradient(batch_sizes=(512,), replicates=(2,))
    gradient, learning = Cell("rloo", H10, 0, "gradient"), Cell("rloo", H10, 0, "learning")
    assert taken(gradient, gradient=few) < taken(gradient, gradient=many)
    one, two = Learning(lrs=(0.1,)), Learning(lrs=(0.1, 0.2))
    assert 2 * taken(learning, learning=one) == pytest.approx(taken(learning, learning=two))
    assert taken(learning) < taken(Cell("rloo", H100, 0, "learning"))
    assert estimate.need(gradient, Settings(gradient=few)) < estimate.need(gradient, Settings(gradient=many))


@pytest.mark.parametrize("measure", ["gradient", "identification", "cost"])
@pytest.mark.parametrize("method", ["vineppo", "gigpo", "rloo"])
def test_estimates_are_of_the_right_size(method: str, measure: Measure) -> None:
    settings = Settings(gradient=Gradient(batch_sizes=(64, 512), replicates=(4, 2)))
    cell, found = Cell(method, H10, 0, measure), list[float]()
    run_cell(cell, settings)  # what is made once, and compiled
    for seed in range(3):
        begun = time.process_time()
        run_cell(Cell(method, H10, seed, measure), settings)
        found.append(time.process_time() - begun)
    ratio = estimate.seconds(cell, settings) * estimate.slower() / min(found)
    assert 0.2 < ratio < 5


def test_methods_that_were_not_measured_take_after_their_kind() -> None:
    settings = Settings()
    plain, turned = (estimate.seconds(Cell(name, H10, 0, "cost"), settings) for name in ("vineppo", "vineppo@k=16"))
    assert plain == turned
    kinds = {one.ask for one in entrants().values() if one.ask != "model"}
    assert all(estimate._cost("nobody", kind, "turns").turn > 0 for kind in (*kinds, "model"))


def test_plan_is_the_sum_of_its_cells_and_memory_is_that_of_the_largest() -> None:
    plan = suites.plan("smoke")
    made = estimate.estimate(plan, 2, speed=2.0)
    times = [2 * estimate.seconds(cell, plan.settings) for cell in plan.cells]
    assert made.seconds == pytest.approx(sum(times)) == pytest.approx(sum(taken for _, taken in made.by_measure.values()))
    assert sum(n for n, _ in made.by_measure.values()) == made.cells == len(plan.cells)
    assert made.wall == pytest.approx(estimate.START + max(sum(times) / 2, *times))
    needs = sorted(estimate.need(cell, plan.settings) for cell in plan.cells)
    assert made.peak == pytest.approx(PARENT + 2 * WORKER + sum(needs[-2:]))
    tight = estimate.estimate(plan, 2, Memory(PARENT + WORKER + int(needs[-1])), speed=1.0)
    assert (tight.crowded, tight.too_large) == (len(plan.cells), [])
    assert tight.peak == PARENT + WORKER + int(needs[-1])
    small = estimate.estimate(plan, 2, Memory(PARENT + WORKER + int(needs[0]) - 1), speed=1.0)
    assert len(small.too_large) == len(plan.cells)


def test_standard_keeps_to_its_limits() -> None:
    plan = suites.plan("standard")
    assert len(plan.cells) <= 10_000
    assert 10 <= len(plan.tasks) <= 13
    families = {task.family for task in plan.tasks.values()}
    assert families >= {family.__name__.rpartition(".")[2] for family in FAMILIES} - {"tiny"}
    learners = {cell.method for cell in plan.cells if cell.measure == "learning"}
    assert len(learners - {"exact"}) == 12
    made = estimate.estimate(plan, 2, speed=1.0)
    assert made.wall < 3200
    assert made.peak < 2e9
    from apportion.registry import methods

    measured = {cell.method for cell in plan.cells if cell.measure == "gradient"}
    assert {plan.entrants[id_].method for id_ in measured} >= set(methods())  # every method has rows
    assert measured == {one.id for one in entrants().values() if any(one.fits(task.layout) for task in plan.tasks.values())}


def test_dry_run_says_what_it_would_do_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def typed(command: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as left:
            main(["bench", "run", *command.split()])
        assert not left.value.code
        assert not list(tmp_path.iterdir())
        out, err = capfd.readouterr()
        return out, err

    out, _ = typed("--suite smoke --dry-run --jobs 2")
    assert "16 cells" in " ".join(out.split())
    assert "with 2 workers" in out
    found = json.loads(typed("--suite smoke --dry-run --jobs 2 --memory 400MB --json")[0])
    assert (found["cells"], found["jobs"], found["peak_bytes"]) == (16, 2, 400e6)
    assert found["wall_seconds"] > 0
    assert {"gradient", "learning", "identification", "cost"} == set(found["measures"])
    assert found["crowded"] == 16


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--engine spark", "--engine spark: expected local or ray"),
        ("--address auto", "--address auto: only --engine ray has an address"),
        ("--memory lots", "--memory lots: expected a size"),
        ("--dry-run --jobs 0", "--jobs 0: expected at least 1"),
        ("--methods hcapo-model --tasks team/two --dry-run --seeds 0", "--seeds 0: expected at least 1"),
    ],
)
def test_mistakes_are_one_line(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["bench", "run", "--suite", "smoke", *command.split()])
    assert left.value.code == 2
    assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_missing_ray_is_one_sentence_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(SystemExit) as left:
        main(["bench", "run", "--suite", "smoke", "--engine", "ray"])
    assert left.value.code == 2
    assert "apportion: --engine ray needs the ray package: pip install 'apportion[ray]'" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.01, "0.1 s"), (3.26, "3.3 s"), (99, "99 s"), (101, "1.7 min"), (5400, "90 min"), (7000, "1.9 h"), (36e6, "417 days")],
)
def test_durations_have_two_digits(seconds: float, said: str) -> None:
    assert duration(seconds) == f"about {said}"


def test_empty_plan_is_refused() -> None:
    with pytest.raises(BenchError, match="nothing to do"):
        estimate.estimate(suites.Plan("none", {}, {}, (), Settings()), 2, speed=1.0)
