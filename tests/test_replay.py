"""How states are had again: what it costs, how it goes wrong, and what that does to credit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import apportion as ap
from apportion.bench.bifurcation import bifurcation
from apportion.bench.cells import run_cell
from apportion.bench.editors import SimulatedEditor
from apportion.bench.entrants import run_entrant
from apportion.bench.knobs import entrant
from apportion.bench.layouts import to_batch
from apportion.bench.manifest import build, keys
from apportion.bench.oracle import oracle, truth
from apportion.bench.records import Cell
from apportion.bench.replay import Replay, Restore, wrong_states
from apportion.bench.samplers import TabularSampler
from apportion.bench.suites import plan
from apportion.bench.tabular import Float, Task
from apportion.bench.tasks import find
from apportion.bench.world import Rollouts, roll
from apportion.errors import BenchError, OptionError
from apportion.evidence import Asked

rng = np.random.default_rng

HIDDEN = bifurcation("own/hidden", horizon=6, title="", forks=3, rooms=2, prompts=2, hidden=True, drift=0.3)
SEEN = bifurcation("own/seen", horizon=6, title="", forks=3, rooms=1, prompts=2, drift=0.3)


def rollouts_of(task: Task, groups: int = 6, seed: int = 0) -> Rollouts:
    return roll(task, task.start_theta, groups, 4, rng(seed))


def mixture(r: Rollouts, noise: float) -> Float:
    """Expected value of a restored state before each choice, (n, T), from the definition, one situation at a time."""
    task = r.task
    with oracle():
        solved = truth(task, r.theta)
        v, d = solved.V, solved.d
    out = np.empty(r.actions.shape)
    for i, t in np.ndindex(*out.shape):
        p, s = int(r.prompt[i]), int(r.states[i, t])
        others = [u for u in range(v.shape[2]) if u != s and d[p, t, u] > 0]
        alike = [u for u in others if task.observation[p, t, u] == task.observation[p, t, s]]
        among = alike or others or [s]
        weight = np.array([d[p, t, u] for u in among])
        wrong = float(weight @ v[p, t, among] / weight.sum())
        out[i, t] = (1 - noise) * v[p, t, s] + noise * wrong
    return out


def asked_of(batch: ap.Batch, task: Task) -> tuple[Any, Any]:
    """The prefix before every choice, and its axis."""
    axis, ends = ("step_prefix", batch.step_prefix_offsets) if task.layout == "steps" else ("prefix", batch.prefix_offsets)
    return np.delete(np.arange(ends[-1]), ends[1:] - 1), axis


def test_without_noise_a_text_gives_what_a_snapshot_gives_draw_for_draw() -> None:
    for id_ in ("bifurcation/hidden", "reasoning/steps-10", "team/two"):
        task = find(id_)
        r = rollouts_of(task, 2)
        batch = to_batch(r)
        exact, text, replayed = (TabularSampler(r, mode) for mode in ("exact", "text", "replayed"))
        at, axis = asked_of(batch, task)
        token = np.flatnonzero(batch.action)[::7][:20] if task.layout == "turns" else np.empty(0, dtype=np.int64)
        fresh = rng(3).random(r.actions.size) < 0.3
        asks: tuple[Callable[[TabularSampler], Asked], ...] = (
            lambda s: s.continuations(batch, at, 3, rng(1), axis=axis),  # noqa: B023
            lambda s: s.continuations(batch, token, 3, rng(1), axis="token"),  # noqa: B023
            lambda s: s.replay(batch, fresh, 2, rng(1)),  # noqa: B023
            lambda s: s.greedy(batch, rng(1)),  # noqa: B023
        )
        for ask in asks:
            first = ask(exact)
            for other in (text, replayed):
                np.testing.assert_array_equal(ask(other).values, first.values)
            assert ask(text).bill == first.bill
    r = rollouts_of(HIDDEN)
    batch = to_batch(r)
    grown = [TabularSampler(r, mode).branch(batch, batch.prefix_before[3::5], rng(2))[0] for mode in ("exact", "text")]
    assert grown[0].same(grown[1])


@pytest.mark.parametrize("task", [HIDDEN, SEEN], ids=["hidden", "seen"])
def test_a_text_that_goes_wrong_is_worth_the_mixture_and_not_the_state(task: Task) -> None:
    r = rollouts_of(task)
    batch, k = to_batch(r), 4000
    got = TabularSampler(r, "text", 0.4).continuations(batch, batch.prefix_before, k, rng(1)).values.mean(axis=1)
    expected, right = mixture(r, 0.4).ravel(), mixture(r, 0.0).ravel()
    error = np.sqrt(expected * (1 - expected) / k)
    assert np.abs((got - expected) / error).max() < 4.5
    assert np.abs((got - right) / error).max() > 20


def test_within_an_action_the_same_states_are_had() -> None:
    r = rollouts_of(HIDDEN)
    batch, k = to_batch(r), 4000
    first = np.flatnonzero(batch.action & ~np.append(False, batch.action[:-1]))  # nothing of the action stands yet
    got = TabularSampler(r, "text", 0.4).continuations(batch, first, k, rng(1), axis="token").values.mean(axis=1)
    expected = mixture(r, 0.4).ravel()
    error = np.sqrt(expected * (1 - expected) / k)
    assert np.abs((got - expected) / np.maximum(error, 1e-9)).max() < 4.5


def test_the_way_it_goes_wrong_is_a_state_that_looks_the_same_where_there_is_one() -> None:
    r = rollouts_of(HIDDEN)
    n, T = r.actions.shape
    row, time = (x.ravel() for x in np.indices((n, T)))
    prompt, state = r.prompt[row], r.states[row, time]
    chance = wrong_states(r.task, r.theta, prompt, time, state)
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    seen = r.task.observation[prompt, time]
    alike = seen == seen[np.arange(row.size), state][:, None]
    late = time > 0  # before, nobody can be derailed
    assert (chance[late] * alike[late]).sum(axis=1) == pytest.approx(1.0)
    assert (chance[np.arange(row.size), state] == 0).all()
    alone = wrong_states(SEEN, SEEN.start_theta, np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64))
    np.testing.assert_array_equal(alone, [[1.0, 0.0]])  # one start and no other: it cannot be missed


def test_vineppo_is_unbiased_where_states_are_restored_and_off_by_the_mixture_where_they_are_not() -> None:
    """The contrast of two neighbouring values, less its expectation, in standard errors."""
    # a rollout of each prompt: VinePPO takes equal texts of one group for equal states, which hidden ones need not be
    r = roll(HIDDEN, HIDDEN.start_theta, 16, 1, rng(0))
    batch, k = to_batch(r), 3000

    def off(mode: Any, noise: float, against: float) -> Float:
        value = mixture(r, against)
        after = np.concatenate([value[:, 1:], r.reward[:, None]], axis=1)
        variance = value * (1 - value) / k
        error = np.sqrt(variance + np.concatenate([variance[:, 1:], np.zeros((len(value), 1))], axis=1))
        credit = ap.assign(batch, "vineppo", sampler=TabularSampler(r, mode, noise), rng=5, k=k)
        assert isinstance(credit, ap.Credit)
        z: Float = (credit.on("turn").reshape(value.shape) - (after - value)) / np.maximum(error, 1e-9)
        return z

    for found in (off("exact", 0.0, 0.0), off("replayed", 0.0, 0.0), off("text", 0.3, 0.3)):
        assert np.abs(found).max() < 4.5
        assert 0.7 < (found[np.abs(found) > 0] ** 2).mean() < 1.3
    assert (off("text", 0.3, 0.0) ** 2).mean() > 20


def test_more_continuations_do_not_take_the_error_of_texts_away() -> None:
    r = rollouts_of(HIDDEN, 4)
    batch = to_batch(r)
    right = mixture(r, 0.0).ravel()
    bias = float(np.sqrt(((mixture(r, 0.5).ravel() - right) ** 2).mean()))

    def rmse(mode: Any, noise: float, k: int) -> float:
        got = TabularSampler(r, mode, noise).continuations(batch, batch.prefix_before, k, rng(k)).values.mean(axis=1)
        return float(np.sqrt(((got - right) ** 2).mean()))

    assert rmse("exact", 0.0, 6400) < rmse("exact", 0.0, 100) / 5
    assert rmse("text", 0.5, 6400) == pytest.approx(bias, rel=0.1)
    assert bias > 5 * rmse("exact", 0.0, 6400)


def test_a_replayed_state_costs_the_turns_before_it_once_more() -> None:
    for id_, per in (("bifurcation/horizon-10", 1), ("team/two", 1), ("reasoning/steps-10", 0)):
        task = find(id_)
        r = rollouts_of(task, 2)
        batch = to_batch(r)
        at, axis = asked_of(batch, task)
        plain, again = (
            TabularSampler(r, mode).continuations(batch, at, 3, rng(1), axis=axis).bill for mode in ("exact", "replayed")
        )
        before = np.tile(np.arange(task.horizon), len(r.reward)).sum()  # every choice is asked once, the t-th has t before it
        assert again.env_steps - plain.env_steps == 3 * before * per
        assert replace(again, env_steps=0.0) == replace(plain, env_steps=0.0)
        fresh = np.zeros((8, task.horizon), dtype=np.bool_)
        fresh[:, 4] = True
        if task.layout != "team":
            bills = [TabularSampler(r, m).replay(batch, fresh.ravel(), 2, rng(1)).bill for m in ("exact", "replayed")]
            assert bills[1].env_steps - bills[0].env_steps == 8 * 2 * 4 * per
    r = rollouts_of(find("bifurcation/horizon-10"), 1)
    batch = to_batch(r)
    bills = [TabularSampler(r, m).branch(batch, np.array([3, 11 + 7]), rng(1))[1] for m in ("exact", "replayed")]
    assert [b.env_steps for b in bills] == [7 + 3, 20]
    token = np.flatnonzero(batch.action)[[1, 5]]  # within the first action, and within the third
    bills = [TabularSampler(r, m).continuations(batch, token, 2, rng(1), axis="token").bill for m in ("exact", "replayed")]
    assert bills[1].env_steps - bills[0].env_steps == 2 * (0 + 2)


def test_a_branch_shows_the_state_it_went_on_from() -> None:
    r = rollouts_of(SEEN, 40)
    batch = to_batch(r)
    at = batch.prefix_offsets[:-1] + 4
    sampler = TabularSampler(r, "text", 1.0)
    grown, _ = sampler.branch(batch, at, rng(1))
    new = sampler.rollouts.states[r.reward.size :]
    np.testing.assert_array_equal(new[:, :4], r.states[:, :4])
    assert (new[:, 4] != r.states[:, 4]).all()
    assert grown.state is not None
    keys = grown.state.to_list()
    shown = [keys[grown.prefix_offsets[r.reward.size + i] + 4] for i in range(r.reward.size)]
    assert shown == SEEN.observation[r.prompt, 4, new[:, 4]].tolist()


def test_fresh_actions_and_greedy_rollouts_restore_nothing_and_so_enter_anywhere() -> None:
    r = rollouts_of(HIDDEN, 2)
    batch = to_batch(r)
    modes: tuple[tuple[Replay, float], ...] = (("none", 0.0), ("text", 1.0), ("replayed", 0.0))
    for mode, noise in modes:
        mine, plain = TabularSampler(r, mode, noise), TabularSampler(r)
        drawn, bill = mine.actions(batch, np.array([2, 9]), 2, rng(0))
        same, cost = plain.actions(batch, np.array([2, 9]), 2, rng(0))
        assert drawn.same(same)
        assert bill == cost
        np.testing.assert_array_equal(mine.rollouts.states, plain.rollouts.states)
        assert mine.greedy(batch, rng(0)).bill == plain.greedy(batch, rng(0)).bill
    assert entrant("remax@replay=none").source == {"replay": "none"}


def test_where_nothing_can_be_had_again_those_who_need_it_are_refused_before_work() -> None:
    for id_ in (
        "vineppo",
        "carl",
        "at2po",
        "spo",
        "math_shepherd",
        "omegaprm",
        "scar-replay",
        "ccpo",
        "sharp",
        "c3",
        "int-blame",
    ):
        with pytest.raises(BenchError, match="no state there can be had again"):
            plan("smoke", methods=[f"{id_}@replay=none"])
    r = rollouts_of(HIDDEN, 2)
    batch, sampler = to_batch(r), TabularSampler(r, "none")
    for ask in (
        lambda: sampler.continuations(batch, np.array([1]), 1, rng(0)),
        lambda: sampler.branch(batch, np.array([1]), rng(0)),
        lambda: sampler.replay(batch, np.ones(r.actions.size, dtype=np.bool_), 1, rng(0)),
    ):
        with pytest.raises(OptionError, match="replay=none"):
            ask()


def test_knobs_of_replay_are_checked_together_and_by_name() -> None:
    both = entrant("vineppo@replay_noise=0.2,replay=text")
    assert both.source == {"replay": "text", "replay_noise": 0.2}
    for id_, said in {
        "rloo@replay=text": "rloo asks no sampler or editor that could have replay",
        "pure-judge80@replay=text": "asks no sampler",
        "vineppo@replay=snapshot": "expected one of exact, replayed, text, none",
        "vineppo@replay_noise=0.2": "only a text that is fed again",
        "vineppo@replay=replayed,replay_noise=0.2": "only a text that is fed again",
        "vineppo@replay=text,replay_noise=1.5": "expected a number from 0 to 1",
        "vineppo@replay=text,replay_noise=much": "expected a number from 0 to 1",
        "vineppo@replay=text,replay_noise=true": "expected a number from 0 to 1",
        "pure-judge80@accuracy=2": "expected a number from 0 to 1",
        "hcapo-exact@noise=-1": "expected a number of at least 0",
    }.items():
        with pytest.raises(BenchError, match=said):
            entrant(id_)
    for bad in (1.5, -0.1, float("nan"), True):
        with pytest.raises(OptionError, match="replay_noise"):
            Restore("text", bad)


def test_what_was_restored_how_stands_in_the_manifest_the_bill_and_the_credit() -> None:
    names = ["vineppo", "vineppo@replay=replayed", "vineppo@replay=text,replay_noise=0.3"]
    made = plan("smoke", methods=names, seeds=1)
    manifest = build(made, "")
    source = {e["id"]: e["source"] for e in manifest["entrants"]}
    assert [source[n] for n in names] == [{}, {"replay": "replayed"}, {"replay": "text", "replay_noise": 0.3}]
    assert len(set(keys(manifest, made.cells).values())) == len(made.cells)
    T, costs = 10, []
    for name in names:
        rows = run_cell(Cell(name, "bifurcation/horizon-10", 0, "cost"), made.settings)
        costs.append({row.metric: row.value for row in rows}["env_steps"])
    assert costs[2] == costs[0] > 0
    asked = 4 * (T * (T + 1) / 2)  # k = 4 from every turn, T - t steps each; those that shared a start are asked once
    assert costs[0] < asked < 4 * T * T
    outcome = run_entrant(entrant(names[2]), HIDDEN, HIDDEN.start_theta, 2, 8, rng(0), rng(1))
    assert outcome.credit.evidence["prefix_value"]["provenance"] == "text_refeed"


def test_an_editor_goes_on_from_what_it_wrote_in_the_same_way() -> None:
    task = find("reasoning/steps-10")
    r = rollouts_of(task, 4)
    batch = to_batch(r)
    right, wrong = (SimulatedEditor(r, replay="text", replay_noise=noise) for noise in (0.0, 1.0))
    plain = SimulatedEditor(r)
    assert right.provenance == wrong.provenance == "oracle"
    answers = []
    for one in (plain, right, wrong):
        made = one.intervene(batch, rng(1))
        assert made.edited is not None
        ends = made.edited.step_prefix_offsets[1:] - 1
        left = np.flatnonzero(~made.leaks[made.step >= 0])
        answers.append(one.continuations(made.edited, ends[left], 60, rng(2), axis="step_prefix").values.mean())
    assert answers[0] == answers[1]
    assert abs(answers[2] - answers[0]) > 0.02
