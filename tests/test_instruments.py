"""What the benchmark measures, on cases whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from apportion.bench.bifurcation import build
from apportion.bench.cells import run_cell
from apportion.bench.draws import streams
from apportion.bench.entrants import entrants, run_entrant
from apportion.bench.gradient import update
from apportion.bench.identification import _average_precision, identify
from apportion.bench.instruments import _coefficients, _pairs, _variates
from apportion.bench.layouts import situation, to_batch
from apportion.bench.learning import train
from apportion.bench.lens_data import lens_data, write_lens_data
from apportion.bench.oracle import _ascend, attainable, optimum, oracle, truth
from apportion.bench.records import Cell, Measure
from apportion.bench.settings import Gradient, Learning, Settings
from apportion.bench.sources import SimulatedJudge
from apportion.bench.tasks import find, register, tasks
from apportion.bench.world import roll
from apportion.errors import OptionError

TASK = "bifurcation/horizon-10"
#: Price of a rollout of 10 turns: 20 tokens generated and trained on, 10 environment steps.
ROLLOUT = 20 * 1.0 + 10 * 5.0 + 20 * 2.0
SMALL = Settings(
    gradient=Gradient(batch_sizes=(64, 256), replicates=(8, 4)),
    learning=Learning(batch_sizes=(64,), lrs=(0.2,), max_updates=40),
)


def numbers(method: str, measure: Measure, seed: int = 0, settings: Settings = SMALL) -> dict[tuple[str, int], float]:
    return {(r.metric, r.batch): r.value for r in run_cell(Cell(method, TASK, seed, measure), settings)}


@pytest.mark.parametrize("measure", ["gradient", "learning", "identification", "cost"])
def test_a_cell_is_a_function_of_its_arguments(measure: Measure) -> None:
    once = run_cell(Cell("pooled_td", TASK, 3, measure), SMALL)
    again = run_cell(Cell("pooled_td", TASK, 3, measure), SMALL)
    assert [(*r[:6], repr(r.lr), repr(r.value)) for r in once] == [(*r[:6], repr(r.lr), repr(r.value)) for r in again]


def test_exact_credit_has_no_bias_and_a_clean_gradient() -> None:
    found = numbers("exact", "gradient")
    for batch in (64, 256):
        inner, cross, star = found["inner", batch], found["cross", batch], found["truth2", batch]
        assert inner == pytest.approx(star, rel=1e-6)
        assert (cross - 2 * inner + star) / star == pytest.approx(0, abs=1e-5)
        assert found["gain_best", batch] > found["gain_kl", batch] > 0
    exact, rloo = found["norm2", 64] / found["truth2", 64] - 1, numbers("rloo", "gradient")
    assert rloo["norm2", 64] / rloo["truth2", 64] - 1 > 50 * exact


def test_control_variates_have_the_exact_gradient_as_their_mean() -> None:
    task = build(TASK)
    with oracle():
        by_prompt = truth(task, task.start_theta).prompt_gradient / task.prompts
    total = np.zeros((3, *by_prompt.shape))
    for r in range(40):
        world, own = streams(Cell("rloo", TASK, 0, "gradient"), 1, r)
        total += _variates(run_entrant(entrants()["rloo"], task, task.start_theta, 256, 8, world, own)) / 40
    for k, allowed in enumerate((0.02, 0.05, 0.35)):  # each noisier than the one before
        error = ((total[k] - by_prompt).sum(0) ** 2).sum() / (by_prompt.sum(0) ** 2).sum()
        assert error < allowed**2 * 4


def test_a_known_mixture_is_removed_and_pairs_are_unbiased() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=(30, 3, 2, 4, 3))
    b = np.array([0.5, -1.0, 2.0])
    mean = rng.normal(size=(2, 4, 3))
    g = np.einsum("k,nkpda->npda", b, known) + 3 * mean
    np.testing.assert_allclose(_coefficients(g, known + mean, mean), b, atol=1e-10)
    x = rng.normal(size=(4000, 3)) + np.array([1.0, 2.0, 0.0])
    assert _pairs(x, x) == pytest.approx(5.0, abs=0.2)


def test_rloo_agrees_with_plain_monte_carlo() -> None:
    """The noise-reduced estimate of <E g, g*> against a plain mean over many more batches."""
    task = build(TASK)
    with oracle():
        star = truth(task, task.start_theta).gradient
    inner = []
    for r in range(60):
        world, own = streams(Cell("rloo", TASK, 1, "gradient"), 2, r)
        outcome = run_entrant(entrants()["rloo"], task, task.start_theta, 256, 8, world, own)
        inner.append(float((update(outcome.rollouts, outcome.credit) * star).sum()))
    error = np.std(inner) / np.sqrt(len(inner))
    assert np.mean(inner) == pytest.approx(float((star**2).sum()), abs=3 * error)
    found = numbers("rloo", "gradient")
    assert found["inner", 256] == pytest.approx(found["truth2", 256], rel=0.5)


def test_learning_stops_at_the_target_and_counts_all_costs() -> None:
    found = numbers("exact", "learning")
    assert found["reached", 64] == 1
    assert found["final", 64] >= 0.8 * found["attainable", 64]
    assert found["cost", 64] == found["updates", 64] * 64 * ROLLOUT


def test_a_hopeless_setting_is_given_up() -> None:
    cell, task = Cell("rloo", TASK, 0, "learning"), build(TASK)
    found = train(cell, task, entrants()["rloo"], SMALL, 64, 0.01, limit=30_000.0)
    assert found["reached"] == 0
    assert 30_000 <= found["cost"] < 30_000 + 64 * 140 + 1


def test_noise_is_taken_off_the_norm_as_well() -> None:
    for batch in (64, 256):
        found = numbers("exact", "gradient")
        assert found["inner", batch] ** 2 <= found["norm2", batch] * found["truth2", batch]


def test_every_run_has_the_budget_of_plain_rollouts_at_the_largest_batch() -> None:
    rules = SMALL.model_copy(update={"learning": Learning(batch_sizes=(64,), lrs=(0.001,), max_updates=3)})
    rloo, vine = numbers("rloo", "learning", settings=rules), numbers("vineppo", "learning", settings=rules)
    assert rloo["updates", 64] == 3
    assert vine["updates", 64] == 1, "one update of a method this dear costs more than three of RLOO"


def test_a_row_in_the_loss_is_trained_on_whole() -> None:
    carl = numbers("carl", "cost")
    assert carl["price", 0] > ROLLOUT / 2, "masked tokens go through the model just the same"


def test_judges_err_by_what_is_seen_even_where_state_is_hidden() -> None:
    task = build("bifurcation/hidden")
    r = roll(task, task.start_theta, 64, 8, np.random.default_rng(0))
    batch = to_batch(r)
    prompt, time, state, action = situation(r, batch)
    text = task.observation[prompt, time, state] * 4 + action
    for values in (
        SimulatedJudge(r, 0.8).score(batch, "turn", np.random.default_rng(0)).values,
        SimulatedJudge(r, 1.0).score(batch, "turn", np.random.default_rng(0)).values,
    ):
        order = np.argsort(text, kind="stable")
        same = text[order][1:] == text[order][:-1]
        assert same.any()
        np.testing.assert_array_equal(values[order][1:][same], values[order][:-1][same])


def test_attainable_is_not_a_local_optimum() -> None:
    task = build("bifurcation/recoverable")
    assert attainable(task) > 0.995 * optimum(task) or attainable(task) >= _ascend(task, task.start_theta)
    assert attainable(build(TASK)) > 0.995 * optimum(build(TASK))


def test_paid_evidence_is_on_the_bill() -> None:
    vine, rloo, gae = numbers("vineppo", "cost"), numbers("rloo", "cost"), numbers("gae", "cost")
    assert rloo["generated", 0] == 0
    assert rloo["price", 0] == ROLLOUT
    # four continuations from each of ten prefixes, on average 5.5 turns of 2 tokens; a group shares its start
    assert 0.8 * 4 * 55 * 2 < vine["generated", 0] <= 4 * 55 * 2
    assert vine["env_steps", 0] == vine["generated", 0] / 2
    assert gae["trained", 0] > 0
    assert gae["price", 0] > rloo["price", 0]


def test_identification_of_exact_credit_is_perfect_and_of_noise_is_nothing() -> None:
    exact = numbers("exact", "identification")
    assert exact["correlation", 0] == pytest.approx(1)
    assert exact["sign", 0] == 1
    assert exact["fork_ap", 0] == 1
    assert exact["leak_routine", 0] == pytest.approx(0, abs=1e-12)
    task = build(TASK)
    outcome = run_entrant(entrants()["rloo"], task, task.start_theta, 32, 8, np.random.default_rng(0), np.random.default_rng(1))
    noise = outcome.credit.with_fields(level="turn", unit=np.zeros(outcome.credit.batch.n_turns), token=outcome.credit.token * 0)
    found = identify(type(outcome)(outcome.first, outcome.rollouts, outcome.sampled, noise), 1e-6, np.random.default_rng(2))
    assert found["sign"] == 0.5
    assert np.isnan(found["correlation"])
    assert np.isnan(found["leak_routine"])


def test_average_precision_by_hand_with_ties() -> None:
    assert _average_precision(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)
    assert _average_precision(np.ones(4), np.array([True, False, False, False])) == 0.25


def test_the_lens_shows_wins_and_losses_and_writes_the_same_bytes(tmp_path: Path) -> None:
    data = lens_data([TASK], ["rloo", "exact", "carl"], SMALL)["tasks"][0]
    assert {t["reward"] for t in data["trajectories"]} == {0.0, 1.0}
    for t in data["trajectories"]:
        assert set(t["methods"]) == {"rloo", "exact"}, "branches of its own: no common trajectory"
        assert t["methods"]["exact"] == t["truth"]
        assert len(t["turns"]) == len(t["luck"]) == 10
        assert sum(turn["fork"] for turn in t["turns"]) == 3
    for _ in range(2):
        write_lens_data(tmp_path, {TASK: None}, {"rloo": None}, SMALL)
        once = (tmp_path / "lens.json").read_bytes()
        assert json.loads(once)["tasks"][0]["task"] == TASK
    write_lens_data(tmp_path, {TASK: None}, {"rloo": None}, SMALL)
    assert (tmp_path / "lens.json").read_bytes() == once


def test_unknown_tasks_name_their_neighbours_and_shipped_ids_are_taken() -> None:
    with pytest.raises(OptionError, match="horizon-10"):
        find("bifurcation/horizon-11")
    with pytest.raises(OptionError, match="taken"):
        register(build(TASK))
    assert TASK in tasks()
